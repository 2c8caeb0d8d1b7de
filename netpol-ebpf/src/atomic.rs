//! Words in map values, which other CPUs read and write too.
//!
//! The bpf target has no atomics of `core`: its one atomic instruction on every kernel is adding without fetching
//! (`BPF_XADD`; the rest came with Linux 5.12), and its plain loads and stores of aligned words are never torn.

/// A word of a map value.
#[derive(Default)]
#[repr(transparent)]
pub(crate) struct Word(Cell);

#[cfg(target_arch = "bpf")]
type Cell = core::cell::UnsafeCell<u64>;
#[cfg(not(target_arch = "bpf"))]
type Cell = core::sync::atomic::AtomicU64;

#[cfg(target_arch = "bpf")]
impl Word {
    #[inline(always)]
    pub(crate) fn load(&self) -> u64 {
        // SAFETY: aligned and alive as long as the reference; a volatile load happens once, as one instruction.
        unsafe { self.0.get().read_volatile() }
    }

    #[inline(always)]
    pub(crate) fn store(&self, value: u64) {
        // SAFETY: aligned and alive as long as the reference; a volatile store happens once, as one instruction.
        unsafe { self.0.get().write_volatile(value) }
    }

    /// Adds one, whatever other CPUs do.
    #[inline(always)]
    pub(crate) fn increment(&self) {
        // SAFETY: the pointer is good for as long as the reference; the instruction touches nothing else.
        unsafe {
            core::arch::asm!(
                "lock *(u64 *)({word} + 0) += {one}",
                word = in(reg) self.0.get(),
                one = in(reg) 1_u64,
                options(nostack),
            );
        }
    }
}

#[cfg(not(target_arch = "bpf"))]
mod host {
    use core::sync::atomic::Ordering::Relaxed;

    use super::Word;

    impl Word {
        pub(crate) fn load(&self) -> u64 {
            self.0.load(Relaxed)
        }

        pub(crate) fn store(&self, value: u64) {
            self.0.store(value, Relaxed);
        }

        /// Adds one, whatever other threads do.
        pub(crate) fn increment(&self) {
            self.0.fetch_add(1, Relaxed);
        }
    }
}

impl Word {
    #[inline(always)]
    pub(crate) const fn new(value: u64) -> Self {
        Self(Cell::new(value))
    }
}

impl core::fmt::Debug for Word {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.load().fmt(f)
    }
}

#[cfg(target_arch = "bpf")]
// SAFETY: every access is a single instruction on an aligned word.
unsafe impl Sync for Word {}
