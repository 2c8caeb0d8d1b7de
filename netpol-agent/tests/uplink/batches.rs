//! Batches to deliver.

use std::net::{IpAddr, Ipv4Addr};

use jiff::Timestamp;
use netpol_agent::observe::{
    Batch, Epoch, Losses, ObjectIdentity, ObservedEdge, ObservedKey, ObservedLosses, PodIdentity,
    Source,
};
use netpol_common::abi::Direction;
use netpol_common::words::Protocol;

/// The node whose agent delivers.
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

/// A batch of so many edges of three pods. What it says of losses never changes.
pub(crate) fn batch(sequence: u64, edges: u32) -> Batch {
    let time = Timestamp::from_second(1_800_000_000 + i64::try_from(sequence).unwrap()).unwrap();
    let edge = |number: u32| ObservedEdge {
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
        attempts: sequence,
        answered: sequence,
        refused: 0,
        first_seen: Timestamp::from_second(1_800_000_000).unwrap(),
        last_seen: time,
        one_sided: false,
    };
    Batch {
        observer: NODE.to_owned(),
        epoch: Epoch {
            boot_id: "b".to_owned(),
            instance: 7,
            abi_version: 1,
        },
        sequence,
        time,
        edges: (0..edges).map(edge).collect(),
        losses: vec![ObservedLosses {
            interface: 0,
            pod: pod(0),
            losses: Losses::default(),
        }],
        node_addresses: Vec::new(),
    }
}
