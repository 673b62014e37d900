//! The tc program at work: a client and two nodes on one bridge, with all that network interfaces do
//! for the stack switched on. Segments arrive merged, up to 64 KiB in one, with checksums still to
//! be filled in; XDP never sees such packets.
#![forbid(unsafe_code)]

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use ingress_common::HashKey;
use ingress_userspace::{
    l4::{self, AttachKind, Mode, Options, Services, object},
    model::Member,
};
use nix::sched::{CloneFlags, unshare};
use socket2::{Domain, Socket, Type};
use testbed::requirement;

const VIPS: [&str; 2] = ["203.0.113.1", "2001:db8:0:1::1"];
const LIMIT: Duration = Duration::from_secs(240);
/// What a client sends on each connection.
const UPLOAD: usize = 2_000_000;

/// Runs `ip` in the calling thread's namespace.
fn ip(lines: &str) {
    let mut child = Command::new("ip")
        .args(["-force", "-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("iproute2");
    child.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("ip reads");
    assert!(child.wait().expect("ip ends").success(), "ip: {lines}");
}

/// A thread in a network namespace of its own, with `eth0` on the bridge of the namespace that it is
/// made in. It ends when it has nothing more to do.
struct Host {
    work: mpsc::Sender<Box<dyn FnOnce() + Send>>,
}

impl Host {
    fn new(name: &str, last: u8) -> Self {
        let (work, waiting) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (number, from_thread) = mpsc::channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("root may");
            number.send(nix::unistd::gettid()).expect("the test waits");
            while let Ok(work) = waiting.recv() {
                work();
            }
        });
        let namespace = from_thread.recv().expect("a namespace");
        ip(&format!(
            "link add {name} type veth peer name eth0 netns {namespace}\n\
             link set {name} master br0 up\n"
        ));
        let host = Self { work };
        host.run(move || {
            for scope in ["all", "default", "eth0"] {
                let path = format!("/proc/sys/net/ipv4/conf/{scope}/rp_filter");
                std::fs::write(path, "0").expect("root may");
            }
            ip(&format!(
                "link set lo up\n\
                 addr add 10.0.0.{last}/24 dev eth0\n\
                 addr add fd00::{last}/64 dev eth0 nodad\n\
                 link set eth0 up\n"
            ));
        });
        host
    }

    /// Runs `work` there and waits for it.
    fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        let work = move || done.send(work()).expect("the test waits");
        self.work.send(Box::new(work)).expect("the thread is there");
        result.recv().expect("it does not panic")
    }
}

/// A listener as the agent's are. The segment size that it announces is what lets a segment that
/// comes by itself, as a retransmitted one does, into the tunnel.
fn listen(vip: &str) -> TcpListener {
    let address = SocketAddr::new(vip.parse().expect("an address"), 80);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
    let segment = l4::largest_segment(&["eth0".to_owned()]).expect("eth0 has an MTU");
    socket.set_tcp_mss(segment).expect("it is in the kernel's range");
    socket.bind(&address.into()).expect("the address is on lo");
    socket.listen(128).expect("it is bound");
    socket.into()
}

/// Answers probes of the health port, and serves the virtual addresses: the answer to all that a
/// client sends is the node's name and a sum of the bytes.
fn serve(name: &'static str, address: &str) {
    let health = TcpListener::bind((address, 10_254)).expect("a free port");
    thread::spawn(move || {
        for mut stream in health.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            // Not before the prober has its answer.
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    for vip in VIPS {
        let listener = listen(vip);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                thread::spawn(move || {
                    let mut body = Vec::new();
                    if stream.read_to_end(&mut body).is_ok() {
                        let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
                        let _ = write!(stream, "{name} {} {sum}", body.len());
                    }
                });
            }
        });
    }
}

fn options(name: &str, bpf_dir: &Path) -> Options {
    let member = |name: &str, last: u8| Member {
        name: name.into(),
        address: IpAddr::from([10, 0, 0, last]),
        ready: true,
        weight: Member::WEIGHT,
    };
    Options {
        mode: Mode::Tc,
        interfaces: vec!["eth0".to_owned()],
        services: Services {
            addresses: VIPS.map(|vip| vip.parse().expect("an address")).into(),
            tcp: vec![80],
            udp: Vec::new(),
            by_client: false,
        },
        node_name: name.to_owned(),
        bpf_dir: bpf_dir.to_owned(),
        tunnel_port: 6082,
        health_port: 10_254,
        key: HashKey([1, 2]),
        members: vec![member("n1", 1), member("n2", 2)],
        candidates: 4,
        settings: false,
        announce: false,
    }
}

/// One upload; what answered.
fn upload(vip: &str) -> String {
    let mut stream = TcpStream::connect((vip, 80)).expect("the virtual address accepts");
    stream.set_read_timeout(Some(LIMIT)).expect("a socket");
    stream.set_write_timeout(Some(LIMIT)).expect("a socket");
    let body: Vec<u8> = (0..UPLOAD).map(|position| (position % 251) as u8).collect();
    stream.write_all(&body).expect("it is taken");
    stream.shutdown(Shutdown::Write).expect("it is open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it is answered");
    let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
    let (name, rest) = answer.split_once(' ').expect("a name and numbers");
    assert_eq!(rest, format!("{UPLOAD} {sum}"));
    name.to_owned()
}

fn counted(bpf_dir: &Path) -> BTreeMap<&'static str, (u64, u64)> {
    let counters = l4::pinned_counters(bpf_dir).expect("pinned");
    counters
        .into_iter()
        .map(|(reason, count)| (reason.name(), (count.packets, count.bytes)))
        .collect()
}

/// Checks a file of captured packets: ten that went into the tunnel, each with the reason.
fn packets(file: &[u8]) {
    let word = |at: usize| u32::from_ne_bytes(file[at..at + 4].try_into().expect("four bytes"));
    let (mut at, mut count) = (0, 0);
    while at < file.len() {
        let (kind, length) = (word(at), word(at + 4) as usize);
        if kind == 6 {
            let block = &file[at..at + length];
            let captured = word(at + 20) as usize;
            let frame = &block[28..28 + captured];
            // UDP to the port of the tunnel, over IPv4.
            assert_eq!(
                (&frame[12..14], frame[23], &frame[36..38]),
                (&[8, 0][..], 17, &[0x17, 0xc2][..])
            );
            assert!(word(at + 24) as usize >= captured);
            let text = b"forward: forwarded, service 203.0.113.1:80/tcp, node n2";
            assert!(block.windows(text.len()).any(|window| window == text));
            count += 1;
        }
        at += length;
    }
    assert_eq!(count, 10);
}

#[test]
fn merged_segments_go_through_the_tunnel_of_tc() {
    let Some(_object) = requirement::bpf("merged_segments_go_through_the_tunnel_of_tc") else {
        return;
    };
    assert!(object::embedded().is_some(), "built with PENSTOCK_EBPF_OBJECT");
    let directory = tempfile::tempdir().expect("a directory");
    let bpf_dir: [PathBuf; 2] = ["n1", "n2"].map(|name| directory.path().join(name));
    // The bridge is in this thread's namespace.
    thread::scope(|scope| {
        scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("root may");
            ip("link set lo up\nlink add br0 type bridge\nlink set br0 up\n");
            let (client, n1, n2) = (Host::new("client", 9), Host::new("n1", 1), Host::new("n2", 2));
            let mut handles = Vec::new();
            for (host, name, address, bpf_dir) in
                [(&n1, "n1", "10.0.0.1", &bpf_dir[0]), (&n2, "n2", "10.0.0.2", &bpf_dir[1])]
            {
                let options = options(name, bpf_dir);
                handles.push(host.run(move || {
                    let handle = l4::start(options).expect("started").expect("there are VIPs");
                    assert_eq!(handle.status().interfaces["eth0"], AttachKind::Tc);
                    serve(name, address);
                    handle
                }));
            }
            // All enters at n1.
            client.run(|| {
                ip(&format!(
                    "route add {} via 10.0.0.1\nroute add {} via fd00::1\n",
                    VIPS[0], VIPS[1]
                ));
            });
            let deadline = Instant::now() + LIMIT;
            while !handles.iter().all(|handle| {
                let status = handle.status();
                status.nodes.len() == 2
                    && status
                        .nodes
                        .values()
                        .all(|n| n.reachable && n.state == l4::plan::State::Ready)
            }) {
                assert!(Instant::now() < deadline, "{:?}", handles[0].status());
                thread::sleep(Duration::from_millis(10));
            }

            let file = directory.path().join("packets.pcapng");
            let capture = l4::command::Command::Capture {
                write: Some(file.clone()),
                vips: vec![VIPS[0].to_owned()],
                reasons: vec!["forwarded".to_owned()],
                count: Some(10),
                bpf_dir: bpf_dir[0].clone(),
            };
            let capture = thread::spawn(move || capture.run(&mut Vec::new()));
            for vip in VIPS {
                let before = counted(&bpf_dir[0]);
                let mut taken: BTreeMap<String, u32> = BTreeMap::new();
                while taken.len() < 2 || taken.values().sum::<u32>() < 8 {
                    *taken.entry(client.run(move || upload(vip))).or_default() += 1;
                    assert!(Instant::now() < deadline, "{taken:?}");
                }
                let after = counted(&bpf_dir[0]);
                let moved = |reason: &str| {
                    (after[reason].0 - before[reason].0, after[reason].1 - before[reason].1)
                };
                let (packets, bytes) = moved("forwarded");
                assert!(bytes >= u64::from(taken["n2"]) * UPLOAD as u64, "{bytes} to {vip}");
                // A packet of one segment would have 1500 bytes and no more.
                assert!(bytes / packets > 3000, "{bytes} bytes in {packets} packets to {vip}");
                for reason in ["relay_failed", "rewrite_failed", "too_long", "no_headroom"] {
                    assert_eq!(moved(reason).0, 0, "{reason} to {vip}");
                }
                assert!(counted(&bpf_dir[1])["decapsulated"].0 > 0);
            }
            // It had begun before the last connections at the latest, or sees one more.
            while !capture.is_finished() {
                client.run(|| upload(VIPS[0]));
                assert!(Instant::now() < deadline, "ten packets are not captured");
            }
            capture.join().expect("no panic").expect("it works");
            packets(&std::fs::read(file).expect("it is written"));
            drop(handles);
            for (host, bpf_dir) in [(&n1, &bpf_dir[0]), (&n2, &bpf_dir[1])] {
                let unload = l4::command::Command::Unload { bpf_dir: bpf_dir.clone() };
                host.run(move || unload.run(&mut Vec::new())).expect("unloaded");
            }
        });
    });
}
