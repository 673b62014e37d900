//! How the demo looks: headings, tables and bars; colours only on a terminal.

use std::io::{self, IsTerminal, Write};

/// What a piece of text means, and so its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Text like any other.
    Plain,
    /// As it should be.
    Good,
    /// Worth a look.
    Bad,
    /// Less important than the rest.
    Faint,
    /// Begins something.
    Heading,
}

/// A piece of text in its colour.
pub(crate) fn tinted(text: &str, tone: Tone) -> String {
    let code = match tone {
        Tone::Plain => return text.to_owned(),
        Tone::Good => 32,
        Tone::Bad => 31,
        Tone::Faint => 2,
        Tone::Heading => 1,
    };
    match io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    }
}

/// A line.
pub(crate) fn say(line: &str) {
    // Whoever has closed the pipe does not want to know.
    let _ = writeln!(io::stdout(), "{line}");
}

/// The beginning of a part, with what it is about.
pub(crate) fn heading(title: &str, about: &str) {
    say(&format!("\n{}  {}", tinted(title, Tone::Heading), tinted(about, Tone::Faint)));
}

/// A cell of a table.
pub(crate) type Cell = (String, Tone);

/// Rows below their heads, columns as wide as their widest cell.
pub(crate) fn table(heads: &[&str], rows: &[Vec<Cell>]) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|(text, _)| text.as_str());
        cells.chain([heads[column]]).map(|text| text.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let heads: Vec<Cell> = heads.iter().map(|head| ((*head).to_owned(), Tone::Faint)).collect();
    for row in std::iter::once(&heads).chain(rows) {
        let mut line = String::from(" ");
        for ((text, tone), width) in row.iter().zip(&widths) {
            let padding = " ".repeat(width - text.chars().count());
            line += &format!(" {}{padding} ", tinted(text, *tone));
        }
        say(line.trim_end());
    }
}

/// A bar of this share of its full length.
pub(crate) fn bar(share: f64) -> String {
    const FULL: f64 = 60.0;
    let length = (share.clamp(0.0, 1.0) * FULL).round();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 60")]
    "█".repeat(length as usize)
}
