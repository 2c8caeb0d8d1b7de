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
mod tests;
