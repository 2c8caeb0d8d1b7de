//! Batches for tests.

use std::net::{IpAddr, Ipv4Addr};

use jiff::Timestamp;
use netpol_common::abi::Direction;
use netpol_common::words::Protocol;

use crate::observe::{
    Batch, Epoch, Losses, ObjectIdentity, ObservedEdge, ObservedKey, ObservedLosses, PodIdentity,
    Source,
};

/// The observer of all batches.
pub(crate) const NODE: &str = "node-a";

pub(crate) fn pod(number: u32) -> PodIdentity {
    PodIdentity {
        name: ObjectIdentity {
            namespace: "shop".to_owned(),
            name: format!("web-{number}"),
        },
        uid: format!("u{number}"),
    }
}

pub(crate) fn epoch() -> Epoch {
    Epoch {
        boot_id: "b".to_owned(),
        instance: 7,
        abi_version: 1,
    }
}

/// A batch of so many edges of three pods, and what was lost of the first of them.
pub(crate) fn batch(sequence: u64, edges: u32) -> Batch {
    let time = Timestamp::from_second(1_800_000_000 + i64::try_from(sequence).unwrap()).unwrap();
    Batch {
        observer: NODE.to_owned(),
        epoch: epoch(),
        sequence,
        time,
        edges: (0..edges)
            .map(|number| edge(number, sequence, time))
            .collect(),
        losses: vec![ObservedLosses {
            interface: 0,
            pod: pod(0),
            losses: Losses {
                edges_lost: sequence,
                ..Losses::default()
            },
        }],
        node_addresses: vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))],
    }
}

fn edge(number: u32, count: u64, last_seen: Timestamp) -> ObservedEdge {
    ObservedEdge {
        key: ObservedKey {
            interface: number % 3,
            source: Source::Kernel,
            direction: Direction::Egress,
            protocol: Protocol::Tcp,
            port: 80,
            local: IpAddr::V4(Ipv4Addr::new(10, 1, 0, 5)),
            remote: IpAddr::V4(Ipv4Addr::from_bits(0x0a02_0000 + number)),
        },
        pod: pod(number % 3),
        attempts: count,
        answered: count,
        refused: 0,
        first_seen: Timestamp::from_second(1_800_000_000).unwrap(),
        last_seen,
        one_sided: false,
    }
}
