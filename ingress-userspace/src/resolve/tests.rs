use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    channel,
    schedule::{Answer, Schedule},
    start,
};
use crate::{
    config::NameServers,
    names::{Known, Names},
};

/// Addresses and time to live by name, without the final dot.
type Zone = HashMap<String, (Vec<IpAddr>, u32)>;

/// A name server with one thread: answers by a table that a test changes.
struct Server {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    silent: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let server = Self {
            address: socket.local_addr().expect("bound"),
            zone: Arc::default(),
            silent: Arc::default(),
            asked: Arc::default(),
        };
        let zone = Arc::clone(&server.zone);
        let (silent, asked) = (Arc::clone(&server.silent), Arc::clone(&server.asked));
        thread::spawn(move || {
            let mut query = [0; 1500];
            while let Ok((length, client)) = socket.recv_from(&mut query) {
                asked.fetch_add(1, Ordering::SeqCst);
                if !silent.load(Ordering::SeqCst) {
                    let zone = zone.lock().expect("no panic");
                    let _client_left = socket.send_to(&answer(&query[..length], &zone), client);
                }
            }
        });
        server
    }

    fn set(&self, name: &str, addresses: &[&str], ttl: u32) {
        let addresses = addresses.iter().map(|one| one.parse().expect("an address")).collect();
        self.zone.lock().expect("no panic").insert(name.to_owned(), (addresses, ttl));
    }

    fn servers(&self, resolv_conf: &std::path::Path) -> NameServers {
        NameServers { file: resolv_conf.to_owned(), servers: vec![self.address] }
    }
}

/// The answer to a query, by RFC 1035, section 4.1: NXDOMAIN for names that are not in the zone.
fn answer(query: &[u8], zone: &Zone) -> Vec<u8> {
    let mut name = String::new();
    let mut at = 12;
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        name.push_str(std::str::from_utf8(&query[at + 1..end]).expect("ASCII"));
        name.push('.');
        at = end;
    }
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let question = &query[12..at + 5];
    let found = zone.get(&name.trim_end_matches('.').to_ascii_lowercase());
    let records: Vec<Vec<u8>> = found
        .iter()
        .flat_map(|(addresses, ttl)| addresses.iter().map(move |address| (address, ttl)))
        .filter_map(|(address, ttl)| {
            let (of, data) = match address {
                IpAddr::V4(address) => (1_u16, address.octets().to_vec()),
                IpAddr::V6(address) => (28, address.octets().to_vec()),
            };
            let length = u16::try_from(data.len()).expect("4 or 16").to_be_bytes();
            let head = [&[0xc0, 12][..], &of.to_be_bytes(), &[0, 1], &ttl.to_be_bytes(), &length];
            (of == kind).then(|| [head.concat(), data].concat())
        })
        .collect();
    let count = u16::try_from(records.len()).expect("few").to_be_bytes();
    let code = if found.is_some() { 0x80 } else { 0x83 };
    let head = [&query[..2], &[0x81, code, 0, 1], &count, &[0; 4], question].concat();
    [head, records.concat()].concat()
}

/// Runs a resolver for these names and waits until what it knows is as wanted.
struct Resolved {
    names: mpsc::Receiver<Names>,
    wanted: Option<super::Wanted>,
    thread: Option<thread::JoinHandle<()>>,
    last: Names,
}

impl Resolved {
    fn start(servers: NameServers, names: &[&str]) -> Self {
        let (wanted, _asking, told) = channel();
        let (sender, receiver) = mpsc::channel();
        let sink = move |names| drop(sender.send(names));
        let thread = start(servers, told, sink).expect("a thread");
        wanted.tell(names.iter().map(|&name| name.into()).collect());
        Self { names: receiver, wanted: Some(wanted), thread: Some(thread), last: Names::default() }
    }

    fn until(&mut self, what: &str, is: impl Fn(&Names) -> bool) {
        let start = Instant::now();
        while !is(&self.last) {
            let left = Duration::from_secs(20).saturating_sub(start.elapsed());
            match self.names.recv_timeout(left) {
                Ok(names) => self.last = names,
                Err(_) => panic!("{what}: but {:?}", self.last),
            }
        }
    }
}

impl Drop for Resolved {
    fn drop(&mut self) {
        drop(self.wanted.take());
        let ended = self.thread.take().map(thread::JoinHandle::join);
        assert!(ended.is_some_and(|ended| ended.is_ok()), "it ends with who wants names");
    }
}

fn addresses(names: &Names, name: &str) -> Vec<String> {
    match names.get(name) {
        Some(Known::Addresses { addresses, .. }) => {
            addresses.iter().map(ToString::to_string).collect()
        }
        _ => Vec::new(),
    }
}

fn resolv_conf(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), text).expect("writable");
    file
}

#[test]
fn names_follow_their_answers_by_ttl() {
    let server = Server::start();
    server.set("api.example.org", &["192.0.2.1", "192.0.2.2"], 1);
    server.set("six.example.org", &["2001:db8::6"], 3600);
    let file = resolv_conf("nameserver 192.0.2.53\n");
    let names = ["api.example.org", "six.example.org", "gone.example.org"];
    let mut resolved = Resolved::start(server.servers(file.path()), &names);
    resolved.until("the first answers", |names| {
        addresses(names, "api.example.org") == ["192.0.2.1", "192.0.2.2"]
            && addresses(names, "six.example.org") == ["2001:db8::6"]
            && matches!(names.get("gone.example.org"), Some(Known::Nothing(_)))
    });
    server.set("api.example.org", &["192.0.2.9"], 0);
    resolved.until("the next answer", |names| addresses(names, "api.example.org") == ["192.0.2.9"]);
    server.zone.lock().expect("no panic").remove("api.example.org");
    resolved.until("the name is gone", |names| {
        matches!(names.get("api.example.org"), Some(Known::Nothing(_)))
    });
}

#[test]
fn the_last_addresses_stay_while_nobody_answers() {
    let server = Server::start();
    server.set("api.example.org", &["192.0.2.1"], 1);
    let file = resolv_conf("");
    let mut resolved = Resolved::start(server.servers(file.path()), &["api.example.org"]);
    resolved.until("the first answer", |names| !addresses(names, "api.example.org").is_empty());
    server.silent.store(true, Ordering::SeqCst);
    resolved.until("the silence is noticed", |names| {
        matches!(names.get("api.example.org"), Some(Known::Addresses { late: Some(_), .. }))
    });
    assert_eq!(addresses(&resolved.last, "api.example.org"), ["192.0.2.1"]);
    server.silent.store(false, Ordering::SeqCst);
    server.set("api.example.org", &["192.0.2.2"], 60);
    resolved
        .until("the server is back", |names| addresses(names, "api.example.org") == ["192.0.2.2"]);
}

#[test]
fn search_domains_are_tried_unless_the_name_ends_in_a_dot() {
    let server = Server::start();
    server.set("api.web.svc.example.org", &["192.0.2.1"], 60);
    let file = resolv_conf("nameserver 192.0.2.53\nsearch svc.example.org\noptions ndots:2\n");
    let mut resolved = Resolved::start(server.servers(file.path()), &["api.web", "api.web."]);
    resolved.until("both answers", |names| {
        addresses(names, "api.web") == ["192.0.2.1"]
            && matches!(names.get("api.web."), Some(Known::Nothing(_)))
    });
}

#[test]
fn a_name_that_is_wanted_no_more_is_not_asked_for() {
    let server = Server::start();
    server.set("api.example.org", &["192.0.2.1"], 60);
    let file = resolv_conf("");
    let mut resolved = Resolved::start(server.servers(file.path()), &["api.example.org"]);
    resolved.until("the answer", |names| !addresses(names, "api.example.org").is_empty());
    server.set("other.example.org", &["192.0.2.2"], 60);
    let asked = server.asked.load(Ordering::SeqCst);
    let other = ["other.example.org".into()].into();
    resolved.wanted.as_ref().expect("it runs").tell(other);
    resolved.until("the other alone", |names| {
        addresses(names, "other.example.org") == ["192.0.2.2"]
            && names.get("api.example.org").is_none()
    });
    assert_eq!(server.asked.load(Ordering::SeqCst), asked + 2, "once for each family");
}

const NAME: &str = "api.example.org";

fn schedule(now: Instant) -> Schedule {
    let mut schedule = Schedule::default();
    schedule.replace([NAME.into()].into(), now);
    schedule
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn times_to_live_are_bounded() {
    let now = Instant::now();
    let address = vec!["192.0.2.1".parse().expect("an address")];
    for (answer, pause) in [
        (Answer::Addresses(address.clone(), seconds(0)), 1),
        (Answer::Addresses(address.clone(), seconds(30)), 30),
        (Answer::Addresses(address, seconds(1_000_000)), 3600),
        (Answer::Nothing(seconds(900)), 30),
        (Answer::Nothing(seconds(0)), 1),
    ] {
        let mut schedule = schedule(now);
        assert_eq!(schedule.next_due(now).as_deref(), Some(NAME));
        assert_eq!(schedule.next_due(now), None, "it is being looked up");
        assert!(schedule.answered(NAME, answer.clone(), now));
        assert_eq!(schedule.earliest(), Some(now + seconds(pause)));
        let _again = schedule.next_due(now + seconds(pause)).expect("it is due");
        assert!(!schedule.answered(NAME, answer, now), "nothing new");
    }
}

#[test]
fn failures_back_off_to_half_a_minute() {
    let mut now = Instant::now();
    let mut schedule = schedule(now);
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        let _due = schedule.next_due(now).expect("it is due");
        schedule.answered(NAME, Answer::Failed("silence"), now);
        assert_eq!(schedule.earliest(), Some(now + seconds(pause)));
        now += seconds(pause);
    }
}

#[test]
fn addresses_of_this_node_are_refused() {
    let now = Instant::now();
    let mut schedule = schedule(now);
    let own = ["127.0.0.1", "::1", "0.0.0.0", "::ffff:127.0.0.1"];
    let own: Vec<IpAddr> = own.iter().map(|one| one.parse().expect("an address")).collect();
    schedule.answered(NAME, Answer::Addresses(own.clone(), seconds(60)), now);
    assert!(matches!(schedule.names().get(NAME), Some(Known::Nothing(_))));
    let mixed = [own, vec!["192.0.2.1".parse().expect("an address")]].concat();
    schedule.answered(NAME, Answer::Addresses(mixed, seconds(60)), now);
    assert_eq!(addresses(&schedule.names(), NAME), ["192.0.2.1"]);
}

#[test]
fn names_stand_for_no_address_of_ipv6_where_that_is_off() {
    let server = Server::start();
    server.set("six.example.org", &["2001:db8::6"], 0);
    server.set("both.example.org", &["192.0.2.1", "2001:db8::1"], 0);
    let file = resolv_conf("nameserver 192.0.2.53\n");
    let names = ["six.example.org", "both.example.org"];
    let mut resolved = Resolved::start(server.servers(file.path()), &names);
    resolved.until("the first answers", |names| {
        addresses(names, "six.example.org") == ["2001:db8::6"]
            && addresses(names, "both.example.org") == ["192.0.2.1", "2001:db8::1"]
    });
    resolved.wanted.as_ref().expect("it runs").set_ipv6(false);
    resolved.until("the name has nothing", |names| {
        matches!(names.get("six.example.org"), Some(Known::Nothing(_)))
            && addresses(names, "both.example.org") == ["192.0.2.1"]
    });
}
