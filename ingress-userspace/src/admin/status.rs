//! `/status`: how the agent is, in a few words.

use serde_json::{Value, json};

use super::Board;
use crate::{log::Levels, model::Severity};

pub(crate) const PATH: &str = "/status";

pub(super) fn render(board: &Board) -> Value {
    let diagnostics = board.diagnostics();
    let of = |severity| diagnostics.iter().filter(|own| own.severity == severity).count();
    let troubles = board.source.troubles();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ready": board.readiness.missing().is_none(),
        "missing": board.readiness.missing(),
        "generation": board.reader.current().generation,
        "source": {
            "of": board.source_name,
            "waiting": board.source.waiting(),
            "troubles": troubles.iter().map(ToString::to_string).collect::<Vec<_>>(),
        },
        "diagnostics": { "error": of(Severity::Error), "warning": of(Severity::Warning) },
        "log-level": board.levels.as_ref().map(Levels::current),
    })
}
