//! The XDP programs in the kernel, run on one frame at a time by `BPF_PROG_TEST_RUN`.

use std::{
    io::Write as _,
    net::IpAddr,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use aya::{
    Ebpf, EbpfLoader, Pod, TestRun as _, TestRunOptions,
    maps::{Array, HashMap, Map, PerCpuArray, ProgramArray},
    programs::{Program, SchedClassifier, Xdp},
};
use ingress_common::{
    Address, Config, Counters, FlowNode, Group, Heart, Node, NodeId, Peer, Reason, Row, VipAddress,
    VipKey, VipValue,
    limits::BENCH_FRAME,
    observe::{Forwards, counter_index},
    vip::filter_bit,
};
use ingress_userspace::l4::object;
use nix::sched::{CloneFlags, unshare};

/// The most bytes that a test run gives back.
const FRAME: usize = 4096;

/// The object's programs and maps. The maps are empty, the decapsulating program is in its slot.
#[derive(Debug)]
pub struct Programs {
    ebpf: Ebpf,
    counters: Vec<Counters>,
    metadata: usize,
    /// One more than the highest slot of counters in use.
    slots: u16,
}

/// What a program did with a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The XDP action.
    pub action: u32,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// The only counter that moved.
    pub reason: Reason,
}

impl Programs {
    /// Loads the object.
    ///
    /// # Errors
    /// Whatever the kernel has against it.
    pub fn load(object: &Path) -> Result<Self> {
        let mut ebpf = EbpfLoader::new().load_file(object)?;
        for name in object::PROGRAMS {
            load(&mut ebpf, name).with_context(|| format!("{name} is refused"))?;
        }
        let mut programs = Self { ebpf, counters: Vec::new(), metadata: 0, slots: 1 };
        programs.fill_slots()?;
        programs.counters = programs.read_counters()?;
        // Filled with ones it shows what the program leaves unwritten at the new front of a frame;
        // otherwise the kernel has zeros there. Old kernels allow 32 bytes only.
        let frame = [0; 64];
        for metadata in [128, 32] {
            if programs.test("xdp_pass", &frame, metadata, 1).is_ok() {
                programs.metadata = metadata;
                break;
            }
        }
        ensure!(programs.metadata > 0, "the kernel takes no metadata for test runs");
        Ok(programs)
    }

    /// Loads what the benchmark measures, with room for so many of its frames.
    ///
    /// # Errors
    /// Whatever the kernel has against it.
    pub fn load_to_measure(object: &Path, frames: u32) -> Result<Self> {
        let mut ebpf = EbpfLoader::new().map_max_entries("FRAMES", frames).load_file(object)?;
        let names = object::PROGRAMS.into_iter().filter(|name| name.starts_with("xdp_"));
        for name in names.chain(["xdp_front"]) {
            load(&mut ebpf, name).with_context(|| format!("{name} is refused"))?;
        }
        let mut programs = Self { ebpf, counters: Vec::new(), metadata: 0, slots: 1 };
        for (slot, name) in object::TAILS {
            programs.fill("PROGS", slot, name)?;
        }
        programs.counters = programs.read_counters()?;
        Ok(programs)
    }

    /// Prepares the frames that `xdp_front` brings back one after the other, and the program that
    /// gets them.
    ///
    /// # Errors
    /// The kernel's.
    pub fn prepare(&mut self, frames: &[[u8; BENCH_FRAME]]) -> Result<()> {
        let map = self.ebpf.map_mut("FRAMES").context("no map FRAMES")?;
        let mut map = Array::<_, [u64; BENCH_FRAME / 8]>::try_from(map)?;
        for (index, frame) in frames.iter().enumerate() {
            map.set(index as u32, bytemuck::cast::<_, [u64; BENCH_FRAME / 8]>(*frame), 0)?;
        }
        self.set("TURN", 0, [0, frames.len() as u32])
    }

    /// Remembers a UDP flow, as the programs do.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remember_flow(&mut self, hash: u64, flow: FlowNode) -> Result<()> {
        self.insert("FLOWS", hash, flow)
    }

    /// Puts the programs of the rare paths into their slots.
    ///
    /// # Errors
    /// The kernel's.
    pub fn fill_slots(&mut self) -> Result<()> {
        for (slot, name) in object::TAILS {
            self.fill("PROGS", slot, name)?;
        }
        for (slot, name) in object::TC_TAILS {
            self.fill("TCPROGS", slot, name)?;
        }
        Ok(())
    }

    /// Takes the program out of a slot.
    ///
    /// # Errors
    /// The kernel's.
    pub fn empty_slot(&mut self, slot: u32) -> Result<()> {
        self.slots("PROGS")?.clear_index(&slot)?;
        // The kernel refuses to empty what is empty.
        if object::TC_TAILS.iter().any(|(other, _)| *other == slot) {
            self.slots("TCPROGS")?.clear_index(&slot)?;
        }
        Ok(())
    }

    /// Puts a program into a slot.
    ///
    /// # Errors
    /// The kernel's.
    pub fn fill(&mut self, map: &str, slot: u32, program: &str) -> Result<()> {
        let fd = match self.ebpf.program(program).with_context(|| format!("no {program}"))? {
            Program::Xdp(program) => program.fd()?.try_clone()?,
            Program::SchedClassifier(program) => program.fd()?.try_clone()?,
            _ => bail!("{program} is of no kind that is known"),
        };
        self.slots(map)?.set(slot, &fd, 0)?;
        Ok(())
    }

    fn slots(&mut self, map: &str) -> Result<ProgramArray<&mut aya::maps::MapData>> {
        let map = self.ebpf.map_mut(map).with_context(|| format!("no map {map}"))?;
        Ok(ProgramArray::try_from(map)?)
    }

    /// As [`run`](Self::run), but `tc_steer`. The action is tc's.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_tc(&mut self, frame: &[u8]) -> Result<Run> {
        let program: &SchedClassifier =
            self.ebpf.program("tc_steer").context("no tc_steer")?.try_into()?;
        let mut output = [0; FRAME];
        let result = program
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut output),
                ..TestRunOptions::default()
            })
            .with_context(|| format!("cannot run tc_steer on {frame:02x?}"))?;
        let out = output.get(..result.data_size_out as usize).context("it became too long")?;
        let counted = self.counted()?;
        match counted[..] {
            [(reason, Counters { packets: 1, bytes })] if bytes == frame.len() as u64 => {
                Ok(Run { action: result.return_value, frame: out.to_vec(), reason })
            }
            _ => bail!("one packet of {} bytes counted as {counted:?}", frame.len()),
        }
    }

    /// What was sent to the nodes of this slot.
    ///
    /// # Errors
    /// The kernel's.
    pub fn forwards(&self, slot: u32) -> Result<Forwards> {
        let map = self.ebpf.map("FORWARDS").context("no map FORWARDS")?;
        let map = PerCpuArray::<_, Forwards>::try_from(map)?;
        let mut sum = Forwards::default();
        for cpu in map.get(&slot, 0)?.iter() {
            sum.first += cpu.first;
            sum.next += cpu.next;
            sum.relayed += cpu.relayed;
            sum.bytes += cpu.bytes;
        }
        Ok(sum)
    }

    /// The packets that were counted for a service's slot and a reason.
    ///
    /// # Errors
    /// The kernel's.
    pub fn counted_for(&self, slot: u16, reason: Reason) -> Result<u64> {
        let map = self.ebpf.map("REASONS").context("no map REASONS")?;
        let map = PerCpuArray::<_, Counters>::try_from(map)?;
        let values = map.get(&counter_index(slot, reason as u32), 0)?;
        Ok(values.iter().map(|cpu| cpu.packets).sum())
    }

    /// The object, for maps that few tests look at.
    pub fn object_mut(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Runs `xdp_steer` on a frame that arrived on the loopback interface, with metadata of ones
    /// before it.
    ///
    /// # Errors
    /// If not exactly one reason was counted, with one packet and the frame's bytes; or the
    /// kernel's.
    pub fn run(&mut self, frame: &[u8]) -> Result<Run> {
        self.run_with_metadata(frame, self.metadata)
    }

    /// Whether the kernel takes more than 32 bytes of metadata, which can fill a frame's headroom.
    /// Linux 6.1 does not, 6.8 does.
    pub const fn takes_long_metadata(&self) -> bool {
        self.metadata > 32
    }

    /// As [`run`](Self::run) with so many bytes of metadata, for which the kernel keeps room: with
    /// 212 of 256 bytes of headroom, and 40 for the kernel's own, none is left for longer headers.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_with_metadata(&mut self, frame: &[u8], metadata: usize) -> Result<Run> {
        let (action, out, _) = self.test("xdp_steer", frame, metadata, 1)?;
        let counted = self.counted()?;
        match counted[..] {
            [(reason, Counters { packets: 1, bytes })] if bytes == frame.len() as u64 => {
                Ok(Run { action, frame: out, reason })
            }
            _ => bail!("one packet of {} bytes counted as {counted:?}", frame.len()),
        }
    }

    /// As [`run`](Self::run), with a look at the counters left to [`counted`](Self::counted): for
    /// the many frames of one test. Returns the action and the frame.
    ///
    /// # Errors
    /// The kernel's.
    pub fn run_uncounted(&self, frame: &[u8]) -> Result<(u32, Vec<u8>)> {
        let (action, out, _) = self.test("xdp_steer", frame, self.metadata, 1)?;
        Ok((action, out))
    }

    /// What was counted since the last call, by reason.
    ///
    /// # Errors
    /// The kernel's.
    pub fn counted(&mut self) -> Result<Vec<(Reason, Counters)>> {
        let now = self.read_counters()?;
        let before = std::mem::replace(&mut self.counters, now);
        let moved = self.counters.iter().zip(&before).map(|(now, before)| Counters {
            packets: now.packets - before.packets,
            bytes: now.bytes - before.bytes,
        });
        let reasons = Reason::ALL.iter().copied().zip(moved);
        Ok(reasons.filter(|(_, moved)| *moved != Counters::default()).collect())
    }

    /// Runs a program `repeat` times on the frame as the run before left it, and returns the
    /// kernel's mean in nanoseconds.
    ///
    /// # Errors
    /// The kernel's.
    pub fn time(&self, program: &str, frame: &[u8], repeat: u32) -> Result<(u32, f64)> {
        let (action, _, nanoseconds) = self.test(program, frame, 0, repeat)?;
        Ok((action, nanoseconds))
    }

    fn test(
        &self,
        program: &str,
        frame: &[u8],
        metadata: usize,
        repeat: u32,
    ) -> Result<(u32, Vec<u8>, f64)> {
        let input = [&vec![0xff; metadata], frame].concat();
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index and
        // egress_ifindex. Interface 0 means the loopback of the caller's namespace.
        let context = [metadata as u32, input.len() as u32, 0, 0, 0, 0];
        let mut output = [0; FRAME];
        let result = xdp(&self.ebpf, program)?
            .test_run(TestRunOptions {
                data_in: Some(&input),
                data_out: Some(&mut output),
                ctx_in: (metadata > 0).then_some(bytemuck::bytes_of(&context)),
                repeat,
                ..TestRunOptions::default()
            })
            .with_context(|| format!("cannot run {program} on {frame:02x?}"))?;
        let frame = output.get(metadata..result.data_size_out as usize);
        let frame = frame.context("the frame is shorter than its metadata")?;
        Ok((result.return_value, frame.to_vec(), result.duration.as_secs_f64() * 1e9))
    }

    /// All counters, over all CPUs, in the order of [`Reason::ALL`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn read_counters(&self) -> Result<Vec<Counters>> {
        let map = self.ebpf.map("REASONS").context("no map REASONS")?;
        let map = PerCpuArray::<_, Counters>::try_from(map)?;
        (0..Reason::COUNT)
            .map(|reason| {
                let mut sum = Counters::default();
                for slot in 0..self.slots {
                    for cpu in map.get(&counter_index(slot, reason), 0)?.iter() {
                        sum = sum.plus(*cpu);
                    }
                }
                Ok(sum)
            })
            .collect()
    }

    /// What each map costs the kernel, in bytes: the value of each entry, one per CPU where the map
    /// has those, and for hash maps the key, the kernel's own 48 bytes and a bucket's 16.
    ///
    /// # Errors
    /// The kernel's.
    pub fn memory(&self) -> Result<Vec<(String, u64)>> {
        let cpus = aya::util::nr_cpus().map_err(|(what, error)| anyhow!("{what}: {error}"))?;
        self.ebpf
            .maps()
            .map(|(name, map)| {
                let (data, each, extra) = match map {
                    Map::Array(data) | Map::ProgramArray(data) => (data, 1, 0),
                    // Its entries are bytes, and a value has none.
                    Map::RingBuf(data) => {
                        return Ok((name.to_owned(), data.info()?.max_entries().into()));
                    }
                    Map::PerCpuArray(data) => (data, cpus as u64, 0),
                    Map::HashMap(data) | Map::LruHashMap(data) => {
                        let key = data.info()?.key_size().next_multiple_of(8);
                        (data, 1, u64::from(key) + 48 + 16)
                    }
                    other => bail!("{name} is of a kind that nobody reckoned with: {other:?}"),
                };
                let info = data.info()?;
                let value = u64::from(info.value_size().next_multiple_of(8)) * each;
                Ok((name.to_owned(), u64::from(info.max_entries()) * (value + extra)))
            })
            .collect()
    }

    /// Sets this node's number and the tunnel's port.
    ///
    /// # Errors
    /// The kernel's, as of all that follow.
    pub fn set_config(&mut self, config: Config) -> Result<()> {
        self.set("CONFIG", 0, config)
    }

    /// Sets a replica group.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_group(&mut self, number: u16, group: Group) -> Result<()> {
        self.set("GROUPS", u32::from(number), group)
    }

    /// Sets a row of the array of rows.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_row(&mut self, index: u32, row: Row) -> Result<()> {
        self.set("TABLE", index, row)
    }

    /// Sets how a node is reached.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_node(&mut self, id: NodeId, node: Node) -> Result<()> {
        self.set("NODES", u32::from(id.0), node)
    }

    /// Changes how a node is reached.
    ///
    /// # Errors
    /// The kernel's.
    pub fn change_node(&mut self, id: NodeId, change: impl FnOnce(&mut Node)) -> Result<()> {
        let map = self.ebpf.map("NODES").context("no map NODES")?;
        let mut node = Array::<_, Node>::try_from(map)?.get(&u32::from(id.0), 0)?;
        change(&mut node);
        self.set_node(id, node)
    }

    /// Gives a virtual address counters of its own.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add_counted_vip_address(&mut self, address: IpAddr, slot: u16) -> Result<()> {
        self.slots = self.slots.max(slot + 1);
        self.add_vip_address(address)?;
        self.set_services(Address::from(address), Some(slot))
    }

    /// Makes an address a virtual one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add_vip_address(&mut self, address: IpAddr) -> Result<()> {
        let address = Address::from(address);
        self.set_services(address, None)?;
        let bit = filter_bit(&address);
        let map = self.ebpf.map_mut("VIPFILTER").context("no map VIPFILTER")?;
        let mut words = Array::<_, u64>::try_from(map)?;
        let word = words.get(&(bit >> 6), 0)?;
        Ok(words.set(bit >> 6, word | 1 << (bit & 63), 0)?)
    }

    /// Adds a virtual service.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add_vip(&mut self, key: VipKey, value: VipValue) -> Result<()> {
        self.slots = self.slots.max(value.vip_id + 1);
        self.insert("VIPS", key, value)?;
        self.set_services(key.address, None)
    }

    /// Writes what an address has of its services, and perhaps other counters.
    fn set_services(&mut self, address: Address, slot: Option<u16>) -> Result<()> {
        let map = self.ebpf.map("VIPS").context("no map VIPS")?;
        let all = HashMap::<_, VipKey, VipValue>::try_from(map)?;
        let mut services = all.iter().collect::<Result<Vec<_>, _>>()?;
        services.retain(|(other, _)| other.address == address);
        services.sort_unstable_by_key(|(key, _)| (key.protocol, key.port.number()));
        let mut value = VipAddress::new(services.iter().map(|(key, value)| (key, value)));
        let map = self.ebpf.map("VIPADDR").context("no map VIPADDR")?;
        let before = HashMap::<_, Address, VipAddress>::try_from(map)?.get(&address, 0);
        value.slot = slot.or_else(|| Some(before.ok()?.slot)).unwrap_or_default();
        self.insert("VIPADDR", address, value)
    }

    /// Sets when the agent last said that it runs, in nanoseconds of the monotonic clock.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_heart(&mut self, beat: u64) -> Result<()> {
        self.set("HEART", 0, Heart { beat })
    }

    /// Adds a peer.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add_peer(&mut self, address: IpAddr, peer: Peer) -> Result<()> {
        self.insert("PEERS", Address::from(address), peer)
    }

    fn set<V: Pod>(&mut self, map: &str, index: u32, value: V) -> Result<()> {
        let map = self.ebpf.map_mut(map).with_context(|| format!("no map {map}"))?;
        Ok(Array::try_from(map)?.set(index, value, 0)?)
    }

    fn insert<K: Pod, V: Pod>(&mut self, map: &str, key: K, value: V) -> Result<()> {
        let map = self.ebpf.map_mut(map).with_context(|| format!("no map {map}"))?;
        Ok(HashMap::try_from(map)?.insert(key, value, 0)?)
    }
}

/// What the verifier thought of a program that it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Instructions that it looked at, on all ways; it gives up at a million. 0 before Linux 5.16,
    /// which does not tell.
    pub instructions: u32,
    /// The size of the program after the verifier has changed it.
    pub bytes: u32,
}

/// Loads each program by itself; the kernel's answers by the programs' names.
///
/// # Errors
/// If the object cannot be loaded at all: the maps are not to be had.
pub fn verify(object: &Path) -> Result<Vec<(&'static str, Result<Verified>)>> {
    let mut ebpf = EbpfLoader::new().load_file(object)?;
    let mut load = |name| {
        load(&mut ebpf, name)?;
        let info = match ebpf.program(name).context("it was there just now")? {
            Program::Xdp(program) => program.info()?,
            Program::SchedClassifier(program) => program.info()?,
            _ => bail!("{name} is of no kind that is known"),
        };
        Ok(Verified {
            instructions: info.verified_instruction_count().unwrap_or_default(),
            bytes: info.size_translated().unwrap_or_default(),
        })
    };
    Ok(object::PROGRAMS.map(|name| (name, load(name))).into())
}

fn xdp<'e>(ebpf: &'e Ebpf, name: &str) -> Result<&'e Xdp> {
    Ok(ebpf.program(name).with_context(|| format!("no program {name}"))?.try_into()?)
}

fn load(ebpf: &mut Ebpf, name: &str) -> Result<()> {
    match ebpf.program_mut(name).with_context(|| format!("no program {name}"))? {
        Program::Xdp(program) => Ok(object::load(program)?),
        Program::SchedClassifier(program) => Ok(object::load(program)?),
        _ => bail!("{name} is of no kind that is known"),
    }
}

/// Runs `work` on a thread in a network namespace of its own, with these addresses on the loopback
/// interface. Test runs made there see its sockets. It goes with the thread and its last socket.
///
/// # Errors
/// If the namespace cannot be made.
pub fn in_own_namespace<T: Send>(
    addresses: &[IpAddr],
    work: impl FnOnce() -> T + Send,
) -> Result<T> {
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
            let mut lines = "link set lo up\n".to_owned();
            for address in addresses {
                // Usable at once: without duplicate address detection.
                let flags = if address.is_ipv6() { " nodad" } else { "" };
                lines += &format!("address add {address} dev lo{flags}\n");
            }
            ip(&lines)?;
            Ok(work())
        });
        inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs `ip` in the calling thread's namespace.
fn ip(lines: &str) -> Result<()> {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run ip")?;
    child.stdin.take().context("stdin is piped")?.write_all(lines.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "ip: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
