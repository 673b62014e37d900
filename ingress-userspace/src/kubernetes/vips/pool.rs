//! The addresses that may be given to Services.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::model::AddressRange;

/// `--vip-pool`, without the addresses that are taken already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VipPool {
    ranges: Vec<AddressRange>,
    /// Those of `--vip`: Penstock's own.
    taken: BTreeSet<IpAddr>,
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// As Services name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

impl VipPool {
    /// All addresses of these ranges but those that are taken. Of an IPv4 range larger than two, the
    /// first and the last are left out too, and of an IPv6 range the first: they mean something else
    /// to many a router.
    #[must_use]
    pub fn new(ranges: Vec<AddressRange>, taken: impl IntoIterator<Item = IpAddr>) -> Self {
        Self { ranges, taken: taken.into_iter().collect() }
    }

    /// There is nothing to give.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The address may be given.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        !self.taken.contains(&address)
            && self.ranges.iter().filter(|range| range.contains(address)).any(|range| {
                usable(range).is_some_and(|(first, last)| (first..=last).contains(&address))
            })
    }

    /// The first address of the family, from `from` on in the order of the ranges, that is free.
    pub(super) fn first_free(&self, family: Family, used: &BTreeSet<IpAddr>) -> Option<IpAddr> {
        let ranges = self.ranges.iter().filter_map(usable);
        ranges.filter(|(first, _)| Family::of(*first) == family).find_map(|(first, last)| {
            let mut next = first;
            // As many steps as addresses are used at most.
            while used.contains(&next) || self.taken.contains(&next) {
                next = successor(next)?;
            }
            (next <= last).then_some(next)
        })
    }
}

fn usable(range: &AddressRange) -> Option<(IpAddr, IpAddr)> {
    let (first, last) = range.bounds();
    match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let (one, two) = (first.to_bits(), last.to_bits());
            let (one, two) = if two - one < 2 { (one, two) } else { (one + 1, two - 1) };
            Some((Ipv4Addr::from_bits(one).into(), Ipv4Addr::from_bits(two).into()))
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            let (one, two) = (first.to_bits(), last.to_bits());
            let one = if two - one < 2 { one } else { one + 1 };
            Some((Ipv6Addr::from_bits(one).into(), Ipv6Addr::from_bits(two).into()))
        }
        _ => None,
    }
}

fn successor(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => Some(Ipv4Addr::from_bits(address.to_bits().checked_add(1)?).into()),
        IpAddr::V6(address) => Some(Ipv6Addr::from_bits(address.to_bits().checked_add(1)?).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(ranges: &[&str], taken: &[&str]) -> VipPool {
        let ranges = ranges.iter().map(|text| AddressRange::parse(text).expect(text)).collect();
        VipPool::new(ranges, taken.iter().map(|text| text.parse().expect(text)))
    }

    fn all(pool: &VipPool, family: Family) -> Vec<String> {
        let mut used = BTreeSet::new();
        let mut given = Vec::new();
        while let Some(address) = pool.first_free(family, &used) {
            assert!(pool.has(address) && used.insert(address));
            given.push(address.to_string());
        }
        given
    }

    #[test]
    fn a_range_gives_what_routers_take_for_hosts() {
        assert_eq!(all(&pool(&["192.0.2.9/29"], &[]), Family::V4).len(), 6);
        assert_eq!(all(&pool(&["192.0.2.8/31"], &[]), Family::V4), ["192.0.2.8", "192.0.2.9"]);
        assert_eq!(all(&pool(&["192.0.2.8"], &[]), Family::V4), ["192.0.2.8"]);
        assert_eq!(all(&pool(&["255.255.255.255"], &[]), Family::V4), ["255.255.255.255"]);
        let v6 = pool(&["2001:db8::/126", "192.0.2.1"], &["2001:db8::2"]);
        assert_eq!(all(&v6, Family::V6), ["2001:db8::1", "2001:db8::3"]);
        let two = pool(&["192.0.2.1", "192.0.2.1/32", "198.51.100.7"], &[]);
        assert_eq!(all(&two, Family::V4), ["192.0.2.1", "198.51.100.7"]);
        assert!(!two.has("192.0.2.2".parse().expect("an address")));
        assert!(!pool(&["192.0.2.0/24"], &[]).has("192.0.2.255".parse().expect("an address")));
    }
}
