//! Starts processes that must not outlive this one. The kernel's signal at the parent's death
//! (PR_SET_PDEATHSIG, prctl(2)) comes at the death of the *thread* that started the process, and a
//! test's thread ends long before the tests do: hence a thread that starts them all and never ends.

use std::{
    fs::File,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        mpsc::{Sender, channel},
    },
    thread,
};

use anyhow::{Context, Result};

type Request = (Command, Sender<std::io::Result<Child>>);

/// Starts `program`, what it says appended to the file `log`; should this process be killed, so is
/// the program. Ctrl-C is not for it.
pub(crate) fn spawn(program: &Command, log: &Path) -> Result<Child> {
    let log = File::options().create(true).append(true).open(log)?;
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program.get_program())
        .args(program.get_args())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0);
    let name = program.get_program().display().to_string();
    start(command).with_context(|| format!("cannot start {name}"))
}

fn start(command: Command) -> Result<Child> {
    static KEEPER: OnceLock<Sender<Request>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (sender, requests) = channel::<Request>();
        thread::spawn(move || {
            for (mut command, answer) in requests {
                // Whoever asked has gone only if this process ends.
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    let (sender, answer) = channel();
    keeper.send((command, sender)).context("the keeper of processes has ended")?;
    Ok(answer.recv().context("the keeper of processes has ended")??)
}
