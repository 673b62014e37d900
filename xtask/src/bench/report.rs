//! Tables: on the terminal and as a page of `docs/benchmarks`.

use std::{fmt::Write as _, fs, process::Command};

use anyhow::{Context, Result};

use super::{
    case::{Case, Measure},
    failures::Failure,
    plot,
    turn::{Spread, Turn},
};
use crate::{step, workspace};

/// What a contender is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// What is held against the bar.
    Ours,
    /// What it is compared with.
    Peer,
    /// For information: the floor.
    Reference,
}

/// A contender's turns.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) role: Role,
    pub(super) turns: Vec<Turn>,
}

impl Row {
    pub(super) fn spread(&self) -> Spread {
        Spread::of(&self.turns, |turn| turn.value)
    }

    /// The median of a column.
    pub(super) fn column(&self, index: usize) -> f64 {
        Spread::of(&self.turns, |turn| turn.columns.get(index).copied().unwrap_or(f64::NAN)).median
    }
}

/// A case and what came of it.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) case: Case,
    pub(super) rows: Vec<Row>,
    /// Those that have no row.
    pub(super) failures: Vec<Failure>,
    pub(super) note: String,
}

/// Ours against the best of the others.
pub(super) struct Verdict {
    pub(super) ratio: f64,
    pub(super) best: &'static str,
    pub(super) good: bool,
}

impl Table {
    pub(super) fn verdict(&self) -> Option<Verdict> {
        let of = |role| self.rows.iter().filter(move |row| row.role == role);
        let ours = of(Role::Ours).next()?.spread().median;
        let better = |a: &&Row, b: &&Row| a.spread().median.total_cmp(&b.spread().median);
        let best = of(Role::Peer).min_by(better)?;
        let ratio = ours / best.spread().median;
        Some(Verdict { ratio, best: best.name, good: ratio <= self.case.bar() })
    }

    /// The titles of its columns and the lines below them.
    fn cells(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let measure = self.case.measure();
        let mut titles = vec![String::new(), measure.unit().to_owned(), "range".to_owned()];
        titles.extend(measure.columns().iter().map(|column| (*column).to_owned()));
        let lines = self.rows.iter().map(|row| {
            let spread = row.spread();
            let mut cells = vec![
                row.name.to_owned(),
                number(spread.median),
                format!("{} to {}", number(spread.lowest), number(spread.highest)),
            ];
            cells.extend((0..measure.columns().len()).map(|index| number(row.column(index))));
            cells
        });
        (titles, lines.collect())
    }
}

/// Three digits, more where the number has them.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The table for a terminal.
pub(super) fn text(table: &Table) -> String {
    let (titles, lines) = table.cells();
    let mut text = String::new();
    for line in [&titles].into_iter().chain(&lines) {
        for (index, cell) in line.iter().enumerate() {
            let _ = match index {
                0 => write!(text, "  {cell:<10}"),
                2 => write!(text, "  {cell:>18}"),
                _ => write!(text, "  {cell:>10}"),
            };
        }
        text.push('\n');
    }
    for failure in &table.failures {
        let _ = writeln!(text, "  {}", failure.line());
    }
    if !table.note.is_empty() {
        let _ = writeln!(text, "  ({})", table.note);
    }
    text
}

/// One line per case.
pub(super) fn summary(tables: &[Table]) -> String {
    let mut text = "\nPenstock against the best of the others\n".to_owned();
    for table in tables {
        if let Some(Verdict { ratio, best, good }) = table.verdict() {
            let mark = if good { "reached" } else { "MISSED" };
            let _ = writeln!(
                text,
                "  {:<42} {ratio:>5.2} × {best:<10} bar {:.2}  {mark}",
                table.case.title(),
                table.case.bar()
            );
        }
        for failure in &table.failures {
            let _ = writeln!(text, "  {:<42} {}", table.case.title(), failure.line());
        }
    }
    text
}

/// Writes `docs/benchmarks/http.md` and `http.svg`.
pub(super) fn write(tables: &[Table], method: &str) -> Result<()> {
    let directory = workspace::root().join("docs/benchmarks");
    fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    let page = page(tables, method, &machine_and_peers());
    for (name, text) in [("http.md", page), ("http.svg", plot::svg(tables))] {
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        step::say(&format!("  wrote {}", workspace::shown(&path)));
    }
    Ok(())
}

fn page(tables: &[Table], method: &str, machine: &str) -> String {
    let mut page = format!(
        "# Benchmarks over HTTP\n\nWritten by `cargo xtask bench http --write`. {method}Figures of \
         different runs are not to be compared, only the ratios within one.\n\n{machine}\n\n\
         ![the figures as bars](http.svg)\n\n\
         | case | Penstock | best of the others | ratio | bar | |\n|---|---|---|---|---|---|\n"
    );
    for table in tables {
        let Some(Verdict { ratio, best, good }) = table.verdict() else { continue };
        let median = |wanted: &dyn Fn(&Row) -> bool| {
            table.rows.iter().find(|row| wanted(row)).map_or(f64::NAN, |row| row.spread().median)
        };
        let _ = writeln!(
            page,
            "| {} ({}) | {} | {} {best} | {ratio:.2} | {:.2} | {} |",
            table.case.title(),
            table.case.measure().unit(),
            number(median(&|row| row.role == Role::Ours)),
            number(median(&|row| row.name == best)),
            table.case.bar(),
            if good { "reached" } else { "missed" },
        );
    }
    for table in tables {
        let _ = writeln!(page, "\n## {}\n", table.case.title());
        let (titles, lines) = table.cells();
        let _ = writeln!(page, "| {} |\n|{}", titles.join(" | "), "---|".repeat(titles.len()));
        for line in lines {
            let _ = writeln!(page, "| {} |", line.join(" | "));
        }
        for failure in &table.failures {
            let _ = writeln!(page, "\n{}", failure.line());
        }
        if !table.note.is_empty() {
            let _ = writeln!(page, "\n{}.", table.note);
        }
        if table.case.measure() == Measure::Memory {
            page.push_str(
                "\nThe process's proportional set, without the kernel's socket buffers.\n",
            );
        }
    }
    page
}

/// The first line of what a command says; empty where there is none.
fn first(command: &str, arguments: &[&str]) -> String {
    let said = Command::new(command).args(arguments).output();
    let said = said.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    String::from_utf8_lossy(&said).lines().next().unwrap_or_default().trim().to_owned()
}

/// Where and when.
pub(super) fn machine() -> String {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("?");
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{}: {count} processors ({}), Linux {}",
        first("date", &["-u", "+%Y-%m-%d"]),
        model.trim_start_matches(['\t', ' ', ':']),
        first("uname", &["-r"]),
    )
}

/// Where and when, and against what.
fn machine_and_peers() -> String {
    let versions: Vec<String> = [("nginx", "-v"), ("haproxy", "-v"), ("caddy", "version")]
        .into_iter()
        .filter_map(|(name, flag)| {
            let program = crate::setup::which(name)?;
            let said = first(&program.display().to_string(), &[flag]);
            let version = said
                .split([' ', '/'])
                .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
            Some(format!("{name} {version}"))
        })
        .collect();
    format!("{}; {}, envoy {}.", machine(), versions.join(", "), crate::setup::ENVOY)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::bench) fn table(ours: f64) -> Table {
        let row = |name, role, value| {
            let turn = |value| Turn { value, columns: vec![value / 3.0, value / 1.5, 1e4] };
            Row { name, role, turns: vec![turn(value), turn(value + 1.0), turn(value - 1.0)] }
        };
        Table {
            case: Case::KeepAlive,
            rows: vec![
                row("Penstock", Role::Ours, ours),
                row("nginx", Role::Peer, 22.0),
                row("haproxy", Role::Peer, 20.0),
                row("floor", Role::Reference, 12.0),
            ],
            failures: Vec::new(),
            note: String::new(),
        }
    }

    #[test]
    fn ours_is_held_against_the_best_peer_and_not_the_floor() {
        let verdict = table(18.0).verdict().unwrap();
        assert_eq!((verdict.best, verdict.good), ("haproxy", true));
        assert!((verdict.ratio - 0.9).abs() < 1e-9);
        assert!(!table(18.1).verdict().unwrap().good);
    }

    #[test]
    fn a_page_has_a_line_for_each_contender() {
        let page = page(&[table(18.0)], "Method. ", "Machine.");
        assert!(
            page.contains("| Penstock | 18.0 | 17.0 to 19.0 | 6.00 | 12.0 | 10000 |"),
            "{page}"
        );
        assert!(page.contains("| 18.0 | 20.0 haproxy | 0.90 | 0.90 | reached |"), "{page}");
        assert!(text(&table(18.0)).contains("floor"));
    }
    #[test]
    fn a_peer_that_dropped_out_is_named_wherever_the_figures_are() {
        let why = "5000 WebSockets could not be opened".to_owned();
        let failures = vec![Failure { name: "caddy", why }];
        let table = Table { failures, ..table(18.0) };
        let line = "caddy: failed: 5000 WebSockets could not be opened";
        let page = page(std::slice::from_ref(&table), "", "");
        for said in [text(&table), summary(std::slice::from_ref(&table)), page] {
            assert_eq!(said.matches(line).count(), 1, "{said}");
        }
        assert_eq!(table.verdict().unwrap().best, "haproxy");
    }

    #[test]
    fn where_every_peer_dropped_out_the_summary_still_says_so() {
        let failures = vec![Failure { name: "nginx", why: "it ended".to_owned() }];
        let mut table = Table { failures, ..table(18.0) };
        table.rows.retain(|row| row.role == Role::Ours);
        assert!(table.verdict().is_none());
        assert!(summary(&[table]).contains("nginx: failed: it ended"));
    }
}
