//! What makes the load: wrk, h2load and our own `penstock-load`, all on the core that the proxy does
//! not have. A load that was not answered in full counts nothing.

use std::{
    io::{BufRead, BufReader, Read as _},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::peer::HOST;

/// The core of the load and the backend.
pub(super) const CORE: usize = 1;

/// The programs.
pub(super) struct Load {
    /// `penstock-load`.
    pub(super) program: PathBuf,
}

/// How wrk asks.
pub(super) struct Wrk<'w> {
    pub(super) address: SocketAddr,
    pub(super) host: &'w str,
    pub(super) path: &'w str,
    pub(super) connections: u32,
    pub(super) seconds: u32,
    /// Lua.
    pub(super) script: Option<&'w str>,
    /// `Connection: close`.
    pub(super) close: bool,
}

impl Load {
    /// The number of requests that were answered.
    pub(super) fn wrk(&self, wrk: &Wrk<'_>) -> Result<u64> {
        let mut command = pinned("wrk");
        command
            .args(["--threads", "1", "--connections", &wrk.connections.to_string()])
            .args(["--duration", &format!("{}s", wrk.seconds), "--timeout", "10s"])
            .args(["--header", &format!("Host: {}", wrk.host)]);
        if wrk.close {
            command.args(["--header", "Connection: close"]);
        }
        if let Some(script) = wrk.script {
            command.args(["--script", script]);
        }
        command.arg(format!("http://{}{}", wrk.address, wrk.path));
        let report = said(&mut command)?;
        answered(&report).with_context(|| format!("under load:\n{report}"))
    }

    /// The number of requests that were answered, on 4 connections with 100 streams each. As many
    /// as are asked for, for h2load cuts requests off when its time is up.
    pub(super) fn h2load(&self, scheme: &str, address: SocketAddr, requests: u64) -> Result<u64> {
        let mut command = pinned("h2load");
        command.args(["--clients=4", "--max-concurrent-streams=100", "--threads=1"]);
        command.args(["--connection-inactivity-timeout=10s", &format!("--requests={requests}")]);
        command.arg(format!("--connect-to={address}"));
        let report = said(command.arg(format!("{scheme}://{HOST}:{}/", address.port())))?;
        succeeded(&report).with_context(|| format!("under load:\n{report}"))
    }

    /// As many requests over HTTP/2 without TLS on one connection, one by one.
    pub(super) fn h2_one_by_one(&self, address: SocketAddr, requests: usize) -> Result<()> {
        let mut command = pinned("h2load");
        command.args(["--clients=1", "--max-concurrent-streams=1"]);
        command.args([format!("--requests={requests}"), format!("--connect-to={address}")]);
        let report = said(command.arg(format!("http://{HOST}:{}/", address.port())))?;
        succeeded(&report).with_context(|| format!("under load:\n{report}"))?;
        Ok(())
    }

    /// The number of handshakes.
    pub(super) fn handshakes(
        &self,
        address: SocketAddr,
        host: &str,
        resume: bool,
        seconds: u32,
    ) -> Result<u64> {
        let mut command = self.own("handshakes");
        command.args([&address.to_string(), "--host", host, "--seconds", &seconds.to_string()]);
        if resume {
            command.arg("--resume");
        }
        said(&mut command)?.trim().parse().context("no number of handshakes")
    }

    /// The number of requests, and the 50th, 99th and 99.9th percentile of their latency in µs.
    pub(super) fn rate(
        &self,
        address: SocketAddr,
        host: &str,
        rate: f64,
        seconds: u32,
    ) -> Result<(u64, [f64; 3])> {
        let mut command = self.own("rate");
        command.args([&address.to_string(), "--host", host, "--rate", &format!("{rate:.0}")]);
        let report = said(command.args(["--seconds", &seconds.to_string()]))?;
        let numbers: Vec<f64> =
            report.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        let [requests, p50, p99, p999] = numbers[..] else { bail!("unexpected: {report}") };
        Ok((requests as u64, [p50, p99, p999]))
    }

    /// Opens WebSockets and keeps them until the result is dropped.
    pub(super) fn websockets(
        &self,
        address: SocketAddr,
        host: &str,
        connections: usize,
    ) -> Result<Open> {
        let mut command = self.own("websockets");
        command.args([&address.to_string(), "--host", host]);
        command.args(["--connections", &connections.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot run the load")?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let mut open = Open(child);
        if line.trim() != "open" {
            let mut why = String::new();
            if let Some(mut errors) = open.0.stderr.take() {
                errors.read_to_string(&mut why)?;
            }
            bail!("{connections} WebSockets could not be opened: {}", why.trim());
        }
        Ok(open)
    }

    /// One of our own loads.
    pub(super) fn own(&self, load: &str) -> Command {
        let mut command = pinned(&self.program.display().to_string());
        command.arg(load);
        command
    }
}

/// WebSockets that are open.
pub(super) struct Open(Child);

impl Drop for Open {
    fn drop(&mut self) {
        // The end of its input is the sign to go.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn pinned(program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &CORE.to_string(), program]);
    command
}

/// What the command prints; its errors where it fails.
pub(super) fn said(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().context("cannot run the load")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("the load failed ({}): {} {}", output.status, text.trim(), errors.trim());
    }
    Ok(text)
}

/// The number of requests in wrk's report.
fn answered(report: &str) -> Result<u64> {
    if let Some(line) = report
        .lines()
        .find(|line| line.contains("Non-2xx or 3xx responses") || line.contains("Socket errors"))
    {
        bail!("not all requests were answered: {}", line.trim());
    }
    let requests = report.lines().find_map(|line| line.trim().split_once(" requests in "));
    let requests = requests.and_then(|(number, _)| number.parse().ok()).unwrap_or(0);
    if requests == 0 {
        bail!("no request was answered");
    }
    Ok(requests)
}

/// The number of requests in h2load's report: `status codes: 9 2xx, 0 3xx, 0 4xx, 0 5xx`.
fn succeeded(report: &str) -> Result<u64> {
    let counts = |prefix: &str| -> Option<Vec<(u64, String)>> {
        let line = report.lines().find_map(|line| line.strip_prefix(prefix))?;
        let pair = |part: &str| {
            let (number, what) = part.trim().split_once(' ')?;
            Some((number.parse().ok()?, what.to_owned()))
        };
        line.split(',').map(pair).collect()
    };
    let requests = counts("requests: ").context("no line of requests")?;
    let codes = counts("status codes: ").context("no line of status codes")?;
    let number = |counts: &[(u64, String)], name: &str| {
        counts.iter().find(|(_, what)| what == name).map_or(0, |(number, _)| *number)
    };
    let good = number(&codes, "2xx");
    if good == 0 || good != number(&requests, "total") || good != number(&requests, "succeeded") {
        bail!("not all requests were answered");
    }
    Ok(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_that_was_not_answered_in_full_counts_nothing() {
        let good = "  1 threads and 64 connections\n  61203 requests in 1.00s, 70 MB read\n";
        assert_eq!(answered(good).unwrap(), 61203);
        for bad in ["Non-2xx or 3xx responses: 3", "Socket errors: connect 0, read 1"] {
            assert!(answered(&format!("  9 requests in 1s\n  {bad}\n")).is_err(), "{bad}");
        }
        assert!(answered("nothing\n").is_err());
    }

    #[test]
    fn a_stream_that_failed_counts_for_all() {
        let report = |total, good| {
            format!(
                "requests: {total} total, {total} started, {total} done, {good} succeeded, \
                 0 failed, 0 errored, 0 timeout\nstatus codes: {good} 2xx, 0 3xx, 0 4xx, 0 5xx\n"
            )
        };
        assert_eq!(succeeded(&report(50, 50)).unwrap(), 50);
        assert!(succeeded(&report(50, 49)).is_err());
        assert!(succeeded(&report(0, 0)).is_err());
    }
}
