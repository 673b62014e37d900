//! For people.

use std::fmt::Write as _;

use super::super::{Report, Verdict};

/// The report, the worst first.
pub(in crate::check) fn text(report: &Report) -> String {
    let mut text = String::new();
    for diagnostic in &report.others {
        let at = report.place(&diagnostic.object, &diagnostic.field);
        let at = at.map_or(String::new(), |(file, line)| format!("{file}:{line}: "));
        let _ = writeln!(text, "{at}{diagnostic}");
    }
    let mut ingresses: Vec<_> = report.ingresses.iter().collect();
    ingresses.sort_by_key(|own| std::cmp::Reverse(own.verdict));
    for checked in ingresses {
        if checked.verdict == Verdict::OtherClass {
            continue;
        }
        let place = report.place(&checked.object, "");
        let place = place.map_or(String::new(), |(file, line)| format!("  ({file}:{line})"));
        let _ = writeln!(text, "{:8} {}{place}", checked.verdict.name(), checked.object);
        for remark in &checked.remarks {
            let field = match &*remark.field {
                "" => String::new(),
                field => format!("{}: ", short(field)),
            };
            let _ = writeln!(text, "    {}: {field}{}", remark.kind.name(), remark.message);
        }
    }
    let counts: Vec<_> = report
        .counts()
        .iter()
        .filter(|(verdict, count)| *count > 0 || *verdict != Verdict::OtherClass)
        .map(|(verdict, count)| format!("{count} {}", verdict.name()))
        .collect();
    let _ = writeln!(text, "{} Ingresses: {}", report.ingresses.len(), counts.join(", "));
    text
}

/// An annotation by its name alone.
fn short(field: &str) -> &str {
    let name = field.strip_prefix("metadata.annotations[").and_then(|own| own.strip_suffix(']'));
    name.unwrap_or(field)
}
