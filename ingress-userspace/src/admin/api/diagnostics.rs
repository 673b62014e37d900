//! `diagnostics`: what is not served as written, errors first.

use serde_json::{Value, json};

use super::{Refusal, objects::object, query::Query};
use crate::{
    admin::Board,
    model::{Diagnostic, Severity},
};

/// `severity`: only `error`, or only `warning`.
pub(super) fn render(board: &Board, query: &Query) -> Result<Value, Refusal> {
    query.only(&["q", "page", "per", "severity"])?;
    let mut page = query.page()?;
    let severity = query.choice("severity", &["", "error", "warning"])?;
    let generation = board.reader.current().generation;
    let all = board.diagnostics();
    for wanted in [Severity::Error, Severity::Warning] {
        for own in all.iter().filter(|own| own.severity == wanted) {
            let about = [&*own.object.namespace, &*own.object.name, &*own.field, &*own.message];
            let found = page.words().is_empty()
                || page.words().are_in(&about)
                || page.words().are_in(&[&*own.object.to_string(), &*own.message]);
            if found && (severity.is_empty() || severity == name(wanted)) {
                page.add(|| item(own));
            }
        }
    }
    Ok(page.finish(generation))
}

fn item(own: &Diagnostic) -> Value {
    json!({
        "severity": name(own.severity),
        "object": object(&own.object),
        "field": own.field,
        "message": own.message,
    })
}

fn name(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}
