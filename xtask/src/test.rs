//! `cargo xtask test`: every check and every test, with a count of those that could not run.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{
    bench,
    build::{self, OBJECT_VARIABLE, Profile},
    image, lint, setup, step, workspace,
};

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Skip formatting and lints.
    #[arg(long)]
    no_lint: bool,
    /// Also count the agent's instructions per request and hold them against the record, as
    /// continuous integration does: takes some minutes more.
    #[arg(long)]
    instructions: bool,
    /// Only this binary of tests, such as `cluster` or `steering`.
    #[arg(long = "test", value_name = "BINARY")]
    binary: Option<String>,
    /// Only tests whose name contains this.
    filter: Option<String>,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    setup::cluster_in_a_box()?;
    // Where nothing requires them, tests say that they are skipped for want of these.
    if required("interop") || required("sslscan") {
        setup::interop()?;
    }
    if required("apiserver") || required("nodes") {
        setup::kubernetes()?;
    }
    let mut companions = setup::found_companions();
    if required("nodes") {
        setup::nodes()?;
        companions = setup::companions()?;
    }
    let object = build::object(false)?;
    if !arguments.no_lint {
        lint::lint(Some(&object))?;
    }
    let agent = build::agent(Profile::Dev, &object)?;
    // What a cluster's nodes run. It takes a build of its own: the image has no libraries.
    let image = match required("nodes") {
        true => Some(image::archive(Profile::Dev)?),
        false => None,
    };

    // Each skipped test appends a line, for libtest knows no third outcome.
    let skipped = workspace::logs()?.join("skipped");
    fs::write(&skipped, "").with_context(|| skipped.display().to_string())?;
    let mut command = Command::new(workspace::cargo());
    command
        .args(["test", "--locked", "--workspace", "--no-fail-fast"])
        .args(arguments.binary.iter().flat_map(|binary| ["--test", binary]))
        .args(&arguments.filter)
        .current_dir(workspace::root())
        .env(OBJECT_VARIABLE, &object)
        .env("PENSTOCK_AGENT", &agent)
        .env("PENSTOCK_SKIPPED", &skipped);
    // Where nothing requires it, tests say that they are skipped for want of it.
    command.envs(image.map(|image| ("PENSTOCK_IMAGE", image)));
    command.envs(companions);
    let helm = if required("helm") || required("nodes") {
        Some(setup::helm()?)
    } else {
        setup::found_helm()
    };
    command.envs(helm.map(|helm| ("PENSTOCK_HELM", helm)));
    let tally = tally(&mut command)?;
    let skipped = fs::read_to_string(&skipped).unwrap_or_default();

    step::say("");
    for line in skipped.lines() {
        step::say(&format!("  SKIPPED {line}"));
    }
    let skipped = skipped_tests(&skipped);
    step::say(&format!(
        "{} tests passed, {} failed, {} ignored, {skipped} skipped",
        tally.passed.saturating_sub(skipped),
        tally.failed,
        tally.ignored,
    ));
    // Said even where a test failed: the two are found out in one run.
    let counted = if arguments.instructions { bench::instructions() } else { Ok(()) };
    if !tally.success {
        bail!("the tests failed");
    }
    counted
}

/// How many tests these lines are about, `test: what it needs` each: a test that has several parts
/// may skip several.
fn skipped_tests(lines: &str) -> usize {
    let tests = lines.lines().map(|line| line.split_once(": ").map_or(line, |(test, _)| test));
    tests.collect::<BTreeSet<_>>().len()
}

/// Whether `PENSTOCK_REQUIRE` lists this word.
fn required(word: &str) -> bool {
    let list = std::env::var("PENSTOCK_REQUIRE").unwrap_or_default();
    list.split(',').any(|own| own.trim() == word)
}

/// How many tests ended how.
#[derive(Default)]
pub(crate) struct Tally {
    /// Those that passed.
    pub(crate) passed: usize,
    /// Those that failed.
    pub(crate) failed: usize,
    ignored: usize,
    success: bool,
}

/// Runs cargo's tests, shows their output and adds up what each binary says at its end.
fn tally(command: &mut Command) -> Result<Tally> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot run cargo test")?;
    let output = child.stdout.take().expect("stdout is piped");
    let mut tally = Tally::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("lost the output of cargo test")?;
        let line = String::from_utf8_lossy(&line);
        step::say(&line);
        tally.add(&line);
    }
    tally.success = child.wait().context("lost cargo test")?.success();
    Ok(tally)
}

impl Tally {
    /// Adds `test result: ok. 4 passed; 0 failed; 1 ignored; ...`; other lines count nothing.
    pub(crate) fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let Some((_, counts)) = result.split_once(". ") else { return };
        for count in counts.split("; ") {
            match count.split_once(' ').map(|(n, what)| (n.parse().unwrap_or(0), what)) {
                Some((n, "passed")) => self.passed += n,
                Some((n, "failed")) => self.failed += n,
                Some((n, "ignored")) => self.ignored += n,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_with_several_skipped_parts_is_one() {
        let lines =
            "backends_agree: needs nginx\nbackends_agree: needs node\na_scan: needs: root\n";
        assert_eq!(skipped_tests(lines), 2);
        assert_eq!(skipped_tests(""), 0);
    }

    #[test]
    fn results_add_up() {
        let mut tally = Tally::default();
        tally.add("test result: ok. 4 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out");
        tally.add("test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out");
        tally.add("test passed ... ok");
        assert_eq!((tally.passed, tally.failed, tally.ignored), (6, 3, 1));
    }
}
