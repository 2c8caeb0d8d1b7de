//! What goes over the wire comes out again, and what is not of the contract is refused within bounds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use netpol_common::abi::Direction;
use netpol_common::words::Protocol;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::*;
use crate::observe::{
    Losses, ObjectIdentity, ObservedEdge, ObservedKey, ObservedLosses, PodIdentity, Source,
};

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
    ]
}

fn time() -> impl Strategy<Value = Timestamp> {
    (0_i64..4_000_000_000_000_000).prop_map(|micro| Timestamp::from_microsecond(micro).unwrap())
}

fn pod() -> impl Strategy<Value = PodIdentity> {
    ("[a-z]{1,8}", "[a-z0-9-]{1,20}", ".{0,12}").prop_map(|(namespace, name, uid)| PodIdentity {
        name: ObjectIdentity { namespace, name },
        uid,
    })
}

prop_compose! {
    fn key()(
        interface in any::<u32>(),
        source in select(vec![Source::Kernel, Source::Conntrack, Source::Sockets]),
        direction in select(vec![Direction::Egress, Direction::Ingress]),
        protocol in select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp]),
        port in any::<u16>(),
        local in address(),
        remote in address(),
    ) -> ObservedKey {
        ObservedKey { interface, source, direction, protocol, port, local, remote }
    }
}

prop_compose! {
    fn edge()(
        key in key(),
        pod in pod(),
        counts in any::<[u64; 3]>(),
        first_seen in time(),
        last_seen in time(),
        one_sided in any::<bool>(),
    ) -> ObservedEdge {
        let [attempts, answered, refused] = counts;
        ObservedEdge { key, pod, attempts, answered, refused, first_seen, last_seen, one_sided }
    }
}

prop_compose! {
    fn losses()(
        interface in any::<u32>(),
        pod in pod(),
        counts in any::<[u64; 6]>(),
        observation_gap in any::<bool>(),
    ) -> ObservedLosses {
        let [edges_lost, edges_recovered, attempts_lost, attempts_recovered, foreign, not_for_pod] = counts;
        let losses = Losses {
            edges_lost, edges_recovered, attempts_lost, attempts_recovered, foreign, not_for_pod, observation_gap,
        };
        ObservedLosses { interface, pod, losses }
    }
}

prop_compose! {
    fn batch()(
        time in time(),
        edges in vec(edge(), 0..6),
        losses in vec(losses(), 0..3),
        node_addresses in vec(address(), 0..3),
    ) -> Batch {
        let epoch = epoch(1);
        Batch { observer: "node-a".to_owned(), epoch, sequence: 0, time, edges, losses, node_addresses }
    }
}

fn delivery() -> impl Strategy<Value = Delivery> {
    let batches = vec((batch(), 1_u64..1000), 0..5);
    (batches, proptest::option::of(".{0,40}")).prop_map(|(batches, pod_uid)| {
        let mut sequence = 0;
        let batches = batches.into_iter().map(|(mut batch, step)| {
            sequence += step;
            batch.sequence = sequence;
            Arc::new(batch)
        });
        Delivery {
            agent: agent(pod_uid),
            batches: batches.collect(),
        }
    })
}

fn epoch(instance: u64) -> Epoch {
    Epoch {
        boot_id: "b".to_owned(),
        instance,
        abi_version: 1,
    }
}

fn agent(pod_uid: Option<String>) -> Agent {
    Agent {
        node: "node-a".to_owned(),
        pod_uid,
        version: "0.1.0".to_owned(),
    }
}

fn empty(observer: &str, instance: u64, sequence: u64) -> Arc<Batch> {
    Arc::new(Batch {
        observer: observer.to_owned(),
        epoch: epoch(instance),
        sequence,
        time: Timestamp::UNIX_EPOCH,
        edges: Vec::new(),
        losses: Vec::new(),
        node_addresses: Vec::new(),
    })
}

fn of(batches: Vec<Arc<Batch>>) -> Delivery {
    Delivery {
        agent: agent(None),
        batches,
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(delivery in delivery()) {
        let plain = serde_json::to_vec(&delivery).unwrap();
        prop_assert_eq!(&decode(&plain, Encoding::Identity).unwrap(), &delivery);
        let body = encode(&delivery).unwrap();
        prop_assert_eq!(&decode(&body, Encoding::Zstd).unwrap(), &delivery);
    }

    #[test]
    fn frames_put_together_are_the_same_delivery(delivery in delivery()) {
        let packed: Vec<_> = delivery.batches.iter().map(|batch| Packed::new(batch).unwrap()).collect();
        for (packed, batch) in packed.iter().zip(&delivery.batches) {
            prop_assert_eq!(packed.plain, serde_json::to_vec(batch).unwrap().len());
            prop_assert_eq!(&unpack(&packed.frame).unwrap(), batch.as_ref());
        }
        let frames = packed.iter().map(|packed| packed.frame.as_slice());
        let body = assemble(&delivery.agent, frames).unwrap();
        prop_assert_eq!(&decode(&body, Encoding::Zstd).unwrap(), &delivery);
    }

    #[test]
    fn a_damaged_frame_is_never_taken_for_a_batch(batch in batch(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut frame = Packed::new(&batch).unwrap().frame;
        let at = at.index(frame.len());
        frame[at] ^= 1 << bit;
        if let Ok(read) = unpack(&frame) {
            // A few bits of a frame's header may differ without changing what it holds.
            prop_assert_eq!(read, batch);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read_without_a_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _read = decode(&bytes, Encoding::Zstd);
        let _read = decode(&bytes, Encoding::Identity);
    }

    #[test]
    fn a_delivery_cut_short_is_refused(delivery in delivery(), at in any::<prop::sample::Index>()) {
        let body = encode(&delivery).unwrap();
        let cut = &body[..at.index(body.len())];
        prop_assert!(decode(cut, Encoding::Zstd).is_err());
    }
}

#[test]
fn a_declared_size_reserves_nothing() {
    // Magic number, a descriptor that announces 8 bytes of content size and a single segment, and the size: 2^60.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0b1110_0000];
    frame.extend((1_u64 << 60).to_le_bytes());
    frame.extend([1, 0, 0]);
    assert!(matches!(
        decode(&frame, Encoding::Zstd),
        Err(DecodeError::Compression(_))
    ));
    // A window of 2 GiB.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0, (31 - 10) << 3, 1, 0, 0];
    assert!(matches!(
        decode(&frame, Encoding::Zstd),
        Err(DecodeError::Compression(_))
    ));
}

#[test]
fn what_expands_beyond_the_limit_is_refused() {
    let bomb = zstd::encode_all(&vec![b' '; MOST_PLAIN + 1][..], 1).unwrap();
    assert!(bomb.len() < 64 << 10, "{}", bomb.len());
    let refused = decode(&bomb, Encoding::Zstd).unwrap_err();
    assert!(
        matches!(
            refused,
            DecodeError::TooLarge {
                most: MOST_PLAIN,
                ..
            }
        ),
        "{refused}"
    );
    let long = vec![b' '; MOST_TRANSFERRED + 1];
    for encoding in [Encoding::Zstd, Encoding::Identity] {
        let refused = decode(&long, encoding).unwrap_err();
        assert!(matches!(
            refused,
            DecodeError::TooLarge {
                most: MOST_TRANSFERRED,
                ..
            }
        ));
    }
}

#[test]
fn strangers_and_disorder_are_refused() {
    let fine = [(1, 1), (1, 2), (2, 1), (1, 5), (2, 2)];
    let batches = fine.map(|(epoch, sequence)| empty("node-a", epoch, sequence));
    assert_eq!(of(batches.to_vec()).check(), Ok(()));
    let twice = of(vec![empty("node-a", 1, 2), empty("node-a", 1, 2)]);
    assert_eq!(
        twice.check(),
        Err(Disorder::Order {
            sequence: 2,
            after: 2
        })
    );
    let stranger = of(vec![empty("node-a", 1, 2), empty("node-b", 1, 3)]);
    let body = encode(&stranger).unwrap();
    let refused = decode(&body, Encoding::Zstd).unwrap_err();
    assert!(
        matches!(
            refused,
            DecodeError::Disorder(Disorder::Stranger { sequence: 3, .. })
        ),
        "{refused}"
    );
}

#[test]
fn an_acknowledgement_covers_what_was_delivered_and_no_more() {
    let delivery = of(vec![
        empty("node-a", 1, 4),
        empty("node-a", 2, 1),
        empty("node-a", 1, 7),
    ]);
    let told = delivery.acknowledgement();
    let json = json!({"acknowledged": [
        {"epoch": {"boot_id": "b", "instance": 1, "abi_version": 1}, "sequence": 7},
        {"epoch": {"boot_id": "b", "instance": 2, "abi_version": 1}, "sequence": 1},
    ]});
    assert_eq!(serde_json::to_value(&told).unwrap(), json);
    for (instance, sequence, covered) in [(1, 7, true), (1, 8, false), (2, 1, true), (3, 1, false)]
    {
        assert_eq!(told.covers(&epoch(instance), sequence), covered);
    }
}

#[test]
fn problems_may_lack_any_member() {
    assert_eq!(
        serde_json::from_str::<Problem>("{}").unwrap(),
        Problem::default()
    );
    let problem = Problem {
        title: "Upgrade Required".to_owned(),
        status: 426,
        detail: Some("this aggregator speaks version 1".to_owned()),
        upgrade: Some(Side::Agent),
        ..Problem::default()
    };
    let json = json!({
        "title": "Upgrade Required", "status": 426, "detail": "this aggregator speaks version 1", "upgrade": "agent",
    });
    assert_eq!(serde_json::to_value(&problem).unwrap(), json);
    assert_eq!(serde_json::from_value::<Problem>(json).unwrap(), problem);
}

#[test]
fn the_older_side_is_to_be_upgraded() {
    assert_eq!(judge(Some("1")), Ok(()));
    assert_eq!(judge(Some("2")), Err(Side::Aggregator));
    for older in [None, Some("0"), Some(""), Some("one"), Some("-1")] {
        assert_eq!(judge(older), Err(Side::Agent), "{older:?}");
    }
}

#[test]
fn encodings_that_are_not_spoken_are_told() {
    for (header, encoding) in [
        (None, Some(Encoding::Identity)),
        (Some("identity"), Some(Encoding::Identity)),
        (Some("zstd"), Some(Encoding::Zstd)),
        (Some("ZSTD"), Some(Encoding::Zstd)),
        (Some("gzip"), None),
        (Some("zstd, zstd"), None),
    ] {
        assert_eq!(Encoding::of(header), encoding, "{header:?}");
    }
}
