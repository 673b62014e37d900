//! What the head of a program says: for which machine it is, and whether it needs libraries.

/// Program header type: the path of the loader that brings the libraries (System V ABI, chapter 5).
const PT_INTERP: u32 = 3;

/// A program.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// As images call it.
    pub(super) architecture: &'static str,
    /// It names a loader, and so needs one, and libraries.
    pub(super) interpreted: bool,
}

impl Program {
    /// Reads a program of 64 bits in little-endian order; `None` if it is none for a machine that
    /// Penstock runs on.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.get(..6)? != b"\x7fELF\x02\x01" {
            return None;
        }
        let architecture = match number::<2>(bytes, 18)? {
            62 => "amd64",
            183 => "arm64",
            _ => return None,
        };
        let (table, size, count) =
            (number::<8>(bytes, 32)?, number::<2>(bytes, 54)?, number::<2>(bytes, 56)?);
        let mut interpreted = false;
        for index in 0..count {
            let at = table.checked_add(size.checked_mul(index)?)?;
            interpreted |= number::<4>(bytes, usize::try_from(at).ok()?)? == u64::from(PT_INTERP);
        }
        Some(Self { architecture, interpreted })
    }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let mut whole = [0; 8];
    whole.get_mut(..N)?.copy_from_slice(bytes.get(at..at.checked_add(N)?)?);
    Some(u64::from_le_bytes(whole))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A head with one program header.
    pub(in crate::image) fn program(machine: u8, kind: u8) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (bytes[18], bytes[32], bytes[54], bytes[56], bytes[64]) = (machine, 64, 56, 1, kind);
        bytes
    }

    #[test]
    fn a_loader_and_the_machine_are_seen() {
        let read = |machine, kind| Program::read(&program(machine, kind));
        let amd64 = |interpreted| Program { architecture: "amd64", interpreted };
        assert_eq!(read(62, 1), Some(amd64(false)));
        assert_eq!(read(62, 3), Some(amd64(true)));
        assert_eq!(read(183, 1).map(|program| program.architecture), Some("arm64"));
        assert_eq!(read(8, 1), None);
        assert_eq!(Program::read(b"#!/bin/sh\n"), None);
        assert_eq!(Program::read(&program(62, 3)[..60]), None);
    }
}
