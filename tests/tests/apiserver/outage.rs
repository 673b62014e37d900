//! The API server is away, comes back, has forgotten, or wants another token.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use testbed::kubernetes::Watcher;

use crate::site::{Site, get, pods};

/// Constant traffic, none of which may go wrong.
struct Traffic {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    thread: Option<thread::JoinHandle<Vec<String>>>,
}

impl Traffic {
    fn start(site: &Site, agent: &Watcher, path: &'static str) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (own_stop, own_answered) = (Arc::clone(&stop), Arc::clone(&answered));
        let (http, host) = (agent.http(), site.host());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime");
            let mut errors = Vec::new();
            while !own_stop.load(Ordering::Relaxed) {
                let limit = std::time::Duration::from_secs(10);
                match runtime.block_on(testbed::get(http, &host, path, limit)) {
                    Ok(answer) if answer.status == 200 => {
                        own_answered.fetch_add(1, Ordering::Relaxed);
                    }
                    other => errors.push(format!("{other:?}")),
                }
            }
            errors
        });
        Self { stop, answered, thread: Some(thread) }
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// What went wrong.
    fn end(mut self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("it ends once").join().expect("no panic")
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[test]
fn while_the_api_server_is_away_the_last_state_is_served() {
    let Some(site) = Site::alone("while_the_api_server_is_away_the_last_state_is_served") else {
        return;
    };
    let ([one], _pods) = pods(["one"]);
    site.place.apply(&site.service(&[one]));
    site.place.apply(&site.ingress("web", "/a", &[]));
    let mut agent = site.agent("a", &[]);
    site.until_pod(&agent, "/a", "one");
    let traffic = Traffic::start(&site, &agent, "/a");

    site.place.server.crash().expect("it runs");
    let before = traffic.answered();
    crate::place::until("requests are answered without it", || traffic.answered() > before + 100);
    let (status, body) = agent.agent().admin("/readyz").expect("an answer");
    assert_eq!(status, 200, "{body}");
    crate::place::until("it says that it is cut off", || {
        let metrics = agent.agent().admin("/metrics").expect("an answer").1;
        metrics.contains("penstock_source_connected 0")
    });

    site.place.server.restart().expect("it starts again");
    site.place.apply(&site.ingress("web-2", "/b", &[]));
    site.until_pod(&agent, "/b", "one");
    assert_eq!(traffic.end(), Vec::<String>::new());
}

#[test]
fn what_was_missed_is_made_up_for() {
    let Some(site) = Site::alone("what_was_missed_is_made_up_for") else { return };
    let ([one, two], _pods) = pods(["one", "two"]);
    site.place.apply(&site.service(&[one]));
    let gone = site.ingress("gone", "/gone", &[]);
    site.place.apply(&gone);
    site.place.apply(&site.ingress("kept", "/kept", &[]));
    let mut agent = site.agent("a", &[]);
    site.until_pod(&agent, "/gone", "one");

    // Neither the watches nor their broken connections are noticed while the process is stopped. The
    // server that comes back has no memory of what was before: it answers 410 to who asks for that.
    let process = Pid::from_raw(agent.agent().process().expect("it runs").cast_signed());
    kill(process, Signal::SIGSTOP).expect("it is ours");
    site.place.delete(&gone);
    site.place.apply(&site.service(&[two]));
    site.place.server.restart().expect("it starts again");
    kill(process, Signal::SIGCONT).expect("it is ours");
    site.until_status(&agent, "/gone", 404);
    site.until_pod(&agent, "/kept", "two");
    site.place.apply(&site.ingress("new", "/new", &[]));
    site.until_pod(&agent, "/new", "two");
}

#[test]
fn a_token_that_was_replaced_is_read_again() {
    let Some(site) = Site::alone("a_token_that_was_replaced_is_read_again") else { return };
    let ([one], _pods) = pods(["one"]);
    site.place.apply(&site.service(&[one]));
    site.place.apply(&site.ingress("web", "/a", &[]));
    let agent = site.agent("a", &[]);
    site.until_pod(&agent, "/a", "one");

    // Tokens of an account that was deleted are worth nothing, though one of that name is there again.
    let account =
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: penstock, namespace: NS}\n";
    site.place.delete(account);
    site.place.apply(account);
    // Watches go on with whatever they began with; and the server remembers tokens for a while.
    site.place.server.restart().expect("it starts again");
    site.place.apply(&site.ingress("web-2", "/b", &[]));
    assert_ne!(get(&agent, &site.host(), "/b").expect("an answer").status, 200);
    site.place.server.renew(&site.account).expect("a token");
    site.until_pod(&agent, "/b", "one");
    assert_eq!(get(&agent, &site.host(), "/a").expect("an answer").status, 200);
}

#[test]
fn an_agent_that_starts_first_waits_for_the_api_server() {
    let Some(site) = Site::alone("an_agent_that_starts_first_waits_for_the_api_server") else {
        return;
    };
    let ([one], _pods) = pods(["one"]);
    site.place.apply(&site.service(&[one]));
    site.place.apply(&site.ingress("web", "/a", &[]));
    site.place.server.crash().expect("it runs");
    let mut agent = site.start("a", &[]);
    crate::place::until("it says that it is not ready", || {
        agent.agent().admin("/readyz").is_ok_and(|(status, _)| status == 503)
    });
    site.place.server.restart().expect("it starts again");
    site.until_pod(&agent, "/a", "one");
    assert_eq!(agent.agent().admin("/readyz").expect("an answer").0, 200);
}
