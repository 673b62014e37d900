//! The process as the kernel sees it, read when it is asked for.

use std::{fs, time::SystemTime};

/// What `/proc` tells of this process. 0 where it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Process {
    /// Seconds, user and system.
    pub(super) cpu: f64,
    /// Bytes.
    pub(super) resident: u64,
    pub(super) virtual_memory: u64,
    /// By system calls.
    pub(super) read: u64,
    pub(super) written: u64,
    /// Seconds since 1970.
    pub(super) started: f64,
}

impl Process {
    pub(super) fn now() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let since_boot = text("/proc/uptime");
        let up = since_boot.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self::read(
            &text("/proc/self/stat"),
            &text("/proc/self/status"),
            &text("/proc/self/io"),
            now.as_secs_f64() - up,
        )
    }

    /// From the files `stat`, `status` and `io` (proc(5)) and the time of the machine's start.
    fn read(stat: &str, status: &str, io: &str, booted: f64) -> Self {
        // The kernel shows all times in these, whatever its own are (sysconf(_SC_CLK_TCK)).
        const TICKS: f64 = 100.0;
        // The second field is the program's name in parentheses, which may hold anything.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        // The first of these is the third of the file.
        let field = |number: usize| -> f64 {
            let text = fields.get(number - 3).copied().unwrap_or_default();
            text.parse().unwrap_or_default()
        };
        let kilobytes = |name| lines(status, name).saturating_mul(1024);
        Self {
            cpu: (field(14) + field(15)) / TICKS,
            resident: kilobytes("VmRSS"),
            virtual_memory: kilobytes("VmSize"),
            read: lines(io, "rchar"),
            written: lines(io, "wchar"),
            started: booted + field(22) / TICKS,
        }
    }
}

/// The number in the line of this name.
fn lines(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_proc_are_read() {
        let stat = "12 (a b) c) S 1 12 12 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 7 0 1000 99 7";
        let status = "Name:\tx\nVmSize:\t   200 kB\nVmRSS:\t     100 kB\n";
        let own = Process::read(stat, status, "rchar: 5\nwchar: 7\n", 50.0);
        assert_eq!(
            own,
            Process {
                cpu: 3.0,
                resident: 102_400,
                virtual_memory: 204_800,
                read: 5,
                written: 7,
                started: 60.0,
            }
        );
        assert_eq!(Process::read("", "", "", 0.0), Process::default());
    }

    #[test]
    fn this_process_has_memory_and_began_in_the_past() {
        let own = Process::now();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        assert!(own.resident > 0 && own.virtual_memory >= own.resident, "{own:?}");
        assert!(own.started > 0.0 && own.started <= now.as_secs_f64() + 1.0, "{own:?}");
    }
}
