//! The plot: a group of bars for each case, drawn by hand. CPU time is split in what the program and
//! what the kernel took; a thin line shows the range over the rounds.

use std::fmt::Write as _;

use super::{
    case::Measure,
    report::{Role, Row, Table, number},
};

/// Pixels.
const WIDTH: f64 = 760.0;
const LABELS: f64 = 96.0;
/// What is kept free at the right for the figures.
const FIGURES: f64 = 150.0;
const BAR: f64 = 16.0;
const STEP: f64 = 21.0;
const TITLE: f64 = 34.0;
const MARGIN: f64 = 14.0;

/// The program's part and the kernel's part.
fn colours(role: Role) -> [&'static str; 2] {
    match role {
        Role::Ours => ["#0b63b0", "#7db6e8"],
        Role::Peer => ["#5f6670", "#b4bac2"],
        Role::Reference => ["#8a7a3a", "#d8cc96"],
    }
}

/// All tables, one below the other.
pub(super) fn svg(tables: &[Table]) -> String {
    let mut body = String::new();
    let mut y = MARGIN + 22.0;
    let _ = writeln!(
        body,
        "<text x=\"{MARGIN}\" y=\"{MARGIN}\" dy=\"0.6em\" class=\"small\">Less is better. Dark: in \
         the program; light: in the kernel; line: lowest to highest.</text>"
    );
    for table in tables {
        group(&mut body, table, &mut y);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <style>text{{fill:#222}}.title{{font-weight:bold}}.small{{font-size:11px}}</style>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n{body}</svg>\n",
        height = y + MARGIN
    )
}

fn group(body: &mut String, table: &Table, y: &mut f64) {
    let measure = table.case.measure();
    let highest = table.rows.iter().map(|row| row.spread().highest).fold(0.0, f64::max);
    let scale = if highest > 0.0 { (WIDTH - LABELS - FIGURES - MARGIN) / highest } else { 0.0 };
    let verdict = table.verdict().map_or_else(String::new, |verdict| {
        format!(": {:.2} × {}, bar {:.2}", verdict.ratio, verdict.best, table.case.bar())
    });
    let _ = writeln!(
        body,
        "<text x=\"{MARGIN}\" y=\"{:.1}\" class=\"title\">{} ({}){verdict}</text>",
        *y + TITLE - 10.0,
        table.case.title(),
        measure.unit(),
    );
    *y += TITLE;
    for row in &table.rows {
        bar(body, row, measure, scale, *y);
        *y += STEP;
    }
}

fn bar(body: &mut String, row: &Row, measure: Measure, scale: f64, y: f64) {
    let spread = row.spread();
    let [program, kernel] = colours(row.role);
    let left = LABELS + MARGIN;
    let middle = y + BAR / 2.0;
    let width = spread.median * scale;
    // The medians of the parts need not add up to the median of the whole: the ratio is what counts.
    let user = match measure {
        Measure::Cpu => width * row.column(0) / (row.column(0) + row.column(1)),
        Measure::Memory | Measure::Latency => width,
    };
    let _ = writeln!(
        body,
        "<text x=\"{x:.1}\" y=\"{middle:.1}\" dy=\"0.35em\" text-anchor=\"end\">{name}</text>\n\
         <rect x=\"{left:.1}\" y=\"{y:.1}\" width=\"{user:.1}\" height=\"{BAR}\" fill=\"{program}\"/>\n\
         <rect x=\"{split:.1}\" y=\"{y:.1}\" width=\"{rest:.1}\" height=\"{BAR}\" fill=\"{kernel}\"/>\n\
         <line x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\" \
         stroke=\"#c0392b\" stroke-width=\"1.5\"/>\n\
         <text x=\"{figures:.1}\" y=\"{middle:.1}\" dy=\"0.35em\">{median} \
         <tspan class=\"small\">({lowest} to {highest})</tspan></text>",
        x = left - 6.0,
        name = row.name,
        split = left + user,
        rest = width - user,
        low = left + spread.lowest * scale,
        high = left + spread.highest * scale,
        figures = left + spread.highest * scale + 6.0,
        median = number(spread.median),
        lowest = number(spread.lowest),
        highest = number(spread.highest),
    );
}

#[cfg(test)]
mod tests {
    use super::{super::report::tests::table, *};

    #[test]
    fn every_contender_has_a_bar_inside_the_picture() {
        let svg = svg(&[table(18.0), table(30.0)]);
        assert_eq!(svg.matches("<line ").count(), 8);
        for part in svg.split(" width=\"").skip(1) {
            let width: f64 = part.split('"').next().unwrap().parse().unwrap();
            assert!((0.0..=WIDTH).contains(&width), "{width}");
        }
        assert!(!svg.contains("NaN"));
    }
}
