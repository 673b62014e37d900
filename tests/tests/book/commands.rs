//! Every command and manifest of the book, run.

use std::{collections::BTreeMap, path::Path, sync::Mutex, thread};

use regex::Regex;
use testbed::{kubernetes::ApiServer, requirement};

use crate::{
    block::{Block, Command, Kind},
    page::{Page, pages},
    session::{Said, Session},
    tools,
};

/// So many blocks of all may be run by nobody, each with its reason.
pub(crate) const AT_MOST_NOT_RUN: usize = 16;

/// What others wrote and pages use, where Debian has it.
const NEEDED: [&str; 4] =
    ["/usr/bin/curl", "/usr/bin/openssl", "/usr/bin/promtool", "/usr/bin/python3"];

/// The output that a page shows, as an expression: `…` is any text of a line, or, alone, any lines.
fn shown(answer: &[String]) -> Regex {
    let lines = answer.iter().map(|line| match line.trim() {
        "…" => "(?:.*\n)*?".to_owned(),
        _ => {
            let parts: Vec<String> = line.split('…').map(regex::escape).collect();
            format!("{}[ \t]*\n", parts.join(".*"))
        }
    });
    Regex::new(&format!("^{}$", lines.collect::<String>())).expect("an expression")
}

/// Whether a command did what the page says.
fn right(block: &Block, command: &Command, said: &Said) -> bool {
    let mut answer = command.answer.clone();
    while answer.last().is_some_and(String::is_empty) {
        answer.pop();
    }
    (said.code != 0) == block.fails
        && (answer.is_empty() || shown(&answer).is_match(&format!("{}\n", said.output)))
}

/// Gives the commands of a page's blocks of this kind to a shell; what did not go as the page says.
fn play(page: &Page, kind: &Kind, session: &mut Session) -> Vec<String> {
    let mut faults = Vec::new();
    for block in page.blocks() {
        if let Kind::File(name) = &block.kind {
            session.write(name, &block.text);
        }
        if block.kind != *kind {
            continue;
        }
        for command in block.commands() {
            let outcome = session
                .expect(&command.text, block.eventually, |said| right(&block, &command, said));
            if let Err(Said { code, output }) = outcome {
                let Command { text, answer } = command;
                faults.push(format!(
                    "{}: $ {text}\nexit code {code}, and not what the page shows:\n{output}\n\
                     shown is:\n{}\n",
                    block.place(),
                    answer.join("\n"),
                ));
            }
        }
    }
    faults
}

fn has(page: &Page, kind: &Kind) -> bool {
    page.blocks().iter().any(|block| block.kind == *kind)
}

#[test]
fn commands_on_a_machine_do_what_the_pages_say() {
    let test = "commands_on_a_machine_do_what_the_pages_say";
    if !requirement::namespaces(test) {
        return;
    }
    if let Some(missing) = NEEDED.into_iter().find(|program| !Path::new(program).is_file()) {
        return requirement::interop(test, missing);
    }
    let Some(agent) = requirement::agent(test) else { return };
    let agent = agent.canonicalize().expect("it is there");
    let mut faults = Vec::new();
    for page in pages().iter().filter(|page| has(page, &Kind::Machine)) {
        let mut session = Session::machine(&[("penstock", &agent)]);
        faults.extend(play(page, &Kind::Machine, &mut session));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn commands_in_a_cluster_do_what_the_pages_say() {
    let test = "commands_in_a_cluster_do_what_the_pages_say";
    let Some(programs) = requirement::api_server(test) else { return };
    let Some(helm) = requirement::helm(test) else { return };
    let Some(agent) = requirement::agent(test) else { return };
    let [agent, helm] = [agent, helm].map(|path| path.canonicalize().expect("it is there"));
    let kubectl = programs.directory().join("kubectl");
    let programs_of_pages: [(&str, &Path); 3] =
        [("penstock", &agent), ("helm", &helm), ("kubectl", &kubectl)];
    // Pages that install the same release have a server each, all others one together.
    let pages = pages();
    let of_clusters = pages.iter().filter(|page| has(page, &Kind::Cluster));
    let (alone, together): (Vec<_>, Vec<_>) =
        of_clusters.partition(|page| page.text.contains("$ helm install"));
    let mut turns: Vec<Vec<&Page>> = alone.into_iter().map(|page| vec![page]).collect();
    turns.push(together);
    let (turns, faults) = (Mutex::new(turns), Mutex::new(Vec::new()));
    let take_turns = || {
        while let Some(pages) = { turns.lock().expect("nobody panics with it").pop() } {
            let server = ApiServer::start(programs.clone()).expect("an API server");
            for page in pages {
                let mut session = Session::cluster(&programs_of_pages, &server.kubeconfig());
                let found = play(page, &Kind::Cluster, &mut session);
                faults.lock().expect("nobody panics with it").extend(found);
            }
        }
    };
    thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(take_turns))));
    let faults = faults.into_inner().expect("nobody panicked with it");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn tools_that_pages_name_exist() {
    let test = "tools_that_pages_name_exist";
    let Some(agent) = requirement::agent(test) else { return };
    let tools = tools::Tools::new(&agent);
    let mut faults = Vec::new();
    for block in pages().iter().flat_map(Page::blocks).filter(|block| block.kind == Kind::Tool) {
        for command in block.commands() {
            if let Err(fault) = tools.look_up(&command.text) {
                faults.push(format!("{}: {}: {fault}", block.place(), command.text));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Nothing slips through because its block says nothing; and what is not run stays the exception.
#[test]
fn every_block_says_what_becomes_of_it() {
    let blocks: Vec<Block> = pages().iter().flat_map(Page::blocks).collect();
    let unknown: Vec<String> =
        blocks.iter().filter(|block| block.kind == Kind::Unknown).map(Block::place).collect();
    assert!(unknown.is_empty(), "these say not whether they are run: {unknown:#?}");
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for block in &blocks {
        let kind = match &block.kind {
            Kind::Machine => "machine",
            Kind::Cluster => "cluster",
            Kind::Tool => "tool",
            Kind::File(_) => "file",
            Kind::NotRun(reason) => {
                assert!(reason.len() > 10, "{}: no reason", block.place());
                "not run"
            }
            Kind::Shown | Kind::Unknown => "shown",
        };
        *kinds.entry(kind).or_default() += 1;
        let typed = block.text.lines().find(|line| line.starts_with("$ "));
        assert!(kind != "shown" || typed.is_none(), "{}: has a command", block.place());
    }
    let not_run = kinds.get("not run").copied().unwrap_or_default();
    assert!(not_run <= AT_MOST_NOT_RUN, "{not_run} blocks are not run");
    // What the harness finds is what is there: it would find nothing in pages that it misreads.
    assert!(kinds["machine"] >= 20 && kinds["cluster"] >= 8, "{kinds:?}");
}

/// A file of a page's machine is used by a command that follows it.
#[test]
fn every_file_of_a_page_is_used() {
    for page in pages() {
        let blocks = page.blocks();
        for (at, block) in blocks.iter().enumerate() {
            let Kind::File(name) = &block.kind else { continue };
            let folder = name.split('/').next().unwrap_or(name);
            let used = blocks.iter().skip(at + 1).any(|later| {
                matches!(later.kind, Kind::Machine | Kind::Cluster) && later.text.contains(folder)
            }) || blocks.iter().take(at).any(|earlier| {
                // A directory that an agent watches.
                name.contains('/') && earlier.text.contains(folder)
            });
            assert!(used, "{}: nothing is done with {name}", block.place());
        }
    }
}

#[test]
fn what_a_page_shows_is_compared() {
    let shown = |lines: &[&str]| {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        shown(&lines)
    };
    assert!(shown(&["a … c"]).is_match("a b c\n"));
    assert!(!shown(&["a … c"]).is_match("a b d\n"));
    assert!(!shown(&["a"]).is_match("a\nb\n"));
    assert!(shown(&["a", "…"]).is_match("a\nb\nc\n"));
    assert!(shown(&["…", "c"]).is_match("a\nb\nc\n"));
    assert!(!shown(&["…", "x"]).is_match("a\nb\nc\n"));
    assert!(!shown(&["a.c"]).is_match("abc\n"));
}
