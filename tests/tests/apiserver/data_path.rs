//! What happens to objects of the API server reaches the data path.

use testbed::Authority;

use crate::{
    place::until,
    site::{Site, get, pods},
};

#[test]
fn objects_come_change_and_go() {
    let Some(site) = Site::shared("objects_come_change_and_go") else { return };
    let ([one, two], _pods) = pods(["one", "two"]);
    let agent = site.agent("a", &[]);
    assert_eq!(get(&agent, &site.host(), "/").expect("an answer").status, 404);

    site.place.apply(&site.service(&[one]));
    site.place.apply(&site.ingress("web", "/a", &[]));
    site.until_pod(&agent, "/a", "one");
    // An EndpointSlice changes.
    site.place.apply(&site.service(&[two]));
    site.until_pod(&agent, "/a", "two");
    // The Ingress changes.
    site.place.apply(&site.ingress("web", "/b", &[]));
    site.until_pod(&agent, "/b", "two");
    assert_eq!(get(&agent, &site.host(), "/a").expect("an answer").status, 404);
    // Another comes, and goes.
    let other = site.ingress("other", "/a", &[]);
    site.place.apply(&other);
    site.until_pod(&agent, "/a", "two");
    site.place.delete(&other);
    site.until_status(&agent, "/a", 404);
    site.until_pod(&agent, "/b", "two");
    // Endpoints go, then the Service, then the Ingress.
    site.place.delete(&site.service(&[two]));
    site.until_status(&agent, "/b", 503);
    site.place.delete(&site.ingress("web", "/b", &[]));
    site.until_status(&agent, "/b", 404);
}

#[test]
fn settings_are_followed() {
    let Some(site) = Site::shared("settings_are_followed") else { return };
    let ([one], _pods) = pods(["one"]);
    let settings = |value: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings, namespace: NS}}\n\
             data: {{force-ssl-redirect: '{value}'}}\n"
        )
    };
    site.place.apply(&site.service(&[one]));
    site.place.apply(&site.ingress("web", "/", &[]));
    let agent = site.agent("a", &[]);
    site.until_status(&agent, "/", 200);
    // The ConfigMap comes after the agent.
    site.place.apply(&settings("true"));
    site.until_status(&agent, "/", 308);
    site.place.apply(&settings("false"));
    site.until_status(&agent, "/", 200);
    site.place.apply(&settings("true"));
    site.until_status(&agent, "/", 308);
    site.place.delete(&settings("true"));
    site.until_status(&agent, "/", 200);
}

#[test]
fn a_secret_is_used_whenever_it_comes() {
    let Some(site) = Site::shared("a_secret_is_used_whenever_it_comes") else { return };
    let ([one], _pods) = pods(["one"]);
    let ingress = site.ingress("web", "/", &[]).replace(
        "\"rules\"",
        &format!(
            "\"tls\":[{{\"hosts\":[\"{}\"],\"secretName\":\"later\"}}],\"rules\"",
            site.host()
        ),
    );
    site.place.apply(&site.service(&[one]));
    site.place.apply(&ingress);
    let agent = site.agent("a", &[]);
    site.until_status(&agent, "/", 308);
    let authorities = [(), ()].map(|()| Authority::new().expect("an authority"));
    let clients = authorities.each_ref().map(|authority| authority.client(&[]).expect("a client"));
    assert!(!site.trusted(&agent, &clients[0]), "there is no Secret yet");
    for (authority, client) in authorities.iter().zip(&clients) {
        let secret = authority.secret(&site.place.namespace, "later", &[&site.host()]);
        site.place.apply(&secret.expect("a Secret"));
        until("the certificate is shown", || site.trusted(&agent, client));
    }
    assert!(!site.trusted(&agent, &clients[0]), "its Secret has been replaced");
}

#[test]
fn ingresses_of_other_classes_are_left_alone() {
    let Some(site) = Site::shared("ingresses_of_other_classes_are_left_alone") else { return };
    let ([one], _pods) = pods(["one"]);
    let agent = site.agent("a", &[]);
    site.place.apply(&site.service(&[one]));
    let own = format!("\"ingressClassName\":\"{}\",", site.place.namespace);
    let mine = site.ingress("mine", "/mine", &[]);
    assert!(mine.contains(&own));
    let classless = site.ingress("classless", "/classless", &[]).replace(&own, "");
    let foreign =
        site.ingress("foreign", "/foreign", &[]).replace(&own, "\"ingressClassName\":\"nginx\",");
    for ingress in [&classless, &foreign, &mine] {
        site.place.apply(ingress);
    }
    // Objects of a kind come in the order in which they were written: the last is there.
    site.until_pod(&agent, "/mine", "one");
    for path in ["/classless", "/foreign"] {
        assert_eq!(get(&agent, &site.host(), path).expect("an answer").status, 404, "{path}");
    }
    // What it is not asked to serve becomes its own, and the other way round.
    site.place.apply(&site.ingress("foreign", "/foreign", &[]));
    site.until_pod(&agent, "/foreign", "one");
    site.place.apply(&foreign);
    site.until_status(&agent, "/foreign", 404);
    // A class that becomes another controller's takes its Ingresses along.
    site.place
        .delete("apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: NS}\n");
    site.place.apply(
        "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: NS}\n\
         spec: {controller: example.com/other}\n",
    );
    site.until_status(&agent, "/mine", 404);
}

#[test]
fn a_broken_ingress_harms_no_other() {
    let Some(site) = Site::shared("a_broken_ingress_harms_no_other") else { return };
    let ([one], _pods) = pods(["one"]);
    site.place.apply(&site.service(&[one]));
    site.place.apply(&site.ingress("good", "/good", &[]));
    let agent = site.agent("a", &[]);
    site.until_pod(&agent, "/good", "one");
    // Access is restricted in a way that nobody can obey.
    site.place.apply(&site.ingress("bad", "/bad", &[("whitelist-source-range", "nowhere")]));
    site.until_status(&agent, "/bad", 503);
    site.until_pod(&agent, "/good", "one");
}
