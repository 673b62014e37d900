//! `docs/annotations.md` and `penstock annotations`, made from the tables that translation goes by,
//! so that they cannot say anything else.

use std::fmt::Write as _;

use super::{
    described::{Scope, described},
    known::{KNOWN, Risk, Support},
};

/// The sections of the reference, by the first key of each.
const SECTIONS: &[(&str, &str)] = &[
    ("ssl-redirect", "Redirects and rewriting"),
    ("whitelist-source-range", "Access control and authentication"),
    ("auth-tls-secret", "Client certificates"),
    ("limit-rps", "Rate limits"),
    ("enable-cors", "CORS"),
    ("proxy-connect-timeout", "Proxying"),
    ("proxy-ssl-secret", "TLS to endpoints"),
    ("load-balance", "Balancing, affinity, canary"),
    ("ssl-passthrough", "Server TLS, logs, tracing, firewall"),
    ("modsecurity-snippet", "Raw configuration"),
    ("secure-backends", "Names that current ingress-nginx ignores"),
];

/// Every known annotation as a document in Markdown.
pub(crate) fn document() -> String {
    let mut text = "# Annotations\n\n\
        Made from the code: this is what `penstock annotations` prints; a test fails if it is \
        stale (`PENSTOCK_WRITE_DOCS=1 cargo test -p ingress-userspace annotations_document`).\n\n\
        Keys have the prefix `nginx.ingress.kubernetes.io/` (`--annotations-prefix`). `cm`: the \
        ConfigMap's key of the same name says the default, else what stands beside it. Scope: \
        *Ingress*, all paths of the Ingress; *host*, all Ingresses of the host; *Service*, all \
        paths that lead to the Service's port; where several Ingresses say something, the oldest \
        one counts. Risk: above the ConfigMap's `annotations-risk-level` the paths of the Ingress \
        answer 503. `penstock check` says the same of given manifests.\n"
        .to_owned();
    for (key, risk, support) in KNOWN {
        if let Some((_, title)) = SECTIONS.iter().find(|(first, _)| first == key) {
            let _ = write!(
                text,
                "\n## {title}\n\n| annotation | value | default | scope | risk | here |\n\
                 |---|---|---|---|---|---|\n"
            );
        }
        let row = described(key);
        let (kind, default) = row.map_or(("", ""), |row| (row.kind, row.default));
        let scope = row.map_or("", |row| match row.scope {
            Scope::Ingress => "Ingress",
            Scope::Host => "host",
            Scope::Service => "Service",
            Scope::Everything => "all",
        });
        let risk = match risk {
            Risk::Low => "low",
            Risk::Medium => "medium",
            Risk::High => "high",
            Risk::Critical => "critical",
        };
        let differs = row.map_or("", |row| row.differs);
        let here = status(*support, differs).replace('|', "\\|");
        let _ = writeln!(text, "| `{key}` | {kind} | {default} | {scope} | {risk} | {here} |");
    }
    text
}

fn status(support: Support, differs: &str) -> String {
    let status = match support {
        Support::Obeyed => "obeyed".to_owned(),
        Support::Needless(why) => format!("no effect: {why}"),
        Support::Snippet => {
            "where allowed, obeyed as far as it is understood: docs/snippets.md".to_owned()
        }
        Support::Legacy => "no effect, as in current ingress-nginx".to_owned(),
    };
    match differs {
        "" => status,
        differs => format!("{status}; differs: {differs}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::annotations::described::DESCRIBED;

    const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/annotations.md");

    #[test]
    fn the_annotations_document_is_up_to_date() {
        let wanted = document();
        if std::env::var_os("PENSTOCK_WRITE_DOCS").is_some() {
            std::fs::write(PATH, &wanted).expect("docs is writable");
        }
        let found = std::fs::read_to_string(PATH).expect("docs/annotations.md is there");
        assert!(found == wanted, "docs/annotations.md is stale: see its second paragraph");
    }

    #[test]
    fn every_key_that_does_something_is_described() {
        for (key, _, support) in KNOWN {
            let legacy = *support == Support::Legacy && described(key).is_none();
            assert!(legacy || described(key).is_some(), "{key} has no row");
        }
        for row in DESCRIBED {
            assert!(KNOWN.iter().any(|(key, ..)| *key == row.key), "{} is not known", row.key);
        }
        for (key, _) in SECTIONS {
            assert!(KNOWN.iter().any(|(known, ..)| known == key), "{key} is not known");
        }
    }
}
