//! Processes that are started for a measurement, and the CPU time that they have used.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::step;

/// A server on one core. Ends with its children on drop.
pub(super) struct Server {
    name: &'static str,
    child: Child,
}

impl Server {
    /// Starts `command` on a core and waits until it accepts connections.
    pub(super) fn start(
        name: &'static str,
        core: usize,
        command: &[String],
        log: &Path,
        address: SocketAddr,
    ) -> Result<Self> {
        let output = fs::File::create(log).with_context(|| log.display().to_string())?;
        let child = Command::new("taskset")
            .args(["--cpu-list", &core.to_string()])
            .args(command)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let mut server = Self { name, child };
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.child.try_wait()? {
                let said = fs::read_to_string(log).unwrap_or_default();
                bail!("{name} ended ({status}): {}", said.trim());
            }
            if start.elapsed() > Duration::from_secs(10) {
                bail!("{name} does not accept connections; see {}", log.display());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// The CPU time of the server and its children so far.
    pub(super) fn cpu(&self) -> Result<Cpu> {
        let mut sum = Cpu::default();
        for process in family(self.child.id()) {
            let stat = fs::read_to_string(format!("/proc/{process}/stat"))
                .with_context(|| format!("{} has ended", self.name))?;
            sum = sum.plus(Cpu::of(&stat).context("/proc/PID/stat is not as documented")?);
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

/// A process and its children.
fn family(parent: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let children = children.unwrap_or_default();
    [parent].into_iter().chain(children.split_whitespace().filter_map(|n| n.parse().ok())).collect()
}

/// CPU time in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Cpu {
    /// In the program itself.
    pub(super) user: f64,
    /// In the kernel on its behalf.
    pub(super) system: f64,
}

impl Cpu {
    /// Fields 14 and 15 of `/proc/PID/stat` (proc_pid_stat(5)), in ticks of 1/100 s: what `USER_HZ`
    /// is on every architecture that we run on.
    fn of(stat: &str) -> Option<Self> {
        let (_, after_name) = stat.rsplit_once(") ")?;
        let mut fields = after_name.split(' ').skip(11).map(|field| field.parse::<f64>().ok());
        Some(Self { user: fields.next()?? / 100.0, system: fields.next()?? / 100.0 })
    }

    fn plus(self, other: Self) -> Self {
        Self { user: self.user + other.user, system: self.system + other.system }
    }

    pub(super) fn minus(self, earlier: Self) -> Self {
        Self { user: self.user - earlier.user, system: self.system - earlier.system }
    }

    pub(super) fn total(self) -> f64 {
        self.user + self.system
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_times_are_read_past_a_name_with_blanks_and_brackets() {
        let stat = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 150 25 13 14 15";
        assert_eq!(Cpu::of(stat), Some(Cpu { user: 1.5, system: 0.25 }));
        assert_eq!(Cpu::of("7 (short) S 1"), None);
    }
}
