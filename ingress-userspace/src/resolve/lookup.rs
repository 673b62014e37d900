//! One lookup of one name.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hickory_resolver::{
    Resolver, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, NoRecords, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{RData, RecordType},
    },
    system_conf::parse_resolv_conf,
};

use super::schedule::Answer;
use crate::config::NameServers;

/// How long a name server may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a negative answer without a time of its own counts.
const NOTHING: Duration = Duration::from_secs(5);

/// Asks the name servers.
pub(super) struct Lookup {
    resolver: Result<TokioResolver, &'static str>,
    /// Off: `disable-ipv6-dns`.
    ipv6: Arc<AtomicBool>,
}

impl Lookup {
    pub(super) fn new(servers: &NameServers, ipv6: &Arc<AtomicBool>) -> Self {
        let (config, options) = configuration(servers);
        let provider = TokioRuntimeProvider::default();
        let resolver =
            Resolver::builder_with_config(config, provider).with_options(options).build();
        let resolver = resolver.map_err(|error| {
            tracing::error!(%error, "names cannot be resolved");
            "there is no name server to ask"
        });
        Self { resolver, ipv6: Arc::clone(ipv6) }
    }

    /// The addresses of a name, of both families (RFC 8305, section 3): without those of a family that
    /// this node has no way to, if it has one to the other. ingress-nginx takes those of IPv6 only
    /// where there are none of IPv4. The search domains are tried unless the name ends in a dot.
    pub(super) async fn addresses(&self, name: &str) -> Answer {
        let resolver = match &self.resolver {
            Ok(resolver) => resolver,
            Err(why) => return Answer::Failed(why),
        };
        let four = ask(resolver, name, RecordType::A);
        if !self.ipv6.load(Ordering::Relaxed) {
            return four.await;
        }
        let six = ask(resolver, name, RecordType::AAAA);
        let (four, six) = tokio::join!(four, six);
        combined(four, six, has_way)
    }
}

/// What the two answers about a name come to. That one family was not answered for takes nothing
/// from the other.
fn combined(four: Answer, six: Answer, has_way: impl Fn(IpAddr) -> bool) -> Answer {
    use Answer::{Addresses, Failed, Nothing};
    match (four, six) {
        (Addresses(mut all, one), Addresses(six, other)) => {
            all.extend(six);
            // RFC 6724, section 6, rule 1: what cannot be reached is no choice.
            if all.iter().any(|address| has_way(*address)) {
                all.retain(|address| has_way(*address));
            }
            Addresses(all, one.min(other))
        }
        (found @ Addresses(..), _) | (_, found @ Addresses(..)) => found,
        (Failed(why), _) | (_, Failed(why)) => Failed(why),
        (Nothing(one), Nothing(other)) => Nothing(one.min(other)),
    }
}

/// This node has a route to the address. Asks the routing table; sends nothing.
fn has_way(address: IpAddr) -> bool {
    let from: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((from, 0)).and_then(|socket| socket.connect((address, 9))).is_ok()
}

async fn ask(resolver: &TokioResolver, name: &str, kind: RecordType) -> Answer {
    match resolver.lookup(name, kind).await {
        Ok(found) => {
            let address = |data: &RData| match (data, kind) {
                (RData::A(address), RecordType::A) => Some(IpAddr::V4(address.0)),
                (RData::AAAA(address), RecordType::AAAA) => Some(IpAddr::V6(address.0)),
                _ => None,
            };
            let addresses: Vec<_> =
                found.answers().iter().filter_map(|record| address(&record.data)).collect();
            // The whole way there counts, aliases included.
            let time = found.answers().iter().map(|record| record.ttl).min();
            let time = time.map_or(NOTHING, |seconds| Duration::from_secs(seconds.into()));
            match addresses.is_empty() {
                true => Answer::Nothing(time),
                false => Answer::Addresses(addresses, time),
            }
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(NoRecords {
            response_code: ResponseCode::NoError | ResponseCode::NXDomain,
            negative_ttl,
            ..
        }))) => {
            let seconds = negative_ttl.map(u64::from);
            Answer::Nothing(seconds.map_or(NOTHING, Duration::from_secs))
        }
        Err(error) => {
            tracing::debug!(%error, name, "no answer from the DNS");
            Answer::Failed("the name servers do not answer")
        }
    }
}

fn configuration(servers: &NameServers) -> (ResolverConfig, ResolverOpts) {
    let parsed = fs::read(&servers.file)
        .map_err(|error| error.to_string())
        .and_then(|text| parse_resolv_conf(text).map_err(|error| error.to_string()));
    let (mut config, mut options) = parsed.unwrap_or_else(|error| {
        tracing::warn!(file = %servers.file.display(), error, "names cannot be resolved by it");
        Default::default()
    });
    if !servers.servers.is_empty() {
        let server = |address: &std::net::SocketAddr| {
            let mut connection = ConnectionConfig::udp();
            connection.port = address.port();
            NameServerConfig::new(address.ip(), true, vec![connection])
        };
        let servers = servers.servers.iter().map(server).collect();
        config = ResolverConfig::from_parts(None, config.search().to_vec(), servers);
    }
    options.timeout = PATIENCE;
    options.attempts = 2;
    // The schedule is the cache.
    options.cache_size = 0;
    // ingress-nginx asks the DNS alone; and the hosts of this node are not the cluster's.
    options.use_hosts_file = ResolveHosts::Never;
    (config, options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(addresses: &[&str], seconds: u64) -> Answer {
        let addresses = addresses.iter().map(|one| one.parse().expect("an address")).collect();
        Answer::Addresses(addresses, Duration::from_secs(seconds))
    }

    #[test]
    fn both_families_count_where_both_can_be_reached() {
        let (four, six) = (|| found(&["192.0.2.1"], 60), || found(&["2001:db8::1"], 30));
        let both = found(&["192.0.2.1", "2001:db8::1"], 30);
        assert_eq!(combined(four(), six(), |_| true), both);
        assert_eq!(combined(four(), six(), |_| false), both, "who knows");
        assert_eq!(combined(four(), six(), |ip| ip.is_ipv4()), found(&["192.0.2.1"], 30));
        assert_eq!(combined(four(), six(), |ip| ip.is_ipv6()), found(&["2001:db8::1"], 30));
    }

    #[test]
    fn a_family_without_an_answer_takes_nothing_from_the_other() {
        let (four, six) = (|| found(&["192.0.2.1"], 60), || found(&["2001:db8::1"], 30));
        let nothing = |seconds| Answer::Nothing(Duration::from_secs(seconds));
        let failed = Answer::Failed("silence");
        for other in [nothing(5), failed.clone()] {
            assert_eq!(combined(four(), other.clone(), |_| false), four());
            assert_eq!(combined(other, six(), |_| false), six());
        }
        assert_eq!(combined(nothing(9), nothing(5), |_| true), nothing(5));
        // That it has none is known only where both say so.
        assert_eq!(combined(nothing(9), failed.clone(), |_| true), failed);
        assert_eq!(combined(failed.clone(), nothing(9), |_| true), failed);
    }

    #[test]
    fn this_node_has_a_way_to_itself() {
        assert!(has_way(Ipv4Addr::LOCALHOST.into()));
    }
}
