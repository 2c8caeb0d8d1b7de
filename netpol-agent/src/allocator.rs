//! What our programs allocate with, and how soon it gives memory back.

use std::ffi::{c_int, c_long};

/// The C library's keeps what an aggregator's threads have freed in many places, from which it hardly goes back: half as much
/// memory again for a cluster of 100,000 pods, and more processor time (`cargo xtask bench aggregator`). The policies of a
/// large cluster are many small things, which it takes longer for, too (`cargo xtask bench policy`).
pub use mimalloc::MiMalloc as Allocator;

/// `mi_option_purge_delay` of mimalloc 2 and 3.
const PURGE_DELAY: c_int = 15;
/// What is free is given back after so many milliseconds, or ten times that where it belongs to an arena. A second and ten
/// seconds, mimalloc's own, are longer than the time between two things that take much memory, so that both would count.
const SOON: c_long = 10;

unsafe extern "C" {
    fn mi_option_set_default(option: c_int, value: c_long);
    #[cfg(test)]
    fn mi_option_get(option: c_int) -> c_long;
}

/// Has memory that is free given back to the kernel soon. What `MIMALLOC_PURGE_DELAY` says goes before it.
pub fn give_back_soon() {
    // SAFETY: the function is mimalloc's, declared as in its `mimalloc.h`, and may be called at any time by any thread.
    unsafe { mi_option_set_default(PURGE_DELAY, SOON) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_is_taken_over() {
        give_back_soon();
        // Linked, and so used.
        let _allocator = Allocator;
        // SAFETY: as above.
        let delay = unsafe { mi_option_get(PURGE_DELAY) };
        assert_eq!(delay, SOON);
    }
}
