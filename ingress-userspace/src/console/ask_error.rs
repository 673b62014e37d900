use std::io;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// What the user wrote means nothing.
    #[error("{0}")]
    Usage(String),
    /// Nobody is there, or this user may not ask.
    #[error("cannot ask the agent at {place}{hint}")]
    Unreachable {
        /// Where it should be.
        place: String,
        /// What helps; begins with `; `.
        hint: &'static str,
        /// What is wrong.
        source: io::Error,
    },
    /// It took the question, and does not answer.
    #[error("the agent at {place} does not answer: nothing came within {seconds} s")]
    Late {
        /// Where it is.
        place: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// What it said cannot be understood.
    #[error("the agent's answer cannot be read")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It says that what was asked for means nothing to it.
    #[error("{0}")]
    Refused(String),
    /// Nobody reads what is shown any more, which is no fault.
    #[error("nobody reads the answer")]
    Closed,
    /// The answer cannot be written.
    #[error("the answer cannot be written")]
    Output(#[source] io::Error),
    /// It, or the API server, says that it cannot or will not answer.
    #[error("{0}")]
    Denied(String),
}

impl AskError {
    /// The process's exit code: 2 for what the user wrote, 3 for an agent that does not answer, 0 where
    /// nothing is wrong.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Usage(_) | Self::Refused(_) => 2,
            Self::Output(_)
            | Self::Unreachable { .. }
            | Self::Late { .. }
            | Self::Broken(_)
            | Self::Denied(_) => 3,
        }
    }

    pub(super) fn broken(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Broken(Box::new(error))
    }
}
