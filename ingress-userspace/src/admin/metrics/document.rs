//! `docs/metrics.md`, whose tables are made from the families themselves.

use super::family::{ALL, tables};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
const BEGIN: &str = "<!-- The tables are made from the code: see the first paragraph. -->\n\n";
const END: &str = "<!-- Here they end. -->\n";

#[test]
fn the_metrics_document_is_up_to_date() {
    let found = std::fs::read_to_string(PATH).expect("docs/metrics.md is there");
    let (before, rest) = found.split_once(BEGIN).expect("the tables begin");
    let (_, after) = rest.split_once(END).expect("they end");
    let wanted = format!("{before}{BEGIN}{}{END}{after}", tables());
    if std::env::var_os("PENSTOCK_WRITE_DOCS").is_some() {
        std::fs::write(PATH, &wanted).expect("docs is writable");
        return;
    }
    assert!(found == wanted, "docs/metrics.md is stale: see its first paragraph");
}

#[test]
fn names_are_told_once_and_as_prometheus_wants_them() {
    for (place, family) in ALL.iter().enumerate() {
        assert!(ALL.iter().skip(place + 1).all(|other| other.name != family.name), "{family:?}");
        let own = family.name.strip_prefix("penstock_");
        assert!(own.is_some() || family.is_of_ingress_nginx(), "{family:?}");
        let is_total = family.name.ends_with("_total");
        // Those of ingress-nginx have the names that they have.
        if own.is_some() {
            assert_eq!(is_total, family.kind.name() == "counter", "{family:?}");
        }
        assert!(!family.help.ends_with('.') && !family.help.contains(['\n', '|']), "{family:?}");
    }
}
