//! What the programs counted.

use std::path::Path;

use aya::maps::{Map, MapData, PerCpuArray};
use ingress_common::{Counters, Reason};

use super::{L4Error, apply::cannot, directory::directory};

/// The map of the counters.
pub(super) const MAP: &str = "REASONS";

/// The counters of all reasons.
pub(super) fn sum(
    map: &PerCpuArray<MapData, Counters>,
) -> Result<Vec<(Reason, Counters)>, L4Error> {
    Reason::ALL
        .iter()
        .map(|reason| {
            let values = map.get(&(*reason as u32), 0).map_err(cannot(MAP, "read"))?;
            let total = values.iter().fold(Counters::default(), |total, one| Counters {
                packets: total.packets + one.packets,
                bytes: total.bytes + one.bytes,
            });
            Ok((*reason, total))
        })
        .collect()
}

/// The counters of whatever is loaded below a directory.
///
/// # Errors
/// [`L4Error::NotLoaded`] or [`L4Error::Map`].
pub fn pinned(bpf_dir: &Path) -> Result<Vec<(Reason, Counters)>, L4Error> {
    let pin = directory(bpf_dir).join(MAP);
    if !pin.exists() {
        return Err(L4Error::NotLoaded { path: bpf_dir.to_owned() });
    }
    let map = MapData::from_pin(pin)
        .and_then(|data| PerCpuArray::try_from(Map::PerCpuArray(data)))
        .map_err(cannot(MAP, "opened"))?;
    sum(&map)
}
