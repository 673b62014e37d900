//! What this machine allows: capabilities, kernel version, settings of the network stack.

use std::{fs, net::IpAddr};

use super::{
    L4Error,
    translation::{Translation, translations},
};

/// The oldest kernel on which the programs were tried, Debian 12's: `cargo xtask kernels` shows it.
const OLDEST: (u32, u32) = (6, 1);

const CAP_NET_ADMIN: u32 = 12;
const CAP_NET_RAW: u32 = 13;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Fails if loading and attaching, or announcing, cannot work, before anything is touched.
pub(super) fn check(announce: bool) -> Result<(), L4Error> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    check_kernel(release.trim())?;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    check_capabilities(effective(&status), announce)
}

fn check_kernel(release: &str) -> Result<(), L4Error> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < OLDEST => {
            Err(L4Error::OldKernel { needed: "6.1", running: release.to_owned() })
        }
        // A release that cannot be read is no reason to refuse: loading will tell.
        _ => Ok(()),
    }
}

/// The effective capabilities in `/proc/<pid>/status`; all of them if the line is missing, so that
/// the kernel has the last word.
fn effective(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(u64::MAX)
}

fn check_capabilities(effective: u64, announce: bool) -> Result<(), L4Error> {
    let has = |number: u32| effective & (1 << number) != 0;
    // Before Linux 5.8, and still, CAP_SYS_ADMIN includes the two finer ones.
    let missing = if !has(CAP_NET_ADMIN) {
        Some("CAP_NET_ADMIN")
    } else if !has(CAP_BPF) && !has(CAP_SYS_ADMIN) {
        Some("CAP_BPF")
    } else if !has(CAP_PERFMON) && !has(CAP_SYS_ADMIN) {
        Some("CAP_PERFMON")
    } else if announce && !has(CAP_NET_RAW) {
        Some("CAP_NET_RAW")
    } else {
        None
    };
    missing.map_or(Ok(()), |capability| Err(L4Error::MissingCapability { capability }))
}

/// Says what on this node would keep the programs from finding connections: rules that rewrite
/// destinations, and a network namespace that is not the host's.
pub(super) fn warn_about_surroundings(interfaces: &[String], vips: &[IpAddr]) {
    for Translation { table, chain, address } in translations(vips) {
        let what = address.map_or_else(|| "all addresses".to_owned(), |vip| vip.to_string());
        tracing::warn!(
            table,
            chain,
            "a rule of nftables in table {table}, chain {chain}, rewrites where packets to {what} go: \
             connections that it changes are not found by the program, and end at other nodes; \
             exempt the virtual addresses from it, or serve with --l4=off"
        );
    }
    if let (Ok(own), Ok(first)) =
        (fs::read_link("/proc/self/ns/net"), fs::read_link("/proc/1/ns/net"))
        && own != first
    {
        tracing::warn!(
            "this is not the network namespace of process 1: packets that come in at the host's \
             interfaces do not pass here; run the agent in the host's network (hostNetwork: true)"
        );
        return;
    }
    for interface in interfaces {
        if is_container_end(
            &setting_of_link(interface, "iflink"),
            &setting_of_link(interface, "ifindex"),
        ) {
            tracing::warn!(
                interface,
                "{interface} is the end of a pair whose other end is elsewhere, as in a pod: if this \
                 is not the host's network, run the agent there (hostNetwork: true)"
            );
        }
    }
}

/// The other end of a veth pair is named by its number, which is another one; other interfaces name
/// themselves.
fn is_container_end(link: &Option<String>, index: &Option<String>) -> bool {
    matches!((link, index), (Some(link), Some(index)) if link != index && link != "0")
}

fn setting_of_link(interface: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/sys/class/net/{interface}/{name}")).ok()?;
    Some(text.trim().to_owned())
}

/// Says which settings of the network stack would keep steered packets from being answered. The
/// host's settings are the operator's: they are reported and never changed.
pub(super) fn warn_about_settings(interfaces: &[String]) {
    for interface in interfaces {
        let strict = ["all", interface].into_iter().filter_map(|scope| setting(scope, "rp_filter"));
        // The kernel takes the larger of the two (Documentation/networking/ip-sysctl.rst).
        if strict.max() == Some(1) {
            tracing::warn!(
                interface,
                "net.ipv4.conf.{interface}.rp_filter is strict: connections whose answers leave by \
                 another interface are dropped; set it to 2 or 0"
            );
        }
        if answers_for_loopback(setting("all", "arp_ignore"), setting(interface, "arp_ignore")) {
            tracing::info!(
                interface,
                "net.ipv4.conf.{interface}.arp_ignore is 0: this node answers ARP requests for \
                 virtual addresses; set arp_ignore=1 and arp_announce=2 where nodes share a link \
                 with clients"
            );
        }
    }
}

/// ARP requests that come in at an interface are answered for addresses of another one. What counts
/// is the larger setting of `all` and of the interface that the request comes in at
/// (Documentation/networking/ip-sysctl.rst); that of the interface with the address does not.
fn answers_for_loopback(all: Option<u32>, interface: Option<u32>) -> bool {
    all.max(interface) == Some(0)
}

fn setting(scope: &str, name: &str) -> Option<u32> {
    fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{scope}/{name}")).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(effective: u64) -> Option<&'static str> {
        match check_capabilities(effective, true) {
            Err(L4Error::MissingCapability { capability }) => Some(capability),
            _ => None,
        }
    }

    #[test]
    fn a_missing_capability_is_named() {
        assert_eq!(missing(0), Some("CAP_NET_ADMIN"));
        assert_eq!(missing(1 << CAP_NET_ADMIN), Some("CAP_BPF"));
        assert_eq!(missing(1 << CAP_NET_ADMIN | 1 << CAP_BPF), Some("CAP_PERFMON"));
        let three = 1 << CAP_NET_ADMIN | 1 << CAP_BPF | 1 << CAP_PERFMON;
        assert_eq!(missing(three), Some("CAP_NET_RAW"));
        assert!(check_capabilities(three, false).is_ok());
        assert_eq!(missing(three | 1 << CAP_NET_RAW), None);
        assert_eq!(missing(1 << CAP_NET_ADMIN | 1 << CAP_SYS_ADMIN | 1 << CAP_NET_RAW), None);
    }

    #[test]
    fn an_end_of_a_pair_names_another_interface() {
        let end = |link: &str, index: &str| {
            is_container_end(&Some(link.to_owned()), &Some(index.to_owned()))
        };
        assert!(end("12", "3") && !end("3", "3") && !end("0", "3"));
        assert!(!is_container_end(&None, &None));
    }

    #[test]
    fn an_old_kernel_is_refused_and_an_unreadable_release_is_not() {
        assert!(matches!(check_kernel("5.15.0-91-generic"), Err(L4Error::OldKernel { .. })));
        assert!(matches!(check_kernel("6.0.0-6-amd64"), Err(L4Error::OldKernel { .. })));
        for release in
            ["6.1.0-13-amd64", "6.12.107+deb13-amd64", "6.18.44-fc-v595", "7.0.1", "unknown", ""]
        {
            assert!(check_kernel(release).is_ok(), "{release}");
        }
    }

    #[test]
    fn the_interface_of_the_request_decides_who_answers() {
        assert!(answers_for_loopback(Some(0), Some(0)));
        assert!(!answers_for_loopback(Some(0), Some(1)) && !answers_for_loopback(Some(2), Some(0)));
        assert!(!answers_for_loopback(None, None));
    }

    #[test]
    fn the_effective_set_is_read() {
        assert_eq!(effective("Name:\tx\nCapEff:\t00000000000000ff\nSeccomp:\t0\n"), 0xff);
        assert_eq!(effective("Name:\tx\n"), u64::MAX);
    }
}
