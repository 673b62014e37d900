//! For programs: one object, stable field names.

use serde_json::{Value, json};

use super::super::{Checked, Remark, Report};
use crate::model::{ObjectRef, Severity};

/// The report, by namespace and name.
pub(in crate::check) fn json(report: &Report) -> String {
    let counts: serde_json::Map<_, _> = report
        .counts()
        .iter()
        .map(|(verdict, count)| (verdict.name().to_owned(), json!(count)))
        .collect();
    let others: Vec<_> = report
        .others
        .iter()
        .map(|own| {
            let mut value = object(report, &own.object, &own.field);
            value["severity"] = match own.severity {
                Severity::Warning => json!("warning"),
                Severity::Error => json!("error"),
            };
            value["field"] = json!(own.field);
            value["message"] = json!(own.message);
            value
        })
        .collect();
    let ingresses: Vec<_> = report.ingresses.iter().map(|own| ingress(report, own)).collect();
    let all = json!({ "counts": counts, "ingresses": ingresses, "others": others });
    format!("{all:#}\n")
}

fn ingress(report: &Report, checked: &Checked) -> Value {
    let mut value = object(report, &checked.object, "");
    value["verdict"] = json!(checked.verdict.name());
    let remark = |own: &Remark| {
        let line = report.place(&checked.object, &own.field).map(|(_, line)| line);
        json!({
            "kind": own.kind.name(), "field": own.field, "line": line, "message": own.message,
        })
    };
    value["remarks"] = checked.remarks.iter().map(remark).collect();
    value
}

fn object(report: &Report, object: &ObjectRef, field: &str) -> Value {
    let place = report.place(object, field);
    let (file, line) = place.map_or((None, None), |(file, line)| (Some(file), Some(line)));
    json!({
        "kind": object.kind, "namespace": &*object.namespace, "name": &*object.name,
        "file": file, "line": line,
    })
}
