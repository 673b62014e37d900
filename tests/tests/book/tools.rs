//! Commands that build, test or measure: too slow to run, but whether they exist can be asked.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::page::repository;

/// The programs that say what commands there are.
pub(crate) struct Tools {
    agent: PathBuf,
    xtask: PathBuf,
}

impl Tools {
    pub(crate) fn new(agent: &Path) -> Self {
        // `cargo xtask test` was built to run us, beside the tests.
        let tests = env::current_exe().expect("we run");
        let built = tests.ancestors().nth(2).expect("target/debug/deps").join("xtask");
        assert!(built.is_file(), "there is no {}: `cargo build -p xtask`", built.display());
        Self { agent: agent.to_owned(), xtask: built }
    }

    /// Whether all of a line exists.
    pub(crate) fn look_up(&self, line: &str) -> Result<(), String> {
        let line = line.split(" # ").next().unwrap_or(line).replace("\\\n", " ");
        line.split("&&").try_for_each(|command| self.look_up_one(command))
    }

    fn look_up_one(&self, command: &str) -> Result<(), String> {
        let mut words: Vec<&str> = command.split_whitespace().collect();
        let is_variable = |word: &&str| word.contains('=') && !word.starts_with('-');
        while words.first().is_some_and(is_variable) {
            words.remove(0);
        }
        match words[..] {
            ["export", ..] => Ok(()),
            ["cargo", "xtask", ref rest @ ..] => self.xtask(rest),
            ["cargo", "test", ref rest @ ..] => test(rest),
            ["cargo", "build", "-p", package, ..] => member(package).map(drop),
            _ => Err("not a tool that is known".to_owned()),
        }
    }

    /// A command of ours, its flags, and those of `penstock run` behind `--`.
    fn xtask(&self, words: &[&str]) -> Result<(), String> {
        let end = words.iter().position(|word| *word == "--").unwrap_or(words.len());
        let (words, rest) = words.split_at(end);
        let mut path: Vec<&str> = Vec::new();
        let mut help = help(&self.xtask, &path)?;
        for word in words {
            if let Some(flag) = word.strip_prefix("--") {
                flags(&help, &[flag])?;
            } else if subcommands(&help).contains(word) {
                path.push(word);
                // What follows is another program's, `--help` too.
                if matches!(path[..], ["cluster", "kubectl" | "exec"]) {
                    return Ok(());
                }
                help = crate::tools::help(&self.xtask, &path)?;
            } else if help.contains("<COMMAND>") {
                return Err(format!("{path:?} has no {word:?}"));
            }
        }
        let Some((_, rest)) = rest.split_first() else { return Ok(()) };
        let given: Vec<&str> = rest.iter().filter_map(|word| word.strip_prefix("--")).collect();
        flags(&crate::tools::help(&self.agent, &["run"])?, &given)
    }
}

/// What a command says of itself.
fn help(program: &Path, path: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(path).arg("--help").output();
    let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn subcommands(help: &str) -> Vec<&str> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    lines.filter_map(|line| line.split_whitespace().next()).collect()
}

fn flags(help: &str, flags: &[&str]) -> Result<(), String> {
    for flag in flags {
        let name = flag.split('=').next().unwrap_or(flag);
        let known =
            help.split(|character: char| !(character.is_alphanumeric() || character == '-'));
        if !known.into_iter().any(|word| word.strip_prefix("--") == Some(name)) {
            return Err(format!("there is no --{name}"));
        }
    }
    Ok(())
}

/// The folder of a package.
fn member(package: &str) -> Result<PathBuf, String> {
    let folder = repository().join(package.strip_prefix("penstock-").unwrap_or(package));
    folder.join("Cargo.toml").is_file().then_some(folder).ok_or(format!("no package {package}"))
}

/// Whether `cargo test` would find what it is to run.
fn test(words: &[&str]) -> Result<(), String> {
    let after = |flag: &str| words.iter().skip_while(|word| **word != flag).nth(1).copied();
    let folder = member(after("-p").ok_or("of which package?")?)?;
    let sources = match after("--test") {
        Some(name) => folder.join("tests").join(name),
        None => folder.join("src"),
    };
    if !sources.exists() && !sources.with_extension("rs").exists() {
        return Err(format!("there is no {}", sources.display()));
    }
    let own = words.iter().enumerate().filter(|(at, word)| {
        let value = *at > 0 && matches!(words[at - 1], "-p" | "--test" | "--profile");
        !value && !word.starts_with('-')
    });
    for (_, filter) in own {
        let name = filter.rsplit("::").next().unwrap_or(filter);
        if !names(&sources, name) {
            return Err(format!("{} has no test {name}", sources.display()));
        }
    }
    Ok(())
}

/// Whether a function or module below a folder has this in its name.
fn names(folder: &Path, wanted: &str) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.filter_map(Result::ok).map(|entry| entry.path()).any(|path| {
        let stem = path.file_stem().is_some_and(|stem| stem.to_string_lossy().contains(wanted));
        if path.is_dir() {
            return stem || names(&path, wanted);
        }
        stem || fs::read_to_string(&path).is_ok_and(|text| {
            text.lines()
                .filter_map(|line| line.trim().trim_start_matches("async ").strip_prefix("fn "))
                .any(|name| name.split('(').next().is_some_and(|name| name.contains(wanted)))
        })
    })
}

#[test]
fn a_test_that_is_gone_is_found() {
    let line = |filter| ["-p", "penstock-tests", "--test", "book", "--", filter];
    assert_eq!(test(&line("a_test_that_is_gone")), Ok(()));
    let gone = ["a_test_that", "was_never_there"].join("_");
    assert!(test(&line(&gone)).is_err());
    assert!(test(&["-p", "nobody"]).is_err());
}
