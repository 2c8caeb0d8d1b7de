//! The parts of the program that the kernel verifies apart from each other.
//!
//! Without CAP_PERFMON the verifier also follows every branch that a processor might speculate on, and would not come to
//! an end if it did so with all that callers know. So each part is a global function: it takes the context and a number,
//! leaves the packet in `SCRATCH`, and gives a number, of which its caller knows nothing.

use core::hint::black_box;

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use netpol_common::abi::{Event, Fate};
use netpol_ebpf::packet::{self, Kind, Network, Stop, Transport};
use netpol_ebpf::{Side, decide_on, other_protocol};

use crate::maps::{Maps, counters, scratch};
use crate::source::{Linear, Whole};

/// Set in the number of a [`Stop`]; the rest is that of its fate, or one of the next two.
const STOP: u64 = 1 << 63;
const SHORT: u64 = STOP + 0x100;
const DEEP: u64 = STOP + 0x101;

/// Declares a function as a part: one global function for each side, and the function that calls the right one.
macro_rules! part {
    ($(#[$doc:meta])* $body:ident($($number:ident)?) as $name:ident, $from_pod:ident, $to_pod:ident) => {
        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name(context: &TcContext, side: Side $(, $number: u64)?) -> u64 {
            let skb = context.skb.skb;
            // The compiler knows what numbers come back, and would leave out the bounds that the verifier wants.
            black_box(match side {
                Side::FromPod => $from_pod(skb $(, $number)?),
                Side::ToPod => $to_pod(skb $(, $number)?),
            })
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $from_pod(skb: *mut __sk_buff $(, $number: u64)?) -> u64 {
            $body(&TcContext::new(skb), Side::FromPod $(, $number)?)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $to_pod(skb: *mut __sk_buff $(, $number: u64)?) -> u64 {
            $body(&TcContext::new(skb), Side::ToPod $(, $number)?)
        }
    };
}

part!(
    /// Reads Ethernet by a helper. Gives where the IP header is.
    read_link() as link, link_from_pod, link_to_pod
);
part!(
    /// Reads the IP header. Gives where the transport header is.
    read_network(place) as network, network_from_pod, network_to_pod
);
part!(
    /// Reads the transport header. Gives the number of the kind.
    read_transport(place) as transport, transport_from_pod, transport_to_pod
);
part!(
    /// Decides on TCP. Gives the number of the fate, as do the next.
    on_segment() as segment, segment_from_pod, segment_to_pod
);
part!(
    /// Decides on UDP.
    on_datagram() as datagram, datagram_from_pod, datagram_to_pod
);
part!(
    /// Decides on SCTP.
    on_chunk() as chunk, chunk_from_pod, chunk_to_pod
);
part!(
    /// Decides on ICMP.
    on_unreachable() as unreachable, unreachable_from_pod, unreachable_to_pod
);

#[cfg(feature = "log")]
part!(
    /// Logs the number of a packet's fate.
    log(fate) as tell, tell_from_pod, tell_to_pod
);

/// Reads a packet and decides on it. Gives the number of its fate.
#[inline(always)]
pub(crate) fn look(context: &TcContext, side: Side) -> u32 {
    let mut read = head(context, side);
    if read == SHORT || read == DEEP {
        let short = read == SHORT;
        read = whole(context, side);
        if short && read != SHORT {
            counters::event(Event::NonLinear);
        }
    }
    const SEGMENT: u64 = Kind::Segment as u64;
    const DATAGRAM: u64 = Kind::Datagram as u64;
    const CHUNK: u64 = Kind::Chunk as u64;
    const UNREACHABLE: u64 = Kind::Unreachable as u64;
    const OTHER: u64 = STOP + Fate::OtherProtocol as u64;
    let fate = match read {
        SEGMENT => segment(context, side),
        DATAGRAM => datagram(context, side),
        CHUNK => chunk(context, side),
        UNREACHABLE => unreachable(context, side),
        SHORT | DEEP => Fate::Malformed as u64,
        OTHER => other_protocol(&Maps, ifindex(context)) as u64,
        fate => fate,
    };
    fate as u32
}

/// Reads a packet by a helper, step by step.
#[inline(always)]
fn whole(context: &TcContext, side: Side) -> u64 {
    let mut number = link(context, side);
    if number & STOP == 0 {
        number = network(context, side, number);
    }
    if number & STOP == 0 {
        number = transport(context, side, number);
    }
    number
}

/// Reads what can be read directly. Gives the number of the kind. No part, since it is short and every packet's.
#[inline(always)]
fn head(context: &TcContext, side: Side) -> u64 {
    let Some(packet) = scratch::blank() else {
        return SHORT;
    };
    number(packet::parse(&Linear::new(context), side, packet), of_kind)
}

#[inline(always)]
fn read_link(context: &TcContext, _: Side) -> u64 {
    let Some(packet) = scratch::blank() else {
        return SHORT;
    };
    number(packet::parse_link(&Whole(context), packet), of_network)
}

#[inline(always)]
fn read_network(context: &TcContext, side: Side, network: u64) -> u64 {
    let Some(packet) = scratch::packet() else {
        return SHORT;
    };
    let read = packet::parse_network(&Whole(context), to_network(network), side, packet);
    number(read, of_transport)
}

#[inline(always)]
fn read_transport(context: &TcContext, side: Side, transport: u64) -> u64 {
    let Some(packet) = scratch::packet() else {
        return SHORT;
    };
    let read = packet::parse_transport(&Whole(context), to_transport(transport), side, packet);
    number(read, of_kind)
}

/// Follows IPv6 extension headers: see [`packet::Bytes::extensions`].
#[inline(always)]
pub(crate) fn follow(context: &TcContext, first: u32, at: u32) -> Result<(u32, u32), Stop> {
    let number = black_box(extensions(context.skb.skb, first, at));
    match number {
        SHORT => Err(Stop::Short),
        _ if number & STOP == 0 => Ok(((number >> 32) as u32, number as u32)),
        TOO_DEEP => Err(Stop::End(Fate::TooDeep)),
        _ => Err(Stop::End(Fate::Fragment)),
    }
}
const TOO_DEEP: u64 = STOP + Fate::TooDeep as u64;

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn extensions(skb: *mut __sk_buff, first: u32, at: u32) -> u64 {
    let context = TcContext::new(skb);
    number(
        packet::follow_extensions(&Whole(&context), first, at),
        |(protocol, at)| u64::from(protocol) << 32 | u64::from(at),
    )
}

#[inline(always)]
fn on_segment(context: &TcContext, side: Side) -> u64 {
    on(context, side, Kind::Segment)
}

#[inline(always)]
fn on_datagram(context: &TcContext, side: Side) -> u64 {
    on(context, side, Kind::Datagram)
}

#[inline(always)]
fn on_chunk(context: &TcContext, side: Side) -> u64 {
    on(context, side, Kind::Chunk)
}

#[inline(always)]
fn on_unreachable(context: &TcContext, side: Side) -> u64 {
    on(context, side, Kind::Unreachable)
}

#[inline(always)]
fn on(context: &TcContext, side: Side, kind: Kind) -> u64 {
    let Some(packet) = scratch::packet() else {
        return Fate::Malformed as u64;
    };
    decide_on(&Maps, side, ifindex(context), kind, packet) as u64
}

#[cfg(feature = "log")]
#[inline(always)]
fn log(context: &TcContext, side: Side, fate: u64) -> u64 {
    let from_pod = u32::from(matches!(side, Side::FromPod));
    aya_log_ebpf::trace!(
        context,
        "packet of {} bytes on interface {}, from the pod: {}, fate: {}",
        context.len(),
        ifindex(context),
        from_pod,
        fate
    );
    0
}

#[inline(always)]
fn number<T>(read: Result<T, Stop>, ok: impl FnOnce(T) -> u64) -> u64 {
    match read {
        Ok(read) => ok(read),
        Err(Stop::End(fate)) => STOP + fate as u64,
        Err(Stop::Short) => SHORT,
        Err(Stop::Deep) => DEEP,
    }
}

#[inline(always)]
fn of_kind(kind: Kind) -> u64 {
    kind as u64
}

/// The version in the upper half, the place in the lower.
#[inline(always)]
fn of_network(network: Network) -> u64 {
    match network {
        Network::V4(at) => 4 << 32 | u64::from(at),
        Network::V6(at) => 6 << 32 | u64::from(at),
    }
}

#[inline(always)]
fn to_network(number: u64) -> Network {
    match number >> 32 {
        4 => Network::V4(number as u32),
        _ => Network::V6(number as u32),
    }
}

/// From the highest bits: none, 8 of the protocol, 23 of its place (no packet is as long), 32 of the packet's end.
#[inline(always)]
fn of_transport(transport: Transport) -> u64 {
    let Transport { protocol, at, end } = transport;
    u64::from(protocol) << 55 | u64::from(at & 0x7f_ffff) << 32 | u64::from(end)
}

#[inline(always)]
fn to_transport(number: u64) -> Transport {
    Transport {
        protocol: (number >> 55) as u32,
        at: (number >> 32) as u32 & 0x7f_ffff,
        end: number as u32,
    }
}

#[inline(always)]
pub(crate) fn ifindex(context: &TcContext) -> u32 {
    // SAFETY: the context is the kernel's for as long as the program runs.
    unsafe { (*context.skb.skb).ifindex }
}
