//! Peers that cannot do what a case asks for. They drop out of that case, which says so, and the run
//! goes on; but what was asked for by name, and our own programs, must do it.

use anyhow::{Context, Result};

use super::peer::Name;
use crate::step;

/// Whether a proxy must do every case: ours, and those that are `asked` for by name.
pub(super) fn must(name: Name, asked: bool) -> bool {
    asked || name == Name::Penstock
}

/// A peer that dropped out, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) name: &'static str,
    /// On one line.
    pub(super) why: String,
}

/// The peers that dropped out of a case.
#[derive(Debug, Default)]
pub(super) struct Failures(Vec<Failure>);

impl Failures {
    /// What a contender's step came to; `None`: it dropped out by this.
    ///
    /// # Errors
    /// The step's error, where the contender `must` succeed.
    pub(super) fn judge<T>(
        &mut self,
        name: &'static str,
        must: bool,
        result: Result<T>,
    ) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if must => Err(error).context(name),
            Err(error) => {
                let why = format!("{error:#}");
                let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
                let failure = Failure { name, why };
                step::say(&format!("  {}; it is left out of this case", failure.line()));
                self.0.push(failure);
                Ok(None)
            }
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|failure| failure.name == name)
    }

    pub(super) fn finish(self) -> Vec<Failure> {
        self.0
    }
}

impl Failure {
    pub(super) fn line(&self) -> String {
        format!("{}: failed: {}", self.name, self.why)
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn broken() -> Result<u32> {
        Err(anyhow!("WebSocket 31:\n  refused")).context("5000 WebSockets")
    }

    #[test]
    fn a_peer_that_fails_drops_out_and_the_run_goes_on() {
        let mut failures = Failures::default();
        assert_eq!(failures.judge("nginx", false, Ok(1)).unwrap(), Some(1));
        assert_eq!(failures.judge("caddy", false, broken()).unwrap(), None);
        assert!(failures.has("caddy") && !failures.has("nginx"));
        let lines: Vec<_> = failures.finish().iter().map(Failure::line).collect();
        assert_eq!(lines, ["caddy: failed: 5000 WebSockets: WebSocket 31: refused"]);
    }

    #[test]
    fn only_a_peer_that_nobody_asked_for_may_fail() {
        assert!(must(Name::Penstock, false) && must(Name::Penstock, true));
        assert!(!must(Name::Caddy, false) && must(Name::Caddy, true));
    }

    #[test]
    fn what_must_succeed_ends_the_run() {
        let mut failures = Failures::default();
        assert_eq!(failures.judge("Penstock", true, Ok(1)).unwrap(), Some(1));
        let error = failures.judge("Penstock", true, broken()).unwrap_err();
        let said = format!("{error:#}");
        assert!(said.starts_with("Penstock: 5000 WebSockets"), "{said}");
        assert_eq!(failures.finish(), []);
    }
}
