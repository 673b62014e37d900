//! What a table of cases came to.

use std::{env, fs::OpenOptions, io::Write as _};

/// Rows and whether each holds.
pub(crate) struct Report {
    suite: &'static str,
    rows: usize,
    failed: Vec<String>,
}

impl Report {
    /// Without a name, a table that is run for something else than its rows.
    pub(crate) fn new(suite: &'static str) -> Self {
        Self { suite, rows: 0, failed: Vec::new() }
    }

    /// Notes a row: `Err` says what was seen instead of what is right.
    pub(crate) fn row(&mut self, name: &str, result: Result<(), String>) {
        self.rows += 1;
        let word = match &result {
            Ok(()) => "ok".to_owned(),
            Err(why) => format!("FAILED\t{}", why.replace(['\n', '\t'], " ")),
        };
        if let Some(path) = env::var_os("PENSTOCK_PROOF_REPORT").filter(|_| !self.suite.is_empty())
        {
            let file = OpenOptions::new().append(true).create(true).open(path);
            // In one write, for tests that run at the same time append too.
            let line = format!("{}\t{name}\t{word}\n", self.suite);
            file.and_then(|mut file| file.write_all(line.as_bytes()))
                .expect("the report can be written");
        }
        if let Err(why) = result {
            self.failed.push(format!("{name}: {why}"));
        }
    }

    /// Fails if a row did.
    pub(crate) fn end(self) {
        assert!(self.rows > 0, "{} has no rows", self.suite);
        assert!(
            self.failed.is_empty(),
            "{}: {} of {} rows do not hold:\n  {}",
            self.suite,
            self.failed.len(),
            self.rows,
            self.failed.join("\n  "),
        );
    }
}
