//! Interplays of several Ingresses (reference section 3.5): whatever their age and their order, what
//! is of a path, of a host and of a Service is what the rules say.

use std::cmp::Reverse;

use proptest::{option, prelude::*};

use super::{host, ingress, translate};
use crate::model::{AffinityMode, HostName, Policy, Suite};

/// What one Ingress asks for; its number is its name and its path.
#[derive(Clone, Debug)]
struct Asked {
    day: Option<u8>,
    regex: bool,
    app_root: bool,
    ewma: Option<bool>,
    persistent: Option<bool>,
    cookie: bool,
    slash: bool,
    /// Of two suites which.
    suite: Option<bool>,
    www: bool,
    tls: bool,
}

/// By their names in OpenSSL.
const SUITES: [(&str, Suite); 2] = [
    ("ECDHE-ECDSA-AES128-GCM-SHA256", Suite::EcdheEcdsaAes128GcmSha256),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", Suite::EcdheEcdsaAes256GcmSha384),
];

fn asked() -> impl Strategy<Value = Asked> {
    let bools = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let some = (option::of(1..4_u8), option::of(any::<bool>()), option::of(any::<bool>()));
    let more = (option::of(any::<bool>()), prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    let all = (bools, some, more);
    all.prop_map(
        |((regex, app_root, cookie, slash), (day, ewma, persistent), (suite, www, tls))| Asked {
            day,
            regex,
            app_root,
            ewma,
            persistent,
            cookie,
            slash,
            suite,
            www,
            tls,
        },
    )
}

impl Asked {
    fn text(&self, number: usize) -> String {
        let (root, cookie) = (format!("/root{number}"), format!("c{number}"));
        let mut annotations: Vec<(&str, &str)> = Vec::new();
        if self.regex {
            annotations.push(("use-regex", "true"));
        }
        if self.app_root {
            annotations.push(("app-root", &root));
        }
        if let Some(ewma) = self.ewma {
            annotations.push(("load-balance", if ewma { "ewma" } else { "round_robin" }));
        }
        if let Some(persistent) = self.persistent {
            let mode = if persistent { "persistent" } else { "balanced" };
            annotations.push(("affinity-mode", mode));
        }
        if self.cookie {
            annotations.extend([("affinity", "cookie"), ("session-cookie-name", &*cookie)]);
        }
        if self.slash {
            annotations.push(("preserve-trailing-slash", "true"));
        }
        if let Some(second) = self.suite {
            annotations.push(("ssl-ciphers", SUITES[usize::from(second)].0));
        }
        if self.www {
            annotations.push(("from-to-www-redirect", "true"));
        }
        let tls = if self.tls { "tls: [{hosts: [a.com]}]" } else { "" };
        let rule = format!("a.com /p{number} ImplementationSpecific web");
        let text = ingress(&format!("i{number}"), &annotations, tls, &[&*rule]);
        let Some(day) = self.day else { return text };
        let when = format!("metadata:\n  creationTimestamp: '2026-01-0{day}T00:00:00Z'\n");
        text.replace("metadata:\n", &when)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_whose_depends_on_age_alone(
        all in proptest::collection::vec(asked(), 1..7),
        order in any::<prop::sample::Index>(),
    ) {
        let mut texts: Vec<_> =
            all.iter().enumerate().map(|(number, own)| own.text(number)).collect();
        let length = texts.len();
        texts.rotate_left(order.index(length));
        let translation = translate(&texts.concat());
        let model = &translation.model;
        // Oldest first; without a day youngest, and of one day by name, descending.
        let mut by_age: Vec<_> = all.iter().enumerate().collect();
        by_age.sort_by_key(|(number, own)| (own.day.is_none(), own.day, Reverse(*number)));

        let host = host(model, "a.com");
        prop_assert_eq!(host.regex, all.iter().any(|own| own.regex), "one is enough");
        let root = by_age.iter().find(|(_, own)| own.app_root);
        let root = root.map(|(number, _)| format!("i{number}"));
        prop_assert_eq!(
            host.app_root.as_ref().map(|own| own.ingress.name.to_string()),
            root,
            "the oldest that has one"
        );
        prop_assert_eq!(host.tls, all.iter().any(|own| own.tls), "one is enough");
        let www = model.hosts.iter().any(|own| own.name == HostName::Exact("www.a.com".into()));
        prop_assert_eq!(www, all.iter().any(|own| own.www), "one is enough");
        let suite = by_age.iter().find_map(|(_, own)| own.suite);
        prop_assert_eq!(
            host.handshake.as_ref().and_then(|own| own.suites.clone()),
            suite.map(|second| vec![SUITES[usize::from(second)].1]),
            "the oldest that has some"
        );
        for (number, own) in all.iter().enumerate() {
            let path = format!("/p{number}");
            let route = host.routes.iter().find(|route| *route.path == *path).expect("a route");
            prop_assert_eq!(route.preserve_trailing_slash, own.slash, "of the Ingress");
            prop_assert_eq!(route.sets_session, own.cookie, "of the Ingress");
        }
        let web = model.backends.iter().find(|own| *own.key.service == *"web").expect("it is used");
        let oldest = by_age.first().and_then(|(_, own)| own.ewma);
        let policy = if oldest == Some(true) { Policy::Ewma } else { Policy::RoundRobin };
        prop_assert_eq!(&web.balancing.policy, &policy, "the oldest that leads there");
        let cookie = by_age.iter().rev().find(|(_, own)| own.cookie);
        let affinity = web.balancing.affinity.as_ref();
        prop_assert_eq!(
            affinity.map(|own| own.cookie.name.to_string()),
            cookie.map(|(number, _)| format!("c{number}")),
            "the youngest that has one"
        );
        if let Some(affinity) = affinity {
            let mode = by_age.iter().find_map(|(_, own)| own.persistent).unwrap_or(false);
            let mode = if mode { AffinityMode::Persistent } else { AffinityMode::Balanced };
            prop_assert_eq!(affinity.mode, mode, "the oldest that has one");
        }
    }
}
