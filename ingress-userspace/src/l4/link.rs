//! One program on one interface: the link that keeps it there, and its pin.
//!
//! Linux before 6.6 has no links for tc. There a filter of a fixed priority and handle takes their
//! place: it stays with the interface until it is removed, and is replaced in one step too. An empty
//! directory stands for its pin.

use std::{
    fs,
    mem::ManuallyDrop,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf,
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode,
        links::{FdLink, Link as _, PinnedLink},
        tc::{
            NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle, qdisc_add_clsact,
        },
        xdp::XdpLink,
    },
};
use nix::errno::Errno;

use super::{L4Error, Mode, attach::program, directory::directory_error};

/// Of our filters, where there are no links for tc. The first that is asked goes before others'.
const FILTER_PRIORITY: u16 = 1;
/// See [`FILTER_PRIORITY`]: the letters `pn`.
const FILTER_HANDLE: TcHandle = TcHandle::new(0, 0x706e);

/// How a program is attached to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// XDP in the driver, before the kernel has made anything of the packet.
    Native,
    /// XDP in the network stack: works on every interface, at a multiple of the cost.
    Generic,
    /// tc, at the entrance of the network stack, for packets that are merged segments too.
    Tc,
}

impl Kind {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Native, Self::Generic, Self::Tc];

    /// As pins and logs call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Tc => "tc",
        }
    }

    /// Whether a program of this kind may stay where it is.
    pub(super) fn is_wanted(self, mode: Mode) -> bool {
        match mode {
            Mode::Off => false,
            Mode::Auto | Mode::Xdp => self != Self::Tc,
            Mode::Tc => self == Self::Tc,
        }
    }
}

/// `.` is reserved in names on a BPF file system, and `:` cannot be in an interface's name.
pub(super) fn pin(directory: &Path, interface: &str, kind: Kind) -> PathBuf {
    directory.join(format!("link-{}-{}", interface.replace('.', ":"), kind.name()))
}

/// The interface that a pin is named for.
fn interface_of(pin: &Path) -> Option<String> {
    let name = pin.file_name()?.to_str()?.strip_prefix("link-")?;
    let (interface, _kind) = name.rsplit_once('-')?;
    Some(interface.replace(':', "."))
}

pub(super) fn refused(program: &'static str, source: ProgramError) -> L4Error {
    L4Error::Refused { program, source: Box::new(source) }
}

fn failed(interface: &str, source: impl std::error::Error + Send + Sync + 'static) -> L4Error {
    L4Error::Attach { interface: interface.to_owned(), source: Box::new(source) }
}

/// Puts the program into the pinned link, and the link under the pin `keep` too; `false`, and the
/// pin is gone, if its interface is.
///
/// # Errors
/// [`L4Error::Attach`] or [`L4Error::Directory`].
pub(super) fn replace(
    object: &mut Ebpf,
    kind: Kind,
    pin: &Path,
    keep: &Path,
    interface: &str,
) -> Result<bool, L4Error> {
    if pin.is_dir() {
        return replace_filter(object, pin, keep, interface);
    }
    let outcome = PinnedLink::from_pin(pin).map_err(|source| failed(interface, source));
    let link = FdLink::from(outcome?);
    // Before it gets the program: whoever finds the pin knows that the program may be there.
    let link = match pin == keep {
        true => link,
        false => link.pin(keep).map_err(|source| failed(interface, source))?.into(),
    };
    let outcome = if kind == Kind::Tc {
        let link =
            SchedClassifierLink::try_from(link).map_err(|source| failed(interface, source))?;
        let steer: &mut SchedClassifier = program(object, "tc_steer")?;
        steer.attach_to_link(link).and_then(|link| steer.take_link(link)).map(drop)
    } else {
        let link = XdpLink::try_from(link).map_err(|source| failed(interface, source))?;
        let steer: &mut Xdp = program(object, "xdp_steer")?;
        steer.attach_to_link(link).and_then(|link| steer.take_link(link)).map(drop)
    };
    // Our descriptor is closed: only the pins keep the link, so that removing them detaches.
    let Err(error) = outcome else { return Ok(true) };
    if pin != keep {
        fs::remove_file(keep).map_err(directory_error(keep, "cleaned"))?;
    }
    // The interface was deleted, and perhaps made anew, since.
    if errno(&error) == Some(Errno::ENOLINK) {
        fs::remove_file(pin).map_err(directory_error(pin, "cleaned"))?;
        return Ok(false);
    }
    Err(failed(interface, error))
}

/// Attaches `xdp_steer`, and pins the link.
///
/// # Errors
/// [`L4Error::InterfaceBusy`], [`L4Error::MissingCapability`], or [`L4Error::Attach`] if the
/// interface does not take it.
pub(super) fn xdp(
    object: &mut Ebpf,
    kind: Kind,
    index: u32,
    interface: &str,
    pin: &Path,
) -> Result<(), L4Error> {
    let steer: &mut Xdp = program(object, "xdp_steer")?;
    let mode = if kind == Kind::Native { XdpMode::Driver } else { XdpMode::Skb };
    let link = steer.attach_to_if_index(index, mode).map_err(|error| match errno(&error) {
        Some(Errno::EBUSY | Errno::EEXIST) => {
            L4Error::InterfaceBusy { interface: interface.to_owned() }
        }
        Some(Errno::EPERM | Errno::EACCES) => {
            L4Error::MissingCapability { capability: "CAP_NET_ADMIN" }
        }
        _ => failed(interface, error),
    })?;
    let link = steer.take_link(link).map_err(|source| failed(interface, source))?;
    // A link of the older kind, through netlink, would be lost with the agent.
    let link = FdLink::try_from(link).map_err(|source| failed(interface, source))?;
    link.pin(pin).map(drop).map_err(|source| failed(interface, source))
}

/// Attaches `tc_steer`, in front of other tc programs, and pins the link.
///
/// # Errors
/// [`L4Error::Attach`] or [`L4Error::Directory`].
pub(super) fn tc(object: &mut Ebpf, interface: &str, directory: &Path) -> Result<(), L4Error> {
    let pin = pin(directory, interface, Kind::Tc);
    let steer: &mut SchedClassifier = program(object, "tc_steer")?;
    let first = TcAttachOptions::TcxOrder(LinkOrder::first());
    match steer.attach_with_options(interface, TcAttachType::Ingress, first) {
        Ok(link) => {
            let link = steer.take_link(link).map_err(|source| failed(interface, source))?;
            let link = FdLink::try_from(link).map_err(|source| failed(interface, source))?;
            link.pin(pin).map(drop).map_err(|source| failed(interface, source))
        }
        // Linux before 6.6.
        Err(error) if errno(&error) == Some(Errno::EINVAL) => filter(object, interface, &pin),
        Err(error) => Err(failed(interface, error)),
    }
}

/// As [`tc`] with a filter.
///
/// # Errors
/// As [`tc`].
pub(super) fn filter(object: &mut Ebpf, interface: &str, pin: &Path) -> Result<(), L4Error> {
    // It may be there, with others' filters.
    match qdisc_add_clsact(interface) {
        Err(TcError::NetlinkError(error)) if error.raw_os_error() != Some(Errno::EEXIST as i32) => {
            return Err(failed(interface, error));
        }
        _ => {}
    }
    let steer: &mut SchedClassifier = program(object, "tc_steer")?;
    let options = NlOptions { priority: FILTER_PRIORITY, handle: FILTER_HANDLE, classid: None };
    let link = steer
        .attach_with_options(interface, TcAttachType::Ingress, TcAttachOptions::Netlink(options))
        .map_err(|source| failed(interface, source))?;
    stays(steer.take_link(link).map_err(|source| failed(interface, source))?);
    fs::create_dir(pin).map_err(directory_error(pin, "created"))
}

fn replace_filter(
    object: &mut Ebpf,
    pin: &Path,
    keep: &Path,
    interface: &str,
) -> Result<bool, L4Error> {
    let steer: &mut SchedClassifier = program(object, "tc_steer")?;
    let outcome = known_filter(interface)
        .map_err(|source| failed(interface, source))
        .and_then(|link| steer.attach_to_link(link).map_err(|source| failed(interface, source)));
    match outcome {
        Ok(link) => {
            stays(steer.take_link(link).map_err(|source| failed(interface, source))?);
            if !keep.exists() {
                fs::create_dir(keep).map_err(directory_error(keep, "created"))?;
            }
            Ok(true)
        }
        // It went with its interface, or somebody removed it.
        Err(error) => {
            tracing::info!(interface, error = &error as &dyn std::error::Error, "no filter there");
            fs::remove_dir(pin).map_err(directory_error(pin, "cleaned"))?;
            Ok(false)
        }
    }
}

fn known_filter(interface: &str) -> std::io::Result<SchedClassifierLink> {
    let ingress = TcAttachType::Ingress;
    SchedClassifierLink::attached(interface, ingress, FILTER_PRIORITY, FILTER_HANDLE, None)
}

/// A filter is removed when its link is dropped, and has to outlive the agent.
fn stays(link: SchedClassifierLink) {
    let _never_dropped = ManuallyDrop::new(link);
}

/// Removes the filter that this pin stands for, and the pin.
pub(super) fn remove_filter(pin: &Path) -> std::io::Result<()> {
    if let Some(link) = interface_of(pin).and_then(|interface| known_filter(&interface).ok())
        && let Err(error) = link.detach()
    {
        tracing::info!(pin = %pin.display(), %error, "the filter is gone already");
    }
    fs::remove_dir(pin)
}

fn errno(error: &ProgramError) -> Option<Errno> {
    let ProgramError::SyscallError(error) = error else { return None };
    error.io_error.raw_os_error().map(Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_names_its_interface() {
        for interface in ["eth0", "bond0.100", "a-b"] {
            let pin = pin(Path::new("/x"), interface, Kind::Tc);
            assert_eq!(interface_of(&pin).as_deref(), Some(interface));
        }
    }

    #[test]
    fn tc_is_only_for_who_asks_for_it() {
        let kinds = |mode| Kind::ALL.map(|kind| kind.is_wanted(mode));
        assert_eq!(kinds(Mode::Auto), [true, true, false]);
        assert_eq!(kinds(Mode::Xdp), [true, true, false]);
        assert_eq!(kinds(Mode::Tc), [false, false, true]);
        assert_eq!(kinds(Mode::Off), [false; 3]);
    }
}
