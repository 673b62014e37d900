//! The commands that ask a running agent: over its admin socket, over its admin port, or, as
//! `kubectl penstock`, through the API server. What agents say is shown as tables for people or as the
//! JSON of the admin API for scripts (docs/command-line.md).

mod agent;
mod ask_error;
mod certificates;
mod diagnostics;
mod endpoints;
mod explain;
mod kubectl;
mod list;
mod log_level;
mod routes;
mod screen;
mod status;
mod table;
mod tap;
mod text;

use std::{
    io::{self, IsTerminal as _, Write},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, Subcommand, ValueEnum};
use tokio::runtime::Builder;

pub(crate) use self::text::plain_lines;
use self::{
    agent::{Agent, Door},
    screen::Screen,
};
pub use self::{
    ask_error::AskError,
    certificates::Certificates,
    diagnostics::Diagnostics,
    endpoints::Endpoints,
    explain::Explain,
    kubectl::{Kubectl, Plugin},
    log_level::LogLevel,
    routes::Routes,
    status::Status,
    tap::Tap,
};

/// Questions to the agent of this node, or to one at an address.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Show how a running agent is.
    ///
    /// Exit code 0: traffic may come; 1: it may not; 2: the arguments are wrong; 3: the agent does
    /// not answer.
    Status(At<Status>),
    /// List routes: what leads where, by which Ingress.
    ///
    /// Exit code 0: there is one, at least; 1: there is none; 2, 3: as of `status`.
    Routes(At<Routes>),
    /// List the endpoints behind Services, and how they are.
    ///
    /// Exit code 0: all Services that are shown have an endpoint that takes connections; 1: one of
    /// them has none; 2, 3: as of `status`.
    Endpoints(At<Endpoints>),
    /// List certificates, the one that ends first before the others.
    ///
    /// Exit code 0: none that is shown has ended, or ends within --days; 1: one has, or does; 2, 3:
    /// as of `status`.
    Certs(At<Certificates>),
    /// List what is not served as it is written.
    ///
    /// Exit code 0: there are no errors; 1: there is one, at least; 2, 3: as of `status`.
    Diagnostics(At<Diagnostics>),
    /// Say what would become of a request, stage by stage, and why; with --flow, of a packet.
    ///
    /// Nothing is counted, asked or sent. Exit code 0: it was said; 2, 3: as of `status`.
    Explain(At<Explain>),
    /// Show requests as they are answered.
    ///
    /// Exit code 0: as many as --count says were shown; 2, 3: as of `status`.
    Tap(At<Tap>),
    /// Show or change which lines of a running agent's own log are written.
    ///
    /// Exit code 0: done; 2: the level means nothing, or the arguments are wrong; 3: the agent does
    /// not answer.
    LogLevel(At<LogLevel>),
}

/// A question, to whom it goes and how the answer is shown.
#[derive(Args, Clone, Debug)]
pub struct At<Q: Args> {
    /// What is asked.
    #[command(flatten)]
    pub question: Q,
    /// Who is asked.
    #[command(flatten)]
    pub place: Place,
    /// How the answer is written.
    #[command(flatten)]
    pub look: Look,
}

/// Which agent.
#[derive(Args, Clone, Debug)]
pub struct Place {
    /// The agent's --admin-socket.
    #[arg(long, value_name = "PATH", default_value = "/run/penstock/admin.sock")]
    pub admin_socket: PathBuf,
    /// The agent's health port instead, such as http://127.0.0.1:10254; it answers this machine only,
    /// and changes nothing.
    #[arg(long, value_name = "URL", conflicts_with = "admin_socket")]
    pub address: Option<String>,
}

/// How an answer is written.
#[derive(Args, Clone, Copy, Debug)]
pub struct Look {
    /// For people or for scripts.
    #[arg(long, short, value_enum, default_value = "text", value_name = "text|json")]
    pub output: Output,
    /// Colours: on a terminal, unless NO_COLOR is set; or always; or never.
    #[arg(long, value_enum, default_value = "auto", value_name = "auto|always|never")]
    pub color: Colors,
    /// How long the agent may let us wait for the next byte. Seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
}

/// For whom an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// One object; of `tap`, one a line.
    Json,
}

/// Whether there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Colors {
    /// On a terminal.
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

impl Look {
    fn patience(self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    fn colors(self) -> bool {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        match self.color {
            Colors::Always => true,
            Colors::Never => false,
            // https://no-color.org
            Colors::Auto => io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb(),
        }
    }
}

/// What an agent can be asked.
pub(crate) trait Question {
    /// Asks, and shows the answer. True: all is well (exit code 0, else 1).
    async fn ask(&self, agent: &mut Agent, screen: &mut Screen<'_>) -> Result<bool, AskError>;
}

impl Command {
    /// Asks the agent. True: all is well (exit code 0, else 1).
    ///
    /// # Errors
    /// [`AskError`].
    pub fn run(&self, out: &mut dyn Write) -> Result<bool, AskError> {
        match self {
            Self::Status(own) => run(own, out),
            Self::Routes(own) => run(own, out),
            Self::Endpoints(own) => run(own, out),
            Self::Certs(own) => run(own, out),
            Self::Diagnostics(own) => run(own, out),
            Self::Explain(own) => run(own, out),
            Self::Tap(own) => run(own, out),
            Self::LogLevel(own) => run(own, out),
        }
    }
}

fn run<Q: Args + Question>(at: &At<Q>, out: &mut dyn Write) -> Result<bool, AskError> {
    let door = Door::of(&at.place)?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| door.unreachable(source))?;
    runtime.block_on(async {
        let mut agent = Agent::reach(&door, at.look.patience()).await?;
        let mut screen = Screen::new(out, at.look.output, at.look.colors());
        at.question.ask(&mut agent, &mut screen).await
    })
}
