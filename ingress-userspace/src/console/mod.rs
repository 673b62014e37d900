//! The commands that ask a running agent, over its admin socket.

mod log_level;
mod socket;
mod status;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::Value;

pub use self::{log_level::LogLevel, socket::AskError, status::Status};

/// Which agent, and how its answer is written.
#[derive(Args, Clone, Debug)]
pub struct Asking {
    /// The agent's --admin-socket.
    #[arg(long, value_name = "PATH", default_value = "/run/penstock/admin.sock")]
    pub admin_socket: PathBuf,
    /// How the answer is written.
    #[arg(long, value_enum, default_value = "text", value_name = "text|json")]
    pub output: Output,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// One object.
    Json,
}

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// For standard output, whole lines.
    pub text: String,
    /// All is well: exit code 0, else 1.
    pub well: bool,
}

impl Asking {
    /// The answer in the form that was asked for.
    fn tell(&self, value: &Value, text: impl FnOnce() -> String, well: bool) -> Told {
        let text = match self.output {
            Output::Text => text(),
            Output::Json => format!("{value:#}\n"),
        };
        Told { text, well }
    }
}
