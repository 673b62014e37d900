//! `penstock l4 …`: the kernel tier by hand, without an agent.

use std::{
    io::{self, Write},
    net::IpAddr,
    path::{Path, PathBuf},
};

use clap::Subcommand;
use ingress_common::{Counters, HashKey, Reason, TunnelHeader};

use super::{
    L4Error, Mode, Options, Services, counters,
    detach::{self, Detached},
    directory::{directory, versions},
    explain::Explain,
    follow::{self, Wanted},
    handle::load,
    loopback, netlink, settings,
    top::Top,
};

/// Works on the kernel tier.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Loads the programs, attaches them, and steers everything to this node.
    Load {
        /// The interface that packets come in on; may be repeated.
        #[arg(long = "interface", required = true, value_name = "IF")]
        interfaces: Vec<String>,
        /// A virtual address; may be repeated.
        #[arg(long = "vip", value_name = "ADDRESS", default_value = "203.0.113.1")]
        vips: Vec<IpAddr>,
        /// Where to attach: XDP in the driver or else in the stack (auto, xdp), or tc, an experiment.
        #[arg(long, value_name = "auto|xdp|tc", default_value = "auto")]
        l4: Where,
        /// A TCP port that is served at the virtual addresses; may be repeated.
        #[arg(long = "port", default_values_t = [80, 443])]
        ports: Vec<u16>,
        /// Where programs and maps are pinned.
        #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/penstock")]
        bpf_dir: PathBuf,
    },
    /// Detaches the programs and removes everything that was pinned or added.
    Unload {
        /// Where programs and maps are pinned.
        #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/penstock")]
        bpf_dir: PathBuf,
    },
    /// Shows flows that begin and packets that are dropped, as lines of JSON.
    Events {
        /// Only of this virtual service, ADDRESS:PORT, or of this ADDRESS; may be repeated.
        #[arg(long = "vip", value_name = "VIP")]
        vips: Vec<String>,
        /// Stop after so many.
        #[arg(long, value_name = "N")]
        count: Option<u64>,
        /// Where programs and maps are pinned.
        #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/penstock")]
        bpf_dir: PathBuf,
    },
    /// Shows packets as they leave the programs, or writes them to a file.
    Capture {
        /// Write a pcapng file, for Wireshark or tcpdump; - is standard output.
        #[arg(short, long, value_name = "FILE")]
        write: Option<PathBuf>,
        /// Only of this virtual service, ADDRESS:PORT, or of this ADDRESS; may be repeated.
        #[arg(long = "vip", value_name = "VIP")]
        vips: Vec<String>,
        /// Only for this reason; may be repeated. Without it, all but not_vip and not_ip.
        #[arg(long = "reason", value_name = "REASON")]
        reasons: Vec<String>,
        /// Stop after so many.
        #[arg(long, value_name = "N")]
        count: Option<u64>,
        /// Where programs and maps are pinned.
        #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/penstock")]
        bpf_dir: PathBuf,
    },
    /// Says what would become of a packet.
    Explain(Explain),
    /// Shows virtual services, nodes, flows and drops, live.
    Top(Top),
    /// Shows packets and bytes by reason.
    Counters {
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// Where programs and maps are pinned.
        #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/penstock")]
        bpf_dir: PathBuf,
    },
}

/// As `--l4` of `penstock run`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Where {
    /// As [`Xdp`](Self::Xdp).
    Auto,
    /// XDP.
    Xdp,
    /// tc.
    Tc,
}

impl Command {
    /// Does it, and says to `out` what it found.
    ///
    /// # Errors
    /// What keeps it from being done. A failure to write to `out` is none.
    pub fn run(self, out: &mut impl Write) -> Result<(), L4Error> {
        match self {
            Self::Load { interfaces, vips, l4, ports, bpf_dir } => load(&Options {
                mode: match l4 {
                    Where::Auto => Mode::Auto,
                    Where::Xdp => Mode::Xdp,
                    Where::Tc => Mode::Tc,
                },
                interfaces,
                services: Services {
                    addresses: vips,
                    tcp: ports,
                    udp: Vec::new(),
                    by_client: false,
                },
                node_name: "self".to_owned(),
                bpf_dir,
                tunnel_port: TunnelHeader::PORT,
                health_port: 0,
                // One node: there is nobody to aim a connection at.
                key: HashKey([0, 0]),
                members: Vec::new(),
                candidates: 4,
                settings: false,
                announce: false,
            }),
            Self::Unload { bpf_dir } => unload(&bpf_dir),
            Self::Events { vips, count, bpf_dir } => {
                let wanted = Wanted { vips, count, events_only: true, ..Wanted::default() };
                follow::events(&bpf_dir, &wanted, out)
            }
            Self::Capture { write, vips, reasons, count, bpf_dir } => {
                let wanted = Wanted { vips, reasons, count, events_only: false };
                follow::capture(&bpf_dir, &wanted, write, out)
            }
            Self::Explain(explain) => explain.run(out),
            Self::Top(top) => top.run(out),
            Self::Counters { json, bpf_dir } => {
                let counters = counters::totals(&bpf_dir)?;
                let _ = if json { print_json(out, &counters) } else { print(out, &counters) };
                Ok(())
            }
        }
    }
}

fn unload(bpf_dir: &Path) -> Result<(), L4Error> {
    remove(versions(bpf_dir), || detach::unload(bpf_dir))
}

/// Takes the virtual addresses and the settings of the stack back, of a node that leaves. The
/// programs stay: what comes in here goes to other nodes.
///
/// # Errors
/// [`L4Error::VirtualAddress`] and others.
pub fn leave(bpf_dir: &Path) -> Result<(), L4Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(L4Error::Thread)?;
    runtime.block_on(async {
        let directory = directory(bpf_dir);
        loopback::remove_except(&netlink::connect()?, &directory, &[]).await?;
        settings::restore(&directory);
        Ok(())
    })
}

/// Takes back what a start has done that failed, and that found nothing of an earlier one.
pub(super) fn discard(bpf_dir: &Path) -> Result<(), L4Error> {
    remove(vec![directory(bpf_dir)], || detach::discard(bpf_dir))
}

/// Removes the addresses that were added on behalf of these directories, then what `pins` removes.
fn remove(
    directories: Vec<PathBuf>,
    pins: impl FnOnce() -> Result<Detached, L4Error>,
) -> Result<(), L4Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(L4Error::Thread)?;
    runtime.block_on(async {
        let netlink = netlink::connect()?;
        for directory in directories {
            loopback::remove_except(&netlink, &directory, &[]).await?;
            settings::restore(&directory);
        }
        pins()?.settled(&netlink).await
    })
}

fn print(out: &mut impl Write, counters: &[(Reason, Counters)]) -> io::Result<()> {
    writeln!(out, "{:<20} {:<8} {:>14} {:>18}", "reason", "verdict", "packets", "bytes")?;
    let mut total = Counters::default();
    for (reason, count) in counters {
        total.packets += count.packets;
        total.bytes += count.bytes;
        if count.packets > 0 {
            let (name, verdict) = (reason.name(), reason.verdict().name());
            writeln!(out, "{name:<20} {verdict:<8} {:>14} {:>18}", count.packets, count.bytes)?;
        }
    }
    writeln!(out, "{:<20} {:<8} {:>14} {:>18}", "all", "", total.packets, total.bytes)
}

fn print_json(out: &mut impl Write, counters: &[(Reason, Counters)]) -> io::Result<()> {
    let list: Vec<serde_json::Value> = counters
        .iter()
        .map(|(reason, count)| {
            serde_json::json!({
                "reason": reason.name(),
                "verdict": reason.verdict().name(),
                "packets": count.packets,
                "bytes": count.bytes,
            })
        })
        .collect();
    writeln!(out, "{}", serde_json::Value::Array(list))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_documented() {
        let document = include_str!("../../../docs/kernel-tier.md");
        for reason in Reason::ALL {
            let row = format!("| `{}` | {} |", reason.name(), reason.verdict().name());
            assert!(document.contains(&row), "docs/kernel-tier.md lacks {row}");
        }
    }

    #[test]
    fn counters_are_shown_with_their_sum() {
        let counters = [
            (Reason::NotVip, Counters { packets: 2, bytes: 120 }),
            (Reason::Local, Counters { packets: 0, bytes: 0 }),
            (Reason::Forwarded, Counters { packets: 3, bytes: 200 }),
        ];
        let mut out = Vec::new();
        print(&mut out, &counters).expect("a vector takes everything");
        let text = String::from_utf8(out).expect("ASCII");
        let words: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[1], ["not_vip", "pass", "2", "120"]);
        assert_eq!(words[2], ["forwarded", "forward", "3", "200"]);
        assert_eq!(words[3], ["all", "5", "320"]);
    }
}
