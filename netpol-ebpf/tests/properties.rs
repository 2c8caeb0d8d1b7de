//! What holds for any traffic.

mod common;

use common::*;
use netpol_common::abi::{Counters, Direction, EdgeKey, EdgeValue, Event, Fate, InterfaceConfig};
use netpol_ebpf::Side::{FromPod, ToPod};
use netpol_ebpf::Table::{Attempts, Edges};
use netpol_ebpf::host::script::{self, Step};
use netpol_ebpf::host::{Fake, Frame, LIMITS, Limits};
use netpol_ebpf::packet::{Packet, parse};
use proptest::collection::vec;
use proptest::prelude::*;

fn run(fake: &Fake, script: &[u8]) {
    for Step { side, frame } in script::steps(script) {
        fake.observe(side, IFINDEX, &frame);
        fake.pass(1_000_000);
    }
}

fn total(counters: &Counters) -> u64 {
    counters.fates.iter().sum()
}

fn small() -> Fake {
    let limits = Limits {
        edges: 6,
        attempts: 5,
        sights: 3,
    };
    let config = InterfaceConfig {
        quota: 4,
        ..config()
    };
    fake_with(limits, config)
}

proptest! {
    #[test]
    fn every_packet_has_one_fate(script in vec(any::<u8>(), 0..2000)) {
        for fake in [fake(), small()] {
            run(&fake, &script);
            prop_assert_eq!(fake.seen(), total(&fake.counters()));
        }
    }

    #[test]
    fn any_bytes_are_a_packet_of_some_fate(frame in vec(any::<u8>(), 0..200), linear in 0_usize..200) {
        let fake = fake();
        for side in [FromPod, ToPod] {
            fake.observe_split(side, IFINDEX, &frame, linear);
        }
        prop_assert_eq!(total(&fake.counters()), 2);
    }

    #[test]
    fn where_the_linear_part_ends_changes_nothing(
        script in vec(any::<u8>(), 8..400),
        linear in 0_usize..120,
    ) {
        let (whole, split) = (fake(), fake());
        for Step { side, frame } in script::steps(&script) {
            let fate = whole.observe(side, IFINDEX, &frame);
            prop_assert_eq!(split.observe_split(side, IFINDEX, &frame, linear), fate);
        }
        prop_assert_eq!(whole.entries(Edges), split.entries(Edges));
        prop_assert_eq!(whole.entries(Attempts), split.entries(Attempts));
    }

    #[test]
    fn what_is_plain_at_first_glance_is_plain(frame in vec(any::<u8>(), 54..120), six in any::<bool>(), flags in any::<u8>()) {
        let mut frame = frame;
        let (head, at): (&[u8], usize) = if six { (&[0x86, 0xdd, 0x60], 20) } else { (&[8, 0, 0x45], 23) };
        frame[12..15].copy_from_slice(head);
        frame[at] = 6;
        if let Some(byte) = frame.get_mut(if six { 67 } else { 47 }) {
            *byte = flags;
        }
        if netpol_ebpf::packet::is_plain_segment(&&frame[..]) {
            let mut packet = Packet::default();
            let kind = parse(&&frame[..], FromPod, &mut packet);
            prop_assert_eq!(kind, Ok(netpol_ebpf::packet::Kind::Segment));
            prop_assert!(packet.is_plain_segment());
        }
    }

    #[test]
    fn events_agree_with_the_maps(script in vec(any::<u8>(), 0..2000)) {
        let fake = small();
        run(&fake, &script);
        let stats = fake.statistics(IFINDEX);
        prop_assert_eq!(fake.count(Event::EdgeMade), u64::try_from(fake.entries(Edges).len()).unwrap());
        prop_assert_eq!(stats.attempts_made, u64::try_from(fake.entries(Attempts).len()).unwrap());
        prop_assert_eq!(stats.attempts_lost, fake.count(Event::AttemptLost));
        prop_assert_eq!(stats.edges_lost, fake.count(Event::EdgeLost));
        prop_assert!(stats.attempts_recovered <= stats.attempts_lost);
        let sights = u64::try_from(fake.sights().len()).unwrap();
        prop_assert_eq!(sights + fake.count(Event::RingFull), fake.count(Event::EdgeMade));
    }

    #[test]
    fn counts_never_fall(script in vec(any::<u8>(), 0..1200)) {
        let fake = fake();
        let mut before: Vec<(EdgeKey, EdgeValue)> = Vec::new();
        for Step { side, frame } in script::steps(&script) {
            fake.observe(side, IFINDEX, &frame);
            let now = fake.entries(Edges);
            for (key, old) in &before {
                let new = now.iter().find(|(found, _)| found == key).map(|(_, value)| value).unwrap();
                prop_assert!(new.attempts >= old.attempts && new.answered >= old.answered && new.refused >= old.refused);
                prop_assert_eq!(new.first_seen, old.first_seen);
            }
            before = now;
        }
    }

    /// Any interleaving of request and reply datagrams in which each reply follows its request.
    #[test]
    fn a_reply_never_makes_an_edge_of_its_own(
        flows in vec((any::<u16>(), any::<u16>(), any::<bool>()), 1..20),
        order in vec(any::<prop::sample::Index>(), 1..200),
        quota in 0_u32..10,
    ) {
        let config = InterfaceConfig { quota, ..config() };
        let fake = fake_with(LIMITS, config);
        let mut begun = std::collections::BTreeSet::new();
        let mut servers = std::collections::BTreeSet::new();
        for (step, index) in order.into_iter().enumerate() {
            let (client, server, outwards) = *index.get(&flows);
            // Ports apart, so that no client's port is another's server.
            let (client, server) = (client | 0x8000, (server & 0x7fff).max(1));
            let (client, server) = if step % 2 == 0 || begun.contains(&(client, server, outwards)) {
                (client, server)
            } else {
                continue;
            };
            let reply = step % 2 == 1;
            begun.insert((client, server, outwards));
            servers.insert((server, outwards));
            let (a, b) = if outwards { (pod(client), peer(server)) } else { (peer(client), pod(server)) };
            let side = if outwards { FromPod } else { ToPod };
            let (side, frame) = if reply { (side.opposite(), Frame::udp(b, a)) } else { (side, Frame::udp(a, b)) };
            feed(&fake, (side, frame));
        }
        for (key, _) in fake.entries(Edges).into_iter().chain(fake.entries(Attempts)) {
            let outwards = key.direction == Direction::Egress as u8;
            prop_assert!(servers.contains(&(key.port, outwards)), "{key:?}");
        }
    }

    /// Every answered connection is an edge, whatever else had room.
    #[test]
    fn no_edge_is_lost_while_edges_has_room(
        connections in vec((any::<u16>(), 1_u16.., any::<bool>(), 0_u8..4), 1..40),
        quota in 0_u32..4,
    ) {
        let limits = Limits { attempts: 2, sights: 0, ..LIMITS };
        let fake = fake_with(limits, InterfaceConfig { quota, ..config() });
        let mut expected = std::collections::BTreeSet::new();
        for (client, server, outwards, again) in connections {
            let client = client.max(1);
            let c = if outwards { outward(client, server) } else { inward(client, server) };
            for _ in 0..=again {
                feed(&fake, c.syn());
            }
            for _ in 0..=again {
                feed(&fake, c.syn_ack());
            }
            expected.insert(tcp(if outwards { Direction::Egress } else { Direction::Ingress }, server));
        }
        let edges: std::collections::BTreeSet<_> = fake.entries(Edges).into_iter().map(|(key, _)| key).collect();
        prop_assert_eq!(edges, expected);
    }
}

#[test]
fn plain_segments_are_data_at_any_flags_of_theirs() {
    let fake = fake();
    for flags in 0..=0xff_u8 {
        let fate = feed(&fake, outward(1, 2).forth(flags, 5, 5));
        let data = flags & 7 == 0;
        assert_eq!(fate == Fate::TcpData, data, "{flags:#x}");
    }
}
