//! Every map, one line of purpose each. Names have at most 15 characters, the kernel's limit.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, ProgramArray, RingBuf},
};
use ingress_common::{
    Address, Config, Counters, FlowNode, Fragmented, Group, Heart, Meta, Node, Peer, Row, Scratch,
    VipAddress, VipKey, VipValue, limits,
    observe::{CaptureFilter, Forwards, NodeLabel, Observe, Seen},
};

/// The ABI version of all others; read by whoever opens pinned maps, never by the programs.
#[map]
static META: Array<Meta> = Array::with_max_entries(1, 0);
/// This node's number and the tunnel's port.
#[map]
pub(super) static CONFIG: Array<Config> = Array::with_max_entries(1, 0);
/// A bit for each virtual address: the first question to every packet.
#[map]
pub(super) static VIPFILTER: Array<u64> = Array::with_max_entries(limits::VIP_FILTER, 0);
/// Virtual addresses.
#[map]
pub(super) static VIPADDR: HashMap<Address, VipAddress> =
    HashMap::with_max_entries(limits::VIP_ADDRESSES, 0);
/// Virtual services.
#[map]
pub(super) static VIPS: HashMap<VipKey, VipValue> = HashMap::with_max_entries(limits::VIPS, 0);
/// Replica groups: which generation of their rows is in force.
#[map]
pub(super) static GROUPS: Array<Group> = Array::with_max_entries(limits::GROUPS, 0);
/// The rows of all groups and generations.
#[map]
pub(super) static TABLE: Array<Row> = Array::with_max_entries(limits::TABLE, 0);
/// How to reach each node.
#[map]
pub(super) static NODES: Array<Node> = Array::with_max_entries(limits::NODES, 0);
/// Whose tunnel packets are taken.
#[map]
pub(super) static PEERS: HashMap<Address, Peer> = HashMap::with_max_entries(limits::PEERS, 0);
/// The agent's heartbeat.
#[map]
pub(super) static HEART: Array<Heart> = Array::with_max_entries(1, 0);
/// Where UDP flows go.
#[map]
pub(super) static FLOWS: LruHashMap<u64, FlowNode> = LruHashMap::with_max_entries(limits::FLOWS, 0);
/// What first fragments said.
#[map]
pub(super) static FRAGMENTS: LruHashMap<u64, Fragmented> =
    LruHashMap::with_max_entries(limits::FRAGMENTS, 0);
/// What a CPU remembers for itself.
#[map]
pub(super) static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);
/// Packets and bytes by virtual service and reason: see `counter_index`.
#[map]
pub(super) static REASONS: PerCpuArray<Counters> =
    PerCpuArray::with_max_entries(limits::COUNTERS, 0);
/// What was sent to each node, by its slot.
#[map]
pub(super) static FORWARDS: PerCpuArray<Forwards> =
    PerCpuArray::with_max_entries(limits::NODE_SLOTS, 0);
/// Names of the nodes, by their slots; never read by the programs.
#[map]
static NAMES: Array<NodeLabel> = Array::with_max_entries(limits::NODE_SLOTS, 0);
/// Who watches.
#[map]
pub(super) static OBSERVE: Array<Observe> = Array::with_max_entries(1, 0);
/// What a program tells the program that it goes on with, on this CPU.
#[map]
pub(super) static SEEN: PerCpuArray<Seen> = PerCpuArray::with_max_entries(1, 0);
/// How many drops may still become events, on this CPU, and in which second.
#[map]
pub(super) static BUDGET: PerCpuArray<[u64; 2]> = PerCpuArray::with_max_entries(1, 0);
/// Samples of flows and drops, for the agent.
#[map]
pub(super) static EVENTS: RingBuf = RingBuf::with_byte_size(limits::EVENTS, 0);
/// What a capture found, for the process that loaded it: not shared.
#[map]
pub(super) static CAPTURED: RingBuf = RingBuf::with_byte_size(limits::CAPTURED, 0);
/// What a capture looks for: not shared.
#[map]
pub(super) static FILTER: Array<CaptureFilter> = Array::with_max_entries(1, 0);
/// Frames of the benchmark, which makes it as large as it needs.
#[map]
pub(super) static FRAMES: Array<[u64; limits::BENCH_FRAME / 8]> = Array::with_max_entries(1, 0);
/// Which of them comes next, and how many there are.
#[map]
pub(super) static TURN: Array<[u32; 2]> = Array::with_max_entries(1, 0);
/// Programs for rare paths.
#[map]
pub(super) static PROGS: ProgramArray = ProgramArray::with_max_entries(limits::TAILS, 0);
/// The same for tc programs, which cannot go on with one of another kind.
#[map]
pub(super) static TCPROGS: ProgramArray = ProgramArray::with_max_entries(limits::TAILS, 0);
