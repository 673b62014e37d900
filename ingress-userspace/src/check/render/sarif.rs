//! SARIF 2.1.0 (OASIS), which code hosts show beside the lines of a change.

use serde_json::{Value, json};

use super::super::{Kind, Report};
use crate::model::{ObjectRef, Severity};

const KINDS: [Kind; 7] = [
    Kind::Refused,
    Kind::Differs,
    Kind::Conflict,
    Kind::HostWide,
    Kind::Caution,
    Kind::Needs,
    Kind::Note,
];

/// The report; what is refused is an error, what differs or collides a warning.
pub(in crate::check) fn sarif(report: &Report) -> String {
    let rules: Vec<_> = KINDS
        .iter()
        .map(|kind| {
            json!({
                "id": kind.name(),
                "shortDescription": { "text": kind.sentence() },
                "defaultConfiguration": { "level": level(*kind) },
            })
        })
        .chain([json!({
            "id": "manifest",
            "shortDescription": { "text": "Something in a manifest cannot be used" },
        })])
        .collect();
    let mut results = Vec::new();
    for own in &report.others {
        let level = if own.severity == Severity::Error { "error" } else { "warning" };
        let text = own.to_string();
        results.push(result(report, "manifest", level, &own.object, &own.field, &text));
    }
    for checked in &report.ingresses {
        for remark in &checked.remarks {
            let text = format!("{}: {}: {}", checked.object, remark.field, remark.message);
            let (rule, level) = (remark.kind.name(), level(remark.kind));
            results.push(result(report, rule, level, &checked.object, &remark.field, &text));
        }
    }
    let driver = json!({
        "name": "penstock check", "version": env!("CARGO_PKG_VERSION"), "rules": rules,
    });
    let all = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{ "tool": { "driver": driver }, "results": results }],
    });
    format!("{all:#}\n")
}

fn level(kind: Kind) -> &'static str {
    match kind {
        Kind::Refused => "error",
        Kind::Differs | Kind::Conflict | Kind::Caution => "warning",
        Kind::HostWide | Kind::Needs | Kind::Note => "note",
    }
}

fn result(
    report: &Report,
    rule: &str,
    level: &str,
    object: &ObjectRef,
    field: &str,
    text: &str,
) -> Value {
    let mut value = json!({
        "ruleId": rule, "level": level, "message": { "text": text },
    });
    let place = match object.kind {
        "File" => Some((object.name.to_string(), line_of_text(field))),
        _ => report.place(object, field),
    };
    if let Some((file, line)) = place {
        value["locations"] = json!([{
            "physicalLocation": {
                "artifactLocation": { "uri": uri(&file) },
                "region": { "startLine": line },
            },
        }]);
    }
    value
}

/// `line 7, column 3` as 7.
fn line_of_text(field: &str) -> u64 {
    let digits = field.strip_prefix("line ").and_then(|rest| rest.split(',').next());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(1)
}

/// A path as a relative reference (RFC 3986, section 4.2).
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}
