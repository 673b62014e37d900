//! The one layer of the image: the program and nothing else.

use std::io::Write as _;

use anyhow::{Context, Result};
use data_encoding::HEXLOWER;
use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};

/// The program's path in the image, without the slash.
pub(super) const PROGRAM: &str = "penstock";

/// What lets a user without other rights bind ports below 1024: `cap_net_bind_service` (10) in the
/// permitted and the effective set, as `struct vfs_cap_data` of revision 2 (linux/capability.h). The
/// kernel grants it only where the container has the capability.
const CAPABILITY: [u8; 20] = {
    let mut data = [0; 20];
    data[0] = 1; // Effective.
    data[3] = 2; // Revision.
    data[5] = 1 << (10 - 8); // Permitted, in little-endian order.
    data
};

/// A layer.
pub(super) struct Layer {
    /// Compressed.
    pub(super) bytes: Vec<u8>,
    /// `sha256:…` of what is compressed, by which the configuration names it.
    pub(super) diff_id: String,
}

/// The layer of a program; `seconds` since 1970 is its time.
pub(super) fn of(program: &[u8], seconds: u64, compression: Compression) -> Result<Layer> {
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_pax_extensions([("SCHILY.xattr.security.capability", &CAPABILITY[..])])
        .context("cannot write the attributes")?;
    append(&mut tar, PROGRAM, 0o755, seconds, program)?;
    let plain = tar.into_inner().context("cannot end the layer")?;
    // Without a name and a time of its own, so that it is the same every time.
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), compression);
    gzip.write_all(&plain).context("cannot compress the layer")?;
    let bytes = gzip.finish().context("cannot compress the layer")?;
    Ok(Layer { bytes, diff_id: digest(&plain) })
}

/// Adds a file that belongs to root.
pub(super) fn append(
    tar: &mut tar::Builder<Vec<u8>>,
    path: &str,
    mode: u32,
    seconds: u64,
    bytes: &[u8],
) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    header.set_mtime(seconds);
    header.set_uid(0);
    header.set_gid(0);
    tar.append_data(&mut header, path, bytes).with_context(|| format!("cannot write {path}"))
}

/// `sha256:…`, as images name contents.
pub(super) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(bytes)))
}
