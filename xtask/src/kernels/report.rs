//! What a kernel said of the programs, the agent and the tests.

use super::Expectation;
use crate::{step, test::Tally};

/// What was printed under a kernel, taken apart.
#[derive(Default)]
pub(super) struct Report {
    /// `uname -r`.
    pub(super) release: String,
    /// A line for each program: its name, and what the verifier thought of it.
    pub(super) programs: Vec<String>,
    /// The exit code of the verification.
    verify: Option<i32>,
    /// The agent's exit code.
    agent: Option<i32>,
    /// The agent's error.
    error: Option<String>,
    /// The exit code of what is tried with tc.
    tc: Option<i32>,
    /// The exit code of the packet tests.
    packet: Option<i32>,
    tally: Tally,
    /// Whether the end was reached.
    end: bool,
}

impl Report {
    /// Reads what came over the serial line.
    pub(super) fn read(log: &str) -> Self {
        let mut report = Self::default();
        for line in log.lines().map(str::trim_end) {
            let (key, value) =
                line.strip_prefix("@@ ").map_or(("", ""), |l| l.split_once(' ').unwrap_or((l, "")));
            match key {
                "release" => value.clone_into(&mut report.release),
                "program" => report.programs.push(value.to_owned()),
                "verify" => report.verify = value.parse().ok(),
                "agent" => report.agent = value.parse().ok(),
                "tc" => report.tc = value.parse().ok(),
                "packet" => report.packet = value.parse().ok(),
                "end" => report.end = true,
                _ => {
                    report.tally.add(line);
                    if line.contains("steering needs Linux") {
                        report.error = Some(line.to_owned());
                    }
                }
            }
        }
        report
    }

    /// Prints it.
    pub(super) fn show(&self, series: &str) {
        self.show_programs(series);
        if let Some(error) = &self.error {
            step::say(&format!("    {error}"));
        }
        let code = |code: Option<i32>| code.map_or("-".to_owned(), |code| code.to_string());
        step::say(&format!("    agent's exit code {}", code(self.agent)));
        if self.tc.is_some() {
            step::say(&format!("    exit code with tc {}", code(self.tc)));
        }
        if self.packet.is_some() {
            let Tally { passed, failed, .. } = self.tally;
            step::say(&format!("    {passed} packet tests passed, {failed} failed"));
        }
    }

    /// Prints what the verifier thought.
    pub(super) fn show_programs(&self, series: &str) {
        step::say(&format!("Linux {series} ({})", self.release));
        for program in &self.programs {
            step::say(&format!("    {program}"));
        }
    }

    /// Whether it is what must come; else why not.
    pub(super) fn judge(&self, expectation: Expectation, quick: bool) -> Result<(), &'static str> {
        let wrong = match expectation {
            _ if !self.end => "did not come to its end",
            Expectation::Steers if self.verify != Some(0) => "refuses a program",
            Expectation::Steers if self.agent != Some(0) => "the agent could not load the programs",
            Expectation::Steers if self.tc != Some(0) => "tc's program does not come and go",
            Expectation::Steers if !quick && (self.packet != Some(0) || self.tally.passed == 0) => {
                "packet tests failed"
            }
            Expectation::Refused if self.agent != Some(3) => "the agent did not end with 3",
            Expectation::Refused if self.error.is_none() => "the agent does not say why",
            _ => return Ok(()),
        };
        Err(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_does_all_is_good() {
        let log = "@@ release 6.1.0-50-cloud-amd64\r\n@@ program xdp_steer: 1 instruction\r\n\
                   @@ verify 0\r\n@@ agent 0\r\n@@ tc 0\r\n\
                   test result: ok. 9 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\r\n\
                   @@ packet 0\r\n@@ end\r\n";
        assert_eq!(Report::read(log).judge(Expectation::Steers, false), Ok(()));
        assert!(Report::read(log).judge(Expectation::Refused, false).is_err());
        for line in
            ["@@ verify 0\r\n", "@@ agent 0\r\n", "@@ tc 0\r\n", "@@ packet 0\r\n", "@@ end\r\n"]
        {
            assert!(
                Report::read(&log.replace(line, "")).judge(Expectation::Steers, false).is_err()
            );
        }
    }

    #[test]
    fn an_old_kernel_must_be_refused_with_a_reason() {
        let log = "@@ verify 1\nerror: steering needs Linux 6.1 or later, and this is 5.10\n\
                   @@ agent 3\n@@ end\n";
        assert_eq!(Report::read(log).judge(Expectation::Refused, false), Ok(()));
        let without = log.replace("steering needs", "");
        assert!(Report::read(&without).judge(Expectation::Refused, false).is_err());
    }
}
