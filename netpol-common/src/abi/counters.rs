//! Fates and events: what became of every packet, and what happened on the way.

/// Declares a counter enum, its names and their number.
macro_rules! counters {
    ($(#[$top:meta])* $name:ident, $count:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$top])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[repr(u32)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every counter, in the order of its index.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in metrics and messages.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        /// The number of counters in the map.
        pub const $count: usize = $name::ALL.len();
    };
}

counters! {
    /// Where a packet ended. Every packet has exactly one, counted per CPU at its end.
    Fate, FATES {
        /// TCP without SYN, FIN or RST.
        TcpData = "tcp_data",
        /// TCP or SCTP that opens, answers, closes or refuses a connection.
        Handshake = "handshake",
        /// UDP of an edge or attempt that was known, in either orientation.
        UdpKnown = "udp_known",
        /// UDP that made an edge or an attempt.
        UdpNew = "udp_new",
        /// SCTP without INIT, INIT-ACK or ABORT.
        SctpData = "sctp_data",
        /// ICMP and ICMPv6.
        Icmp = "icmp",
        /// A fragment that is not the first: it bears no ports.
        Fragment = "fragment",
        /// Multicast or broadcast.
        Multicast = "multicast",
        /// Another IP protocol.
        OtherProtocol = "other_protocol",
        /// Neither IPv4 nor IPv6 (ARP and its like).
        NotIp = "not_ip",
        /// Too short, inconsistent, or with addresses that cannot be on the wire.
        Malformed = "malformed",
        /// More extension headers or tags than are followed.
        TooDeep = "too_deep",
        /// On an interface that user space has not configured.
        UnknownInterface = "unknown_interface",
    }
}

counters! {
    /// What happened to a packet besides its fate; any number per packet.
    Event, EVENTS {
        /// An edge was added to `EDGES`.
        EdgeMade = "edge_made",
        /// An edge found no room in `EDGES`.
        EdgeLost = "edge_lost",
        /// An attempt was added to `ATTEMPTS`.
        AttemptMade = "attempt_made",
        /// An attempt found no room in `ATTEMPTS`.
        AttemptLost = "attempt_lost",
        /// The ring had no room for a first sight; a walk brings the edge.
        RingFull = "ring_full",
        /// A retransmitted SYN or INIT.
        Retransmission = "retransmission",
        /// A pending handshake gave its slot to another.
        SlotLost = "slot_lost",
        /// A SYN-ACK or INIT-ACK towards the pod that matches nothing the pod sent.
        UnmatchedAnswer = "unmatched_answer",
        /// A RST, ABORT or ICMP unreachable that refused a pending attempt.
        Refusal = "refusal",
        /// An answer proven by the pod's own later packets.
        UnseenAnswer = "unseen_answer",
        /// Headers read by the slow way, since they were not in the linear part of the packet.
        NonLinear = "non_linear",
    }
}

/// Value of the only entry of the per-CPU map `COUNTERS`, written by the kernel program only.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(C)]
pub struct Counters {
    /// By index of [`Fate`].
    pub fates: [u64; FATES],
    /// By index of [`Event`].
    pub events: [u64; EVENTS],
}

impl Counters {
    /// Size in bytes.
    pub const SIZE: usize = size_of::<Self>();
}
