//! Packets as sources of bytes: their linear part directly, all of them by a helper.

use aya_ebpf::helpers::bpf_skb_load_bytes;
use aya_ebpf::programs::TcContext;
use netpol_ebpf::packet::{Bytes, Stop};

use crate::parts;

/// Headers end long before; the verifier wants a bound on every place.
const LIMIT: u32 = 0x7fff;

/// The linear part, read directly.
#[derive(Clone, Copy)]
pub(crate) struct Linear {
    data: usize,
    end: usize,
}

/// The whole packet, read by a helper that knows of its fragments.
pub(crate) struct Whole<'a>(pub(crate) &'a TcContext);

impl Linear {
    #[inline(always)]
    pub(crate) fn new(context: &TcContext) -> Self {
        Self {
            data: context.data(),
            end: context.data_end(),
        }
    }

    #[inline(always)]
    fn read<T: Copy>(&self, at: u32) -> Result<T, Stop> {
        if at > LIMIT {
            return Err(Stop::Short);
        }
        let start = self.data + at as usize;
        if start + size_of::<T>() > self.end {
            return Err(Stop::Short);
        }
        let value = start as *const T;
        // SAFETY: the bytes lie within the packet's linear part, as just checked, and the verifier checks again. They
        // may not be aligned for T: the BPF target loads at any address wherever the kernel has efficient unaligned
        // access, and elsewhere the verifier refuses the program.
        Ok(unsafe { value.read() })
    }
}

impl Bytes for Linear {
    const SHALLOW: bool = true;

    #[inline(always)]
    fn words<const N: usize>(&self, at: u32) -> Result<[u32; N], Stop> {
        self.read(at)
    }

    #[inline(always)]
    fn half(&self, at: u32) -> Result<u16, Stop> {
        self.read(at).map(u16::from_be)
    }
}

impl Whole<'_> {
    #[inline(always)]
    fn read<T: Copy>(&self, at: u32) -> Result<T, Stop> {
        let mut value = core::mem::MaybeUninit::<T>::uninit();
        // SAFETY: the helper writes that many bytes there, or zeroes them when it fails.
        let result = unsafe {
            bpf_skb_load_bytes(
                self.0.skb.skb.cast(),
                at,
                value.as_mut_ptr().cast(),
                size_of::<T>() as u32,
            )
        };
        // SAFETY: written either way; T is an integer or an array of integers.
        let value = unsafe { value.assume_init() };
        if result == 0 {
            Ok(value)
        } else {
            Err(Stop::Short)
        }
    }
}

impl Bytes for Whole<'_> {
    const SHALLOW: bool = false;

    #[inline(always)]
    fn words<const N: usize>(&self, at: u32) -> Result<[u32; N], Stop> {
        self.read(at)
    }

    #[inline(always)]
    fn half(&self, at: u32) -> Result<u16, Stop> {
        self.read(at).map(u16::from_be)
    }

    #[inline(always)]
    fn extensions(&self, first: u32, at: u32) -> Result<(u32, u32), Stop> {
        parts::follow(self.0, first, at)
    }
}
