//! Interfaces that are made of one another: a bond of its ports, a bridge, a VLAN of its parent. One
//! packet passes both, and would be steered twice.

use std::{collections::BTreeSet, fs, path::Path};

use super::L4Error;

/// Where the kernel says what is above an interface, as links `upper_NAME`
/// (Documentation/ABI/testing/sysfs-class-net).
const NET: &str = "/sys/class/net";

/// Refuses interfaces of which one is above another.
///
/// # Errors
/// [`L4Error::Stacked`].
pub(super) fn check(interfaces: &[String]) -> Result<(), L4Error> {
    check_in(Path::new(NET), interfaces)
}

fn check_in(net: &Path, interfaces: &[String]) -> Result<(), L4Error> {
    for lower in interfaces {
        let above = above(net, lower);
        if let Some(upper) = interfaces.iter().find(|name| above.contains(*name)) {
            let (lower, upper) = (lower.clone(), upper.clone());
            return Err(L4Error::Stacked { lower, upper });
        }
    }
    Ok(())
}

/// All that are above it, directly or not.
fn above(net: &Path, interface: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![interface.to_owned()];
    while let Some(name) = open.pop() {
        for entry in fs::read_dir(net.join(name)).into_iter().flatten().flatten() {
            let entry = entry.file_name();
            let Some(upper) = entry.to_str().and_then(|name| name.strip_prefix("upper_")) else {
                continue;
            };
            if found.insert(upper.to_owned()) {
                open.push(upper.to_owned());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_that_are_made_of_one_another_are_refused() {
        let net = tempfile::tempdir().expect("a directory");
        for path in ["eth0/upper_bond0", "eth1/lower_x", "bond0/upper_bond0.7", "bond0.7"] {
            fs::create_dir_all(net.path().join(path)).expect("made");
        }
        let check = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            match check_in(net.path(), &names) {
                Ok(()) => None,
                Err(L4Error::Stacked { lower, upper }) => Some((lower, upper)),
                Err(other) => panic!("{other}"),
            }
        };
        let pair = |lower: &str, upper: &str| Some((lower.to_owned(), upper.to_owned()));
        assert_eq!(check(&["eth0", "eth1", "away"]), None);
        assert_eq!(check(&["bond0", "eth0"]), pair("eth0", "bond0"));
        assert_eq!(check(&["eth0", "bond0.7"]), pair("eth0", "bond0.7"));
    }
}
