//! Columns for people.

use unicode_width::UnicodeWidthStr as _;

use super::{
    screen::{Screen, Tone},
    text::plain,
};

/// Between two columns.
const GAP: usize = 3;

/// Rows under a line of headings.
#[derive(Debug)]
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

/// One place of a table.
#[derive(Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// Whatever the text holds is shown, and nothing of it is obeyed.
    pub(crate) fn new(text: impl AsRef<str>) -> Self {
        Self { text: plain(text.as_ref()), tone: Tone::Usual }
    }

    pub(crate) fn toned(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }
}

impl Table {
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    /// As many cells as there are headings.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// As text; no line has spaces at its end.
    pub(super) fn lines(&self, screen: &Screen<'_>) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let widest = cells.map(|cell| cell.text.width()).max().unwrap_or(0);
            widest.max(self.headings.get(column).map_or(0, |heading| heading.width()))
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let mut text = String::new();
        let headings = self.headings.iter().map(|heading| (*heading, Tone::Aside));
        line(&mut text, screen, &widths, headings);
        for row in &self.rows {
            line(&mut text, screen, &widths, row.iter().map(|cell| (&*cell.text, cell.tone)));
        }
        text
    }
}

fn line<'c>(
    text: &mut String,
    screen: &Screen<'_>,
    widths: &[usize],
    cells: impl Iterator<Item = (&'c str, Tone)>,
) {
    let mut spaces = 0;
    for ((cell, tone), width) in cells.zip(widths) {
        if !cell.is_empty() {
            text.extend(std::iter::repeat_n(' ', spaces));
            spaces = 0;
            text.push_str(&screen.toned(tone, cell));
        }
        spaces += width.saturating_sub(cell.width()) + GAP;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::Output;

    #[test]
    fn columns_stand_below_each_other() {
        let mut table = Table::new(&["HOST", "PATH", "X"]);
        table.row(vec![Cell::new("a"), Cell::new(""), Cell::new("1")]);
        table.row(vec![Cell::new("日本.example"), Cell::new("\x1b[1m/"), Cell::new("")]);
        let mut out = Vec::new();
        let screen = Screen::new(&mut out, Output::Text, false);
        let wanted = "HOST           PATH         X\n\
                      a                           1\n\
                      日本.example   \\u{1b}[1m/\n";
        assert_eq!(table.lines(&screen), wanted);
    }
}
