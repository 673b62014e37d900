//! What a process costs.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result};

/// Resident memory, in megabytes.
pub(super) fn resident(process: u32) -> Result<u64> {
    let status = fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes: u64 =
        line.and_then(|line| line.split_whitespace().next()).unwrap_or("0").parse()?;
    Ok(kibibytes * 1024 / 1_000_000)
}

/// Processor time of all its threads so far, those that have ended included.
pub(super) fn processor_time(process: u32) -> Result<Duration> {
    let stat = fs::read_to_string(Path::new("/proc").join(process.to_string()).join("stat"))?;
    // The name, in parentheses, may hold anything. Fields 14 and 15 of proc(5): user and system.
    let (_, fields) = stat.rsplit_once(')').context("no name in /proc/PID/stat")?;
    let fields = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    // USER_HZ is 100 on every architecture that Linux has here.
    Ok(Duration::from_millis(ticks * 10))
}
