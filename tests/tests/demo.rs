//! The demo itself, as `cargo xtask demo` runs it.
#![forbid(unsafe_code)]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use testbed::requirement;

fn demo(agent: &Path, object: Option<&Path>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
    let manifests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy").join("demo");
    command.arg("demo").arg("--agent").arg(agent).arg("--manifests").arg(manifests);
    match object {
        Some(object) => command.arg("--object").arg(object),
        None => command.arg("--no-l4"),
    };
    command
}

/// What the command prints; it must succeed.
fn printed(mut command: Command) -> String {
    let output = command.output().expect("the demo runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}:\n{text}{errors}", output.status);
    text
}

/// Each URL's row: Ingress, the beginning of the pod's name, status, the path that the pod saw.
const ROWS: &[[&str; 5]] = &[
    ["http://play.example.com/lobby", "rooms/rooms", "lobby-", "200", "/"],
    ["http://play.example.com/room", "rooms/rooms", "room-", "200", "/"],
    ["http://play.example.com/chat", "rooms/rooms", "chat-", "200", "/"],
    ["http://play.example.com/ranking/today", "rooms/rooms", "ranking-a", "200", "/"],
    ["http://shop.example.com/", "shop/front", "front-", "200", "/"],
    ["http://shop.example.com/api/items?page=2", "shop/api", "api-", "200", "/items?page=2"],
    ["http://shop.example.com/apiary", "shop/front", "front-", "200", "/apiary"],
    ["http://blue.example.com/", "sites/sites", "blue-a", "200", "/"],
    ["http://green.example.com/", "sites/sites", "green-a", "200", "/"],
    ["http://red.example.com/", "sites/sites", "other-", "200", "/"],
    ["http://nobody.example.net/", "fallback/fallback", "catch-all-", "200", "/"],
    ["http://secure.example.com/vault", "secure/secure", "-", "308", "https://secure.example.com"],
    ["https://secure.example.com/vault", "secure/secure", "vault-", "200", "/vault"],
];

fn every_row_is_there(page: &str) {
    for row in ROWS {
        let line = page.lines().find(|line| line.split_whitespace().next() == Some(row[0]));
        assert!(line.is_some(), "no row for {}:\n{page}", row[0]);
        let line = line.unwrap_or_default();
        let mut words = line.split_whitespace().skip(1);
        for expected in &row[1..] {
            assert!(words.any(|word| word.starts_with(expected)), "{row:?} is not in\n{line}");
        }
    }
}

#[test]
fn one_agent_on_the_loopback_shows_every_ingress() {
    let test = "one_agent_on_the_loopback_shows_every_ingress";
    let Some(agent) = requirement::agent(test) else { return };
    every_row_is_there(&printed(demo(&agent, None)));
}

#[test]
fn the_cluster_shows_every_ingress_and_survives_the_kill() {
    let test = "the_cluster_shows_every_ingress_and_survives_the_kill";
    let Some(binaries) = requirement::cluster(test) else { return };
    let page = printed(demo(&binaries.agent, Some(&binaries.object)));
    every_row_is_there(&page);
    for word in ["n1 ", "n2 ", "n3 ", "pass", "forward", "new connections", "restarted"] {
        assert!(page.contains(word), "{word} is not in\n{page}");
    }
    assert!(!page.contains("for no good reason"), "{page}");
}

#[test]
fn ctrl_c_takes_everything_away() {
    let Some(binaries) = requirement::cluster("ctrl_c_takes_everything_away") else { return };
    let mut command = demo(&binaries.agent, Some(&binaries.object));
    let mut child = command.arg("--keep").stdout(Stdio::piped()).spawn().expect("the demo runs");
    let mut page = String::new();
    let output = BufReader::new(child.stdout.take().expect("stdout is piped"));
    for line in output.lines() {
        page += &line.expect("text");
        page += "\n";
        if page.contains("By hand") && page.contains("logs") {
            break;
        }
    }
    let box_name = format!("penstock-{:x}-", child.id());
    assert!(leftovers(&box_name) > 0, "nothing was there:\n{page}");
    let agents = agents(&child);
    assert_eq!(agents.len(), 3);

    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).expect("the demo still runs");
    let status = child.wait().expect("the demo ends");
    assert_eq!(status.code(), Some(130), "as a shell reports a process that Ctrl-C ended");
    assert_eq!(leftovers(&box_name), 0);
    assert!(!Path::new(&format!("/run/penstock-box/{:x}-0", child.id())).exists());
    // A killed process may take a moment to end.
    let deadline = Instant::now() + Duration::from_secs(10);
    while agents.iter().any(|agent| runs(*agent)) {
        assert!(Instant::now() < deadline, "one of the agents {agents:?} still runs");
        thread::yield_now();
    }
}

/// Whether an agent has this process number.
fn runs(process: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    state.contains("(penstock) ") && !state.contains("(penstock) Z")
}

/// How many namespaces have such a name.
fn leftovers(prefix: &str) -> usize {
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)).count()
}

/// The processes that the demo has started and not ended.
fn agents(demo: &Child) -> Vec<u32> {
    let children = format!("/proc/{0}/task/{0}/children", demo.id());
    let children = fs::read_to_string(children).expect("the demo runs");
    children.split_whitespace().map(|id| id.parse().expect("a number")).collect()
}
