//! The `penstock` binary: arguments in, exit code out.

#![forbid(unsafe_code)]

use std::{io::Write as _, path::Path, process::ExitCode, thread};

use ingress_userspace::{
    check::Outcome,
    config::{self, Config, Invocation, LogFormat, Parsed},
    console::AskError,
    lifecycle::{self, Agent, StartError, Stop, StopHandle, Stops},
    log,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the user wrote is wrong.
const CONFIGURATION: u8 = 2;
/// This machine cannot do it.
const MACHINE: u8 = 3;
/// A bug.
const BUG: u8 = 1;
/// `penstock check` found what it was to find.
const REFUSED: u8 = 1;
/// What was asked for is not well.
const FOUND: u8 = 1;

fn main() -> ExitCode {
    // First of all: a container's first process has no default for signals, and one that comes before
    // anybody asks for it is lost.
    let signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(error) => return no_signals(&error),
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    match config::parse(std::env::args_os(), cores) {
        Parsed::Go(Invocation::Run(config)) => run(*config, signals),
        Parsed::Go(Invocation::L4(command)) => signals.once(|| {
            let _unchanged = log::start(LogFormat::Text);
            match command.run(&mut std::io::stdout()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    let code = lifecycle::l4_exit_code(&error);
                    complain(&format!("penstock: {:#}\n", anyhow::Error::from(error)));
                    ExitCode::from(code)
                }
            }
        }),
        Parsed::Go(Invocation::Check(command)) => {
            signals.once(|| match command.run(&mut std::io::stdout()) {
                Ok(Outcome::Passed) => ExitCode::SUCCESS,
                Ok(Outcome::Failed) => ExitCode::from(REFUSED),
                Err(error) => {
                    complain(&format!("penstock: {:#}\n", anyhow::Error::from(error)));
                    ExitCode::from(CONFIGURATION)
                }
            })
        }
        Parsed::Go(Invocation::Ask(command)) => {
            signals.once(|| told(command.run(&mut std::io::stdout())))
        }
        Parsed::Go(Invocation::Kubectl(command)) => {
            signals.once(|| told(command.run(&mut std::io::stdout())))
        }
        Parsed::Go(Invocation::Man(directory, pages)) => match write_all(&directory, &pages) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&format!("penstock: cannot write to {}: {error}\n", directory.display()));
                ExitCode::from(MACHINE)
            }
        },
        Parsed::Print(text) => {
            let _closed = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Parsed::Faults(text) => {
            complain(&text);
            ExitCode::from(CONFIGURATION)
        }
    }
}

fn run(mut config: Config, signals: Signals) -> ExitCode {
    config.levels = Some(log::start(config.log_format));
    let stops = Stops::default();
    if let Err(error) = signals.tell(stops.handle()) {
        return no_signals(&error);
    }
    let agent = match Agent::start_with(config, stops) {
        Ok(agent) => agent,
        Err(StartError::Stopped) => return ExitCode::SUCCESS,
        Err(error) => {
            let code = error.exit_code();
            complain(&format!("penstock: {:#}\n", anyhow::Error::from(error)));
            return ExitCode::from(code);
        }
    };
    if agent.wait() { ExitCode::SUCCESS } else { ExitCode::from(BUG) }
}

/// Files by their names.
fn write_all(directory: &Path, files: &[(String, Vec<u8>)]) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    files.iter().try_for_each(|(name, text)| std::fs::write(directory.join(name), text))
}

/// What became of a question to an agent, which has shown its answer.
fn told(outcome: Result<bool, AskError>) -> ExitCode {
    match outcome {
        Ok(true) | Err(AskError::Closed) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FOUND),
        Err(error) => {
            let code = error.exit_code();
            complain(&format!("penstock: {:#}\n", anyhow::Error::from(error)));
            ExitCode::from(code)
        }
    }
}

fn no_signals(error: &std::io::Error) -> ExitCode {
    complain(&format!("penstock: cannot receive signals: {error}\n"));
    ExitCode::from(MACHINE)
}

/// SIGTERM and SIGINT, caught from the start on.
struct Signals {
    runtime: tokio::runtime::Runtime,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (terminate, interrupt) = {
            let _inside = runtime.enter();
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
        };
        Ok(Self { runtime, terminate, interrupt })
    }

    /// Runs what does its work once: the first signal ends the process, as it would if it were not
    /// caught.
    fn once(mut self, work: impl FnOnce() -> ExitCode) -> ExitCode {
        let waiting = thread::Builder::new().name("signals".to_owned()).spawn(move || {
            let number = self.runtime.block_on(async {
                tokio::select! {
                    _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
                    _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
                }
            });
            std::process::exit(128 + number);
        });
        match waiting {
            Ok(_thread) => work(),
            Err(error) => no_signals(&error),
        }
    }

    /// The first one stops the agent gracefully; the second one, at once.
    fn tell(mut self, stop: StopHandle) -> std::io::Result<()> {
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            self.runtime.block_on(async {
                for what in [Stop::Gracefully, Stop::Now] {
                    tokio::select! {
                        _ = self.terminate.recv() => {}
                        _ = self.interrupt.recv() => {}
                    }
                    stop.stop(what);
                }
            });
        })?;
        Ok(())
    }
}

/// Says on standard error why there is nothing to run.
fn complain(text: &str) {
    let _closed = std::io::stderr().write_all(text.as_bytes());
}
