//! Looking at packets on their way out of the programs: a program of this process's own, in a slot
//! that is empty otherwise, copies them to a buffer of this process's own.
//!
//! A capture ends with its process: the programs are told until when to go on, and not asked to stop.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, Map, MapData, ProgramArray, RingBuf},
    programs::{SchedClassifier, Xdp},
};
use ingress_common::{
    limits::{CAPTURED, tail},
    observe::{CaptureFilter, OBSERVE_CAPTURE, Observe},
};

use super::{
    L4Error, Reader,
    apply::{cannot, open},
    attach::{loader, program},
    counters::pinned,
    directory::directory,
    link::refused,
    object,
    record::{Record, monotonic},
};

/// How long the programs go on after the last word from the process that captures.
const LEASE: Duration = Duration::from_secs(3);
/// How often it says that it is there.
const RENEWAL: Duration = Duration::from_secs(1);

/// A capture that runs. Dropping it ends it.
pub(super) struct Capture {
    ring: RingBuf<MapData>,
    observe: Array<MapData, Observe>,
    slots: [ProgramArray<MapData>; 2],
    renewed: Instant,
    object: Ebpf,
}

impl Capture {
    /// Begins.
    ///
    /// # Errors
    /// [`L4Error::CaptureRuns`], or what keeps the programs out of the kernel.
    pub(super) fn start(bpf_dir: &Path, filter: CaptureFilter) -> Result<Self, L4Error> {
        // Only what is there, and of this version, is added to.
        Reader::open(bpf_dir)?;
        let directory = directory(bpf_dir);
        let observe: Array<MapData, Observe> =
            pinned(&directory, "OBSERVE", |data| Array::try_from(Map::Array(data)))?;
        let before = observe.get(&0, 0).map_err(cannot("OBSERVE", "read"))?;
        if before.flags & OBSERVE_CAPTURE != 0 && before.capture_until > monotonic() {
            return Err(L4Error::CaptureRuns);
        }
        let bytes = object::embedded().ok_or(L4Error::NoObject)?;
        let mut loader: EbpfLoader<'_> = loader(&directory);
        loader.map_max_entries("CAPTURED", CAPTURED);
        let object = loader.load(bytes);
        let mut object = object.map_err(|error| L4Error::Load(Box::new(error)))?;
        let mut wanted: Array<MapData, CaptureFilter> = open(&mut object, "FILTER")?;
        wanted.set(0, filter, 0).map_err(cannot("FILTER", "written"))?;
        let ring: RingBuf<MapData> = open(&mut object, "CAPTURED")?;

        let xdp: &mut Xdp = program(&mut object, "xdp_capture")?;
        object::load(xdp).map_err(|source| refused("xdp_capture", source))?;
        let tc: &mut SchedClassifier = program(&mut object, "tc_capture")?;
        object::load(tc).map_err(|source| refused("tc_capture", source))?;

        let xdp_slots: ProgramArray<MapData> = open(&mut object, "PROGS")?;
        let tc_slots: ProgramArray<MapData> = open(&mut object, "TCPROGS")?;
        let slots = [xdp_slots, tc_slots];
        let mut capture = Self { ring, observe, slots, renewed: Instant::now(), object };
        // First: what is in the slots of a capture that has ended may be swept away.
        capture.extend(LEASE)?;
        capture.fill()?;
        Ok(capture)
    }

    /// Puts the programs that copy into their slots.
    fn fill(&mut self) -> Result<(), L4Error> {
        let [xdp_slots, tc_slots] = &mut self.slots;
        let xdp: &mut Xdp = program(&mut self.object, "xdp_capture")?;
        let fd = xdp.fd().map_err(|source| refused("xdp_capture", source))?;
        xdp_slots.set(tail::CAPTURE, fd, 0).map_err(cannot("PROGS", "written"))?;
        let tc: &mut SchedClassifier = program(&mut self.object, "tc_capture")?;
        let fd = tc.fd().map_err(|source| refused("tc_capture", source))?;
        tc_slots.set(tail::CAPTURE, fd, 0).map_err(cannot("TCPROGS", "written"))
    }

    /// The programs go on for so long.
    fn extend(&mut self, time: Duration) -> Result<(), L4Error> {
        let before = self.observe.get(&0, 0).map_err(cannot("OBSERVE", "read"))?;
        let lease = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let flags = if time.is_zero() {
            before.flags & !OBSERVE_CAPTURE
        } else {
            before.flags | OBSERVE_CAPTURE
        };
        let capture_until = monotonic().saturating_add(lease);
        let wanted = Observe { flags, capture_until, ..before };
        self.observe.set(0, wanted, 0).map_err(cannot("OBSERVE", "written"))
    }

    /// Hands what has come since the last call to `each`, until that says that it is enough.
    /// Whether it has.
    ///
    /// # Errors
    /// [`L4Error::Map`].
    pub(super) fn drain(
        &mut self,
        mut each: impl FnMut(Record<'_>) -> bool,
    ) -> Result<bool, L4Error> {
        if self.renewed.elapsed() > RENEWAL {
            self.renewed = Instant::now();
            self.extend(LEASE)?;
        }
        while let Some(item) = self.ring.next() {
            if Record::read(&item).is_some_and(&mut each) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Takes away what a capture left whose process was killed.
///
/// # Errors
/// [`L4Error::Map`].
pub(super) fn sweep(directory: &Path) -> Result<(), L4Error> {
    let mut observe: Array<MapData, Observe> =
        pinned(directory, "OBSERVE", |data| Array::try_from(Map::Array(data)))?;
    let found = observe.get(&0, 0).map_err(cannot("OBSERVE", "read"))?;
    if !is_over(&found, monotonic()) {
        return Ok(());
    }
    for name in ["PROGS", "TCPROGS"] {
        let slots = pinned(directory, name, |data| ProgramArray::try_from(Map::ProgramArray(data)));
        let mut slots: ProgramArray<MapData> = slots?;
        // It may be empty.
        let _ = slots.clear_index(&tail::CAPTURE);
    }
    let ended = Observe { flags: found.flags & !OBSERVE_CAPTURE, ..found };
    observe.set(0, ended, 0).map_err(cannot("OBSERVE", "written"))
}

/// Whether a capture has not been renewed in time.
const fn is_over(observe: &Observe, now: u64) -> bool {
    observe.flags & OBSERVE_CAPTURE != 0 && observe.capture_until < now
}

impl Drop for Capture {
    fn drop(&mut self) {
        // If it cannot be told, it ends by itself.
        let _ = self.extend(Duration::ZERO);
        for slots in &mut self.slots {
            let slot = tail::CAPTURE;
            let _ = slots.clear_index(&slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;

    use super::*;

    #[test]
    fn a_capture_is_over_when_it_was_not_renewed() {
        let observe = |flags, capture_until| Observe { flags, capture_until, ..Observe::zeroed() };
        assert!(is_over(&observe(OBSERVE_CAPTURE, 9), 10));
        assert!(!is_over(&observe(OBSERVE_CAPTURE, 10), 10));
        assert!(!is_over(&observe(0, 9), 10), "there is none");
    }
}
