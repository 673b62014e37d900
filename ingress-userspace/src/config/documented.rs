//! `docs/flags.md`, made from the flags themselves, so that it cannot say anything else.

use std::fmt::Write as _;

use clap::{Args as _, Command};

use super::{
    flags::RunFlags,
    ignored::{self, Shape},
};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/flags.md");

fn rendered() -> String {
    let mut text = "# Flags of `penstock run`\n\n\
        Made from the code by `PENSTOCK_WRITE_DOCS=1 cargo test -p ingress-userspace flags_document`; \
        a test fails if it is stale.\n\n\
        Flags that ingress-nginx has keep their names, in both of Go's styles (`--flag=value`, \
        `-flag value`). A fault in any of them ends the agent with exit code 2, and names all \
        faults at once.\n\n\
        | flag | default | meaning |\n|---|---|---|\n"
        .to_owned();
    let command = RunFlags::augment_args(Command::new("run"));
    for flag in command.get_arguments().filter(|flag| !flag.is_hide_set()) {
        let Some(name) = flag.get_long() else { continue };
        let value = flag.get_value_names().map_or(String::new(), |names| names.join(" "));
        let default = flag
            .get_default_values()
            .iter()
            .map(|value| format!("`{}`", value.to_string_lossy()))
            .collect::<Vec<_>>()
            .join(" ");
        let environment = flag
            .get_env()
            .map_or(String::new(), |name| format!(" (variable `{}`)", name.to_string_lossy()));
        let help = flag.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|");
        let value = value.replace('|', "\\|");
        let _ = writeln!(text, "| `--{name} {value}` | {default} | {help}{environment} |");
    }
    text.push_str(
        "\n## Accepted and without effect\n\n\
         Flags of ingress-nginx that mean nothing to this version. Each is accepted with one line \
         of warning.\n\n| flag | because |\n|---|---|\n",
    );
    for (name, shape) in ignored::FLAGS {
        let value = if *shape == Shape::Value { " VALUE" } else { "" };
        let warning = ignored::warning(name);
        let because = warning.split_once(": ").map_or("", |(_, because)| because);
        let _ = writeln!(text, "| `--{name}{value}` | {because} |");
    }
    text
}

#[test]
fn the_flags_document_is_up_to_date() {
    let wanted = rendered();
    if std::env::var_os("PENSTOCK_WRITE_DOCS").is_some() {
        std::fs::write(PATH, &wanted).expect("docs is writable");
    }
    let found = std::fs::read_to_string(PATH).expect("docs/flags.md is there");
    assert!(found == wanted, "docs/flags.md is stale: see its second paragraph");
}
