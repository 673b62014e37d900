//! Loads the programs, pins what has to survive the agent, and attaches to interfaces.
//!
//! Below the BPF directory, `v<ABI>/` holds the maps under their names and one link per interface
//! (`link-<interface>-<mode>`). An agent that finds them takes the maps over and replaces the
//! program of each link in one step: no packet ever meets an interface without a program.

use std::{
    fs,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, Map, MapData, ProgramArray},
    programs::{
        ProgramError, Xdp, XdpMode,
        links::{FdLink, PinnedLink},
        xdp::XdpLink,
    },
};
use ingress_common::{Meta, limits::ABI_VERSION};
use nix::{errno::Errno, net::if_::if_nametoindex};

use super::{
    L4Error,
    apply::{cannot, open},
    detach::{Detached, is_link},
    directory::{directory, directory_error, entries, prepare, version, versions},
    object,
};

/// All maps, by the names of their pins.
pub const MAPS: [&str; 15] = [
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
    "PROGS",
];

/// How a program is attached to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver, before the kernel has made anything of the packet.
    Native,
    /// In the network stack: works on every interface, at a multiple of the cost.
    Generic,
}

impl Mode {
    /// As pins and logs call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

/// The programs in the kernel, with the maps that they share.
pub(super) struct Loaded {
    /// The object. Dropping it unloads nothing that is pinned.
    pub(super) object: Ebpf,
    directory: PathBuf,
}

impl Loaded {
    /// Loads the programs over the pinned maps, or new ones.
    ///
    /// # Errors
    /// Whatever keeps the programs out of the kernel. What was pinned before stays as it was.
    pub(super) fn new(bpf_dir: &Path) -> Result<Self, L4Error> {
        let bytes = object::embedded().ok_or(L4Error::NoObject)?;
        let directory = directory(bpf_dir);
        prepare(bpf_dir, &directory)?;
        check_versions(bpf_dir, &directory)?;

        let mut loader = EbpfLoader::new();
        for map in MAPS {
            loader.map_pin_path(map, directory.join(map));
        }
        let mut object = loader.load(bytes).map_err(|error| L4Error::Load(Box::new(error)))?;
        for name in object::PROGRAMS.into_iter().filter(|name| name.starts_with("xdp_")) {
            let program = program(&mut object, name)?;
            object::load(program).map_err(|source| refused(name, source))?;
        }
        let mut programs: ProgramArray<MapData> = open(&mut object, "PROGS")?;
        for (slot, name) in object::TAILS {
            let target = program(&mut object, name)?;
            let target = target.fd().map_err(|source| refused(name, source))?;
            programs.set(slot, target, 0).map_err(cannot("PROGS", "written"))?;
        }
        let mut meta: Array<MapData, Meta> = open(&mut object, "META")?;
        meta.set(0, Meta::CURRENT, 0).map_err(cannot("META", "written"))?;
        Ok(Self { object, directory })
    }

    /// Attaches `xdp_steer` to an interface, or replaces the program of the link that is pinned.
    ///
    /// # Errors
    /// [`L4Error::UnknownInterface`], [`L4Error::InterfaceBusy`], [`L4Error::Attach`] or
    /// [`L4Error::Directory`].
    pub(super) fn attach(&mut self, interface: &str) -> Result<Mode, L4Error> {
        let index = index_of(interface)?;
        let steer = program(&mut self.object, "xdp_steer")?;
        for mode in [Mode::Native, Mode::Generic] {
            let pin = pin(&self.directory, interface, mode);
            if pin.exists() && replace(steer, &pin, interface)? {
                return Ok(mode);
            }
        }
        let mode = match steer.attach_to_if_index(index, XdpMode::Driver) {
            Ok(link) => {
                keep(steer, link, &self.directory, interface, Mode::Native)?;
                Mode::Native
            }
            Err(error) => {
                match errno(&error) {
                    Some(Errno::EBUSY | Errno::EEXIST) => {
                        return Err(L4Error::InterfaceBusy { interface: interface.to_owned() });
                    }
                    Some(Errno::EPERM | Errno::EACCES) => {
                        return Err(L4Error::MissingCapability { capability: "CAP_NET_ADMIN" });
                    }
                    _ => {}
                }
                tracing::warn!(
                    interface,
                    cause = %chain(&error),
                    "{interface} does not take XDP programs in its driver: steering in generic \
                     mode, which costs several times as much per packet; turn merging off, or \
                     merged segments do not fit into the tunnel (ethtool -K {interface} gro off lro \
                     off)"
                );
                let link = steer
                    .attach_to_if_index(index, XdpMode::Skb)
                    .map_err(|source| failed(interface, source))?;
                keep(steer, link, &self.directory, interface, Mode::Generic)?;
                Mode::Generic
            }
        };
        Ok(mode)
    }

    /// Attaches to an interface that now has this name, in place of one that had it before.
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    pub(super) fn attach_anew(&mut self, interface: &str) -> Result<Mode, L4Error> {
        // The link stays with the other interface, which may live on under another name.
        for mode in [Mode::Native, Mode::Generic] {
            let pin = pin(&self.directory, interface, mode);
            if pin.exists() {
                fs::remove_file(&pin).map_err(directory_error(&pin, "cleaned"))?;
            }
        }
        self.attach(interface)
    }

    /// Detaches from every interface that is not named.
    pub(super) fn detach_others(&self, interfaces: &[String]) -> Detached {
        let wanted: Vec<PathBuf> = interfaces
            .iter()
            .flat_map(|name| {
                [Mode::Native, Mode::Generic].map(|mode| pin(&self.directory, name, mode))
            })
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
        detached
    }
}

fn program<'o>(object: &'o mut Ebpf, name: &'static str) -> Result<&'o mut Xdp, L4Error> {
    let program = object.program_mut(name).ok_or(L4Error::Incomplete { kind: "program", name })?;
    program.try_into().map_err(|source| refused(name, source))
}

fn refused(program: &'static str, source: ProgramError) -> L4Error {
    L4Error::Refused { program, source: Box::new(source) }
}

fn failed(interface: &str, source: impl std::error::Error + Send + Sync + 'static) -> L4Error {
    L4Error::Attach { interface: interface.to_owned(), source: Box::new(source) }
}

/// The number of an interface.
///
/// # Errors
/// [`L4Error::UnknownInterface`].
pub(super) fn index_of(interface: &str) -> Result<u32, L4Error> {
    if_nametoindex(interface)
        .map_err(|_missing| L4Error::UnknownInterface { interface: interface.to_owned() })
}

/// `.` is reserved in names on a BPF file system, and `:` cannot be in an interface's name.
fn pin(directory: &Path, interface: &str, mode: Mode) -> PathBuf {
    directory.join(format!("link-{}-{}", interface.replace('.', ":"), mode.name()))
}

/// Puts the program into the pinned link; `false`, and the pin is gone, if its interface is.
fn replace(steer: &mut Xdp, pin: &Path, interface: &str) -> Result<bool, L4Error> {
    let link = PinnedLink::from_pin(pin)
        .and_then(|pinned| XdpLink::try_from(FdLink::from(pinned)))
        .map_err(|source| failed(interface, source))?;
    match steer.attach_to_link(link) {
        // Our descriptor is closed: only the pin keeps the link, so that removing it detaches.
        Ok(link) => {
            steer.take_link(link).map(drop).map_err(|source| failed(interface, source))?;
            Ok(true)
        }
        // The interface was deleted, and perhaps made anew, since.
        Err(error) if errno(&error) == Some(Errno::ENOLINK) => {
            fs::remove_file(pin).map_err(directory_error(pin, "cleaned"))?;
            Ok(false)
        }
        Err(source) => Err(failed(interface, source)),
    }
}

fn keep(
    steer: &mut Xdp,
    link: aya::programs::xdp::XdpLinkId,
    directory: &Path,
    interface: &str,
    mode: Mode,
) -> Result<(), L4Error> {
    let link = steer.take_link(link).map_err(|source| failed(interface, source))?;
    // A link of the older kind, through netlink, would be lost with the agent.
    let link = FdLink::try_from(link).map_err(|source| failed(interface, source))?;
    link.pin(pin(directory, interface, mode)).map(drop).map_err(|source| failed(interface, source))
}

fn errno(error: &ProgramError) -> Option<Errno> {
    let ProgramError::SyscallError(error) = error else { return None };
    error.io_error.raw_os_error().map(Errno::from_raw)
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

/// Refuses maps of another ABI version, in the directory of ours or attached from another one.
fn check_versions(bpf_dir: &Path, directory: &Path) -> Result<(), L4Error> {
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
    for other in versions(bpf_dir).into_iter().filter(|path| path != directory) {
        if entries(&other).iter().any(|path| is_link(path)) {
            let found = version(&other).unwrap_or_default();
            return Err(L4Error::AbiMismatch { path: other, found, needed: ABI_VERSION });
        }
    }
    Ok(())
}
