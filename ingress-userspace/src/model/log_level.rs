/// `error-log-level`: which lines of our own log are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// `error`, and NGINX's levels above it, which Penstock does not have.
    Error,
    /// `warn`.
    Warn,
    /// `info` and `notice`.
    Info,
    /// `debug`, of our own lines.
    Debug,
}

impl LogLevel {
    /// The level that NGINX calls by this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "debug" => Self::Debug,
            "info" | "notice" => Self::Info,
            "warn" => Self::Warn,
            "error" | "crit" | "alert" | "emerg" => Self::Error,
            _ => return None,
        })
    }

    /// What our own log calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}
