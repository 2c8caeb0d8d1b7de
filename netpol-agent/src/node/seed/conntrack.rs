//! Connections that the kernel tracks (`IPCTNL_MSG_CT_GET` of ctnetlink).

use std::collections::BTreeSet;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_DUMP, Nla, NlasIterator};
use netlink_packet_netfilter::conntrack::{
    ConntrackAttribute, ConntrackMessage, IPTuple, ProtoInfo, ProtoInfoTCP, ProtoTuple, Status,
    Tuple as RawTuple,
};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netpol_common::words::Protocol;

use crate::node::netlink::{NetlinkError, Requests};

/// `TCP_CONNTRACK_ESTABLISHED` (`linux/netfilter/nf_conntrack_tcp.h`).
const TCP_ESTABLISHED: u8 = 3;
/// `IP_CT_TCP_FLAG_BE_LIBERAL`: set on both sides of a connection that was picked up in its middle, so that its
/// first packet need not have been the client's.
const TCP_PICKED_UP: u8 = 0x08;
/// `CTA_PROTOINFO_SCTP` and `CTA_PROTOINFO_SCTP_STATE` (`linux/netfilter/nfnetlink_conntrack.h`).
const PROTOINFO_SCTP: u16 = 3;
const SCTP_STATE: u16 = 1;
/// `SCTP_CONNTRACK_ESTABLISHED` (`linux/netfilter/nf_conntrack_sctp.h`).
const SCTP_ESTABLISHED: u8 = 4;

/// One direction of a connection.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Tuple {
    /// The sender's address.
    pub source: IpAddr,
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's address.
    pub destination: IpAddr,
    /// The receiver's port.
    pub destination_port: u16,
}

/// An open connection whose client is known.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Flow {
    /// The transport protocol.
    pub protocol: Protocol,
    /// From the client, as the client sent it: before any translation.
    pub original: Tuple,
    /// From the server, as the server sends it: behind any translation.
    pub reply: Tuple,
}

/// Open connections of the calling thread's network namespace that have an end in `addresses`, sorted: TCP and SCTP
/// established, UDP replied to. Empty where no rule makes the kernel track connections.
///
/// # Errors
///
/// Any [`NetlinkError`]; [`NetlinkError::Open`] or refused where the kernel has no connection tracking.
pub fn flows(addresses: &BTreeSet<IpAddr>) -> Result<Vec<Flow>, NetlinkError> {
    let requests = Requests::open(NETLINK_NETFILTER)?;
    let mut flows = BTreeSet::new();
    for family in [NetfilterProtoFamily::IPv4, NetfilterProtoFamily::IPv6] {
        let header = NetfilterHeader::new(family, 0, 0);
        let request = NetfilterMessage::new(header, ConntrackMessage::Get(Vec::new()));
        let wanted = |message| flow(message).filter(|flow| touches(flow, addresses));
        flows.extend(requests.pick(&request, NLM_F_DUMP, wanted)?);
    }
    Ok(flows.into_iter().collect())
}

fn touches(flow: &Flow, addresses: &BTreeSet<IpAddr>) -> bool {
    addresses.contains(&flow.original.source) || addresses.contains(&flow.reply.source)
}

/// What is read of an entry before it is judged.
#[derive(Clone, Debug, Default)]
struct Entry {
    original: Option<(Tuple, u8)>,
    reply: Option<(Tuple, u8)>,
    replied: bool,
    tcp_state: Option<u8>,
    picked_up: bool,
    sctp_state: Option<u8>,
}

/// The open connection that a message of a dump describes, if it is one.
fn flow(message: NetfilterMessage) -> Option<Flow> {
    let attributes = match message.inner {
        NetfilterMessageInner::Conntrack(
            ConntrackMessage::New(attributes) | ConntrackMessage::Get(attributes),
        ) => attributes,
        _ => return None,
    };
    let mut entry = Entry::default();
    for attribute in &attributes {
        entry.take(attribute);
    }
    entry.flow()
}

impl Entry {
    fn take(&mut self, attribute: &ConntrackAttribute) {
        match attribute {
            ConntrackAttribute::CtaTupleOrig(parts) => self.original = tuple(parts),
            ConntrackAttribute::CtaTupleReply(parts) => self.reply = tuple(parts),
            ConntrackAttribute::CtaStatus(status) => {
                self.replied = status.contains(Status::SeenReply);
            }
            ConntrackAttribute::CtaProtoInfo(infos) => {
                infos.iter().for_each(|info| self.take_info(info));
            }
            _ => {}
        }
    }

    fn take_info(&mut self, info: &ProtoInfo) {
        match info {
            ProtoInfo::TCP(parts) => parts.iter().for_each(|part| self.take_tcp(part)),
            ProtoInfo::Other(other) if other.kind() == PROTOINFO_SCTP => {
                let mut bytes = vec![0; other.value_len()];
                other.emit_value(&mut bytes);
                self.sctp_state = sctp_state(&bytes);
            }
            _ => {}
        }
    }

    fn take_tcp(&mut self, part: &ProtoInfoTCP) {
        match part {
            ProtoInfoTCP::State(state) => self.tcp_state = Some(*state),
            ProtoInfoTCP::OriginalFlags(flags) => {
                self.picked_up = flags.flags & TCP_PICKED_UP != 0;
            }
            _ => {}
        }
    }

    fn flow(self) -> Option<Flow> {
        let (original, number) = self.original?;
        let (reply, reply_number) = self.reply?;
        let protocol = Protocol::from_number(number)?;
        let open = match protocol {
            Protocol::Tcp => self.tcp_state == Some(TCP_ESTABLISHED) && !self.picked_up,
            Protocol::Udp => true,
            Protocol::Sctp => self.sctp_state == Some(SCTP_ESTABLISHED),
        };
        let whole = number == reply_number && original.is_sane() && reply.is_sane();
        (open && self.replied && whole).then_some(Flow {
            protocol,
            original,
            reply,
        })
    }
}

impl Tuple {
    fn is_sane(&self) -> bool {
        self.source.is_ipv4() == self.destination.is_ipv4()
            && self.source_port != 0
            && self.destination_port != 0
            && !self.destination.is_multicast()
    }
}

/// A tuple and its IP protocol number, if it has ports.
fn tuple(parts: &[RawTuple]) -> Option<(Tuple, u8)> {
    let (mut source, mut destination) = (None, None);
    let (mut protocol, mut source_port, mut destination_port) = (None, None, None);
    for part in parts {
        match part {
            RawTuple::Ip(ips) => ips.iter().for_each(|ip| match ip {
                IPTuple::SourceAddress(address) => source = Some(*address),
                IPTuple::DestinationAddress(address) => destination = Some(*address),
                _ => {}
            }),
            RawTuple::Proto(protos) => protos.iter().for_each(|proto| match proto {
                ProtoTuple::Protocol(number) => protocol = Some(u8::from(*number)),
                ProtoTuple::SourcePort(port) => source_port = Some(*port),
                ProtoTuple::DestinationPort(port) => destination_port = Some(*port),
                _ => {}
            }),
            _ => {}
        }
    }
    let tuple = Tuple {
        source: source?,
        source_port: source_port?,
        destination: destination?,
        destination_port: destination_port?,
    };
    Some((tuple, protocol?))
}

/// The state among the attributes nested in `CTA_PROTOINFO_SCTP`.
fn sctp_state(nested: &[u8]) -> Option<u8> {
    let attributes = NlasIterator::new(nested).map_while(Result::ok);
    let mut states = attributes.filter(|attribute| attribute.kind() == SCTP_STATE);
    states.next()?.value().first().copied()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
    use proptest::prelude::*;

    use super::*;
    use crate::node::netlink::split;

    /// A dump as the kernel sent it, as hexadecimal text with comments.
    const DUMP: &str = include_str!("../../../tests/data/conntrack.hex");

    fn bytes(text: &str) -> Vec<u8> {
        let lines = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default());
        let digits: String = lines.flat_map(str::split_whitespace).collect();
        let pairs = digits.as_bytes().chunks(2);
        pairs
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn read(bytes: &[u8]) -> Vec<Flow> {
        let messages = split(bytes).map_while(Result::ok);
        let read = messages.filter_map(|message| {
            match NetlinkMessage::<NetfilterMessage>::deserialize(message)
                .ok()?
                .payload
            {
                NetlinkPayload::InnerMessage(message) => flow(message),
                _ => None,
            }
        });
        read.collect()
    }

    fn show(flows: &[Flow]) -> String {
        let mut text = String::new();
        for Flow {
            protocol,
            original,
            reply,
        } in flows
        {
            let Tuple {
                source,
                source_port,
                destination,
                destination_port,
            } = original;
            write!(
                text,
                "{protocol} {source}:{source_port} > {destination}:{destination_port}"
            )
            .unwrap();
            let Tuple {
                source,
                source_port,
                destination,
                destination_port,
            } = reply;
            writeln!(
                text,
                " | {source}:{source_port} > {destination}:{destination_port}"
            )
            .unwrap();
        }
        text
    }

    #[test]
    fn a_dump_of_the_kernel_is_read() {
        let mut flows = read(&bytes(DUMP));
        flows.sort_unstable();
        expect_test::expect![[r#"
            TCP 10.1.0.5:40001 > 10.96.0.9:80 | 10.2.0.6:8080 > 10.1.0.5:40001
            TCP 10.1.0.5:40003 > 10.2.0.6:8080 | 10.2.0.6:8080 > 10.1.0.5:40003
            TCP fd00:1::5:40002 > fd00:96::9:80 | fd00:2::6:8080 > fd00:1::5:40002
            UDP 10.1.0.5:41001 > 10.2.0.6:5353 | 10.2.0.6:5353 > 10.1.0.5:41001
        "#]]
        .assert_eq(&show(&flows));
    }

    fn entry(number: u8) -> Entry {
        let tuple = |source: &str, source_port, destination: &str, destination_port| Tuple {
            source: source.parse().unwrap(),
            source_port,
            destination: destination.parse().unwrap(),
            destination_port,
        };
        Entry {
            original: Some((tuple("10.1.0.5", 40_000, "10.96.0.9", 80), number)),
            reply: Some((tuple("10.1.0.6", 8_080, "10.1.0.5", 40_000), number)),
            replied: true,
            tcp_state: Some(TCP_ESTABLISHED),
            picked_up: false,
            sctp_state: Some(SCTP_ESTABLISHED),
        }
    }

    #[test]
    fn only_answered_connections_of_a_known_client_are_open() {
        for (name, entry, open) in [
            ("tcp", entry(6), true),
            ("udp", entry(17), true),
            ("sctp", entry(132), true),
            ("icmp", entry(1), false),
            (
                "tcp syn_sent",
                Entry {
                    tcp_state: Some(1),
                    ..entry(6)
                },
                false,
            ),
            (
                "tcp fin_wait",
                Entry {
                    tcp_state: Some(4),
                    ..entry(6)
                },
                false,
            ),
            (
                "tcp without a state",
                Entry {
                    tcp_state: None,
                    ..entry(6)
                },
                false,
            ),
            (
                "tcp in its middle",
                Entry {
                    picked_up: true,
                    ..entry(6)
                },
                false,
            ),
            (
                "tcp unreplied",
                Entry {
                    replied: false,
                    ..entry(6)
                },
                false,
            ),
            (
                "udp unreplied",
                Entry {
                    replied: false,
                    ..entry(17)
                },
                false,
            ),
            (
                "udp has no state",
                Entry {
                    tcp_state: None,
                    ..entry(17)
                },
                true,
            ),
            (
                "sctp cookie_wait",
                Entry {
                    sctp_state: Some(2),
                    ..entry(132)
                },
                false,
            ),
            (
                "no reply tuple",
                Entry {
                    reply: None,
                    ..entry(6)
                },
                false,
            ),
            (
                "no original tuple",
                Entry {
                    original: None,
                    ..entry(6)
                },
                false,
            ),
        ] {
            assert_eq!(entry.flow().is_some(), open, "{name}");
        }
    }

    #[test]
    fn the_state_of_sctp_is_nested() {
        assert_eq!(sctp_state(&[5, 0, 1, 0, 4, 0, 0, 0]), Some(4));
        assert_eq!(
            sctp_state(&[8, 0, 2, 0, 4, 0, 0, 0, 5, 0, 1, 0, 3, 0, 0, 0]),
            Some(3)
        );
        assert_eq!(sctp_state(&[4, 0, 1, 0]), None);
        assert_eq!(sctp_state(&[200, 0, 1, 0, 4]), None);
        assert_eq!(sctp_state(&[]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = read(&bytes);
            let _ = sctp_state(&bytes);
        }

        #[test]
        fn a_damaged_dump_is_read(at in 0usize..4_000, value in any::<u8>(), length in 0usize..4_000) {
            let mut dump = bytes(DUMP);
            let last = dump.len() - 1;
            dump[at.min(last)] = value;
            dump.truncate(length);
            let _ = read(&dump);
        }
    }
}
