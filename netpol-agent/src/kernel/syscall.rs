//! The commands of bpf(2) on maps of raw bytes: insertion, batched look-up, and look-up with deletion.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// `BPF_MAP_LOOKUP_ELEM` and its like, from `include/uapi/linux/bpf.h`.
const LOOKUP: libc::c_long = 1;
const UPDATE: libc::c_long = 2;
const DELETE: libc::c_long = 3;
const LOOKUP_AND_DELETE: libc::c_long = 21;
const LOOKUP_BATCH: libc::c_long = 24;

/// `BPF_NOEXIST`: make an entry, never change one.
const NO_EXIST: u64 = 1;

/// The attributes of commands on one element.
#[repr(C)]
#[derive(Default)]
struct Element {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The attributes of commands on a batch.
#[repr(C)]
#[derive(Default)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// What a batched look-up filled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Filled {
    /// How many entries stand at the beginning of the buffers.
    pub(super) count: usize,
    /// Whether these were the last.
    pub(super) last: bool,
}

/// Where a walk of a hash map stands: the index of a bucket.
pub(super) type Cursor = u32;

/// Fills `keys` and `values` with the entries after `cursor` and moves it. Whole buckets only, so each entry that
/// stays comes exactly once.
///
/// # Errors
///
/// `ENOSPC` if a bucket has more entries than the buffers, else what the kernel says.
pub(super) fn lookup_batch<const K: usize, const V: usize>(
    map: BorrowedFd<'_>,
    cursor: &mut Option<Cursor>,
    keys: &mut [[u8; K]],
    values: &mut [[u8; V]],
) -> io::Result<Filled> {
    let mut next: Cursor = 0;
    let mut batch = Batch {
        in_batch: cursor
            .as_ref()
            .map_or(0, |cursor| address(std::ptr::from_ref(cursor))),
        out_batch: address(std::ptr::from_mut(&mut next)),
        keys: address(keys.as_mut_ptr()),
        values: address(values.as_mut_ptr()),
        count: u32::try_from(keys.len().min(values.len())).unwrap_or(u32::MAX),
        map_fd: descriptor(map),
        ..Batch::default()
    };
    // SAFETY: cursor, next, keys and values outlive the call; the buffers hold `count` entries of the map's sizes,
    // which `Table` checked.
    let result = unsafe { bpf(LOOKUP_BATCH, &mut batch) };
    let last = match result {
        Ok(()) => false,
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
        Err(error) => return Err(error),
    };
    *cursor = Some(next);
    Ok(Filled {
        count: usize::try_from(batch.count).unwrap_or(0),
        last,
    })
}

/// Deletes an entry and gives its last value; `None` if there was none.
///
/// Hash maps know the one-step command from Linux 5.14 on (commit 3e87f192b405); below, it is two steps.
///
/// # Errors
///
/// What the kernel says.
pub(super) fn take<const K: usize, const V: usize>(
    map: BorrowedFd<'_>,
    key: &[u8; K],
) -> io::Result<Option<[u8; V]>> {
    match element(LOOKUP_AND_DELETE, map, key) {
        Err(error) if is_unknown(&error) => {
            let value = element(LOOKUP, map, key)?;
            Ok(element::<K, V>(DELETE, map, key)?.and(value))
        }
        other => other,
    }
}

/// Makes an entry, unless there is one already; whether it did.
pub(super) fn insert<const K: usize, const V: usize>(
    map: BorrowedFd<'_>,
    key: &[u8; K],
    value: &[u8; V],
) -> io::Result<bool> {
    let mut attributes = Element {
        map_fd: descriptor(map),
        key: address(key.as_ptr()),
        value: address(value.as_ptr()),
        flags: NO_EXIST,
        ..Element::default()
    };
    // SAFETY: key and value outlive the call and have the map's sizes, which `Table` checked.
    match unsafe { bpf(UPDATE, &mut attributes) } {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the kernel does not know the command for this kind of map (`ENOTSUPP` is 524, and not in libc).
fn is_unknown(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::EOPNOTSUPP | 524)
    )
}

fn element<const K: usize, const V: usize>(
    command: libc::c_long,
    map: BorrowedFd<'_>,
    key: &[u8; K],
) -> io::Result<Option<[u8; V]>> {
    let mut value = [0; V];
    let mut attributes = Element {
        map_fd: descriptor(map),
        key: address(key.as_ptr()),
        value: if command == DELETE {
            0
        } else {
            address(value.as_mut_ptr())
        },
        ..Element::default()
    };
    // SAFETY: key and value outlive the call and have the map's sizes, which `Table` checked.
    match unsafe { bpf(command, &mut attributes) } {
        Ok(()) => Ok(Some(value)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Calls bpf(2).
///
/// # Safety
///
/// `attributes` must be those of `command`, and every address in them good for what the command does there.
unsafe fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<()> {
    let attributes: *mut T = attributes;
    // SAFETY: the caller vouches for the attributes; the kernel reads and writes no more than their size.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn address<T>(pointer: *const T) -> u64 {
    pointer.addr() as u64
}

fn descriptor(map: BorrowedFd<'_>) -> u32 {
    map.as_raw_fd().unsigned_abs()
}
