//! One lookup of one name.

use std::{
    fs,
    net::IpAddr,
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

    /// The addresses of a name: those of IPv4 or, where it has none, those of IPv6, as in
    /// ingress-nginx. The search domains are tried unless the name ends in a dot.
    pub(super) async fn addresses(&self, name: &str) -> Answer {
        let resolver = match &self.resolver {
            Ok(resolver) => resolver,
            Err(why) => return Answer::Failed(why),
        };
        match ask(resolver, name, RecordType::A).await {
            Answer::Nothing(first) if self.ipv6.load(Ordering::Relaxed) => {
                match ask(resolver, name, RecordType::AAAA).await {
                    Answer::Nothing(second) => Answer::Nothing(first.min(second)),
                    other => other,
                }
            }
            other => other,
        }
    }
}

async fn ask(resolver: &TokioResolver, name: &str, kind: RecordType) -> Answer {
    match resolver.lookup(name, kind).await {
        Ok(found) => {
            let address = |data: &RData| match data {
                RData::A(address) => Some(IpAddr::V4(address.0)),
                RData::AAAA(address) => Some(IpAddr::V6(address.0)),
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
