//! The file system that a kernel starts with: a cpio archive in the "new ASCII" format, as
//! Documentation/driver-api/early-userspace/buffer-format.rst of the kernel describes it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::step;

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;

/// An archive under construction.
#[derive(Default)]
pub(super) struct Image {
    bytes: Vec<u8>,
    names: BTreeSet<String>,
}

impl Image {
    /// Adds a file of this machine.
    pub(super) fn file(&mut self, name: &str, source: &Path) -> Result<()> {
        self.copy(name, FILE, source)
    }

    /// Adds a program of this machine, and the libraries that it is linked to, under their paths.
    pub(super) fn program(&mut self, name: &str, source: &Path) -> Result<()> {
        self.copy(name, PROGRAM, source)?;
        for library in libraries(source)? {
            let name = library.to_string_lossy().trim_start_matches('/').to_owned();
            if !self.names.contains(&name) {
                self.copy(&name, PROGRAM, &library)?;
            }
        }
        Ok(())
    }

    /// Adds a script.
    pub(super) fn script(&mut self, name: &str, text: &str) -> Result<()> {
        self.add(name, PROGRAM, text.as_bytes())
    }

    /// Adds a text.
    pub(super) fn text(&mut self, name: &str, text: &str) -> Result<()> {
        self.add(name, FILE, text.as_bytes())
    }

    /// The archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn copy(&mut self, name: &str, mode: u32, source: &Path) -> Result<()> {
        let data = fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
        self.add(name, mode, &data)
    }

    fn add(&mut self, name: &str, mode: u32, data: &[u8]) -> Result<()> {
        if u32::try_from(data.len()).is_err() {
            bail!("{name} is too large for an initial file system");
        }
        for (end, _) in name.match_indices('/') {
            if let Some(folder) = name.get(..end)
                && self.names.insert(folder.to_owned())
            {
                self.entry(folder, FOLDER, &[]);
            }
        }
        self.names.insert(name.to_owned());
        self.entry(name, mode, data);
        Ok(())
    }

    /// `c_magic` and thirteen fields of eight hexadecimal digits, the name with a zero byte, and the
    /// data; name and data are filled up to a multiple of four bytes.
    fn entry(&mut self, name: &str, mode: u32, data: &[u8]) {
        let (inode, owner, group, links, time, device) = (0, 0, 0, 1, 0, 0);
        self.bytes.extend_from_slice(b"070701");
        for field in [
            inode,
            mode as usize,
            owner,
            group,
            links,
            time,
            data.len(),
            device,
            device,
            device,
            device,
            name.len() + 1,
            0,
        ] {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.fill();
        self.bytes.extend_from_slice(data);
        self.fill();
    }

    fn fill(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// The shared libraries that the dynamic linker loads for a program, and that linker.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    // It fails for a program that needs none.
    let listed = step::output(Command::new("ldd").arg(program)).unwrap_or_default();
    if listed.contains("not found") {
        bail!("{} misses a library", program.display());
    }
    Ok(listed_libraries(&listed))
}

/// The paths in `libc.so.6 => /lib/libc.so.6 (0x7f00)` and `/lib64/ld-linux-x86-64.so.2 (0x7f00)`.
fn listed_libraries(listed: &str) -> Vec<PathBuf> {
    let words = listed.lines().filter_map(|line| {
        line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from)
    });
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_folders_come_before_what_is_in_them() {
        let mut image = Image::default();
        image.text("a/b/c", "12345").unwrap();
        image.text("a/d", "").unwrap();
        let bytes = image.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8(bytes).unwrap();
        let names: Vec<&str> =
            text.split("070701").skip(1).map(|e| e[104..].split('\0').next().unwrap()).collect();
        assert_eq!(names, ["a", "a/b", "a/b/c", "a/d", "TRAILER!!!"]);
        let size = &text.split("070701").nth(3).unwrap()[48..56];
        assert_eq!(size, "00000005");
    }

    #[test]
    fn libraries_are_read_from_what_ldd_says() {
        let listed = "\tlinux-vdso.so.1 (0x00007ffc)\n\tlibc.so.6 => /lib/libc.so.6 (0x00007f00)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007f01)\n";
        let expected = ["/lib/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(listed_libraries(listed), expected);
    }
}
