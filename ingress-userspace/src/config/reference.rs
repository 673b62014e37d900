//! Section 9.2 of the reference, flag by flag: each is taken by its name; where its default is another
//! one, or it does nothing, people are told. The table is copied from the reference by hand.

use clap::{Args as _, Command};

use super::{
    flags::{RunFlags, with_ignored},
    ignored,
};

/// Flags and their defaults; empty: none.
const FLAGS: &[(&str, &str)] = &[
    ("controller-class", "k8s.io/ingress-nginx"),
    ("ingress-class", "nginx"),
    ("ingress-class-by-name", "false"),
    ("watch-ingress-without-class", "false"),
    ("watch-namespace", ""),
    ("watch-namespace-selector", ""),
    ("configmap", ""),
    ("tcp-services-configmap", ""),
    ("udp-services-configmap", ""),
    ("default-ssl-certificate", ""),
    ("default-backend-service", ""),
    ("publish-service", ""),
    ("publish-status-address", ""),
    ("report-node-internal-ip-address", "false"),
    ("update-status", "true"),
    ("update-status-on-shutdown", "true"),
    ("status-update-interval", "60"),
    ("election-id", "ingress-controller-leader"),
    ("election-ttl", "30s"),
    ("disable-leader-election", "false"),
    ("enable-ssl-passthrough", "false"),
    ("ssl-passthrough-proxy-port", "442"),
    ("http-port", "80"),
    ("https-port", "443"),
    ("healthz-port", "10254"),
    ("default-server-port", "8181"),
    ("status-port", "10246"),
    ("stream-port", "10247"),
    ("profiler-port", "10245"),
    ("health-check-path", "/healthz"),
    ("enable-metrics", "false"),
    ("metrics-per-host", "true"),
    ("metrics-per-undefined-host", "false"),
    ("report-status-classes", "false"),
    ("validating-webhook", ""),
    ("validating-webhook-certificate", ""),
    ("validating-webhook-key", ""),
    ("disable-catch-all", "false"),
    ("deep-inspect", "true"),
    ("enable-annotation-validation", "true"),
    ("disable-svc-external-name", "false"),
    ("disable-sync-events", "false"),
    ("enable-ssl-chain-completion", "false"),
    ("enable-topology-aware-routing", "false"),
    ("sync-rate-limit", "0.3"),
    ("shutdown-grace-period", "0"),
    ("post-shutdown-grace-period", "10"),
    // Section 1.1.
    ("annotations-prefix", "nginx.ingress.kubernetes.io"),
];

const MIGRATING: &str = include_str!("../../../docs/migrating.md");

#[test]
fn every_flag_of_the_reference_is_taken_and_its_default_is_the_same_or_told() {
    let command = with_ignored(RunFlags::augment_args(Command::new("run")));
    let mut wrong = Vec::new();
    for (name, default) in FLAGS {
        let Some(flag) = command.get_arguments().find(|own| own.get_long() == Some(name)) else {
            wrong.push(format!("--{name} is not known"));
            continue;
        };
        if ignored::FLAGS.iter().any(|(own, _)| own == name) {
            if ignored::warning(name).ends_with("it has no meaning here") {
                wrong.push(format!("--{name} does nothing, and nobody is told why"));
            }
            continue;
        }
        let own: Vec<_> =
            flag.get_default_values().iter().map(|own| own.to_string_lossy()).collect();
        let own = own.join(" ");
        let row = format!("| `--{name}` | `{default}` | `{own}` |");
        if own != *default && !MIGRATING.contains(&row) {
            wrong.push(format!("docs/migrating.md lacks {row}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_default_that_is_told_to_differ_does() {
    let rows = MIGRATING.lines().filter_map(|line| line.strip_prefix("| `--"));
    let mut told = 0;
    for row in rows {
        let name = row.split('`').next().unwrap_or_default();
        assert!(FLAGS.iter().any(|(own, _)| *own == name), "--{name} is not ingress-nginx's");
        let theirs = FLAGS.iter().find(|(own, _)| *own == name).map(|(_, default)| *default);
        assert!(row.contains(&format!("| `{}` |", theirs.unwrap_or_default())), "{row}");
        told += 1;
    }
    assert!(told > 0);
}
