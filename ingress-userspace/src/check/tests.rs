//! What people are told about manifests.

use serde_json::Value;

use super::{Kind, Report, Verdict, check, render};
use crate::{
    source::{Input, read_once},
    translate::Options,
};

const PREFIX: &str = "nginx.ingress.kubernetes.io";

/// An Ingress of the class `nginx`: its annotations without prefix and its rules as `host path`.
fn ingress(name: &str, annotations: &[(&str, &str)], more: &str, rules: &[&str]) -> String {
    let mut text = format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\n"
    );
    if !annotations.is_empty() {
        text.push_str("  annotations:\n");
    }
    for (key, value) in annotations {
        text.push_str(&format!("    {PREFIX}/{key}: {value:?}\n"));
    }
    text.push_str(&format!("spec:\n  ingressClassName: nginx\n{more}  rules:\n"));
    for rule in rules {
        let (host, path) = rule.split_once(' ').expect("a host and a path");
        text.push_str(&format!(
            "  - host: {host}\n    http: {{paths: [{{path: {path:?}, pathType: Prefix, backend: \
             {{service: {{name: web, port: {{number: 80}}}}}}}}]}}\n"
        ));
    }
    text
}

fn checked_as(text: &str, complete: bool) -> Report {
    let input = Input::Text("all.yaml".into(), text.to_owned());
    let options = Options { ingress_class: "nginx".to_owned(), ..Options::default() };
    check(read_once(&[input]).expect("text can be read"), options, complete)
}

fn checked(text: &str) -> Report {
    checked_as(text, false)
}

fn of<'r>(report: &'r Report, name: &str) -> &'r super::Checked {
    let named = |own: &&super::Checked| *own.object.name == *name;
    report.ingresses.iter().find(named).expect("the Ingress is among them")
}

#[track_caller]
fn says(report: &Report, name: &str, kind: Kind, part: &str) {
    let remarks = &of(report, name).remarks;
    let said = remarks
        .iter()
        .any(|own| own.kind == kind && (own.message.contains(part) || own.field.contains(part)));
    assert!(said, "{kind:?} {part:?} is not among {remarks:#?}");
}

#[test]
fn an_ordinary_ingress_is_the_same_without_its_class_and_service() {
    let report = checked(&ingress("shop", &[("proxy-read-timeout", "30")], "", &["a.com /"]));
    assert_eq!(of(&report, "shop").verdict, Verdict::Same, "{report:#?}");
    says(&report, "shop", Kind::Needs, "Service default/web is not among the manifests");
    assert!(report.others.is_empty(), "{:?}", report.others);
}

#[test]
fn what_is_missing_refuses_where_everything_is_there() {
    let report = checked_as(&ingress("shop", &[], "", &["a.com /"]), true);
    assert_eq!(of(&report, "shop").verdict, Verdict::Refused);
}

#[test]
fn an_ingress_of_another_class_is_left_alone() {
    let class = "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: nginx}\n\
                 spec: {controller: example.com/other}\n";
    let report = checked(&(class.to_owned() + &ingress("shop", &[], "", &["a.com /"])));
    assert_eq!(of(&report, "shop").verdict, Verdict::OtherClass);
    let theirs = class.replace("example.com/other", "k8s.io/ingress-nginx");
    let report = checked(&(theirs + &ingress("shop", &[], "", &["a.com /"])));
    assert_eq!(of(&report, "shop").verdict, Verdict::Same);
}

#[test]
fn what_denies_refuses_and_says_why() {
    let invalid = &[("denylist-source-range", "10.0.0.0/64")];
    let report = checked(&ingress("shop", invalid, "", &["a.com /"]));
    assert_eq!(of(&report, "shop").verdict, Verdict::Refused);
    says(&report, "shop", Kind::Refused, "denylist-source-range");
}

#[test]
fn a_misspelt_key_is_a_note_with_a_suggestion() {
    let report = checked(&ingress("shop", &[("proxy-read-timeot", "30")], "", &["a.com /"]));
    assert_eq!(of(&report, "shop").verdict, Verdict::Same);
    says(&report, "shop", Kind::Note, "proxy-read-timeout");
}

#[test]
fn what_is_done_otherwise_differs() {
    let report = checked(&ingress("shop", &[("proxy-buffer-size", "8k")], "", &["a.com /"]));
    assert_eq!(of(&report, "shop").verdict, Verdict::Differs);
    says(&report, "shop", Kind::Differs, "32 KiB");
}

#[test]
fn the_older_of_two_with_one_path_wins() {
    let both = ingress("b", &[], "", &["a.com /x"]) + &ingress("a", &[], "", &["a.com /x"]);
    let report = checked(&both);
    // Without creation times the name decides, descending.
    says(&report, "a", Kind::Conflict, "is already served by Ingress default/b");
    assert_eq!(of(&report, "a").verdict, Verdict::Same);
}

#[test]
fn effects_on_the_whole_host_are_told_to_those_who_did_not_ask() {
    let tls = "  tls: [{hosts: [a.com], secretName: crt}]\n";
    let report = checked(
        &(ingress("one", &[("use-regex", "true")], tls, &["a.com /one"])
            + &ingress("two", &[], "", &["a.com /two"])
            + &ingress("alone", &[], "", &["b.com /two"])),
    );
    says(&report, "two", Kind::HostWide, "Ingress default/one has `use-regex`");
    says(&report, "two", Kind::HostWide, "Ingress default/one has TLS for that host");
    for name in ["one", "alone"] {
        let remarks = &of(&report, name).remarks;
        assert!(!remarks.iter().any(|own| own.kind == Kind::HostWide), "{remarks:?}");
    }
}

#[test]
fn text_that_is_no_manifest_is_told_and_harms_nothing_else() {
    let report = checked(&format!("{}---\nkind: [\n", ingress("shop", &[], "", &["a.com /"])));
    assert!(report.has_unreadable());
    assert_eq!(of(&report, "shop").verdict, Verdict::Same);
}

#[test]
fn all_formats_say_the_verdict_and_the_line() {
    let invalid = &[("denylist-source-range", "10.0.0.0/64")];
    let report = checked(&ingress("shop", invalid, "", &["a.com /"]));
    let text = render::text(&report);
    assert!(text.contains("refused  Ingress default/shop  (all.yaml:1)"), "{text}");
    assert!(text.contains("1 Ingresses: 1 refused, 0 differs, 0 same"), "{text}");
    let json: Value = serde_json::from_str(&render::json(&report)).expect("it is JSON");
    assert_eq!(json["ingresses"][0]["verdict"], "refused");
    assert_eq!(json["ingresses"][0]["remarks"][0]["line"], 7);
    assert_eq!(json["counts"]["refused"], 1);
    let sarif: Value = serde_json::from_str(&render::sarif(&report)).expect("it is JSON");
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["level"], "error");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "all.yaml");
    assert_eq!(place["region"]["startLine"], 7);
}

#[test]
fn a_path_that_does_not_compile_is_refused() {
    let report = checked(&ingress("shop", &[("use-regex", "true")], "", &["a.com /a(b"]));
    assert_eq!(of(&report, "shop").verdict, Verdict::Refused);
    says(&report, "shop", Kind::Refused, "is no regular expression");
}

const WEB: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n\
                   spec: {ports: [{port: 80}]}\n";

#[test]
fn a_service_without_endpoints_refuses_nobody() {
    let canary = ingress("beta", &[("canary", "true"), ("canary-weight", "5")], "", &["a.com /"]);
    let canary = canary.replace("service: {name: web", "service: {name: web2");
    let other = WEB.replace("web", "web2");
    let text = format!("{WEB}---\n{other}{}{canary}", ingress("shop", &[], "", &["a.com /"]));
    for complete in [false, true] {
        let report = checked_as(&text, complete);
        for name in ["shop", "beta"] {
            assert_eq!(of(&report, name).verdict, Verdict::Same, "{:?}", of(&report, name));
        }
    }
}

#[test]
fn what_was_named_and_is_not_there_is_told() {
    let input = Input::Text("all.yaml".into(), ingress("shop", &[], "", &["a.com /"]));
    let configmap = Some(("a".to_owned(), "b".to_owned()));
    let options = Options { configmap, ..Options::default() };
    let report = check(read_once(&[input]).expect("text can be read"), options, false);
    let said: Vec<_> = report.others.iter().map(ToString::to_string).collect();
    assert!(said.iter().any(|one| one.contains("--configmap: does not exist")), "{said:?}");
}

#[test]
fn a_class_that_is_assumed_or_absent_is_noted() {
    let report = checked(&ingress("shop", &[], "", &["a.com /"]));
    says(&report, "shop", Kind::Note, "the IngressClass is not among the manifests");
    let without = ingress("shop", &[], "", &["a.com /"]).replace("  ingressClassName: nginx\n", "");
    says(&checked(&without), "shop", Kind::Note, "names no class");
}

#[test]
fn the_controllers_own_settings_are_asked_for() {
    let map = "---\napiVersion: v1\nkind: ConfigMap\n\
               metadata: {name: ingress-nginx-controller, namespace: ingress-nginx}\ndata: {}\n";
    let report = checked(&(ingress("shop", &[], "", &["a.com /"]) + map));
    let said: Vec<_> = report.others.iter().map(ToString::to_string).collect();
    assert!(said.iter().any(|one| one.contains("--configmap ingress-nginx/")), "{said:?}");
}

#[test]
fn the_item_of_a_list_that_is_wrong_is_quoted() {
    for (key, value, item) in [
        ("whitelist-source-range", "10.0.0.0/8, nowhere,192.168.0.1", "`nowhere` is none"),
        ("denylist-source-range", "10.0.0.0/64", "`10.0.0.0/64` is none"),
        ("auth-cache-duration", "200 1m, 99 x", "`99 x` is none"),
    ] {
        let auth = ("auth-url", "http://auth.example.com/");
        let report = checked(&ingress("shop", &[auth, (key, value)], "", &["a.com /"]));
        says(&report, "shop", Kind::Refused, item);
    }
}

#[test]
fn a_value_that_is_dropped_is_told_with_what_applies() {
    for (key, value, default) in [
        ("proxy-read-timeout", "soon", "the default applies (what the ConfigMap says, else `60`)"),
        ("mirror-request-body", "x", "the default applies (`on`)"),
    ] {
        let all = [("mirror-target", "https://b.com/"), (key, value)];
        let report = checked(&ingress("shop", &all, "", &["a.com /"]));
        says(&report, "shop", Kind::Note, default);
    }
}

#[test]
fn a_conflict_without_ages_says_what_decides() {
    let both = ingress("b", &[], "", &["a.com /x"]) + &ingress("a", &[], "", &["a.com /x"]);
    let why = "in a cluster the one that was made first is";
    says(&checked(&both), "a", Kind::Conflict, why);
    let born = |hour| format!("metadata:\n  creationTimestamp: 2026-01-01T0{hour}:00:00Z\n  name");
    let (one, two) = (ingress("a", &[], "", &["a.com /x"]), ingress("b", &[], "", &["a.com /x"]));
    let aged =
        one.replace("metadata:\n  name", &born(1)) + &two.replace("metadata:\n  name", &born(2));
    let report = checked(&aged);
    says(&report, "b", Kind::Conflict, "is already served by Ingress default/a");
    assert!(!format!("{:?}", of(&report, "b").remarks).contains(why));
}

#[test]
fn what_cannot_be_read_has_no_past_here() {
    let old = ingress("shop", &[], "", &["a.com /"]);
    for (version, part) in [
        ("extensions/v1beta1", "`service.name` and `service.port` are written for"),
        ("networking.k8s.io/v1beta1", "which took its place in Kubernetes 1.22"),
        ("nonsense/v1", "is not `networking.k8s.io/v1`;"),
    ] {
        let report = checked(&old.replace("networking.k8s.io/v1", version));
        let said: Vec<_> = report.others.iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|one| one.contains(part)), "{said:?}");
        assert!(said.iter().all(|one| one.ends_with("it is not checked")), "{said:?}");
        assert!(report.has_unreadable());
    }
    let report = checked("kind: [");
    assert!(report.others[0].message.ends_with("it is not checked"), "{:?}", report.others);
}

#[test]
fn a_target_that_keeps_nothing_of_the_path_is_told() {
    let told = "all that is below `/app` is asked of the Service as `/`";
    let report = checked(&ingress("shop", &[("rewrite-target", "/")], "", &["a.com /app"]));
    says(&report, "shop", Kind::Caution, told);
    says(&report, "shop", Kind::Caution, "the path `/app(/|$)(.*)` with the target `/$2` keeps it");
    for (target, path) in [("/$2", "/app(/|$)(.*)"), ("/x", "/app$")] {
        let report = checked(&ingress(
            "shop",
            &[("rewrite-target", target), ("use-regex", "true")],
            "",
            &[&format!("a.com {path}")],
        ));
        let remarks = &of(&report, "shop").remarks;
        assert!(!remarks.iter().any(|own| own.kind == Kind::Caution), "{remarks:?}");
    }
}

#[test]
fn keys_of_other_controllers_are_told_with_ours() {
    for (key, part) in [
        (
            "ingress.kubernetes.io/rewrite-target",
            "before 0.9 and has no effect; `nginx.ingress.kubernetes.io/rewrite-target` is read",
        ),
        (
            "nginx.org/client-max-body-size",
            "another controller and has no effect; `nginx.ingress.kubernetes.io/proxy-body-size`",
        ),
        ("haproxy.org/whitelist", "is of another controller and has no effect"),
    ] {
        let own = ingress("shop", &[("use-regex", "false")], "", &["a.com /"]);
        let own = own.replace(&format!("{PREFIX}/use-regex"), key);
        says(&checked(&own), "shop", Kind::Caution, part);
    }
    let own = ingress("shop", &[("use-regex", "false")], "", &["a.com /"]);
    let own = own.replace(PREFIX, "example.com");
    assert!(!format!("{:?}", checked(&own)).contains("controller and"));
}

#[test]
fn what_follows_a_service_to_another_host_is_told() {
    let canary = ingress("beta", &[("canary", "true"), ("canary-weight", "5")], "", &["a.com /"]);
    let canary = canary.replace("service: {name: web", "service: {name: web2");
    let other = WEB.replace("web", "web2");
    let text = format!(
        "{WEB}---\n{other}{}{}{canary}",
        ingress("shop", &[("affinity", "cookie")], "", &["a.com /"]),
        ingress("blog", &[], "", &["b.com /"])
    );
    let report = checked(&text);
    says(&report, "blog", Kind::HostWide, "go to the canary Ingress default/beta too");
    says(&report, "blog", Kind::HostWide, "requests to b.com for Service web keep their sessions");
    let remarks = format!("{:?}", of(&report, "shop").remarks);
    assert!(!remarks.contains("too"), "{remarks}");
}

#[test]
fn a_port_that_the_service_has_not_refuses() {
    let text =
        format!("{}---\n{}", WEB.replace("80", "81"), ingress("shop", &[], "", &["a.com /"]));
    let report = checked(&text);
    says(&report, "shop", Kind::Refused, "has no port 80 (it has 81)");
}

#[test]
fn certificates_that_end_and_secrets_of_another_type_are_told() {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    let tls = "  tls: [{hosts: [a.com], secretName: crt}]\n";
    let secret = |year, kind: &str| {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::new(["a.com".to_owned()]).expect("a name");
        parameters.not_after = date_time_ymd(year, 1, 2);
        let certificate = parameters.self_signed(&key).expect("a certificate");
        let data =
            serde_json::json!({ "tls.crt": certificate.pem(), "tls.key": key.serialize_pem() });
        format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: crt}}\ntype: {kind}\n\
             stringData: {data}\n"
        )
    };
    let own = ingress("shop", &[], tls, &["a.com /"]);
    let report = checked(&(own.clone() + &secret(2020, "kubernetes.io/tls")));
    let ended = "the certificate of Secret default/crt has ended on Thu, 02 Jan 2020";
    says(&report, "shop", Kind::Caution, ended);
    let report = checked(&(own.clone() + &secret(4000, "Opaque")));
    says(&report, "shop", Kind::Caution, "is of type `Opaque`, not `kubernetes.io/tls`");
    let report = checked(&(own + &secret(4000, "kubernetes.io/tls")));
    let remarks = &of(&report, "shop").remarks;
    assert!(!remarks.iter().any(|own| own.kind == Kind::Caution), "{remarks:?}");
}

#[test]
fn certificates_that_are_for_other_hosts_or_are_missing_are_told() {
    use rcgen::{CertificateParams, KeyPair};
    let key = KeyPair::generate().expect("a key");
    let parameters = CertificateParams::new(["b.com".to_owned()]).expect("a name");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    let data = serde_json::json!({ "tls.crt": certificate.pem(), "tls.key": key.serialize_pem() });
    let secret = format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: crt}}\ntype: kubernetes.io/tls\n\
         stringData: {data}\n"
    );
    let tls = "  tls: [{hosts: [a.com], secretName: crt}]\n";
    let own = ingress("shop", &[], tls, &["a.com /"]);
    let report = checked(&(own.clone() + &secret));
    let message = "the certificate of Secret default/crt is for b.com, not for a.com; the default";
    says(&report, "shop", Kind::Note, message);
    says(&checked(&own), "shop", Kind::Needs, "Secret default/crt is not among the manifests");
    let other = ingress("shop", &[], &tls.replace("a.com", "b.com"), &["b.com /"]);
    let report = checked(&(other + &secret));
    let remarks = format!("{:?}", of(&report, "shop").remarks);
    assert!(!remarks.contains("certificate"), "{remarks}");
}

#[test]
fn what_ingress_nginx_would_obey_and_we_do_not_differs() {
    let url = ("auth-url", "http://auth.example.com/");
    for annotations in [
        &[url, ("auth-signin", "http://auth.example.com/?$http_cookie")][..],
        &[("upstream-hash-by", "$nonsense")],
    ] {
        let report = checked(&format!("{WEB}{}", ingress("shop", annotations, "", &["a.com /"])));
        assert_eq!(of(&report, "shop").verdict, Verdict::Differs, "{annotations:?}");
        says(&report, "shop", Kind::Differs, "unlike with ingress-nginx");
    }
    // Where it would not either, it is the same.
    let wrong = ingress("shop", &[url, ("auth-signin", "nonsense")], "", &["a.com /"]);
    assert_eq!(of(&checked(&format!("{WEB}{wrong}")), "shop").verdict, Verdict::Same);
}
