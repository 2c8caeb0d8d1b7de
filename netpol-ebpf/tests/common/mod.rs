//! A pod, its peers, and the interface between them.
#![expect(dead_code, reason = "every test uses its part")]

use std::net::IpAddr;

use netpol_common::abi::{Direction, EdgeKey, Fate, InterfaceConfig, TCP, UDP};
use netpol_ebpf::Side::{self, FromPod, ToPod};
use netpol_ebpf::host::{Fake, Frame, LIMITS, Limits};
use netpol_ebpf::packet::flag::{ACK, FIN, RST, SYN};

pub(crate) const IFINDEX: u32 = 7;
pub(crate) const HANDLE: u32 = 42;
pub(crate) const POD: [u8; 4] = [10, 1, 0, 4];
pub(crate) const PEER: [u8; 4] = [10, 1, 0, 9];

pub(crate) fn config() -> InterfaceConfig {
    InterfaceConfig {
        ifindex: IFINDEX,
        interface: HANDLE,
        flags: 0,
        quota: 1000,
        freed: 0,
    }
}

pub(crate) fn fake() -> Fake {
    Fake::new(LIMITS, &[config()])
}

pub(crate) fn fake_with(limits: Limits, config: InterfaceConfig) -> Fake {
    Fake::new(limits, &[config])
}

pub(crate) fn pod(port: u16) -> (IpAddr, u16) {
    (POD.into(), port)
}

pub(crate) fn peer(port: u16) -> (IpAddr, u16) {
    (PEER.into(), port)
}

pub(crate) fn key(protocol: u8, direction: Direction, port: u16) -> EdgeKey {
    let octets = |address: [u8; 4]| std::net::Ipv4Addr::from(address).to_ipv6_mapped().octets();
    EdgeKey {
        interface: HANDLE,
        port,
        protocol,
        direction: direction as u8,
        local: octets(POD),
        remote: octets(PEER),
    }
}

pub(crate) fn tcp(direction: Direction, port: u16) -> EdgeKey {
    key(TCP, direction, port)
}

pub(crate) fn udp(direction: Direction, port: u16) -> EdgeKey {
    key(UDP, direction, port)
}

/// A connection that one end opens: `side` is the way of the client's packets.
#[derive(Clone, Copy)]
pub(crate) struct Connection {
    pub(crate) side: Side,
    pub(crate) client: (IpAddr, u16),
    pub(crate) server: (IpAddr, u16),
    pub(crate) isn: u32,
}

/// The pod opens a connection to its peer.
pub(crate) fn outward(client_port: u16, server_port: u16) -> Connection {
    Connection {
        side: FromPod,
        client: pod(client_port),
        server: peer(server_port),
        isn: 1000,
    }
}

/// The peer opens a connection to the pod.
pub(crate) fn inward(client_port: u16, server_port: u16) -> Connection {
    Connection {
        side: ToPod,
        client: peer(client_port),
        server: pod(server_port),
        isn: 1000,
    }
}

impl Connection {
    pub(crate) fn forth(&self, flags: u8, sequence: u32, acknowledgement: u32) -> (Side, Frame) {
        let frame = Frame::tcp(self.client, self.server, flags, sequence, acknowledgement);
        (self.side, frame)
    }

    pub(crate) fn back(&self, flags: u8, sequence: u32, acknowledgement: u32) -> (Side, Frame) {
        let frame = Frame::tcp(self.server, self.client, flags, sequence, acknowledgement);
        (self.side.opposite(), frame)
    }

    pub(crate) fn syn(&self) -> (Side, Frame) {
        self.forth(SYN, self.isn, 0)
    }

    pub(crate) fn syn_ack(&self) -> (Side, Frame) {
        self.back(SYN | ACK, 9000, self.isn + 1)
    }

    pub(crate) fn ack(&self) -> (Side, Frame) {
        self.forth(ACK, self.isn + 1, 9001)
    }

    pub(crate) fn refusal(&self) -> (Side, Frame) {
        self.back(RST | ACK, 0, self.isn + 1)
    }

    pub(crate) fn fin(&self) -> (Side, Frame) {
        self.forth(FIN | ACK, self.isn + 100, 9100)
    }
}

pub(crate) fn feed(fake: &Fake, (side, frame): (Side, Frame)) -> Fate {
    fake.observe(side, IFINDEX, &frame.bytes())
}

pub(crate) fn feed_all(fake: &Fake, packets: impl IntoIterator<Item = (Side, Frame)>) {
    for packet in packets {
        feed(fake, packet);
    }
}
