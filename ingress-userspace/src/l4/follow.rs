//! `penstock l4 events` and `penstock l4 capture`: packets, as they leave the programs.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant, UNIX_EPOCH},
};

use ingress_common::{
    Reason,
    observe::{CAPTURE_SNAP, CaptureFilter},
};
use nix::net::if_::if_indextoname;
use tokio::signal::unix::{SignalKind, signal};

use super::{
    L4Error, Reader,
    capture::Capture,
    pcapng::Pcapng,
    record::{Names, Record, time_of},
};

/// Between two looks at the buffer.
const LOOK: Duration = Duration::from_millis(50);
/// Between two looks at what slots are called.
const NAMES: Duration = Duration::from_secs(1);

/// Which packets.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// Of these virtual services or addresses; none: of all.
    pub(super) vips: Vec<String>,
    /// For these reasons; none: for all but those of packets that are none of our business.
    pub(super) reasons: Vec<String>,
    /// So many; `None`: until told to stop.
    pub(super) count: Option<u64>,
    /// Only beginnings of flows, and drops.
    pub(super) events_only: bool,
}

impl Wanted {
    /// The filter for the programs, and the slots to choose by where the filter cannot.
    fn filter(&self, names: &Names, known: &str) -> Result<(CaptureFilter, Vec<u16>), L4Error> {
        let mut reasons = 0u64;
        for name in &self.reasons {
            let reason = Reason::ALL.iter().find(|reason| reason.name() == name);
            let reason = reason.ok_or_else(|| L4Error::Unknown {
                what: "the reason",
                value: name.clone(),
                known: Reason::ALL.iter().map(|reason| reason.name()).collect::<Vec<_>>().join(" "),
            })?;
            reasons |= 1 << *reason as u32;
        }
        if self.reasons.is_empty() {
            reasons = !(1 << Reason::NotVip as u32 | 1 << Reason::NotIp as u32);
        }
        let mut slots = Vec::new();
        for vip in &self.vips {
            let found = names.slots(vip);
            if found.is_empty() {
                return Err(L4Error::Unknown {
                    what: "the virtual service",
                    value: vip.clone(),
                    known: known.to_owned(),
                });
            }
            slots.extend(found);
        }
        let slot = match slots[..] {
            [one] => u32::from(one),
            _ => CaptureFilter::ANY,
        };
        let filter = CaptureFilter { reasons, slot, events_only: u32::from(self.events_only) };
        Ok((filter, slots))
    }
}

/// Where packets go.
enum Sink<'o> {
    /// Lines of JSON.
    Json(&'o mut dyn Write),
    /// Lines for people.
    Lines(&'o mut dyn Write),
    /// A file of packets.
    Packets(Pcapng<Box<dyn Write>>),
}

/// `penstock l4 events`.
///
/// # Errors
/// [`L4Error`].
pub(super) fn events(bpf_dir: &Path, wanted: &Wanted, out: &mut impl Write) -> Result<(), L4Error> {
    follow(bpf_dir, wanted, &mut Sink::Json(out)).map(drop)
}

/// `penstock l4 capture`: to a file, `-` being `out`, or as lines to `out`.
///
/// # Errors
/// [`L4Error`].
pub(super) fn capture(
    bpf_dir: &Path,
    wanted: &Wanted,
    file: Option<PathBuf>,
    out: &mut impl Write,
) -> Result<(), L4Error> {
    let Some(path) = file else {
        return follow(bpf_dir, wanted, &mut Sink::Lines(out)).map(drop);
    };
    let writer: Box<dyn Write> = if path == Path::new("-") {
        Box::new(io::stdout())
    } else {
        let failed = |source| L4Error::File { path: path.clone(), action: "created", source };
        Box::new(BufWriter::new(File::create(&path).map_err(failed)?))
    };
    let file = Pcapng::new(writer, CAPTURE_SNAP as u32);
    let file = file.map_err(|source| L4Error::File { path, action: "written", source })?;
    let count = follow(bpf_dir, wanted, &mut Sink::Packets(file))?;
    tracing::info!("{count} packets captured");
    Ok(())
}

/// Follows the packets until there are enough, a signal comes, or nobody reads any more. How many
/// there were.
fn follow(bpf_dir: &Path, wanted: &Wanted, sink: &mut Sink<'_>) -> Result<u64, L4Error> {
    let reader = Reader::open(bpf_dir)?;
    let mut names = Names::read(&reader)?;
    let known: Vec<String> = reader.service_names()?.into_values().collect();
    let (filter, slots) = wanted.filter(&names, &known.join(" "))?;
    let mut named = Instant::now();
    let mut interfaces = HashMap::new();
    let mut count = 0;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(L4Error::Thread)?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(L4Error::Thread)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(L4Error::Thread)?;
        let mut capture = Capture::start(bpf_dir, filter)?;
        tracing::info!("capturing");
        let mut looks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                _ = interrupt.recv() => return Ok(count),
                _ = terminate.recv() => return Ok(count),
                _ = looks.tick() => {}
            }
            if named.elapsed() > NAMES {
                named = Instant::now();
                names = Names::read(&reader)?;
            }
            let mut each = |record: Record<'_>| {
                if !slots.is_empty() && !slots.contains(&record.seen.slot) {
                    return false;
                }
                let written = show(&record, &names, &mut interfaces, sink);
                count += 1;
                // Nobody reads, or there is no room: either way it is the end.
                !written || wanted.count == Some(count)
            };
            if capture.drain(&mut each)? {
                return Ok(count);
            }
        }
    })
}

/// Whether it could be written.
fn show(
    record: &Record<'_>,
    names: &Names,
    interfaces: &mut HashMap<u32, String>,
    sink: &mut Sink<'_>,
) -> bool {
    let time = time_of(record.seen.time);
    // Of a reason that this build does not know.
    let Some(event) = names.event(record, time) else { return true };
    let written = match sink {
        Sink::Json(out) => writeln!(out, "{}", event.to_json()).and_then(|()| out.flush()),
        Sink::Lines(out) => writeln!(out, "{}", event.to_line()).and_then(|()| out.flush()),
        Sink::Packets(file) => {
            let number = record.seen.interface;
            let name = interfaces.entry(number).or_insert_with(|| {
                let name = if_indextoname(number).ok();
                let name = name.map(|name| name.to_string_lossy().into_owned());
                name.unwrap_or_else(|| number.to_string())
            });
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            let since = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
            let seen = &record.seen;
            file.packet((number, name), since, record.data, seen.left, &event.to_comment())
        }
    };
    written.is_ok()
}
