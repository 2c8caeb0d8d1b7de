//! One packet from its beginning to its fate.

use core::mem::MaybeUninit;

use aya_ebpf::programs::TcContext;
use netpol_common::abi::{Event, Fate};
use netpol_ebpf::packet::{self, Kind, Packet, Stop};
use netpol_ebpf::{Side, Store as _, decide};

use crate::maps::{Maps, counters};
use crate::source::{Linear, Whole};

/// Observes a packet. It costs a plain TCP segment one look at its headers and one counter.
#[inline(always)]
pub(crate) fn observe(context: &TcContext, side: Side) {
    let linear = Linear::new(context);
    if packet::is_plain_segment(&linear) && !Maps.one_sided() {
        counters::end_as_data();
    } else {
        let fate = look(context, linear, side);
        #[cfg(feature = "log")]
        tell(context, side, fate);
        counters::end(fate, context.len());
    }
}

#[inline(always)]
fn look(context: &TcContext, linear: Linear, side: Side) -> Fate {
    let mut memory = MaybeUninit::uninit();
    let packet = blank(&mut memory);
    let read = match packet::parse(&linear, side, packet) {
        Err(stop @ (Stop::Short | Stop::Deep)) => {
            if stop == Stop::Short && linear.is_part_of(context) {
                counters::event(Event::NonLinear);
            }
            parse_whole(context, side, packet)
        }
        read => read,
    };
    decide(&Maps, side, ifindex(context), read, packet)
}

/// Logs what became of a packet, in debug builds.
#[cfg(feature = "log")]
#[inline(always)]
fn tell(context: &TcContext, side: Side, fate: Fate) {
    let from_pod = u32::from(matches!(side, Side::FromPod));
    aya_log_ebpf::trace!(
        context,
        "packet of {} bytes on interface {}, from the pod: {}, fate: {}",
        context.len(),
        ifindex(context),
        from_pod,
        fate as u32
    );
}

/// An empty packet, word by word: for the bpf target the compiler would call a loop over bytes.
#[inline(always)]
fn blank(memory: &mut MaybeUninit<Packet>) -> &mut Packet {
    const WORDS: usize = size_of::<Packet>() / size_of::<u64>();
    const { assert!(size_of::<Packet>().is_multiple_of(8) && align_of::<Packet>() == 8) };
    let words = memory.as_mut_ptr().cast::<[u64; WORDS]>();
    // SAFETY: the words are all of the packet's memory, and aligned.
    let words = unsafe { &mut *words.cast::<[MaybeUninit<u64>; WORDS]>() };
    for word in words {
        // SAFETY: the pointer is that of a reference.
        unsafe { word.as_mut_ptr().write_volatile(0) };
    }
    // SAFETY: all zeros are an empty packet: numbers, and a flag that is off.
    unsafe { memory.assume_init_mut() }
}

#[inline(never)]
fn parse_whole(context: &TcContext, side: Side, packet: &mut Packet) -> Result<Kind, Stop> {
    packet::parse(&Whole(context), side, packet)
}

#[inline(always)]
fn ifindex(context: &TcContext) -> u32 {
    // SAFETY: the context is the kernel's for as long as the program runs.
    unsafe { (*context.skb.skb).ifindex }
}
