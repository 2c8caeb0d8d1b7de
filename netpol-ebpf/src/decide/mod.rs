//! What a packet means for edges.
//!
//! A *client* is whoever sent the SYN, the INIT or the first datagram. An attempt is counted in `EDGES` if its key is
//! there, else in `ATTEMPTS`; its answer is counted in `EDGES`, which alone is the truth and takes an edge however
//! little the rest could keep of it.

mod answer;
mod attempt;
mod datagram;
mod handshake;
mod refusal;

use netpol_common::abi::{Direction, Fate};

use crate::key::{MAPPED, Side};
use crate::packet::{Kind, Packet, Stop};
use crate::pending::{Handshake, Tag};
use crate::store::{Interface, Store};

/// Counts what a packet means for edges, of which `read` says how far it could be read. Gives its fate.
#[inline(always)]
pub fn decide<S: Store>(
    store: &S,
    side: Side,
    ifindex: u32,
    read: Result<Kind, Stop>,
    packet: &mut Packet,
) -> Fate {
    match read {
        Ok(kind) => decide_on(store, side, ifindex, kind, packet),
        Err(Stop::End(Fate::OtherProtocol)) => other_protocol(store, ifindex),
        Err(Stop::End(fate)) => fate,
        Err(Stop::Short | Stop::Deep) => Fate::Malformed,
    }
}

/// Counts what a packet that could be read means for edges. Gives its fate.
#[inline(always)]
pub fn decide_on<S: Store>(
    store: &S,
    side: Side,
    ifindex: u32,
    kind: Kind,
    packet: &mut Packet,
) -> Fate {
    if kind == Kind::Segment && packet.is_plain_segment() && !store.one_sided() {
        return Fate::TcpData;
    }
    if let Err(fate) = check(packet, side, kind) {
        return fate;
    }
    let Some(interface) = store.interface(ifindex) else {
        return Fate::UnknownInterface;
    };
    packet.key.interface = interface.config.interface;
    let scene = Scene {
        store,
        side,
        interface,
    };
    match kind {
        Kind::Datagram => scene.datagram(packet),
        Kind::Segment | Kind::Chunk => scene.handshake(kind, packet),
        Kind::Unreachable => scene.unreachable(packet),
    }
}

/// Counts a packet of a protocol that makes no edges.
#[inline(always)]
pub fn other_protocol<S: Store>(store: &S, ifindex: u32) -> Fate {
    let Some(interface) = store.interface(ifindex) else {
        return Fate::UnknownInterface;
    };
    interface.stats.other_protocol.bump();
    Fate::OtherProtocol
}

/// What does not change while a packet is decided on.
struct Scene<'a, S> {
    store: &'a S,
    side: Side,
    interface: Interface<'a>,
}

impl<S: Store> Scene<'_, S> {
    /// The tag of the handshake that the packet, whose direction is set, belongs to.
    #[inline(always)]
    fn tag(&self, packet: &Packet) -> Tag {
        Tag::new(self.store.seed(), &packet.key, packet.client_port())
    }

    /// The pending handshake of this tag.
    #[inline(always)]
    fn pending(&self, tag: Tag) -> Option<Handshake> {
        self.store.pending(tag.set())?.find(tag)
    }

    /// Says how far a handshake has come.
    #[inline(always)]
    fn update(&self, tag: Tag, handshake: Handshake) {
        if let Some(set) = self.store.pending(tag.set()) {
            set.update(tag, handshake);
        }
    }
}

impl Packet {
    /// Completes the key for an edge of this direction.
    #[inline(always)]
    fn orient(&mut self, direction: Direction) {
        let direction = core::hint::black_box(direction as u8);
        self.key.direction = direction;
        self.key.port = choose(direction, self.remote_port, self.local_port);
    }

    /// The port that is not in the key.
    #[inline(always)]
    const fn client_port(&self) -> u16 {
        choose(self.key.direction, self.local_port, self.remote_port)
    }

    #[inline(always)]
    const fn source_port(&self, side: Side) -> u16 {
        match side {
            Side::FromPod => self.local_port,
            Side::ToPod => self.remote_port,
        }
    }

    #[inline(always)]
    const fn destination_port(&self, side: Side) -> u16 {
        self.source_port(side.opposite())
    }
}

/// One of two ports, by the number of a direction.
///
/// Chosen by its bits, and those not known to the compiler: of a choice by comparison the bpf target makes one of two
/// places to load from, which the verifier refuses without CAP_PERFMON.
#[inline(always)]
const fn choose(direction: u8, egress: u16, ingress: u16) -> u16 {
    const { assert!(Direction::Egress as u8 == 0 && Direction::Ingress as u8 == 1) };
    let mask = (direction as u16).wrapping_neg();
    (egress & !mask) | (ingress & mask)
}

/// What an address may stand for on the wire.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Address {
    Host,
    Group,
    /// Unspecified or loopback.
    Nowhere,
}

/// Refuses what can never be an edge: groups of receivers, addresses and ports that cannot be on the wire.
#[inline(always)]
fn check(packet: &Packet, side: Side, kind: Kind) -> Result<(), Fate> {
    // The embedded packet went the other way.
    let side = if kind == Kind::Unreachable {
        side.opposite()
    } else {
        side
    };
    let (source, destination) = match side {
        Side::FromPod => (packet.key.local, packet.key.remote),
        Side::ToPod => (packet.key.remote, packet.key.local),
    };
    match classify(destination) {
        Address::Group => return Err(Fate::Multicast),
        Address::Host if packet.group => return Err(Fate::Multicast),
        Address::Nowhere => return Err(Fate::Malformed),
        Address::Host => {}
    }
    let source_port = packet.source_port(side) != 0 || kind == Kind::Datagram;
    if classify(source) != Address::Host || packet.destination_port(side) == 0 || !source_port {
        return Err(Fate::Malformed);
    }
    Ok(())
}

#[inline(always)]
const fn classify(address: [u32; 4]) -> Address {
    let [a, b, c, d] = address;
    if (a | b) == 0 && c == MAPPED {
        return classify_v4(u32::from_be(d));
    }
    if u32::from_be(a) >> 24 == 0xff {
        return Address::Group;
    }
    if (a | b | c) == 0 && u32::from_be(d) <= 1 {
        return Address::Nowhere;
    }
    Address::Host
}

/// 0/8 is "this network", 127/8 loopback, 224/4 multicast (RFC 6890, RFC 5771).
#[inline(always)]
const fn classify_v4(address: u32) -> Address {
    match address >> 24 {
        0 | 127 => Address::Nowhere,
        224..=239 => Address::Group,
        _ if address == u32::MAX => Address::Group,
        _ => Address::Host,
    }
}
