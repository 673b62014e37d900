//! Loads the programs, pins what has to survive the agent, and attaches to interfaces.
//!
//! Below the BPF directory, `v<ABI>/` holds the maps under their names and one link per interface
//! (`link-<interface>-<mode>`). An agent that finds them takes the maps over and replaces the
//! program of each link in one step: no packet ever meets an interface without a program. Those of
//! an older ABI version it finds in their own directory, and does the same with their links; their
//! maps go when nothing uses them any more.

use std::{
    fs,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, Map, MapData, ProgramArray},
    programs::{ProgramFd, SchedClassifier, Xdp},
};
use ingress_common::{
    FlowNode, Group, Meta,
    limits::{ABI_VERSION, GROUPS, tail},
};
use nix::net::if_::if_nametoindex;

use super::{
    L4Error, Mode,
    apply::{cannot, open},
    counters::pinned,
    detach::{Detached, is_link},
    directory::{directory, directory_error, entries, prepare, version, versions},
    link::{self, Kind},
    loopback, object, settings,
};

/// All maps that are pinned, by the names of their pins.
pub const MAPS: [&str; 22] = [
    "META",
    "CONFIG",
    "VIPFILTER",
    "VIPADDR",
    "VIPS",
    "GROUPS",
    "TABLE",
    "NODES",
    "PEERS",
    "HEART",
    "FLOWS",
    "FRAGMENTS",
    "SCRATCH",
    "REASONS",
    "FORWARDS",
    "NAMES",
    "OBSERVE",
    "SEEN",
    "BUDGET",
    "EVENTS",
    "PROGS",
    "TCPROGS",
];

/// Maps of a capture, which belong to whoever captures: here they are as small as can be.
const PRIVATE: &str = "CAPTURED";

/// The programs in the kernel, with the maps that they share.
pub(super) struct Loaded {
    /// The object. Dropping it unloads nothing that is pinned.
    pub(super) object: Ebpf,
    directory: PathBuf,
    mode: Mode,
    /// Directories of older ABI versions, whose links are still to be taken over.
    older: Vec<PathBuf>,
    tc: bool,
}

/// A loader of the object over the pinned maps of a directory.
pub(super) fn loader<'l>(directory: &Path) -> EbpfLoader<'l> {
    let mut loader = EbpfLoader::new();
    for map in MAPS {
        loader.map_pin_path(map, directory.join(map));
    }
    loader.map_max_entries(PRIVATE, 4096);
    loader
}

/// What a run on a made packet must not disturb, and has of its own.
const DISTURBED: [&str; 9] =
    ["SCRATCH", "REASONS", "FORWARDS", "OBSERVE", "SEEN", "BUDGET", "EVENTS", "PROGS", "TCPROGS"];

/// Loads the XDP programs that steer, and puts those behind tail calls into their slots.
///
/// # Errors
/// What keeps them out of the kernel.
pub(super) fn load_xdp(object: &mut Ebpf) -> Result<(), L4Error> {
    let mut slots: ProgramArray<MapData> = open(object, "PROGS")?;
    for (slot, name) in object::TAILS.into_iter().chain([(tail::EVENTS, "xdp_events")]) {
        let target: &mut Xdp = program(object, name)?;
        object::load(target).map_err(|source| link::refused(name, source))?;
        let fd: &ProgramFd = target.fd().map_err(|source| link::refused(name, source))?;
        slots.set(slot, fd, 0).map_err(cannot("PROGS", "written"))?;
    }
    let steer: &mut Xdp = program(object, "xdp_steer")?;
    object::load(steer).map_err(|source| link::refused("xdp_steer", source))
}

/// The same for tc.
fn load_tc(object: &mut Ebpf) -> Result<(), L4Error> {
    let mut slots: ProgramArray<MapData> = open(object, "TCPROGS")?;
    for (slot, name) in object::TC_TAILS.into_iter().chain([(tail::EVENTS, "tc_events")]) {
        let target: &mut SchedClassifier = program(object, name)?;
        object::load(target).map_err(|source| link::refused(name, source))?;
        let fd: &ProgramFd = target.fd().map_err(|source| link::refused(name, source))?;
        slots.set(slot, fd, 0).map_err(cannot("TCPROGS", "written"))?;
    }
    let steer: &mut SchedClassifier = program(object, "tc_steer")?;
    object::load(steer).map_err(|source| link::refused("tc_steer", source))
}

/// As [`loader`], with counters and watchers of its own.
pub(super) fn explain_loader<'l>(directory: &Path) -> EbpfLoader<'l> {
    let mut loader = EbpfLoader::new();
    for map in MAPS {
        if !DISTURBED.contains(&map) {
            loader.map_pin_path(map, directory.join(map));
        }
    }
    loader.map_max_entries(PRIVATE, 4096);
    loader.map_max_entries("EVENTS", 4096);
    loader
}

impl Loaded {
    /// Loads the programs over the pinned maps, or new ones.
    ///
    /// # Errors
    /// Whatever keeps the programs out of the kernel. What was pinned before stays as it was.
    pub(super) fn new(bpf_dir: &Path, mode: Mode) -> Result<Self, L4Error> {
        let bytes = object::embedded().ok_or(L4Error::NoObject)?;
        let directory = directory(bpf_dir);
        prepare(bpf_dir, &directory)?;
        let older = check_versions(bpf_dir, &directory)?;

        let object = loader(&directory).load(bytes);
        let mut object = object.map_err(|error| L4Error::Load(Box::new(error)))?;
        load_xdp(&mut object)?;
        for older in &older {
            carry(older, &directory)?;
        }
        let mut meta: Array<MapData, Meta> = open(&mut object, "META")?;
        meta.set(0, Meta::CURRENT, 0).map_err(cannot("META", "written"))?;
        Ok(Self { object, directory, mode, older, tc: false })
    }

    /// Loads the programs for tc, once.
    fn load_tc(&mut self) -> Result<(), L4Error> {
        if self.tc {
            return Ok(());
        }
        load_tc(&mut self.object)?;
        self.tc = true;
        Ok(())
    }

    /// Attaches the entry program to an interface, or replaces the program of the link that is
    /// pinned, of this ABI version or an older one. One that is of a kind that is not wanted any
    /// more goes when another is in its place: until then, packets meet both. What the first one
    /// passes because its owner is here, or because nobody takes it, the second one judges alike;
    /// what the first one took out of the tunnel may go into it once more, for no longer than this.
    ///
    /// # Errors
    /// [`L4Error::UnknownInterface`], [`L4Error::InterfaceBusy`], [`L4Error::Attach`] or
    /// [`L4Error::Directory`].
    pub(super) fn attach(&mut self, interface: &str) -> Result<Kind, L4Error> {
        let index = index_of(interface)?;
        let mut others = Vec::new();
        for directory in std::iter::once(self.directory.clone()).chain(self.older.clone()) {
            for kind in Kind::ALL {
                let pin = link::pin(&directory, interface, kind);
                if !pin.exists() {
                    continue;
                }
                if !kind.is_wanted(self.mode) {
                    others.push(pin);
                    continue;
                }
                if kind == Kind::Tc {
                    self.load_tc()?;
                }
                let keep = link::pin(&self.directory, interface, kind);
                if link::replace(&mut self.object, kind, &pin, &keep, interface)? {
                    return Ok(kind);
                }
            }
        }
        let kind = self.attach_first(interface, index)?;
        for pin in others {
            tracing::info!(pin = %pin.display(), "another kind of program is in its place");
            if let Err(error) = Detached::default().remove(&pin) {
                tracing::warn!(pin = %pin.display(), %error, "the link cannot be removed");
            }
        }
        Ok(kind)
    }

    /// Attaches to an interface that has no program of ours that could be replaced.
    fn attach_first(&mut self, interface: &str, index: u32) -> Result<Kind, L4Error> {
        if self.mode != Mode::Tc {
            let pin = link::pin(&self.directory, interface, Kind::Native);
            match link::xdp(&mut self.object, Kind::Native, index, interface, &pin) {
                Ok(()) => return Ok(Kind::Native),
                // The driver has no XDP, or not with this MTU or these settings.
                Err(L4Error::Attach { source, .. }) => {
                    let cause = chain(&*source);
                    tracing::warn!(
                        interface,
                        cause,
                        "{interface} does not take XDP programs in its driver: steering in \
                         generic mode, which costs several times as much per packet; turn merging \
                         off, or merged segments do not fit into the tunnel (ethtool -K \
                         {interface} gro off lro off)"
                    );
                    let pin = link::pin(&self.directory, interface, Kind::Generic);
                    link::xdp(&mut self.object, Kind::Generic, index, interface, &pin)?;
                    return Ok(Kind::Generic);
                }
                Err(other) => return Err(other),
            }
        }
        self.load_tc()?;
        link::tc(&mut self.object, interface, &self.directory)?;
        Ok(Kind::Tc)
    }

    /// Attaches to an interface that now has this name, in place of one that had it before.
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    pub(super) fn attach_anew(&mut self, interface: &str) -> Result<Kind, L4Error> {
        // The link stays with the other interface, which may live on under another name.
        for kind in Kind::ALL {
            let pin = link::pin(&self.directory, interface, kind);
            if pin.is_dir() {
                // A filter went with its interface.
                fs::remove_dir(&pin).map_err(directory_error(&pin, "cleaned"))?;
            } else if pin.exists() {
                fs::remove_file(&pin).map_err(directory_error(&pin, "cleaned"))?;
            }
        }
        self.attach(interface)
    }

    /// Detaches from every interface that is not named, and takes what older ABI versions pinned
    /// away: all that was theirs is in this version's directory now.
    pub(super) fn detach_others(&mut self, interfaces: &[String]) -> Detached {
        let wanted: Vec<PathBuf> = interfaces
            .iter()
            .flat_map(|name| Kind::ALL.map(|kind| link::pin(&self.directory, name, kind)))
            .collect();
        let mut detached = Detached::default();
        for path in entries(&self.directory) {
            if is_link(&path) && !wanted.contains(&path) {
                tracing::info!(pin = %path.display(), "detaching from an interface no longer named");
                if let Err(error) = detached.remove(&path) {
                    tracing::warn!(pin = %path.display(), %error, "the link cannot be removed");
                }
            }
        }
        for older in std::mem::take(&mut self.older) {
            tracing::info!(directory = %older.display(), "replaced maps of an older version");
            let moved = loopback::adopt(&older, &self.directory)
                .and_then(|()| settings::adopt(&older, &self.directory));
            if let Err(error) = moved.and_then(|()| detached.remove_directory(&older)) {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(directory = %older.display(), error, "it cannot be removed");
            }
        }
        detached
    }
}

/// A program of the object, as its kind.
pub(super) fn program<'o, P>(object: &'o mut Ebpf, name: &'static str) -> Result<&'o mut P, L4Error>
where
    &'o mut P: TryFrom<&'o mut aya::programs::Program, Error = aya::programs::ProgramError>,
{
    let program = object.program_mut(name).ok_or(L4Error::Incomplete { kind: "program", name })?;
    program.try_into().map_err(|source| link::refused(name, source))
}

/// The number of an interface.
///
/// # Errors
/// [`L4Error::UnknownInterface`].
pub(super) fn index_of(interface: &str) -> Result<u32, L4Error> {
    if_nametoindex(interface)
        .map_err(|_missing| L4Error::UnknownInterface { interface: interface.to_owned() })
}

/// An error with its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Refuses maps of another ABI version in the directory of ours, and links of a newer one, which
/// this agent cannot know. The directories of older versions that have links.
fn check_versions(bpf_dir: &Path, directory: &Path) -> Result<Vec<PathBuf>, L4Error> {
    let meta = directory.join("META");
    if meta.exists() {
        let found = MapData::from_pin(&meta)
            .and_then(|data| Array::<_, Meta>::try_from(Map::Array(data)))
            .and_then(|map| map.get(&0, 0))
            .map_err(cannot("META", "read"))?
            .abi_version;
        // 0: whoever made the maps died before it wrote the version.
        if found != 0 && found != ABI_VERSION {
            return Err(L4Error::AbiMismatch {
                path: directory.to_owned(),
                found,
                needed: ABI_VERSION,
            });
        }
    }
    let mut older = Vec::new();
    for other in versions(bpf_dir).into_iter().filter(|path| path != directory) {
        let found = version(&other).unwrap_or_default();
        if found < ABI_VERSION {
            older.push(other);
        } else if entries(&other).iter().any(|path| is_link(path)) {
            return Err(L4Error::AbiMismatch { path: other, found, needed: ABI_VERSION });
        }
    }
    Ok(older)
}

/// Copies what a newer version can use of an older one's maps: the numbers of the tables, so that
/// those published go on counting, and where UDP flows go. All else follows from members and
/// settings and is written before a packet meets the new programs; counters begin anew. Whoever
/// changes what one of these maps means, without changing its size, leaves it out.
///
/// Nothing is copied over what packets use already: an agent of this version may have begun to take
/// over, and have failed.
fn carry(older: &Path, directory: &Path) -> Result<(), L4Error> {
    if entries(directory).iter().any(|path| is_link(path)) {
        return Ok(());
    }
    let groups = |directory: &Path| {
        pinned(directory, "GROUPS", |data| Array::<_, Group>::try_from(Map::Array(data)))
    };
    // Of another size, or gone: then there is nothing to go on with.
    if let Ok(from) = groups(older) {
        let mut to = groups(directory)?;
        for number in 0..GROUPS {
            let mut group = from.get(&number, 0).map_err(cannot("GROUPS", "read"))?;
            // Its rows are not there yet.
            group.ready = 0;
            if to.get(&number, 0).map_err(cannot("GROUPS", "read"))?.ready != 0 {
                continue;
            }
            to.set(number, group, 0).map_err(cannot("GROUPS", "written"))?;
        }
    }
    let flows = |directory: &Path| {
        pinned(directory, "FLOWS", |data| LruFlows::try_from(Map::LruHashMap(data)))
    };
    if let Ok(from) = flows(older) {
        let mut to = flows(directory)?;
        // One that is forgotten meanwhile is none to take along.
        for (hash, node) in from.iter().flatten() {
            to.insert(hash, node, 0).map_err(cannot("FLOWS", "written"))?;
        }
    }
    Ok(())
}

type LruFlows = aya::maps::HashMap<MapData, u64, FlowNode>;
