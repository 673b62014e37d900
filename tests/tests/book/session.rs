//! A shell that commands of a page are typed into, one after the other.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::page::repository;

/// The longest that a command may take, and that it may take until commands print what they have to.
const DEADLINE: Duration = Duration::from_secs(120);

/// What a page's hidden commands can use.
const FUNCTIONS: &str = include_str!("functions.sh");

/// A shell in a directory of its own. All that was started in it ends on drop.
pub(crate) struct Session {
    shell: Child,
    input: ChildStdin,
    output: Receiver<String>,
    directory: TempDir,
    typed: usize,
}

/// What became of a command.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) output: String,
}

impl Session {
    /// A machine: namespaces of its own, in which only the loopback is.
    pub(crate) fn machine(programs: &[(&str, &Path)]) -> Self {
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "KILL",
            "--",
            "unshare",
            "--net",
            "--mount",
            "--pid",
            "--fork",
        ]);
        command.args(["--kill-child", "--mount-proc", "bash", "--noprofile", "--norc"]);
        let mut own = Self::start(command, programs, &[]);
        own.must("mount -t tmpfs tmpfs /run && mkdir /run/penstock && ip link set lo up");
        own
    }

    /// A shell beside an API server, on the machine's own network.
    pub(crate) fn cluster(programs: &[(&str, &Path)], kubeconfig: &Path) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "bash", "--noprofile", "--norc"]);
        Self::start(command, programs, &[("KUBECONFIG", kubeconfig.as_os_str())])
    }

    fn start(
        mut command: Command,
        programs: &[(&str, &Path)],
        variables: &[(&str, &OsStr)],
    ) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let [bin, work] = ["bin", "work"].map(|name| directory.path().join(name));
        for folder in [&bin, &work] {
            fs::create_dir(folder).expect("a directory");
        }
        for (name, program) in programs {
            symlink(program, bin.join(name)).expect("a link");
        }
        // Readers are at the root of the repository.
        let root = repository().canonicalize().expect("it is there");
        for name in ["deploy", "tests"] {
            symlink(root.join(name), work.join(name)).expect("a link");
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let search = [bin].into_iter().chain(std::env::split_paths(&path));
        let search = search.chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
        command
            .env("PATH", std::env::join_paths(search).expect("no colon"))
            .env("HOME", directory.path())
            .env("LC_ALL", "C.UTF-8")
            .env_remove("RUST_LOG")
            .envs(variables.iter().copied())
            .current_dir(&work)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut shell = command.spawn().expect("setpriv is there");
        let input = shell.stdin.take().expect("it is piped");
        let lines = BufReader::new(shell.stdout.take().expect("it is piped"));
        let (sender, output) = mpsc::channel();
        thread::spawn(move || {
            for line in lines.split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
            }
        });
        let mut own = Self { shell, input, output, directory, typed: 0 };
        own.must("exec 2>&1");
        own.must(FUNCTIONS);
        own
    }

    /// Writes a file, as a reader would.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.directory.path().join("work").join(name);
        fs::create_dir_all(path.parent().expect("work at least")).expect("writable");
        // An agent that watches the directory is never to see a half of it.
        let hidden = path.with_file_name(".being-written");
        fs::write(&hidden, text).expect("writable");
        fs::rename(&hidden, &path).expect("writable");
    }

    fn must(&mut self, command: &str) {
        let said = self.give(command);
        assert_eq!(said.code, 0, "{command}: {}", said.output);
    }

    /// Types a command and waits for its end.
    pub(crate) fn give(&mut self, command: &str) -> Said {
        self.typed += 1;
        // Nobody else prints this.
        let end = format!("--- {} of {} is done: ", self.typed, std::process::id());
        // A program that reads its input is not to read the commands that follow.
        let text = format!("{{ {command}\n}} </dev/null; printf '\\n%s%s\\n' '{end}' $?\n");
        let written = self.input.write_all(text.as_bytes());
        written.and_then(|()| self.input.flush()).expect("the shell reads");
        let (start, mut lines) = (Instant::now(), Vec::new());
        loop {
            let rest = DEADLINE.saturating_sub(start.elapsed());
            let line = self.output.recv_timeout(rest);
            let late = || format!("not within {DEADLINE:?}, or the shell has ended: {command}");
            assert!(line.is_ok(), "{}\n{lines:#?}", late());
            let line = line.unwrap_or_default();
            if let Some(code) = line.strip_prefix(&end) {
                let code = code.parse().expect("a number");
                let output = lines.join("\n").trim_end().to_owned();
                return Said { code, output };
            }
            lines.push(line);
        }
    }

    /// Types a command until what it says is right: once, or for as long as it may take.
    pub(crate) fn expect(
        &mut self,
        command: &str,
        eventually: bool,
        right: impl Fn(&Said) -> bool,
    ) -> Result<(), Said> {
        let start = Instant::now();
        loop {
            let said = self.give(command);
            if right(&said) {
                return Ok(());
            }
            if !eventually || start.elapsed() > DEADLINE {
                return Err(said);
            }
            // Whatever it is waits for, tells nobody; a poll is all there is.
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The shell is the first process of a machine: with it all others end. Beside an API server
        // pages have `setpriv --pdeathsig` see to it.
        let _gone = self.shell.kill();
        let _status = self.shell.wait();
    }
}
