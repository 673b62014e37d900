//! Where answers are shown.

use std::io::{self, Write};

use serde_json::Value;

use super::{AskError, Output, table::Table};

/// What a word means, which its colour says too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Usual,
    Good,
    Doubtful,
    Bad,
    /// Beside the point.
    Aside,
    /// A heading.
    Strong,
}

impl Tone {
    /// SGR (ECMA-48, 8.3.117).
    fn code(self) -> &'static str {
        match self {
            Self::Usual => "",
            Self::Good => "32",
            Self::Doubtful => "33",
            Self::Bad => "31",
            Self::Aside => "2",
            Self::Strong => "1",
        }
    }
}

/// Standard output, or what stands for it.
pub(crate) struct Screen<'w> {
    out: &'w mut dyn Write,
    output: Output,
    colors: bool,
}

impl<'w> Screen<'w> {
    pub(crate) fn new(out: &'w mut dyn Write, output: Output, colors: bool) -> Self {
        Self { out, output, colors: colors && output == Output::Text }
    }

    /// For scripts.
    pub(crate) fn is_json(&self) -> bool {
        self.output == Output::Json
    }

    /// A text in its colour. It is [`plain`](super::text::plain).
    pub(crate) fn toned(&self, tone: Tone, text: &str) -> String {
        match (self.colors, tone.code()) {
            (true, code) if !code.is_empty() && !text.is_empty() => {
                format!("\x1b[{code}m{text}\x1b[0m")
            }
            _ => text.to_owned(),
        }
    }

    /// An object for scripts.
    pub(crate) fn json(&mut self, value: &Value) -> Result<(), AskError> {
        self.write(&format!("{value:#}\n"))
    }

    /// One of many, on a line of its own.
    pub(crate) fn json_line(&mut self, value: &Value) -> Result<(), AskError> {
        self.write(&format!("{value}\n"))
    }

    pub(crate) fn line(&mut self, text: &str) -> Result<(), AskError> {
        self.write(&format!("{text}\n"))
    }

    pub(crate) fn table(&mut self, table: &Table) -> Result<(), AskError> {
        let text = table.lines(self);
        self.write(&text)
    }

    fn write(&mut self, text: &str) -> Result<(), AskError> {
        match self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()) {
            Ok(()) => Ok(()),
            // Who reads has seen enough: `| head`.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(AskError::Closed),
            Err(error) => Err(AskError::Output(error)),
        }
    }
}
