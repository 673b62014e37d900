//! The web application firewall: rules of ModSecurity's language, run by the crate `zentinel-modsec`
//! over requests. What that crate would ignore or get wrong without a word is refused here, by name
//! and line: rules that look as if they protected, and do not, are worse than none.
//!
//! ```text
//! text ─ tokens ─ directives ─→ RuleSet ─→ Engine ── Request ─→ Outcome
//!          core_rules (a directory, proved by attacks) ┘
//! ```
#![forbid(unsafe_code)]

mod attacks;
mod body;
mod core_rules;
mod directives;
mod document;
mod engine;
mod library;
mod request;
mod settings;
mod tokens;

#[cfg(test)]
mod tests;

pub use core_rules::{CoreRules, CoreRulesError};
pub use directives::{Fault, Note};
pub use library::{Library, Part, RuleSet, RuleSetError};
pub(crate) use request::{Body, Match, Outcome, Request, Verdict, lossy};
pub use settings::{Mode, OnLimit, Settings};
