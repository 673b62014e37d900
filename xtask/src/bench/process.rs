//! Processes that are started for a measurement, and the CPU time and memory that they use.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::step;

/// How long a server may take until it answers: ten thousand Ingresses under valgrind take a while.
const PATIENCE: Duration = Duration::from_secs(180);

/// A server on one core. Ends with its children on drop.
pub(super) struct Server {
    name: String,
    child: Child,
}

impl Server {
    /// Starts `command` on a core and waits until it answers a request for `host` with 200.
    pub(super) fn start(
        name: &str,
        core: usize,
        command: &[String],
        log: &Path,
        (address, host): (SocketAddr, &str),
    ) -> Result<Self> {
        let output = fs::File::create(log).with_context(|| log.display().to_string())?;
        let child = Command::new("sh")
            // As many files as may be: a proxy has two for each WebSocket.
            .args(["-c", "ulimit -n \"$(ulimit -H -n)\"; exec taskset --cpu-list \"$@\"", "sh"])
            .arg(core.to_string())
            .args(command)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let mut server = Self { name: name.to_owned(), child };
        let start = Instant::now();
        while !answers(address, host) {
            if let Some(status) = server.child.try_wait()? {
                let said = fs::read_to_string(log).unwrap_or_default();
                bail!("{name} ended ({status}): {}", said.trim());
            }
            if start.elapsed() > PATIENCE {
                bail!("{name} does not answer; see {}", log.display());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// The process that was started, which is the server itself.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The CPU time of the server and its children so far.
    pub(super) fn cpu(&self) -> Result<Cpu> {
        let mut sum = Cpu::default();
        for process in family(self.child.id()) {
            let gone = || format!("{} has ended", self.name);
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).with_context(gone)?;
            sum = sum.plus(Cpu::of(&stat).context("/proc/PID/stat is not as documented")?);
            let tasks = fs::read_dir(format!("/proc/{process}/task")).with_context(gone)?;
            for task in tasks.flatten() {
                // A thread may end between the two.
                let run = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
                sum.run += nanoseconds(&run).unwrap_or_default() / 1e9;
            }
        }
        Ok(sum)
    }

    /// Bytes of memory that the server and its children have, shared pages in proportion.
    pub(super) fn memory(&self) -> Result<f64> {
        let mut sum = 0.0;
        for process in family(self.child.id()) {
            let file = format!("/proc/{process}/smaps_rollup");
            let rollup = fs::read_to_string(&file).with_context(|| file.clone())?;
            sum += proportional(&rollup).with_context(|| format!("no Pss in {file}"))?;
        }
        Ok(sum)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // nginx's master takes its workers along, but only if it is asked.
        let id = self.child.id().to_string();
        let _ = step::output(Command::new("kill").args(["-TERM", &id]));
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && start.elapsed() < Duration::from_secs(3)
        {
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a request is answered with 200.
fn answers(address: SocketAddr, host: &str) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let request = format!("GET /p0 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut line = [0; 12];
        stream.read_exact(&mut line)?;
        Ok(line.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}

/// A process and its children.
fn family(parent: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let children = children.unwrap_or_default();
    [parent].into_iter().chain(children.split_whitespace().filter_map(|n| n.parse().ok())).collect()
}

/// The first field of a schedstat: time on a processor.
fn nanoseconds(schedstat: &str) -> Option<f64> {
    schedstat.split(' ').next()?.trim().parse().ok()
}

/// `Pss:` of smaps_rollup, in bytes.
fn proportional(rollup: &str) -> Option<f64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kibibytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024.0)
}

/// CPU time in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Cpu {
    /// In the program itself, in ticks of the clock.
    user: f64,
    /// In the kernel on its behalf, likewise.
    system: f64,
    /// Both, to the nanosecond: what its threads ran.
    run: f64,
}

impl Cpu {
    /// Fields 14 and 15 of `/proc/PID/stat` (proc_pid_stat(5)), in ticks of 1/100 s: what `USER_HZ`
    /// is on every architecture that we run on.
    fn of(stat: &str) -> Option<Self> {
        let (_, after_name) = stat.rsplit_once(") ")?;
        let mut fields = after_name.split(' ').skip(11).map(|field| field.parse::<f64>().ok());
        Some(Self { user: fields.next()?? / 100.0, system: fields.next()?? / 100.0, run: 0.0 })
    }

    fn plus(self, other: Self) -> Self {
        Self {
            user: self.user + other.user,
            system: self.system + other.system,
            run: self.run + other.run,
        }
    }

    pub(super) fn minus(self, earlier: Self) -> Self {
        Self {
            user: self.user - earlier.user,
            system: self.system - earlier.system,
            run: self.run - earlier.run,
        }
    }

    pub(super) fn total(self) -> f64 {
        self.run
    }

    /// The total's part in the program, by the ratio of the ticks.
    pub(super) fn user(self) -> f64 {
        let ticks = self.user + self.system;
        if ticks > 0.0 { self.run * self.user / ticks } else { 0.0 }
    }

    /// The total's part in the kernel.
    pub(super) fn system(self) -> f64 {
        self.run - self.user()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_times_are_read_past_a_name_with_blanks_and_brackets() {
        let stat = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 150 25 13 14 15";
        assert_eq!(Cpu::of(stat), Some(Cpu { user: 1.5, system: 0.25, run: 0.0 }));
        assert_eq!(Cpu::of("7 (short) S 1"), None);
    }

    #[test]
    fn the_precise_time_is_split_like_the_ticks() {
        let cpu = Cpu { user: 1.0, system: 3.0, run: 4.4 };
        assert!((cpu.user() - 1.1).abs() < 1e-9 && (cpu.system() - 3.3).abs() < 1e-9);
        assert_eq!(nanoseconds("356793 83313 2\n"), Some(356_793.0));
    }

    #[test]
    fn memory_is_the_proportional_set() {
        let rollup = "5500-7ffd ---p 00000000 00:00 0 [rollup]\nRss: 99 kB\nPss:   12 kB\n";
        assert_eq!(proportional(rollup), Some(12_288.0));
        assert_eq!(proportional("Rss: 99 kB\n"), None);
    }
}
