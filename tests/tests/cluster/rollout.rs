//! A rolling update of the application, as clients see it.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::{
    site::{Site, until},
    traffic::Traffic,
};

/// Every new pod is asked once it is ready and not before; no old one is asked any more once it is
/// known to end.
pub(crate) fn of_the_application(site: &Site, traffic: &Traffic) {
    let old: BTreeSet<String> = site.pods("app", "app=front").into_iter().collect();
    assert_eq!(old.len(), 3);
    site.kubectl(&["rollout", "restart", "-n", "app", "deployment/front"]);
    site.rolled_out("app", "deployment/front");
    // Old pods may still be there, but all of them end.
    let pods = site.objects(&["pods", "-n", "app", "-l", "app=front"]);
    let is_ending = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_string();
    let (ending, new): (Vec<&Value>, Vec<&Value>) = pods.iter().partition(is_ending);
    assert!(ending.iter().all(|pod| old.contains(name(pod))), "of the old ones");
    assert_eq!(new.len(), 3);
    until("each new pod is asked", || {
        let asked = traffic.pods();
        new.iter().all(|pod| asked.contains_key(name(pod)))
    });
    let answers = || -> usize {
        let asked = traffic.pods();
        old.iter().filter_map(|pod| asked.get(pod)).map(|pod| pod.answers).sum()
    };
    // Who asked one has its answer, and the agents have heard.
    let mut last = answers();
    until("the old pods are asked no more", || {
        let before = last;
        traffic.many_more("the rollout");
        last = answers();
        last == before
    });
    until("the old pods are gone", || {
        site.pods("app", "app=front").iter().all(|pod| !old.contains(pod))
    });
    traffic.many_more("the end of the old pods");
    assert_eq!(answers(), last, "an old pod was asked again");

    let asked = traffic.pods();
    for pod in new {
        let ready = ready_since(pod);
        let first = asked[name(pod)].first;
        // The API has whole seconds, cut off.
        assert!(first >= ready, "{} is ready since {ready:?}, asked at {first:?}", name(pod));
        let late = first.duration_since(ready).unwrap_or_default();
        site.say(format!("{} was asked {:.1} s after it was ready", name(pod), late.as_secs_f32()));
    }
}

fn name(pod: &Value) -> &str {
    pod["metadata"]["name"].as_str().expect("a name")
}

/// When the pod became ready, in whole seconds.
fn ready_since(pod: &Value) -> SystemTime {
    let conditions = pod["status"]["conditions"].as_array().expect("conditions");
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
    let since = ready.and_then(|ready| ready["lastTransitionTime"].as_str()).expect("a time");
    let since: jiff::Timestamp = since.parse().expect("a time of RFC 3339");
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_second().cast_unsigned())
}
