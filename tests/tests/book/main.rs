//! The book: every page of `docs/` and the documents beside it. It is built as readers get it, every link
//! and anchor in it leads somewhere, and every command and manifest in it is run, or says why not.
//!
//! What a fenced block is, its first line says after the language, where neither mdBook nor a forge shows
//! it:
//!
//! | after the language | what the tests do with the block |
//! |---|---|
//! | `machine` | runs its commands, lines that begin with `$ `, on a machine of the page's own: namespaces with nothing but a loopback, and `penstock` in the path. What follows a command is what it has to print |
//! | `cluster` | the same beside an API server, with kubectl and helm |
//! | `tool` | finds the commands and flags of `cargo xtask`, and the tests that `cargo test` is to run |
//! | `file=NAME` | writes it into a file of that name, for both of the above |
//! | `reason="…"` | nothing, and why. There may be [few](commands::AT_MOST_NOT_RUN) |
//! | `shown` | nothing: no command, no manifest |
//!
//! Further words: `eventually`, commands are given again until they print what they have to; `fails`, their
//! exit code is not 0. A comment `<!-- machine` or `<!-- cluster` has commands that readers need not see.
//! Blocks of a page are run in the order in which they stand there.
//!
//! `PENSTOCK_AGENT=target/debug/penstock cargo test -p penstock-tests --test book` runs them;
//! `cargo xtask book` builds the book for people.
#![forbid(unsafe_code)]

mod block;
mod commands;
mod links;
mod page;
mod render;
mod session;
mod tools;
