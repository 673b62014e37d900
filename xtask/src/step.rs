//! Runs other programs as steps: one line each, with the seconds it takes, the program's output in
//! a log file. A step that fails shows the end of its log and names the file.

use std::{
    fmt,
    fs::{self, File},
    io::{self, IsTerminal, Write},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// Lines of the log that a failed step shows.
const TAIL: usize = 40;
/// Where no terminal shows the seconds, a sign of life is printed after this long, and then this
/// often.
const SIGN_OF_LIFE: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(30)];

/// Prints a line for the person at the terminal.
pub(crate) fn say(line: &str) {
    // A closed pipe at the other end is no reason to stop a build.
    let _ = writeln!(io::stdout(), "{line}");
}

/// Prints a line to standard error.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Runs `command` to its end, its output in the log file `log`.log. `title` says what it does:
/// `building the agent`.
pub(crate) fn run(title: &str, log: &str, command: &mut Command) -> Result<()> {
    let path = workspace::logs()?.join(format!("{log}.log"));
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    let errors = file.try_clone().context("cannot share the log file")?;
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;

    let start = Instant::now();
    let mut line = ProgressLine::new(title);
    let status = loop {
        if let Some(status) = child.try_wait().with_context(|| format!("lost {program}"))? {
            break status;
        }
        line.update(start.elapsed(), &path);
        thread::sleep(Duration::from_millis(50));
    };
    line.finish(start.elapsed(), status.success());
    if status.success() {
        return Ok(());
    }
    let output = fs::read_to_string(&path).unwrap_or_default();
    let lines: Vec<&str> = output.lines().collect();
    for line in lines.iter().skip(lines.len().saturating_sub(TAIL)) {
        complain(&format!("    {line}"));
    }
    bail!("{title} failed ({status}); the whole output is in {}", workspace::shown(&path))
}

/// A program of ours that ran at the person's own terminal, and failed.
#[derive(Debug)]
pub(crate) struct Failed {
    title: String,
    status: ExitStatus,
}

impl Failed {
    /// The program's exit code, which tells the person's mistakes from the machine's.
    pub(crate) fn code(&self) -> u8 {
        self.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed ({})", self.title, self.status)
    }
}

impl std::error::Error for Failed {}

/// Runs `command` with the person's own terminal and fails, with [`Failed`], if it does.
pub(crate) fn attached(title: &str, command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot run {program}"))?;
    if !status.success() {
        return Err(Failed { title: title.to_owned(), status }.into());
    }
    Ok(())
}

/// What `command` prints, if it can be run and succeeds.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The line of a step that is under way: rewritten each second on a terminal, else only begun and
/// ended, with a sign of life between.
struct ProgressLine<'t> {
    title: &'t str,
    terminal: bool,
    shown: Duration,
}

impl<'t> ProgressLine<'t> {
    fn new(title: &'t str) -> Self {
        Self { title, terminal: io::stdout().is_terminal(), shown: Duration::ZERO }
    }

    fn update(&mut self, elapsed: Duration, log: &Path) {
        if self.terminal && elapsed >= self.shown {
            self.shown = elapsed + Duration::from_secs(1);
            let doing = last_line(log, 60);
            let mut out = io::stdout();
            let _ = write!(out, "\r\x1b[K  {} … {} s  {doing}", self.title, elapsed.as_secs());
            let _ = out.flush();
        } else if !self.terminal
            && elapsed >= self.shown + SIGN_OF_LIFE[usize::from(!self.shown.is_zero())]
        {
            self.shown = elapsed;
            say(&format!("  {} … {} s", self.title, elapsed.as_secs()));
        }
    }

    fn finish(&self, elapsed: Duration, good: bool) {
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        let end = if good { "done" } else { "failed" };
        say(&format!("{clear}  {} … {end} in {:.1} s", self.title, elapsed.as_secs_f32()));
    }
}

/// The last line of a log that is being written, cut to `width` characters.
fn last_line(log: &Path, width: usize) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let mut end = Vec::new();
    let read = File::open(log).and_then(|mut file| {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(512)))?;
        file.read_to_end(&mut end)
    });
    if read.is_err() {
        return String::new();
    }
    let text = String::from_utf8_lossy(&end);
    let line = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    line.trim().chars().filter(|c| !c.is_control()).take(width).collect()
}

/// Whether this process runs as root. Read from procfs, to do without a crate for one call.
pub(crate) fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uids.and_then(|uids| uids.split_whitespace().nth(1)) == Some("0")
}
