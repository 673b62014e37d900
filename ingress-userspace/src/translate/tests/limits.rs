//! `limit-*`: rates, who is exempt, what tells clients apart, how fast answers go.

use std::num::NonZeroU32;

use super::{Translation, get, host, ingress, says, says_nothing, translate_with};
use crate::{
    model::{LimitKey, Limits, Pace, Piece, RequestRate, Route, Variable},
    translate::Options,
};

const FIELD: &str = "error Ingress default/x: metadata.annotations[nginx.ingress.kubernetes.io/";

fn with(data: &[(&str, &str)], annotations: &[(&str, &str)]) -> Translation {
    let options = Options {
        configmap: Some(("default".to_owned(), "controller".to_owned())),
        ..Options::default()
    };
    let mut map = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: controller}\ndata:\n  \
                   ssl-redirect: 'true'\n"
        .to_owned();
    for (key, value) in data {
        map.push_str(&format!("  {key}: {value:?}\n"));
    }
    let rules = ["a.com / Prefix web", "a.com /more Prefix api"];
    translate_with(options, &(map + &ingress("x", annotations, "", &rules)))
}

fn route(translation: &Translation) -> &Route {
    let host = host(&translation.model, "a.com");
    host.routes.iter().find(|route| &*route.path == "/").expect("it is there")
}

fn limits(translation: &Translation) -> Option<&Limits> {
    route(translation).policies.as_ref()?.limits.as_ref()
}

#[test]
fn rates_have_five_times_as_much_at_once() {
    let translation = with(&[], &[("limit-rps", "10"), ("limit-rpm", "100")]);
    says_nothing(&translation);
    let limits = limits(&translation).expect("limits");
    assert_eq!(limits.per_second, Some(RequestRate { rate: 10_000, burst: 50_000 }));
    assert_eq!(limits.per_minute, Some(RequestRate { rate: 1666, burst: 500_000 }));
    assert_eq!(limits.connections, None);
    assert_eq!(limits.key, LimitKey::Address);
    assert_eq!((limits.request_status, limits.connection_status), (503, 503));
}

#[test]
fn the_multiplier_is_a_number_from_one() {
    let burst = |multiplier: &str| {
        let annotations = [("limit-rps", "10"), ("limit-burst-multiplier", multiplier)];
        let translation = with(&[], &annotations);
        let limits = limits(&translation).expect("limits");
        (limits.per_second.expect("a rate").burst, translation)
    };
    assert_eq!(burst("1").0, 10_000);
    assert_eq!(burst("7").0, 70_000);
    for bad in ["0", "-1", "two", ""] {
        let (burst, translation) = burst(bad);
        assert_eq!(burst, 50_000, "{bad}");
        let field = format!("{FIELD}limit-burst-multiplier]: is not a whole number from 1");
        says(&translation, &field);
        assert_eq!(get(&translation, "a.com/"), "web");
    }
}

#[test]
fn zero_and_below_are_no_limit() {
    for none in ["0", "-1"] {
        let annotations = [("limit-rps", none), ("limit-rpm", none), ("limit-connections", none)];
        let translation = with(&[], &annotations);
        says_nothing(&translation);
        assert_eq!(route(&translation).policies, None, "{none}");
    }
    let translation = with(&[], &[("limit-connections", "99999999999")]);
    assert_eq!(limits(&translation).expect("limits").connections, NonZeroU32::new(u32::MAX));
}

#[test]
fn some_are_never_limited() {
    let exempt = |annotations: &[(&str, &str)]| {
        let all = [&[("limit-rps", "1")], annotations].concat();
        let translation = with(&[], &all);
        let limits = limits(&translation).expect("limits");
        ["10.1.1.1", "192.0.2.1", "fd00::1"]
            .map(|own| limits.exempt.iter().any(|range| range.contains(own.parse().unwrap())))
    };
    assert_eq!(exempt(&[]), [false; 3]);
    assert_eq!(exempt(&[("limit-whitelist", "10.0.0.0/8,fd00::/8")]), [true, false, true]);
    let both = [("limit-allowlist", "192.0.2.1"), ("limit-whitelist", "10.0.0.0/8")];
    assert_eq!(exempt(&both), [false, true, false]);
    let empty = [("limit-allowlist", ""), ("limit-whitelist", "10.0.0.0/8")];
    assert_eq!(exempt(&empty), [true, false, false]);
}

#[test]
fn what_limits_nothing_says_so() {
    let annotations = [("limit-burst-multiplier", "3"), ("limit-allowlist", "10.0.0.0/8")];
    let translation = with(&[], &annotations);
    assert_eq!(limits(&translation), None);
    says(&translation, "limit-burst-multiplier]: has no effect without limit-rps");
    says(&translation, "limit-allowlist]: has no effect without limit-rps");
}

#[test]
fn statuses_and_key_are_the_config_map_s() {
    let annotations = [("limit-rps", "1"), ("limit-connections", "1")];
    let map = [
        ("limit-req-status-code", "429"),
        ("limit-conn-status-code", "599"),
        ("limit-conn-zone-variable", "$http_x_user"),
    ];
    let translation = with(&map, &annotations);
    says_nothing(&translation);
    let own = limits(&translation).expect("limits");
    assert_eq!((own.request_status, own.connection_status), (429, 599));
    let LimitKey::Text(text) = &own.key else { panic!("{:?}", own.key) };
    assert_eq!(*text.pieces, [Piece::Variable(Variable::Header("x-user".into()))]);

    for address in ["$binary_remote_addr", "\"$remote_addr\""] {
        let translation = with(&[("limit-conn-zone-variable", address)], &annotations);
        assert_eq!(limits(&translation).expect("limits").key, LimitKey::Address);
    }
    for (key, value, why) in [
        ("limit-req-status-code", "399", "is not a status from 400 to 599; the default applies"),
        ("limit-conn-status-code", "600", "is not a status from 400 to 599; the default applies"),
        ("limit-conn-zone-variable", "$nonsense", "`$nonsense` is not known"),
        ("limit-conn-zone-variable", "all", "has no variable, like `$binary_remote_addr`; clients"),
        ("limit-conn-zone-variable", "", "has no variable"),
    ] {
        let translation = with(&[(key, value)], &annotations);
        says(&translation, &format!("error ConfigMap default/controller: data.{key}: {why}"));
        let own = limits(&translation).expect("limits");
        let statuses = (own.request_status, own.connection_status);
        assert_eq!((statuses, &own.key), ((503, 503), &LimitKey::Address), "{key}: {value}");
    }
}

#[test]
fn answers_have_a_pace_in_kibibytes() {
    let pace = |translation: &Translation| route(translation).proxying.pace;
    let translation = with(&[], &[("limit-rate", "5"), ("limit-rate-after", "100")]);
    says_nothing(&translation);
    assert_eq!(pace(&translation), Pace { rate: 5120, after: 102_400 });
    assert_eq!(limits(&translation), None);
    let map = [("limit-rate", "7"), ("limit-rate-after", "8")];
    assert_eq!(pace(&with(&map, &[])), Pace { rate: 7168, after: 8192 });
    assert_eq!(pace(&with(&map, &[("limit-rate", "0")])), Pace { rate: 0, after: 8192 });
    let translation = with(&map, &[("limit-rate", "5k")]);
    assert_eq!(pace(&translation), Pace { rate: 7168, after: 8192 });
    says(&translation, &format!("{FIELD}limit-rate]: is not a whole number of KiB, without unit"));
}
