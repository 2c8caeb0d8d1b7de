//! Traffic out of bytes: any bytes make a sequence of frames, most of them plausible, so that random bytes reach deep.

use std::net::IpAddr;

use super::frame::{Frame, icmp_unreachable};
use crate::key::Side;
use crate::packet::{chunk, flag};

/// An Ethernet header and a byte: the kernel hands nothing shorter to a classifier.
const SHORTEST: usize = 15;
/// How many bytes a step of a script takes.
const STEP: usize = 8;
const PORTS: [u16; 4] = [53, 80, 40_000, 40_001];
const NUMBERS: [u32; 6] = [0, 1000, 1001, 2000, 2001, u32::MAX];
const FLAGS: [u8; 8] = [
    flag::SYN,
    flag::SYN,
    flag::SYN | flag::ACK,
    flag::SYN | flag::ACK,
    flag::RST | flag::ACK,
    flag::RST,
    flag::FIN | flag::ACK,
    flag::ACK,
];
const CHUNKS: [u8; 5] = [
    chunk::INIT,
    chunk::INIT_ACK,
    chunk::ABORT,
    chunk::COOKIE_ECHO,
    0,
];

/// A frame and the way that it goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    /// The way.
    pub side: Side,
    /// The frame.
    pub frame: Vec<u8>,
}

/// The frames that these bytes stand for: the same for the same bytes.
#[must_use]
pub fn steps(script: &[u8]) -> Vec<Step> {
    let (whole, _) = script.as_chunks::<STEP>();
    whole.iter().map(|bytes| step(*bytes)).collect()
}

fn step([kind, ends, ports, flags, first, second, place, change]: [u8; STEP]) -> Step {
    let side = if ends & 1 == 0 {
        Side::FromPod
    } else {
        Side::ToPod
    };
    let (pod, peer) = addresses(ends);
    let (from, to) = match side {
        Side::FromPod => (pod, peer),
        Side::ToPod => (peer, pod),
    };
    let from = (from, pick(&PORTS, ports));
    let to = (to, pick(&PORTS, ports >> 4));
    let (first, second) = (pick(&NUMBERS, first), pick(&NUMBERS, second));
    let tcp = |from, to| Frame::tcp(from, to, pick(&FLAGS, flags), first, second);
    let frame = match kind % 8 {
        0..=2 => tcp(from, to),
        3 | 4 => Frame::udp(from, to),
        5 => Frame::sctp(from, to, pick(&CHUNKS, flags), first, second),
        6 => icmp_unreachable(from.0, &Frame::udp(to, from), flags % 6),
        _ => icmp_unreachable(from.0, &tcp(to, from), flags % 6),
    };
    let mut frame = frame.bytes();
    // One step in four is damaged: a byte is changed, or the end is missing.
    match kind >> 6 {
        3 if place & 1 == 0 => spoil(&mut frame, place, change),
        3 => frame.truncate(SHORTEST.max(usize::from(place))),
        _ => {}
    }
    Step { side, frame }
}

fn addresses(ends: u8) -> (IpAddr, IpAddr) {
    if ends & 2 == 0 {
        ([10, 1, 0, 4].into(), [10, 1, 0, 9 + (ends >> 7)].into())
    } else {
        (v6(4), v6(9 + u16::from(ends >> 7)))
    }
}

fn v6(host: u16) -> IpAddr {
    [0xfd00, 0, 0, 0, 0, 0, 0, host].into()
}

fn spoil(frame: &mut [u8], place: u8, change: u8) {
    let place = usize::from(place) % frame.len().max(1);
    if let Some(byte) = frame.get_mut(place) {
        *byte ^= change;
    }
}

fn pick<T: Copy>(from: &[T], by: u8) -> T {
    from[usize::from(by & 0xf) % from.len()]
}
