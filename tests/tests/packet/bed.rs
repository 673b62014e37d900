//! The loaded programs with maps of a known content, in a network namespace of their own; and the
//! same world as a fake for the core on the host.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::Command,
};

use aya::{
    Ebpf, EbpfLoader, TestRun as _, TestRunOptions,
    maps::{Array, HashMap as BpfHashMap, PerCpuArray, ProgramArray},
    programs::Xdp,
};
use ingress_common::{
    Address, Config, Counters, Flow, Group, HashKey, Mac, Node, NodeId, Peer, Port, Reason, Row,
    VipAddress, VipKey, VipValue, limits::tail, node::NODE_USABLE, table::row_index,
};
use ingress_ebpf::{Buffer, Outcome, Socket, World};

pub(crate) const VIP4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
pub(crate) const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 1);
pub(crate) const CLIENT4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
pub(crate) const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 0, 0, 0, 7);
pub(crate) const OWN4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const OWN6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
pub(crate) const PORT: u16 = 6082;
pub(crate) const KEY: HashKey = HashKey([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]);
pub(crate) const GENERATION: u32 = 7;
/// The loopback interface: what a test run takes for the one that the frame came in on.
pub(crate) const SAME_INTERFACE: u32 = 1;
pub(crate) const OTHER_INTERFACE: u32 = 77;

/// Nodes by number: 1 is this one; 2 on the same interface, 3 on another, 4 over IPv6, 5 not
/// resolved, 6 with a short path.
pub(crate) const OWN: u16 = 1;

pub(crate) fn node(id: u16) -> Option<Node> {
    let v4 = |mtu, ifindex| Node {
        address: Address::v4([10, 0, 0, id as u8]),
        source: Address::v4(OWN4.octets()),
        next_hop: Mac::new([2, 0, 0, 0, 1, id as u8]),
        source_mac: Mac::new(super::builder::OUR_MAC),
        ifindex,
        mtu,
        flags: NODE_USABLE,
        reserved: 0,
    };
    match id {
        2 => Some(v4(1500, SAME_INTERFACE)),
        3 => Some(v4(1500, OTHER_INTERFACE)),
        4 => Some(Node {
            address: Address::v6(&Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 4).octets()),
            source: Address::v6(&OWN6.octets()),
            ..v4(1500, SAME_INTERFACE)
        }),
        6 => Some(v4(80, SAME_INTERFACE)),
        _ => None,
    }
}

pub(crate) fn peers() -> Vec<(Address, Peer)> {
    let own4 = Address::v4(OWN4.octets());
    let own6 = Address::v6(&OWN6.octets());
    vec![
        (Address::v4([10, 0, 0, 2]), Peer { local: own4, node: NodeId(2), reserved: [0; 2] }),
        (
            Address::v6(&Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 4).octets()),
            Peer { local: own6, node: NodeId(4), reserved: [0; 2] },
        ),
    ]
}

pub(crate) fn vips() -> Vec<(VipKey, VipValue)> {
    let value = |group| VipValue { vip_id: 0, group, flags: 0 };
    let mut vips = vec![];
    for address in [Address::v4(VIP4.octets()), Address::v6(&VIP6.octets())] {
        vips.push((VipKey::new(address, Port::new(80), 6), value(0)));
        vips.push((VipKey::new(address, Port::new(443), 17), value(0)));
        // Of a group that has no table.
        vips.push((VipKey::new(address, Port::new(81), 6), value(1)));
    }
    vips
}

pub(crate) fn flow(from: (IpAddr, u16), to: (IpAddr, u16), protocol: u8) -> Flow {
    Flow {
        source: from.0.into(),
        destination: to.0.into(),
        source_port: Port::new(from.1),
        destination_port: Port::new(to.1),
        protocol,
        reserved: [0; 3],
    }
}

/// The world of the maps below, for the core on the host.
pub(crate) struct Fake {
    pub(crate) sockets: HashMap<Flow, Socket>,
    pub(crate) row: Row,
    group: Group,
    nodes: HashMap<u16, Node>,
    peers: HashMap<Address, Peer>,
}

impl Fake {
    pub(crate) fn new(row: Row, sockets: HashMap<Flow, Socket>) -> Self {
        Self {
            sockets,
            row,
            group: Group { generation: GENERATION, ready: 1, key: KEY },
            nodes: (1..8).filter_map(|id| Some((id, node(id)?))).collect(),
            peers: peers().into_iter().collect(),
        }
    }
}

const NO_TABLE: Group = Group { generation: 0, ready: 0, key: HashKey([0, 0]) };

impl World for Fake {
    fn config(&self) -> Config {
        Config { node: NodeId(OWN), tunnel_port: Port::new(PORT), reserved: 0 }
    }
    fn interface(&self) -> u32 {
        SAME_INTERFACE
    }
    fn vip_address(&self, address: &Address) -> Option<VipAddress> {
        vips().iter().any(|(key, _)| key.address == *address).then(VipAddress::default)
    }
    fn vip(&self, key: &VipKey) -> Option<VipValue> {
        vips().into_iter().find(|(other, _)| other == key).map(|(_, value)| value)
    }
    fn group(&self, number: u16) -> Option<&Group> {
        Some(if number == 0 { &self.group } else { &NO_TABLE })
    }
    fn row(&self, _index: u32) -> Option<Row> {
        Some(self.row)
    }
    fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id.0)
    }
    fn peer(&self, address: &Address) -> Option<&Peer> {
        self.peers.get(address)
    }
    fn socket(&self, flow: &Flow, _segment: &[u8; 20]) -> Socket {
        self.sockets.get(flow).copied().unwrap_or(Socket::Unknown)
    }
}

/// What happened to a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Result {
    pub(crate) reason: Reason,
    pub(crate) sent_to: Option<u32>,
    pub(crate) frame: Vec<u8>,
}

/// Runs the core on the host; a tail call is followed.
pub(crate) fn on_host(world: &Fake, frame: &[u8]) -> Result {
    let mut memory = [vec![0xff; 128], frame.to_vec()].concat();
    let mut buffer = Buffer::new(&mut memory, 128);
    let mut outcome = ingress_ebpf::steer(&mut buffer, world);
    if let Outcome::Tail { slot, .. } = outcome {
        assert_eq!(slot, tail::DECAP);
        outcome = ingress_ebpf::receive(&mut buffer, world);
    }
    let (reason, sent_to) = match outcome {
        Outcome::Done(reason) => (reason, None),
        Outcome::Send { reason, interface } => (reason, Some(interface)),
        Outcome::Tail { .. } => panic!("a tail call from a tail call"),
    };
    Result { reason, sent_to, frame: buffer.frame().to_vec() }
}

/// The programs in the kernel.
pub(crate) struct Kernel {
    object: Ebpf,
}

/// The calling thread moves into a new network namespace that has the addresses of these tests.
pub(crate) fn enter_namespace() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("root may unshare");
    ip("link set lo up");
    for address in [VIP4, CLIENT4] {
        ip(&format!("address add {address}/32 dev lo"));
    }
    for address in [VIP6, CLIENT6] {
        ip(&format!("address add {address}/128 dev lo nodad"));
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("iproute2");
    assert!(status.success(), "ip {arguments}");
}

impl Kernel {
    /// `None`, and a line that says why, where the programs cannot be loaded. With
    /// `PENSTOCK_REQUIRE=bpf` that is a failure.
    pub(crate) fn load() -> Option<Self> {
        let missing = match ingress_userspace::l4::object::embedded() {
            None => "built without the eBPF object",
            Some(_) if !nix::unistd::geteuid().is_root() => "not root",
            Some(object) => {
                return Some(Self::new(EbpfLoader::new().load(object).expect("the object loads")));
            }
        };
        let required = std::env::var("PENSTOCK_REQUIRE").is_ok_and(|names| names.contains("bpf"));
        assert!(!required, "PENSTOCK_REQUIRE=bpf, but: {missing}");
        println!("SKIPPED: packet tests in the kernel: {missing}");
        None
    }

    fn new(mut object: Ebpf) -> Self {
        for name in ["xdp_steer", "xdp_decap", "xdp_pass"] {
            let program: &mut Xdp =
                object.program_mut(name).expect(name).try_into().expect("an XDP program");
            program.load().unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let mut kernel = Self { object };
        kernel.set_decap(true);
        let mut config: Array<_, Config> = kernel.map("CONFIG");
        let value = Config { node: NodeId(OWN), tunnel_port: Port::new(PORT), reserved: 0 };
        config.set(0, value, 0).expect("CONFIG");
        let mut nodes: Array<_, Node> = kernel.map("NODES");
        for id in 1..8 {
            if let Some(node) = node(id) {
                nodes.set(u32::from(id), node, 0).expect("NODES");
            }
        }
        let mut map: BpfHashMap<_, Address, Peer> = kernel.map("PEERS");
        for (address, peer) in peers() {
            map.insert(address, peer, 0).expect("PEERS");
        }
        let mut addresses: BpfHashMap<_, Address, VipAddress> = kernel.map("VIPADDR");
        for (key, _) in vips() {
            addresses.insert(key.address, VipAddress::default(), 0).expect("VIPADDR");
        }
        let mut map: BpfHashMap<_, VipKey, VipValue> = kernel.map("VIPS");
        for (key, value) in vips() {
            map.insert(key, value, 0).expect("VIPS");
        }
        let mut groups: Array<_, Group> = kernel.map("GROUPS");
        let group = Group { generation: GENERATION, ready: 1, key: KEY };
        groups.set(0, group, 0).expect("GROUPS");
        kernel
    }

    pub(crate) fn map<'k, M>(&'k mut self, name: &str) -> M
    where
        M: TryFrom<&'k mut aya::maps::Map, Error = aya::maps::MapError>,
    {
        M::try_from(self.object.map_mut(name).expect(name)).expect(name)
    }

    pub(crate) fn object(&self) -> &Ebpf {
        &self.object
    }

    pub(crate) fn set_decap(&mut self, present: bool) {
        let program: &Xdp =
            self.object.program("xdp_decap").expect("xdp_decap").try_into().expect("XDP");
        let fd = program.fd().expect("loaded").try_clone().expect("a descriptor");
        let mut programs: ProgramArray<_> = self.map("PROGS");
        if present {
            programs.set(tail::DECAP, &fd, 0).expect("PROGS");
        } else {
            programs.clear_index(&tail::DECAP).expect("PROGS");
        }
    }

    pub(crate) fn set_row(&mut self, flow: &Flow, row: Row) {
        let mut table: Array<_, Row> = self.map("TABLE");
        let index = row_index(0, GENERATION, flow.hash(KEY, false));
        table.set(index, row, 0).expect("TABLE");
    }

    fn counters(&mut self) -> Vec<Counters> {
        let map: PerCpuArray<_, Counters> = self.map("REASONS");
        (0..Reason::COUNT)
            .map(|reason| {
                map.get(&reason, 0).expect("REASONS").iter().fold(
                    Counters::default(),
                    |sum, one| Counters {
                        packets: sum.packets + one.packets,
                        bytes: sum.bytes + one.bytes,
                    },
                )
            })
            .collect()
    }

    /// The time of one run in nanoseconds: the best of several rounds, because other work on the
    /// machine only ever adds. Only for frames that the program leaves as they are.
    pub(crate) fn time(&self, program: &str, frame: &[u8], repeat: u32) -> u128 {
        let program: &Xdp =
            self.object.program(program).expect("a program").try_into().expect("XDP");
        (0..20)
            .map(|_| {
                let options =
                    TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::default() };
                program.test_run(options).expect("the program runs").duration.as_nanos()
            })
            .min()
            .expect("several rounds")
    }

    /// Runs `xdp_steer` once: exactly one counter moves, by one packet and the frame's bytes, and
    /// the verdict is the one that the reason stands for.
    pub(crate) fn run(&mut self, frame: &[u8]) -> Result {
        let before = self.counters();
        let mut out = vec![0; 4096];
        let program: &Xdp =
            self.object.program("xdp_steer").expect("xdp_steer").try_into().expect("XDP");
        let ran = program
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut out),
                ..TestRunOptions::default()
            })
            .expect("the program runs");
        out.truncate(ran.data_size_out as usize);
        let after = self.counters();
        let moved: Vec<usize> = (0..before.len()).filter(|i| before[*i] != after[*i]).collect();
        assert_eq!(moved.len(), 1, "counters moved: {moved:?}");
        let reason = Reason::ALL[moved[0]];
        assert_eq!(after[moved[0]].packets - before[moved[0]].packets, 1, "{reason:?}");
        let bytes = after[moved[0]].bytes - before[moved[0]].bytes;
        assert_eq!(bytes, frame.len() as u64, "{reason:?}");
        use ingress_common::reason::Verdict;
        let sent_to = match (reason.verdict(), ran.return_value) {
            (Verdict::Drop, 1) | (Verdict::Pass, 2) => None,
            (Verdict::Forward, 3) => Some(SAME_INTERFACE),
            (Verdict::Forward, 4) => Some(OTHER_INTERFACE),
            (verdict, returned) => panic!("{reason:?} is {verdict:?}, the program said {returned}"),
        };
        Result { reason, sent_to, frame: out }
    }
}
