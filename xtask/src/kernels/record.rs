//! How many instructions the verifiers looked at: what tests compare with, and people read.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::report::Report;
use crate::workspace;

/// The head of the table in `docs/kernel-tier.md`.
const HEAD: &str = "| program |";

/// For each series of kernels, the instructions of each program.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Record(BTreeMap<String, BTreeMap<String, u32>>);

impl Record {
    /// What was written down last.
    pub(super) fn read() -> Result<Self> {
        let path = path();
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Replaces what is known of the report's kernel.
    pub(super) fn add(&mut self, report: &Report) -> Result<()> {
        let mut numbers = report.release.split('.');
        let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else {
            anyhow::bail!("{:?} is no release of Linux", report.release);
        };
        let programs = report.programs.iter().filter_map(|line| {
            let (name, rest) = line.split_once(": ")?;
            let (count, _) = rest.split_once(" instructions verified")?;
            Some((name.to_owned(), count.parse().ok()?))
        });
        self.0.insert(format!("{major}.{minor}"), programs.collect());
        Ok(())
    }

    /// Writes it down, for tests and for people.
    pub(super) fn write(&self) -> Result<()> {
        let path = path();
        fs::write(&path, serde_json::to_string_pretty(self)? + "\n")
            .with_context(|| path.display().to_string())?;
        let path = workspace::root().join("docs/kernel-tier.md");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let text = self.within(&text).context("docs/kernel-tier.md lacks the table")?;
        fs::write(&path, text).with_context(|| path.display().to_string())
    }

    /// The document with this table in the place of its own.
    fn within(&self, text: &str) -> Option<String> {
        let start = text.find(HEAD)?;
        let (before, rest) = text.split_at(start);
        let end = rest.find("\n\n")?;
        Some(format!("{before}{}{}", self.table(), rest.split_at(end).1))
    }

    fn table(&self) -> String {
        let mut series: Vec<&String> = self.0.keys().collect();
        // Newest first.
        series.sort_by_key(|name| {
            let numbers: Vec<u32> = name.split('.').filter_map(|n| n.parse().ok()).collect();
            std::cmp::Reverse(numbers)
        });
        let names: std::collections::BTreeSet<&String> =
            self.0.values().flat_map(BTreeMap::keys).collect();
        let mut table = HEAD.to_owned();
        for name in &series {
            table += &format!(" {name} |");
        }
        table += "\n|---|";
        table += &"---|".repeat(series.len());
        for name in names {
            table += &format!("\n| `{name}` |");
            for kernel in &series {
                let count = self.0.get(*kernel).and_then(|programs| programs.get(name));
                table +=
                    &count.map_or(" – |".to_owned(), |count| format!(" {} |", grouped(*count)));
            }
        }
        table
    }
}

fn path() -> PathBuf {
    workspace::root().join("docs/benchmarks/verifier.json")
}

/// `1,234,567`.
fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_becomes_a_column() {
        let mut record = Record::default();
        for (release, count) in [("6.12.107+deb13", 1_234_567), ("6.1.0-50", 12)] {
            let log = format!(
                "@@ release {release}\n\
                 @@ program xdp_steer: {count} instructions verified, 9 bytes\n"
            );
            record.add(&Report::read(&log)).unwrap();
        }
        let table = "| program | 6.12 | 6.1 |\n|---|---|---|\n| `xdp_steer` | 1,234,567 | 12 |";
        assert_eq!(record.table(), table);
        let text = "before\n\n| program | old |\n|---|---|\n| x | 1 |\n\nbehind\n";
        assert_eq!(record.within(text).unwrap(), format!("before\n\n{table}\n\nbehind\n"));
    }

    #[test]
    fn the_document_shows_what_is_on_record() {
        let record: Record =
            serde_json::from_str(include_str!("../../../docs/benchmarks/verifier.json")).unwrap();
        let document = include_str!("../../../docs/kernel-tier.md");
        assert_eq!(record.within(document).unwrap(), document);
    }
}
