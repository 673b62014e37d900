//! Rules of the packet filter that rewrite destinations. A connection whose packets are rewritten
//! after the program has seen them has a socket with other ends than its packets: the program would
//! take it for somebody else's.
//!
//! The kernel is asked for all rules of nftables, those that iptables makes of its own among them.
//! Rules of the older iptables, and addresses in nftables' sets, are not seen.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
    sockopt::ReceiveTimeout,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

/// `NFNL_SUBSYS_NFTABLES`, `NFT_MSG_GETRULE` (include/uapi/linux/netfilter).
const GET_RULE: u16 = 10 << 8 | 7;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x301;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// Lengths of `nlmsghdr` and of `nfgenmsg` behind it.
const HEADER: usize = 16;
const FAMILY: usize = 4;
/// `NFTA_RULE_TABLE`, `NFTA_RULE_CHAIN` and `NFTA_RULE_EXPRESSIONS`.
const TABLE: u16 = 1;
const CHAIN: u16 = 2;
const EXPRESSIONS: u16 = 4;

/// A rule that rewrites destinations, or may.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Translation {
    /// The table that it is in.
    pub table: String,
    /// The chain that it is in.
    pub chain: String,
    /// The virtual address that it names; `None` if it is for all.
    pub address: Option<IpAddr>,
}

/// The rules that would rewrite packets to these addresses. None where the kernel has no nftables,
/// or does not say.
pub fn translations(addresses: &[IpAddr]) -> BTreeSet<Translation> {
    rules(addresses).unwrap_or_default()
}

fn rules(addresses: &[IpAddr]) -> nix::Result<BTreeSet<Translation>> {
    let socket: OwnedFd = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkNetFilter,
    )?;
    // It answers at once, or there is something else at the other end.
    setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(2))?;
    let mut question = Vec::new();
    question.extend(((HEADER + FAMILY) as u32).to_ne_bytes());
    question.extend(GET_RULE.to_ne_bytes());
    question.extend(DUMP.to_ne_bytes());
    question.extend(1u32.to_ne_bytes());
    question.extend([0; 4 + FAMILY]);
    send(socket.as_raw_fd(), &question, MsgFlags::empty())?;
    let mut found = BTreeSet::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let answer = buffer.get(..length).unwrap_or_default();
        if length == 0 || !read(answer, addresses, &mut found) {
            return Ok(found);
        }
    }
}

/// Reads one answer; whether more follow.
fn read(mut answer: &[u8], addresses: &[IpAddr], found: &mut BTreeSet<Translation>) -> bool {
    while let (Some(length), Some(kind)) = (word(answer, 0), half(answer, 4)) {
        let length = length as usize;
        if kind == DONE || kind == ERROR || length < HEADER {
            return false;
        }
        let Some(message) = answer.get(HEADER + FAMILY..length) else { return false };
        found.extend(judge(message, addresses));
        answer = answer.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    true
}

/// What is to be said of a rule.
fn judge(rule: &[u8], addresses: &[IpAddr]) -> Option<Translation> {
    let (mut table, mut chain, mut expressions) = (String::new(), String::new(), &[][..]);
    let mut rest = rule;
    while let (Some(length), Some(kind)) = (half(rest, 0), half(rest, 2)) {
        let length = usize::from(length);
        let Some(value) = rest.get(4..length) else { break };
        let text =
            || String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned();
        match kind & 0x3fff {
            TABLE => table = text(),
            CHAIN => chain = text(),
            EXPRESSIONS => expressions = value,
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    let rewrites =
        ["nat", "redir", "DNAT", "REDIRECT"].iter().any(|name| contains(expressions, &named(name)));
    let named = addresses.iter().find(|address| match address {
        IpAddr::V4(v4) => contains(expressions, &v4.octets()),
        IpAddr::V6(v6) => contains(expressions, &v6.octets()),
    });
    if let Some(address) = named
        && (rewrites || table.to_lowercase().contains("nat"))
    {
        return Some(Translation { table, chain, address: Some(*address) });
    }
    // Where packets come in, without a look at where they go: `redirect` of a port, for example.
    let entrance = ["prerouting", "dstnat"].contains(&&*chain.to_lowercase());
    let selective = DESTINATIONS.iter().any(|load| contains(expressions, load));
    (rewrites && entrance && !selective && !contains(expressions, &FIB)).then_some(Translation {
        table,
        chain,
        address: None,
    })
}

/// How a rule that looks at destination addresses begins: it loads from the network header (base 1),
/// at 16 in IPv4's and 24 in IPv6's.
const DESTINATIONS: [[u8; 16]; 2] = [
    [8, 0, 2, 0, 0, 0, 0, 1, 8, 0, 3, 0, 0, 0, 0, 16],
    [8, 0, 2, 0, 0, 0, 0, 1, 8, 0, 3, 0, 0, 0, 0, 24],
];
/// The name of an expression that asks what kind of address it is.
const FIB: [u8; 8] = [8, 0, 1, 0, b'f', b'i', b'b', 0];

/// The attribute that names an expression or target: both have the number 1.
fn named(name: &str) -> Vec<u8> {
    let mut bytes = ((name.len() + 5) as u16).to_ne_bytes().to_vec();
    bytes.extend(1u16.to_ne_bytes());
    bytes.extend(name.as_bytes());
    bytes.push(0);
    bytes
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bytes_make_it_fail() {
        let mut answer = Vec::new();
        answer.extend(40u32.to_ne_bytes());
        answer.extend(0x0a06u16.to_ne_bytes());
        answer.extend([0; 14]);
        answer.extend([8, 0, 1, 0, b'n', b'a', b't', 0, 200, 0, 4, 0]);
        answer.extend([0; 8]);
        for end in 0..=answer.len() {
            let mut found = BTreeSet::new();
            read(&answer[..end], &[], &mut found);
            assert!(found.is_empty());
        }
    }
}
