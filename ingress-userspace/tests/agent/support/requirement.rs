//! A test that cannot run on this machine says so where nobody overlooks it.

use std::{env, fs::OpenOptions, io::Write as _};

/// Says that `test` is skipped, and to `cargo xtask test` as well, which counts those.
///
/// # Panics
/// When `PENSTOCK_REQUIRE` lists `requirement`.
pub(crate) fn skip(test: &str, requirement: &str, reason: &str) {
    let required = env::var("PENSTOCK_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|word| word.trim() == requirement),
        "{test} {reason}, and PENSTOCK_REQUIRE={required}",
    );
    // Not `eprintln!`, whose output libtest hides when a test passes.
    let line = format!("{test}: {reason}\n");
    std::io::stderr().write_all(format!("SKIPPED {line}").as_bytes()).expect("standard error");
    if let Some(path) = env::var_os("PENSTOCK_SKIPPED") {
        let file = OpenOptions::new().append(true).create(true).open(path);
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        assert!(written.is_ok(), "cannot note that {test} was skipped: {written:?}");
    }
}
