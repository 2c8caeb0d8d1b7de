//! Whether a program is static: reads as much of an ELF file (gABI, 64-bit, little endian) as that takes.

use anyhow::{Context as _, Result, bail};

/// Program header types.
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
/// A library that the dynamic linker must find.
const DT_NEEDED: u64 = 1;
/// The sizes of a program header and of an entry of the dynamic section.
const HEADER: usize = 56;
const DYNAMIC: usize = 16;

/// What the program needs from where it runs; none if it is static. One that merely moves itself is.
///
/// # Errors
///
/// If it is not a program that we know how to read.
pub fn needs(program: &[u8]) -> Result<Option<&'static str>> {
    if !program.starts_with(b"\x7fELF\x02\x01") {
        bail!("not a 64-bit little-endian ELF file");
    }
    let headers = usize::try_from(number(program, 32, 8)?)?;
    let size = usize::try_from(number(program, 54, 2)?)?;
    let count = usize::try_from(number(program, 56, 2)?)?;
    if size != HEADER {
        bail!("program headers of {size} bytes");
    }
    for index in 0..count {
        let at = headers
            .checked_add(index * HEADER)
            .context("program headers beyond the file")?;
        let kind = u32::try_from(number(program, at, 4)?)?;
        if kind == PT_INTERP {
            return Ok(Some("a dynamic linker"));
        }
        if kind == PT_DYNAMIC && needs_library(program, at)? {
            return Ok(Some("shared libraries"));
        }
    }
    Ok(None)
}

/// Whether the dynamic section of the program header at `at` names a library.
fn needs_library(program: &[u8], at: usize) -> Result<bool> {
    let start = usize::try_from(number(program, at + 8, 8)?)?;
    let size = usize::try_from(number(program, at + 32, 8)?)?;
    let end = start.checked_add(size);
    let section = end.and_then(|end| program.get(start..end));
    let section = section.context("a dynamic section beyond the file")?;
    let mut tags = section
        .chunks_exact(DYNAMIC)
        .map(|entry| number(entry, 0, 8));
    tags.try_fold(false, |found, tag| Ok(found || tag? == DT_NEEDED))
}

/// A little-endian number of `width` bytes.
fn number(bytes: &[u8], at: usize, width: usize) -> Result<u64> {
    let end = at.checked_add(width);
    let field = end.and_then(|end| bytes.get(at..end));
    let field = field.context("the file is cut short")?;
    let mut wide = [0; 8];
    wide[..width].copy_from_slice(field);
    Ok(u64::from_le_bytes(wide))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_is_told() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(needs(&own).unwrap(), Some("a dynamic linker"));
    }

    #[test]
    fn other_files_and_any_truncation_are_errors() {
        assert!(needs(b"#!/bin/sh\n").is_err());
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for length in 0..80 {
            assert!(needs(&own[..length]).is_err(), "{length}");
        }
    }
}
