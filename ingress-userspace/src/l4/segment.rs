//! How long a client's segments may be so that they still fit when they go through the tunnel.

use futures_util::TryStreamExt as _;
use ingress_common::TunnelHeader;
use rtnetlink::packet_route::link::LinkAttribute;

use super::netlink::connect;

/// The headers of a tunnelled segment but TCP's options, which a sender takes off its segments by
/// itself (RFC 6691): IPv6, UDP and the tunnel's outside, IPv6 and TCP inside. IPv4 has less, but
/// one limit for all is simpler than one per pair of families.
const HEADERS: u32 = 40 + 8 + TunnelHeader::LEN as u32 + 40 + 20;
/// What Linux takes for `TCP_MAXSEG` (net/ipv4/tcp.c).
const ALLOWED: std::ops::RangeInclusive<u32> = 88..=32_767;

/// The maximum segment size to announce to clients whose packets come in at these interfaces.
/// `None` if no MTU can be read, or it is too small to leave anything.
pub fn largest_segment(interfaces: &[String]) -> Option<u32> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let smallest = runtime.block_on(async {
        let netlink = connect().ok()?;
        let mut smallest: Option<u32> = None;
        for interface in interfaces {
            let question = netlink.link().get().match_name(interface);
            let mut answers = Box::pin(question.execute());
            // An interface that is missing is reported when it is attached to.
            let Ok(Some(link)) = answers.try_next().await else { continue };
            let mtu = link.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::Mtu(mtu) => Some(*mtu),
                _ => None,
            });
            smallest = mtu.into_iter().chain(smallest).min();
        }
        smallest
    })?;
    fitting(smallest)
}

fn fitting(mtu: u32) -> Option<u32> {
    let size = mtu.checked_sub(HEADERS)?.min(*ALLOWED.end());
    ALLOWED.contains(&size).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnelled_segment_fills_the_path() {
        assert_eq!(fitting(1500), Some(1380));
        assert_eq!(fitting(9000), Some(8880));
        assert_eq!(fitting(65_536), Some(32_767));
        assert_eq!(fitting(150), None);
    }
}
