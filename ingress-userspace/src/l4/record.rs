//! What the programs tell watchers of a packet, made readable.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, SystemTime},
};

use ingress_common::{
    Reason, TunnelHeader,
    observe::{SEEN_OPENING, Seen},
    reason::Verdict,
};
use nix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use super::{L4Error, Reader, counters::display};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// One entry of a ring buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'r> {
    pub(super) seen: Seen,
    /// The packet's first bytes, as it left the program.
    pub(super) data: &'r [u8],
}

impl<'r> Record<'r> {
    /// The entry in these bytes; `None` if they are none.
    pub(super) fn read(bytes: &'r [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(size_of::<Seen>())?;
        let seen: Seen = bytemuck::pod_read_unaligned(head);
        let data = rest.get(..usize::try_from(seen.snap).ok()?)?;
        Some(Self { seen, data })
    }

    /// Why the packet left; `None` if it is a number that this build does not know.
    pub(super) fn reason(&self) -> Option<Reason> {
        Reason::ALL.get(usize::try_from(self.seen.reason).ok()?).copied()
    }
}

/// The flow of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) protocol: u8,
}

impl Ends {
    /// The flow of the client's packet in a frame, out of the tunnel if it is in it. Ports are zero
    /// where there are none.
    pub(super) fn of_frame(frame: &[u8], tunnel_port: u16) -> Option<Self> {
        let mut at = 12;
        let mut protocol = number(frame, at)?;
        for _ in 0..2 {
            if protocol == 0x8100 || protocol == 0x88a8 {
                at += 4;
                protocol = number(frame, at)?;
            }
        }
        let packet = frame.get(at + 2..)?;
        let (outer, payload) = Self::of_packet(packet, protocol == 0x86dd)?;
        let inner = payload.get(8..8 + TunnelHeader::LEN);
        match inner {
            Some(header) if outer.protocol == UDP && outer.destination.port() == tunnel_port => {
                let v6 = match header[3] {
                    TunnelHeader::INNER_V4 => false,
                    TunnelHeader::INNER_V6 => true,
                    _ => return Some(outer),
                };
                let client = payload.get(8 + TunnelHeader::LEN..)?;
                Self::of_packet(client, v6).map(|(ends, _)| ends)
            }
            _ => Some(outer),
        }
    }

    fn of_packet(packet: &[u8], v6: bool) -> Option<(Self, &[u8])> {
        let (source, destination, protocol, payload): (IpAddr, IpAddr, u8, &[u8]) = if v6 {
            let header: &[u8; 40] = packet.first_chunk()?;
            let address = |at: usize| {
                let bytes: Option<[u8; 16]> = header.get(at..at + 16)?.try_into().ok();
                Some(Ipv6Addr::from(bytes?).into())
            };
            (address(8)?, address(24)?, header[6], packet.get(40..)?)
        } else {
            let header: &[u8; 20] = packet.first_chunk()?;
            let address = |at: usize| {
                let bytes: Option<[u8; 4]> = header.get(at..at + 4)?.try_into().ok();
                Some(Ipv4Addr::from(bytes?).into())
            };
            let length = usize::from(header[0] & 15) * 4;
            (address(12)?, address(16)?, header[9], packet.get(length..)?)
        };
        let ports = if matches!(protocol, TCP | UDP) {
            number(payload, 0).zip(number(payload, 2))
        } else {
            None
        };
        let (from, to) = ports.unwrap_or_default();
        let ends = Self {
            source: SocketAddr::new(source, from),
            destination: SocketAddr::new(destination, to),
            protocol,
        };
        Some((ends, payload))
    }

    pub(super) fn protocol_name(&self) -> String {
        match self.protocol {
            TCP => "tcp".to_owned(),
            UDP => "udp".to_owned(),
            1 => "icmp".to_owned(),
            58 => "icmpv6".to_owned(),
            other => other.to_string(),
        }
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// What the numbers in records stand for.
pub(super) struct Names {
    services: BTreeMap<u16, String>,
    nodes: HashMap<u32, String>,
    tunnel_port: u16,
}

impl Names {
    /// As the maps have them now.
    ///
    /// # Errors
    /// [`L4Error::Map`].
    pub(super) fn read(reader: &Reader) -> Result<Self, L4Error> {
        Ok(Self {
            services: reader.service_names()?,
            nodes: reader
                .labels()?
                .into_iter()
                .map(|(slot, label)| (slot, display(&label)))
                .collect(),
            tunnel_port: reader.config()?.tunnel_port.number(),
        })
    }

    /// The slots of services whose name is `wanted`, or begins with it and a port or protocol.
    pub(super) fn slots(&self, wanted: &str) -> Vec<u16> {
        let bare = wanted.trim_start_matches('[').trim_end_matches(']');
        let is_it = |name: &str| {
            name == wanted
                || name == bare
                || [wanted, &format!("[{bare}]")].iter().any(|prefix| {
                    name.strip_prefix(prefix)
                        .is_some_and(|rest| rest.starts_with(':') || rest.starts_with('/'))
                })
        };
        let found = self.services.iter().filter(|(slot, name)| **slot != 0 && is_it(name));
        found.map(|(slot, _)| *slot).collect()
    }

    /// The record in words.
    pub(super) fn event(&self, record: &Record<'_>, time: SystemTime) -> Option<Event> {
        let reason = record.reason()?;
        let seen = &record.seen;
        Some(Event {
            time,
            reason,
            opening: seen.flags & SEEN_OPENING != 0,
            service: self.services.get(&seen.slot).filter(|_| seen.slot != 0).cloned(),
            node: (seen.node_slot != 0)
                .then(|| self.nodes.get(&u32::from(seen.node_slot)).cloned())
                .flatten(),
            ends: Ends::of_frame(record.data, self.tunnel_port),
            interface: seen.interface,
            bytes: seen.bytes,
        })
    }
}

/// What became of one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    time: SystemTime,
    reason: Reason,
    opening: bool,
    service: Option<String>,
    node: Option<String>,
    ends: Option<Ends>,
    interface: u32,
    bytes: u32,
}

impl Event {
    fn kind(&self) -> &'static str {
        match (self.reason.verdict(), self.opening) {
            (Verdict::Drop, _) => "drop",
            (_, true) => "flow",
            _ => "packet",
        }
    }

    fn time(&self) -> String {
        let time = jiff::Timestamp::try_from(self.time).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        // The kernel's tick is some milliseconds long.
        format!("{time:.3}")
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        json!({
            "time": self.time(),
            "kind": self.kind(),
            "verdict": self.reason.verdict().name(),
            "reason": self.reason.name(),
            "service": self.service,
            "node": self.node,
            "source": self.ends.map(|ends| ends.source.to_string()),
            "destination": self.ends.map(|ends| ends.destination.to_string()),
            "protocol": self.ends.map(|ends| ends.protocol_name()),
            "interface": self.interface,
            "bytes": self.bytes,
        })
    }

    /// What a capture says beside the packet itself.
    pub(super) fn to_comment(&self) -> String {
        let (verdict, reason) = (self.reason.verdict().name(), self.reason.name());
        let mut text = format!("{verdict}: {reason}");
        for (what, name) in [("service", &self.service), ("node", &self.node)] {
            if let Some(name) = name {
                text.push_str(&format!(", {what} {name}"));
            }
        }
        text
    }

    /// In one line.
    pub(super) fn to_line(&self) -> String {
        let ends = self.ends.map_or_else(
            || "not IP".to_owned(),
            |ends| format!("{} {} > {}", ends.protocol_name(), ends.source, ends.destination),
        );
        let node = self.node.as_ref().map(|node| format!(" to {node}")).unwrap_or_default();
        let (verdict, reason) = (self.reason.verdict().name(), self.reason.name());
        format!("{} {verdict:<7} {reason:<18} {ends}, {} bytes{node}", self.time(), self.bytes)
    }
}

/// Nanoseconds of `CLOCK_MONOTONIC`, which the programs tell the time by.
pub(super) fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// The time of day at a time of the programs.
pub(super) fn time_of(time: u64) -> SystemTime {
    let ago = Duration::from_nanos(monotonic().saturating_sub(time));
    SystemTime::now().checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An Ethernet frame with an IPv4 packet of this protocol and payload.
    fn frame(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 8, protocol, 0, 0]);
        frame.extend([192, 0, 2, 1, 203, 0, 113, 1]);
        frame.extend(payload);
        frame
    }

    fn ends(frame: &[u8]) -> Option<(String, String, u8)> {
        let ends = Ends::of_frame(frame, 6082)?;
        Some((ends.source.to_string(), ends.destination.to_string(), ends.protocol))
    }

    #[test]
    fn a_packet_in_the_tunnel_shows_the_clients_flow() {
        let tcp = [0x9c, 0x40, 0, 80, 0, 0];
        let expected = ("192.0.2.1:40000".to_owned(), "203.0.113.1:80".to_owned(), 6);
        let plain = frame(6, &tcp);
        assert_eq!(ends(&plain), Some(expected.clone()));
        let mut udp = vec![0xc0, 0, 0x17, 0xc2, 0, 0, 0, 0];
        udp.extend([0x10, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0]);
        udp.extend(&plain[14..]);
        assert_eq!(ends(&frame(17, &udp)), Some(expected));
        assert_eq!(ends(&frame(1, &[8, 0])).map(|ends| ends.0), Some("192.0.2.1:0".to_owned()));
    }

    #[test]
    fn no_bytes_make_it_fail() {
        let mut whole = frame(17, &[0xc0, 0, 0x17, 0xc2, 0, 0, 0, 0]);
        whole.extend([0x10, 1, 0, 41, 0, 0, 0, 0, 0, 0, 0, 0]);
        whole.extend([0x60; 50]);
        for end in 0..whole.len() {
            let _ = Ends::of_frame(&whole[..end], 6082);
            assert!(Record::read(&whole[..end]).is_none_or(|record| record.data.len() <= end));
        }
    }
}
