//! Settings of the network stack that steering needs, made on the interfaces and taken back when
//! asked: what they were is remembered as directories beside the pins (`set-<interface in hex>-
//! <setting>-<value>`), because it has to outlive the agent.

use std::{fs, path::Path};

use super::{
    L4Error,
    directory::{directory_error, entries},
};

/// A setting below `net.ipv4.conf.INTERFACE`, of which the larger value of `all` and of the interface
/// holds (Documentation/networking/ip-sysctl.rst).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    /// Packets out of the tunnel come from where no answer would leave.
    ReversePath,
    /// Only who has an address on the interface answers ARP for it: not all nodes for a virtual one.
    ArpIgnore,
    /// Nor asks with a virtual address as its own.
    ArpAnnounce,
}

impl Setting {
    const ALL: [Self; 3] = [Self::ReversePath, Self::ArpIgnore, Self::ArpAnnounce];

    const fn name(self) -> &'static str {
        match self {
            Self::ReversePath => "rp_filter",
            Self::ArpIgnore => "arp_ignore",
            Self::ArpAnnounce => "arp_announce",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|setting| setting.name() == name)
    }

    /// The value that it is set to, if it is.
    const fn made(self) -> u32 {
        match self {
            // Strict, which is 1, has the smaller number: loose holds whatever `all` says.
            Self::ReversePath | Self::ArpAnnounce => 2,
            Self::ArpIgnore => 1,
        }
    }

    /// The value that the interface needs if what holds is `holds`; `None` if that will do.
    const fn wanted(self, holds: u32) -> Option<u32> {
        match (self, holds) {
            (Self::ReversePath, 1) | (Self::ArpIgnore, 0) | (Self::ArpAnnounce, 0 | 1) => {
                Some(self.made())
            }
            _ => None,
        }
    }
}

/// Where the kernel has its settings of interfaces.
const CONF: &str = "/proc/sys/net/ipv4/conf";

/// Makes what an interface needs. What cannot be made is warned of: the operator may make it.
pub(super) fn make(directory: &Path, interface: &str) {
    make_in(Path::new(CONF), directory, interface);
}

fn make_in(conf: &Path, directory: &Path, interface: &str) {
    for setting in Setting::ALL {
        let name = setting.name();
        let Some(own) = read(conf, interface, setting) else { continue };
        let holds = own.max(read(conf, "all", setting).unwrap_or(0));
        let Some(wanted) = setting.wanted(holds) else { continue };
        // First what it was: should this process end here, that is what it still is.
        let marker = directory.join(marker(interface, setting, own));
        let known = is_known(directory, interface, setting);
        let remembered = known || fs::create_dir(&marker).is_ok();
        let path = conf.join(interface).join(name);
        match remembered.then(|| fs::write(&path, wanted.to_string())) {
            Some(Ok(())) => tracing::info!(interface, "{name} was {own} and is {wanted} now"),
            Some(Err(error)) => {
                if !known {
                    let _nothing_to_remember = fs::remove_dir(&marker);
                }
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    interface,
                    error,
                    "set net.ipv4.conf.{interface}.{name} to {wanted}"
                );
            }
            None => tracing::warn!(
                interface,
                "what {name} was cannot be remembered; set net.ipv4.conf.{interface}.{name} to \
                 {wanted}"
            ),
        }
    }
}

/// Takes back what was made, unless somebody has changed it since.
pub(super) fn restore(directory: &Path) {
    restore_in(Path::new(CONF), directory);
}

fn restore_in(conf: &Path, directory: &Path) {
    for path in entries(directory) {
        let Some((interface, setting, before)) = parsed(&path) else { continue };
        let name = setting.name();
        // Another value is somebody else's, and stays.
        if before != setting.made() && read(conf, &interface, setting) == Some(setting.made()) {
            match fs::write(conf.join(&interface).join(name), before.to_string()) {
                Ok(()) => tracing::info!(interface, "{name} is {before} again"),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(interface, error, "{name} is not {before} again");
                    continue;
                }
            }
        }
        let _goes_with_the_pins = fs::remove_dir(&path);
    }
}

/// Remembers in `to` what is remembered in `from`: whoever takes the place of another sets back what
/// that one set.
///
/// # Errors
/// [`L4Error::Directory`].
pub(super) fn adopt(from: &Path, to: &Path) -> Result<(), L4Error> {
    for path in entries(from) {
        let (Some((interface, setting, _)), Some(name)) = (parsed(&path), path.file_name()) else {
            continue;
        };
        if !is_known(to, &interface, setting) {
            let marker = to.join(name);
            fs::create_dir(&marker).map_err(directory_error(&marker, "created"))?;
        }
    }
    Ok(())
}

/// What a setting was is remembered.
fn is_known(directory: &Path, interface: &str, setting: Setting) -> bool {
    entries(directory)
        .iter()
        .any(|path| parsed(path).is_some_and(|(of, which, _)| of == interface && which == setting))
}

fn read(conf: &Path, scope: &str, setting: Setting) -> Option<u32> {
    fs::read_to_string(conf.join(scope).join(setting.name())).ok()?.trim().parse().ok()
}

fn marker(interface: &str, setting: Setting, value: u32) -> String {
    // A BPF file system takes no dots, which names of interfaces may have.
    let hex: String = interface.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("set-{hex}-{}-{value}", setting.name())
}

fn parsed(path: &Path) -> Option<(String, Setting, u32)> {
    let name = path.file_name()?.to_str()?;
    let mut parts = name.strip_prefix("set-")?.split('-');
    let (hex, setting, value) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes: Option<Vec<u8>> = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    let interface = String::from_utf8(bytes?).ok()?;
    let whole = parts.next().is_none() && !interface.contains('/') && !interface.starts_with('.');
    whole.then_some(())?;
    Some((interface, Setting::named(setting)?, value.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(values: &[(&str, [u32; 3])]) -> tempfile::TempDir {
        let conf = tempfile::tempdir().expect("a directory");
        for (scope, values) in values {
            let directory = conf.path().join(scope);
            fs::create_dir(&directory).expect("made");
            for (setting, value) in Setting::ALL.into_iter().zip(values) {
                fs::write(directory.join(setting.name()), value.to_string()).expect("written");
            }
        }
        conf
    }

    fn values(conf: &Path, scope: &str) -> [u32; 3] {
        Setting::ALL.map(|setting| read(conf, scope, setting).expect("a number"))
    }

    #[test]
    fn settings_are_made_and_taken_back() {
        let conf = conf(&[("all", [1, 0, 0]), ("eth0.7", [0, 0, 1])]);
        let pins = tempfile::tempdir().expect("a directory");
        make_in(conf.path(), pins.path(), "eth0.7");
        assert_eq!(values(conf.path(), "eth0.7"), [2, 1, 2]);
        assert_eq!(values(conf.path(), "all"), [1, 0, 0], "all is left alone");
        // A second agent finds nothing to do, and does not take what is for what was.
        make_in(conf.path(), pins.path(), "eth0.7");
        restore_in(conf.path(), pins.path());
        assert_eq!(values(conf.path(), "eth0.7"), [0, 0, 1]);
        assert!(entries(pins.path()).is_empty());
    }

    #[test]
    fn a_newer_version_sets_back_what_an_older_one_set() {
        let conf = conf(&[("all", [0, 0, 0]), ("eth0", [1, 0, 0])]);
        let [older, newer] = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
        make_in(conf.path(), older.path(), "eth0");
        make_in(conf.path(), newer.path(), "eth0");
        assert!(entries(newer.path()).is_empty(), "there was nothing left to do");
        adopt(older.path(), newer.path()).expect("adopted");
        adopt(older.path(), newer.path()).expect("a second time changes nothing");
        assert_eq!(entries(newer.path()).len(), 3);
        restore_in(conf.path(), newer.path());
        assert_eq!(values(conf.path(), "eth0"), [1, 0, 0]);
    }

    #[test]
    fn what_somebody_set_to_another_value_since_stays() {
        let conf = conf(&[("all", [0, 0, 0]), ("eth0", [1, 0, 0])]);
        let pins = tempfile::tempdir().expect("a directory");
        make_in(conf.path(), pins.path(), "eth0");
        // 1 is what arp_ignore would have been set to, and 2 what the others were.
        for (setting, value) in Setting::ALL.into_iter().zip([0, 2, 1]) {
            fs::write(conf.path().join("eth0").join(setting.name()), value.to_string())
                .expect("written");
        }
        restore_in(conf.path(), pins.path());
        assert_eq!(values(conf.path(), "eth0"), [0, 2, 1]);
        assert!(entries(pins.path()).is_empty());
    }

    #[test]
    fn what_will_do_or_somebody_changed_is_left_alone() {
        let conf = conf(&[("all", [0, 1, 2]), ("eth0", [2, 0, 0])]);
        let pins = tempfile::tempdir().expect("a directory");
        make_in(conf.path(), pins.path(), "eth0");
        assert_eq!(values(conf.path(), "eth0"), [2, 0, 0]);
        assert!(entries(pins.path()).is_empty());
        make_in(conf.path(), pins.path(), "missing");
        // Another program's directories are none of ours.
        fs::create_dir(pins.path().join("lo-cb007150")).expect("made");
        fs::create_dir(pins.path().join("set-zz-rp_filter-1")).expect("made");
        restore_in(conf.path(), pins.path());
        assert_eq!(entries(pins.path()).len(), 2);
    }
}
