//! The flags about what Penstock writes into the cluster, and about the admission webhook. Names and
//! meaning are ingress-nginx's (reference section 9.2); none has an effect with `--manifests`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;

use super::validate::Faults;
use crate::kubernetes::{
    Election, Identity, Publish, VipPool, WebhookOptions, Writes, address_or_name,
};

/// The shortest time between two looks at the addresses to publish, as in ingress-nginx.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(5);
/// A leader renews five times in it, and an API server may take its time over one.
const SHORTEST_LEASE: Duration = Duration::from_secs(5);
const LONGEST_LEASE: Duration = Duration::from_secs(600);

/// The flags as text.
#[derive(Args, Clone, Debug)]
pub struct WriteFlags {
    /// Service (namespace/name) whose addresses are written into the status of Ingresses.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub publish_service: Option<String>,
    /// Addresses or names, comma-separated, that are written into the status of Ingresses.
    #[arg(long, value_name = "ADDRESS,…")]
    pub publish_status_address: Option<String>,
    /// Write the nodes' internal addresses into the status of Ingresses, not their external ones.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true")]
    pub report_node_internal_ip_address: String,
    /// Write the status of Ingresses.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true")]
    pub update_status: String,
    /// Remove the addresses from the status of Ingresses when the last replica stops.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true")]
    pub update_status_on_shutdown: String,
    /// Seconds between two looks at the addresses to write; at least 5.
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    pub status_update_interval: String,

    /// Name of the Lease by which the replica that writes is elected, in the pod's namespace.
    #[arg(long, value_name = "NAME", default_value = "ingress-controller-leader")]
    pub election_id: String,
    /// How long the Lease holds after its last renewal, as `10s`; a replica that dies is replaced
    /// within 1.45 times of it.
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub election_ttl: String,
    /// Every replica writes, without election: only where there is one replica.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true")]
    pub disable_leader_election: String,
    /// No Event `Sync` when an Ingress changed; Events about what is wrong are written all the same.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true")]
    pub disable_sync_events: String,
    /// This pod's name: whom the Lease names.
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub pod_name: Option<String>,
    /// This pod's namespace: where the Lease and the other replicas are.
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE")]
    pub pod_namespace: Option<String>,
    /// Addresses for Services of the loadBalancerClass penstock.dev/xdp: CIDRs, comma-separated.
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub vip_pool: Vec<String>,

    /// Address of the admission webhook, as `:8443`; default: none.
    #[arg(long, value_name = "[ADDRESS]:PORT")]
    pub validating_webhook: Option<String>,
    /// File with the webhook's certificate chain; read again when it changes.
    #[arg(long, value_name = "FILE")]
    pub validating_webhook_certificate: Option<String>,
    /// File with the key of the webhook's certificate.
    #[arg(long, value_name = "FILE")]
    pub validating_webhook_key: Option<String>,

    /// Those of these flags that are on the command line.
    #[arg(skip)]
    pub given: Vec<String>,
}

impl WriteFlags {
    /// Remembers which of these flags are on the command line.
    pub(super) fn note_given(&mut self, run: &clap::ArgMatches) {
        let command = Self::augment_args(clap::Command::new("run"));
        let given = command.get_arguments().filter(|flag| {
            run.value_source(flag.get_id().as_str()) == Some(clap::parser::ValueSource::CommandLine)
        });
        self.given = given.filter_map(|flag| flag.get_long().map(str::to_owned)).collect();
    }

    /// What to tell about the flags where no cluster is written to.
    pub(super) fn without_cluster(&self) -> impl Iterator<Item = String> {
        self.given.iter().map(|name| {
            format!("--{name} does nothing with --manifests: there is no cluster to write to or judge for")
        })
    }

    pub(super) fn writes(&self, faults: &mut Faults, vips: &[std::net::IpAddr]) -> Writes {
        let internal = faults
            .boolean("--report-node-internal-ip-address", &self.report_node_internal_ip_address);
        let service = faults.object("--publish-service", self.publish_service.as_ref());
        let addresses = self.publish_status_address.as_deref().filter(|text| !text.is_empty());
        if service.is_some() && addresses.is_some() {
            faults.say("--publish-service and --publish-status-address exclude each other");
        }
        let publish = match (addresses, service) {
            (Some(text), _) => {
                Publish::Addresses(text.split(',').map(|one| address_or_name(one.trim())).collect())
            }
            (None, Some((namespace, name))) => Publish::Service { namespace, name },
            (None, None) if !vips.is_empty() => Publish::Addresses(
                vips.iter().map(|vip| address_or_name(&vip.to_string())).collect(),
            ),
            (None, None) => Publish::Nodes { internal },
        };
        let flag = "--status-update-interval";
        let interval = faults.seconds(flag, &self.status_update_interval);
        let flag = "--election-ttl";
        let ttl = faults.duration(flag, &self.election_ttl);
        if !(SHORTEST_LEASE..=LONGEST_LEASE).contains(&ttl) {
            faults.add(flag, &self.election_ttl, "between 5s and 10m");
        }
        let disabled = faults.boolean("--disable-leader-election", &self.disable_leader_election);
        if self.election_id.is_empty() && !disabled {
            faults.add("--election-id", &self.election_id, "a name");
        }
        let given = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
        Writes {
            identity: Identity {
                name: given(&self.pod_name),
                namespace: given(&self.pod_namespace),
            },
            election: (!disabled).then(|| Election { id: self.election_id.clone(), ttl }),
            status: faults.boolean("--update-status", &self.update_status),
            clear_status: faults
                .boolean("--update-status-on-shutdown", &self.update_status_on_shutdown),
            interval: interval.max(SHORTEST_INTERVAL),
            publish,
            sync_events: !faults.boolean("--disable-sync-events", &self.disable_sync_events),
            vip_pool: self.vip_pool(faults, vips),
        }
    }

    fn vip_pool(&self, faults: &mut Faults, taken: &[std::net::IpAddr]) -> VipPool {
        let mut ranges = Vec::new();
        for text in self.vip_pool.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
            match crate::model::AddressRange::parse(text) {
                Some(range) => ranges.push(range),
                None => faults.add("--vip-pool", text, "a CIDR: 192.0.2.0/24 or 2001:db8::/120"),
            }
        }
        VipPool::new(ranges, taken.iter().copied())
    }

    pub(super) fn webhook(&self, faults: &mut Faults) -> Option<WebhookOptions> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let address = given(&self.validating_webhook)?;
        let flag = "--validating-webhook";
        // Go's form without an address stands for all of both families.
        let text = match address.strip_prefix(':') {
            Some(port) => format!("[::]:{port}"),
            None => address.clone(),
        };
        let parsed: Option<SocketAddr> = text.parse().ok();
        if parsed.is_none() {
            faults.add(flag, &address, "ADDRESS:PORT or :PORT");
        }
        let mut file = |flag: &str, value: &Option<String>| {
            let path = given(value);
            if path.is_none() {
                faults.say(&format!("{flag} FILE is required with --validating-webhook"));
            }
            PathBuf::from(path.unwrap_or_default())
        };
        Some(WebhookOptions {
            certificate: file(
                "--validating-webhook-certificate",
                &self.validating_webhook_certificate,
            ),
            key: file("--validating-webhook-key", &self.validating_webhook_key),
            address: parsed?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Config, Invocation, Parsed, parse};
    use crate::kubernetes::{Publish, address_or_name};

    fn parsed(arguments: &str) -> Parsed {
        let arguments = ["penstock", "run", "--pod-name=a", "--pod-namespace=edge"]
            .into_iter()
            .chain(arguments.split_whitespace());
        parse(arguments.map(Into::into), 1)
    }

    fn config(arguments: &str) -> Config {
        match parsed(arguments) {
            Parsed::Go(Invocation::Run(config)) => *config,
            other => panic!("{arguments}: {other:?}"),
        }
    }

    fn faults(arguments: &str) -> String {
        match parsed(arguments) {
            Parsed::Faults(text) => text,
            other => panic!("{arguments}: {other:?}"),
        }
    }

    #[test]
    fn defaults_are_those_of_ingress_nginx_but_for_the_lease() {
        let config = config("");
        let election = config.writes.election.expect("there is one");
        assert_eq!(election.id, "ingress-controller-leader");
        // Half as long again is the time without a leader at most: below 15 s.
        assert_eq!(election.ttl, Duration::from_secs(10));
        assert!(config.writes.status && config.writes.clear_status && config.writes.sync_events);
        assert_eq!(config.writes.interval, Duration::from_secs(60));
        assert_eq!(config.writes.publish, Publish::Nodes { internal: false });
        assert!(config.writes.vip_pool.is_empty() && config.webhook.is_none());
    }

    #[test]
    fn where_the_addresses_come_from_is_said_by_flags() {
        let addresses = |list: &[&str]| {
            Publish::Addresses(list.iter().map(|text| address_or_name(text)).collect())
        };
        let publish = |arguments| config(arguments).writes.publish;
        assert_eq!(
            publish("--publish-status-address=192.0.2.1,lb.test"),
            addresses(&["192.0.2.1", "lb.test"])
        );
        let vips = publish("--vip=192.0.2.9 --node-name=n --interface=lo");
        assert_eq!(vips, addresses(&["192.0.2.9"]));
        assert_eq!(
            publish("--publish-service=edge/front --vip=192.0.2.9 --node-name=n --interface=lo"),
            Publish::Service { namespace: "edge".to_owned(), name: "front".to_owned() }
        );
        assert_eq!(publish("--report-node-internal-ip-address"), Publish::Nodes { internal: true });
        assert_eq!(
            config("--election-ttl=1m").writes.election.map(|own| own.ttl.as_secs()),
            Some(60)
        );
        assert_eq!(config("--status-update-interval=1").writes.interval, Duration::from_secs(5));
    }

    #[test]
    fn what_is_wrong_is_told_by_flag() {
        for (arguments, flag) in [
            ("--publish-service=noslash", "--publish-service"),
            ("--publish-service=a/b --publish-status-address=192.0.2.1", "exclude"),
            ("--election-ttl=1s", "--election-ttl"),
            ("--election-ttl=soon", "--election-ttl"),
            ("--update-status=perhaps", "--update-status"),
            ("--vip-pool=192.0.2.0/33", "--vip-pool"),
            ("--validating-webhook=8443x", "--validating-webhook "),
            ("--validating-webhook=:8443", "--validating-webhook-key"),
        ] {
            let text = faults(arguments);
            assert!(text.contains(flag), "{arguments}: {text}");
        }
    }

    #[test]
    fn flags_about_a_cluster_are_said_to_do_nothing_without_one() {
        let config = config("--manifests=d --update-status=false --vip-pool=192.0.2.0/24");
        for flag in ["--update-status", "--vip-pool"] {
            assert!(config.warnings.iter().any(|line| line.starts_with(flag)), "{flag}");
        }
    }
}
