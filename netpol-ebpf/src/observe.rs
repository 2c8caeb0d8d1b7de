//! One packet from its beginning to its fate.

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
        counters::end(Fate::TcpData);
    } else {
        counters::end(look(context, linear, side));
    }
}

#[inline(always)]
fn look(context: &TcContext, linear: Linear, side: Side) -> Fate {
    let mut packet = Packet::default();
    let read = match packet::parse(&linear, side, &mut packet) {
        Err(stop @ (Stop::Short | Stop::Deep)) => {
            if stop == Stop::Short && linear.is_part_of(context) {
                counters::event(Event::NonLinear);
            }
            parse_whole(context, side, &mut packet)
        }
        read => read,
    };
    decide(&Maps, side, ifindex(context), read, &mut packet)
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
