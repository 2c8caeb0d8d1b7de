//! `SCRATCH`: the packet that is being observed, per CPU.
//!
//! Not on the stack, for two reasons: the parts of the program that are verified apart from each other can hand each
//! other nothing but numbers, and what is read back from a map is to the verifier a number like any other, so that it
//! need not follow every way in which it may have come about.

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::btf_map;
use netpol_ebpf::packet::Packet;

#[btf_map]
static SCRATCH: PerCpuArray<[u64; size_of::<Packet>() / 8], 1> = PerCpuArray::new();

/// The packet of this CPU. There must be no other reference to it.
#[inline(always)]
pub(crate) fn packet() -> Option<&'static mut Packet> {
    let packet = SCRATCH.get_ptr_mut(0)?.cast::<Packet>();
    // SAFETY: an array entry lives as long as the program, is aligned to 8 and of that size; it begins as zeros, which
    // are a packet, and only packets are written to it. A classifier runs with bottom halves off, so no other run on its
    // CPU comes between.
    unsafe { packet.as_mut() }
}

/// The packet of this CPU, empty.
#[inline(always)]
pub(crate) fn blank() -> Option<&'static mut Packet> {
    let words = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: as in [`packet`]. All zeros are an empty packet: numbers, and a flag that is off.
    for word in unsafe { &mut *words } {
        // SAFETY: the pointer is that of a reference. Volatile, since for the bpf target the compiler would make a call of
        // memset: a loop over bytes.
        unsafe { core::ptr::write_volatile(word, 0) };
    }
    packet()
}

const _: () = assert!(size_of::<Packet>().is_multiple_of(8) && align_of::<Packet>() == 8);
