//! The embedded object: loading it, its maps, its two classifiers.

use std::io;
use std::path::Path;

use aya::maps::{Array, Map, MapData};
use aya::programs::{Program, ProgramError};
use aya::{Ebpf, EbpfLoader};
use netpol_common::abi::Meta;
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::layout::{MapName, ring_bytes};
use super::{KernelError, KernelOptions, Programs};

/// How often a program is given to the verifier, as libbpf does (`PROG_LOAD_ATTEMPTS`).
const TRIES: usize = 5;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/netpol"));

/// Loads the object with the sizes asked for; both classifiers pass the verifier here.
pub(super) fn load(options: &KernelOptions) -> Result<Ebpf, KernelError> {
    let mut loader = EbpfLoader::new();
    loader
        .map_max_entries(MapName::Edges.name(), options.edges)
        .map_max_entries(MapName::Attempts.name(), options.attempts)
        .map_max_entries(MapName::Sights.name(), ring_bytes(options.ring_bytes));
    if let Some(directory) = &options.pin_dir {
        prepare(directory)?;
        for map in MapName::ALL {
            map.check(directory, options)?;
            loader.map_pin_path(map.name(), directory.join(map.name()));
        }
    }
    let mut ebpf = loader.load(OBJECT)?;
    let Programs { from_pod, to_pod } = programs(&mut ebpf)?;
    for (name, program) in [("from_pod", from_pod), ("to_pod", to_pod)] {
        let loaded = patiently(is_interrupted, || program.load());
        loaded.map_err(|error| KernelError::program(name, error))?;
    }
    Ok(ebpf)
}

/// Tries again what was interrupted.
fn patiently<E>(
    is_interrupted: impl Fn(&E) -> bool,
    mut load: impl FnMut() -> Result<(), E>,
) -> Result<(), E> {
    for _ in 1..TRIES {
        match load() {
            Err(error) if is_interrupted(&error) => {}
            outcome => return outcome,
        }
    }
    load()
}

/// Whether the verifier stopped because its thread had a signal or other work waiting, which says nothing of the program.
fn is_interrupted(error: &ProgramError) -> bool {
    matches!(error, ProgramError::LoadError { io_error, .. } if io_error.kind() == io::ErrorKind::WouldBlock)
}

/// Loads both classifiers again.
pub(super) fn load_again(ebpf: &mut Ebpf) -> Result<(), KernelError> {
    let Programs { from_pod, to_pod } = programs(ebpf)?;
    for (name, program) in [("from_pod", from_pod), ("to_pod", to_pod)] {
        let again = program.unload();
        let again = again.and_then(|()| patiently(is_interrupted, || program.load()));
        again.map_err(|error| KernelError::program(name, error))?;
    }
    Ok(())
}

/// Takes a map out of the loaded object.
pub(super) fn take(ebpf: &mut Ebpf, map: MapName) -> Result<Map, KernelError> {
    ebpf.take_map(map.name())
        .ok_or(KernelError::Object(map.name()))
}

/// Takes a hash map out of the loaded object, to be used by its file descriptor.
pub(super) fn data(ebpf: &mut Ebpf, map: MapName) -> Result<MapData, KernelError> {
    match take(ebpf, map)? {
        Map::HashMap(data) => Ok(data),
        _ => Err(KernelError::Object(map.name())),
    }
}

/// The two classifiers.
pub(super) fn programs(ebpf: &mut Ebpf) -> Result<Programs<'_>, KernelError> {
    let (mut from_pod, mut to_pod) = (None, None);
    for (name, program) in ebpf.programs_mut() {
        match (name, program) {
            ("from_pod", Program::SchedClassifier(program)) => from_pod = Some(program),
            ("to_pod", Program::SchedClassifier(program)) => to_pod = Some(program),
            _ => {}
        }
    }
    let needed = |program: Option<_>, name| program.ok_or(KernelError::Object(name));
    Ok(Programs::<'_> {
        from_pod: needed(from_pod, "from_pod")?,
        to_pod: needed(to_pod, "to_pod")?,
    })
}

/// Draws what a new set of maps needs; a set that was adopted has it.
pub(super) fn initialise(meta: &mut Array<MapData, u64>) -> Result<(), KernelError> {
    for (entry, new) in [
        (Meta::Seed, random()?),
        (Meta::NextInterface, 1),
        (Meta::Instance, random()?.max(1)),
    ] {
        if meta.get(&(entry as u32), 0)? == 0 {
            meta.set(entry as u32, new, 0)?;
        }
    }
    Ok(())
}

/// Makes the directory for pins, which must be on a bpffs.
fn prepare(directory: &Path) -> Result<(), KernelError> {
    let failed = |source: io::Error| KernelError::PinDirectory {
        path: directory.to_owned(),
        source,
    };
    let existing = directory
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"));
    let kind = statfs(existing).map_err(|errno| failed(errno.into()))?;
    if kind.filesystem_type() != BPF_FS_MAGIC {
        return Err(KernelError::NoBpffs {
            path: directory.to_owned(),
        });
    }
    std::fs::create_dir_all(directory).map_err(failed)
}

fn random() -> Result<u64, KernelError> {
    let mut bytes = [0; size_of::<u64>()];
    // SAFETY: the kernel writes at most `bytes.len()` bytes there.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if usize::try_from(got) == Ok(bytes.len()) {
        return Ok(u64::from_ne_bytes(bytes));
    }
    Err(KernelError::Random(io::Error::last_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_interrupted_is_tried_again_and_nothing_else() {
        let loaded = |outcomes: &[i32]| {
            let mut outcomes = outcomes.iter();
            let load = || match outcomes.next() {
                Some(0) => Ok(()),
                Some(code) => Err(io::Error::from_raw_os_error(*code)),
                None => panic!("tried too often"),
            };
            let interrupted = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
            let outcome = patiently(interrupted, load);
            outcome.map_err(|error| error.raw_os_error())
        };
        let (again, denied) = (libc::EAGAIN, libc::EACCES);
        assert_eq!(loaded(&[0]), Ok(()));
        assert_eq!(loaded(&[again, again, 0]), Ok(()));
        assert_eq!(loaded(&[again, denied]), Err(Some(denied)));
        assert_eq!(loaded(&[denied]), Err(Some(denied)));
        assert_eq!(loaded(&[again; TRIES]), Err(Some(again)));
    }
}
