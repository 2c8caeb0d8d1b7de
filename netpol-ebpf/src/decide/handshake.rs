//! TCP segments and SCTP chunks: which of them open, answer, refuse or prove.

use netpol_common::abi::Fate;

use super::Scene;
use crate::key::Side;
use crate::packet::{Kind, Packet, chunk, flag};
use crate::store::Store;

/// For how long after a SYN on a one-sided interface the pod's plain segments are looked up, in nanoseconds. A handshake
/// that takes longer is proven by the FIN.
const PROOF_SPAN: u64 = 4_000_000_000;
const SYN_ACK: u8 = flag::SYN | flag::ACK;
const RST_ACK: u8 = flag::RST | flag::ACK;
const FIN_ACK: u8 = flag::FIN | flag::ACK;

/// What a packet of TCP or SCTP does for a connection.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Act {
    Open,
    Answer,
    Refuse,
    Close,
    Carry,
    Nothing,
}

impl<S: Store> Scene<'_, S> {
    #[inline(always)]
    pub(super) fn handshake(&self, kind: Kind, packet: &mut Packet) -> Fate {
        let act = match kind {
            Kind::Segment => segment(packet),
            _ => Some(chunk(packet)),
        };
        let Some(act) = act else {
            return Fate::Malformed;
        };
        self.count_handshake(act);
        match act {
            Act::Open => self.attempt(packet),
            Act::Answer => self.answer(packet),
            Act::Refuse => self.refuse(packet),
            Act::Close | Act::Carry => self.prove(packet, act == Act::Close),
            Act::Nothing => {}
        }
        match act {
            Act::Carry => Fate::TcpData,
            _ => Fate::Handshake,
        }
    }

    /// The pod's own packets prove that it was answered: its last one on every interface, which is how a one-sided one is
    /// found out, and plain ones soon after its SYN where the interface is known to be one-sided.
    #[inline(always)]
    fn prove(&self, packet: &mut Packet, last: bool) {
        let one_sided = self.interface.config.one_sided();
        if self.side == Side::ToPod || !(last || one_sided) {
            return;
        }
        let now = self.store.now();
        if last || self.interface.stats.began_within(PROOF_SPAN, now) {
            self.count_proof(packet, last && one_sided, now);
        }
    }

    /// Towards the pod only answers count: what others open, such as the node's probes, may come another way than answers.
    #[inline(always)]
    fn count_handshake(&self, act: Act) {
        let stats = self.interface.stats;
        match (self.side, act) {
            (Side::FromPod, Act::Open | Act::Answer | Act::Refuse) => {
                stats.handshakes_from_pod.bump();
            }
            (Side::ToPod, Act::Answer | Act::Refuse) => stats.handshakes_to_pod.bump(),
            _ => {}
        }
    }
}

/// `None` if no stack sends such flags.
#[inline(always)]
const fn segment(packet: &Packet) -> Option<Act> {
    let act = match packet.flags & (flag::SYN | flag::FIN | flag::RST | flag::ACK) {
        flag::SYN => Act::Open,
        SYN_ACK => Act::Answer,
        // Only the reset in answer to a SYN has sequence 0 (RFC 9293, 3.10.7.1).
        RST_ACK if packet.sequence == 0 => Act::Refuse,
        flag::RST | RST_ACK => Act::Nothing,
        flag::FIN | FIN_ACK => Act::Close,
        0 | flag::ACK => Act::Carry,
        _ => return None,
    };
    Some(act)
}

#[inline(always)]
const fn chunk(packet: &Packet) -> Act {
    match packet.flags {
        chunk::INIT => Act::Open,
        chunk::INIT_ACK => Act::Answer,
        chunk::ABORT => Act::Refuse,
        // COOKIE ECHO: nobody sends it who did not get an INIT ACK.
        _ => Act::Close,
    }
}
