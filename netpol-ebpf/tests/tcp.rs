//! TCP: attempts, answers, refusals, each counted once.

mod common;

use common::*;
use netpol_common::abi::Direction::{Egress, Ingress};
use netpol_common::abi::{Event, Fate, InterfaceConfig};
use netpol_ebpf::Table::{Attempts, Edges};
use netpol_ebpf::host::{LIMITS, Limits, icmp_unreachable};
use netpol_ebpf::packet::flag::{ACK, FIN, RST, SYN};

#[test]
fn an_answered_attempt_is_an_edge_of_the_client() {
    let fake = fake();
    let c = outward(40_000, 443);
    assert_eq!(feed(&fake, c.syn()), Fate::Handshake);
    assert_eq!(fake.entries(Edges), []);
    assert_eq!(feed(&fake, c.syn_ack()), Fate::Handshake);
    assert_eq!(feed(&fake, c.ack()), Fate::TcpData);
    assert_eq!(fake.sum(&tcp(Egress, 443)), (1, 1, 0));
    assert_eq!(fake.entries(Edges).len(), 1);
    assert_eq!(fake.sights().len(), 1);
}

#[test]
fn an_answering_pod_is_the_server_whatever_the_ports_are() {
    let fake = fake();
    let c = inward(80, 50_000);
    feed_all(&fake, [c.syn(), c.syn_ack(), c.ack()]);
    assert_eq!(fake.sum(&tcp(Ingress, 50_000)), (1, 1, 0));
    assert_eq!(fake.entries(Edges).len(), 1);
}

#[test]
fn what_is_sent_again_counts_once() {
    let fake = fake();
    let c = outward(40_000, 443);
    feed_all(
        &fake,
        [
            c.syn(),
            c.syn(),
            c.syn_ack(),
            c.syn_ack(),
            c.syn(),
            c.syn_ack(),
        ],
    );
    assert_eq!(fake.sum(&tcp(Egress, 443)), (1, 1, 0));
    assert_eq!(fake.count(Event::Retransmission), 4);
}

#[test]
fn the_same_ports_again_are_another_attempt() {
    let fake = fake();
    let first = outward(40_000, 443);
    let second = common::Connection { isn: 77, ..first };
    feed_all(
        &fake,
        [first.syn(), first.syn_ack(), second.syn(), second.syn_ack()],
    );
    assert_eq!(fake.sum(&tcp(Egress, 443)), (2, 2, 0));
}

#[test]
fn an_attempt_of_a_known_edge_is_counted_there() {
    let fake = fake();
    let (first, second) = (outward(40_000, 443), outward(40_001, 443));
    feed_all(&fake, [first.syn(), first.syn_ack(), second.syn()]);
    let [(_, edge)] = fake.entries(Edges)[..] else {
        panic!("one edge")
    };
    assert_eq!((edge.attempts, edge.answered), (1, 1));
    assert_eq!(fake.sum(&tcp(Egress, 443)), (2, 1, 0));
}

#[test]
fn a_reset_refuses_what_is_pending_and_nothing_else() {
    let fake = fake();
    let (refused, open) = (outward(40_000, 81), outward(40_001, 443));
    feed_all(&fake, [refused.syn(), refused.refusal(), refused.refusal()]);
    assert_eq!(fake.sum(&tcp(Egress, 81)), (1, 0, 1));
    feed_all(
        &fake,
        [
            open.syn(),
            open.syn_ack(),
            open.refusal(),
            open.back(RST, 9001, 0),
        ],
    );
    feed_all(
        &fake,
        [open.back(RST | ACK, 9001, 1001), open.forth(RST, 1001, 0)],
    );
    assert_eq!(fake.sum(&tcp(Egress, 443)), (1, 1, 0));
    assert_eq!(fake.entries(Edges).len(), 1);
}

#[test]
fn a_pod_refuses_on_its_own_interface() {
    let fake = fake();
    let c = inward(40_000, 81);
    feed_all(&fake, [c.syn(), c.refusal()]);
    assert_eq!(fake.sum(&tcp(Ingress, 81)), (1, 0, 1));
}

#[test]
fn a_reset_that_acknowledges_something_else_is_not_about_the_attempt() {
    let fake = fake();
    let c = outward(40_000, 81);
    feed_all(&fake, [c.syn(), c.back(RST | ACK, 0, 5)]);
    assert_eq!(fake.sum(&tcp(Egress, 81)), (1, 0, 0));
}

#[test]
fn a_late_answer_makes_the_edge() {
    let fake = fake();
    let c = outward(40_000, 443);
    feed(&fake, c.syn());
    fake.pass(60_000_000_000);
    feed_all(&fake, [c.syn(), c.syn_ack()]);
    assert_eq!(fake.sum(&tcp(Egress, 443)), (1, 1, 0));
    let [(_, edge)] = fake.entries(Edges)[..] else {
        panic!("one edge")
    };
    assert_eq!(edge.first_seen, 60_000_000_001);
}

#[test]
fn the_end_of_a_connection_makes_nothing() {
    let fake = fake();
    for c in [outward(40_000, 443), inward(40_000, 443)] {
        feed_all(
            &fake,
            [
                c.fin(),
                c.back(FIN | ACK, 1, 1),
                c.forth(RST, 1, 0),
                c.back(RST | ACK, 7, 7),
            ],
        );
    }
    assert_eq!(
        (fake.entries(Edges), fake.entries(Attempts)),
        (vec![], vec![])
    );
}

#[test]
fn an_unmatched_answer_towards_the_pod_makes_nothing() {
    let fake = fake();
    let c = outward(40_000, 443);
    feed(&fake, c.syn_ack());
    assert_eq!(
        (fake.entries(Edges), fake.entries(Attempts)),
        (vec![], vec![])
    );
    assert_eq!(fake.count(Event::UnmatchedAnswer), 1);
    feed_all(&fake, [c.syn(), c.back(SYN | ACK, 1, 5), c.syn_ack()]);
    assert_eq!(fake.sum(&tcp(Egress, 443)), (1, 1, 0));
}

#[test]
fn the_pods_own_answer_suffices_without_a_syn() {
    let fake = fake();
    let c = inward(40_000, 80);
    feed_all(&fake, [c.syn_ack(), c.syn_ack()]);
    assert_eq!(fake.sum(&tcp(Ingress, 80)), (1, 1, 0));
    assert_eq!(fake.entries(Edges).len(), 1);
}

#[test]
fn on_a_one_sided_interface_every_answer_of_the_pod_is_an_attempt_too() {
    let fake = fake_with(
        LIMITS,
        InterfaceConfig {
            flags: InterfaceConfig::ONE_SIDED,
            ..config()
        },
    );
    for port in 0..3 {
        let c = inward(40_000 + port, 80);
        feed_all(&fake, [c.syn_ack(), c.syn_ack()]);
    }
    assert_eq!(fake.sum(&tcp(Ingress, 80)), (3, 3, 0));
}

#[test]
fn on_a_one_sided_interface_later_packets_prove_the_answer() {
    let one_sided = InterfaceConfig {
        flags: InterfaceConfig::ONE_SIDED,
        ..config()
    };
    let acked = fake_with(LIMITS, one_sided);
    let c = outward(40_000, 443);
    feed_all(&acked, [c.syn(), c.ack(), c.ack(), c.fin()]);
    assert_eq!(acked.sum(&tcp(Egress, 443)), (1, 1, 0));
    assert_eq!(acked.statistics(IFINDEX).unseen_answers, 1);

    let finished = fake_with(LIMITS, one_sided);
    feed(&finished, c.syn());
    finished.pass(20_000_000_000);
    feed(&finished, c.ack());
    assert_eq!(
        finished.sum(&tcp(Egress, 443)),
        (1, 0, 0),
        "too late to be looked up"
    );
    feed_all(&finished, [c.fin(), c.fin()]);
    assert_eq!(finished.sum(&tcp(Egress, 443)), (1, 1, 0));
}

#[test]
fn on_a_one_sided_interface_nothing_else_is_proof() {
    let fake = fake_with(
        LIMITS,
        InterfaceConfig {
            flags: InterfaceConfig::ONE_SIDED,
            ..config()
        },
    );
    let c = outward(40_000, 443);
    feed_all(
        &fake,
        [
            c.syn(),
            c.forth(ACK, c.isn - 5, 1),
            c.forth(RST, c.isn + 1, 0),
        ],
    );
    feed_all(
        &fake,
        [inward(1, 2).fin(), outward(3, 4).fin(), outward(3, 4).ack()],
    );
    assert_eq!(fake.sum(&tcp(Egress, 443)), (1, 0, 0));
    assert_eq!(fake.entries(Edges), []);
}

#[test]
fn an_answer_counts_though_its_slot_was_lost() {
    for make in [outward, inward] {
        let mut fake = fake();
        let c = make(40_000, 443);
        feed(&fake, c.syn());
        fake.forget_pending();
        feed_all(&fake, [c.syn_ack(), c.syn_ack()]);
        let direction = if c.side == netpol_ebpf::Side::FromPod {
            Egress
        } else {
            Ingress
        };
        assert_eq!(fake.sum(&tcp(direction, 443)), (1, 1, 0));
        assert_eq!(fake.entries(Edges).len(), 1);
        fake.forget_pending();
        feed(&fake, c.syn_ack());
        assert_eq!(
            fake.sum(&tcp(direction, 443)),
            (1, 1, 0),
            "a repeated answer"
        );
    }
}

#[test]
fn a_refusal_counts_though_its_slot_was_lost() {
    let mut fake = fake();
    let c = outward(40_000, 81);
    feed(&fake, c.syn());
    fake.forget_pending();
    feed_all(&fake, [c.refusal(), c.refusal()]);
    assert_eq!(fake.sum(&tcp(Egress, 81)), (1, 0, 1));
}

#[test]
fn over_its_quota_an_interface_still_gets_every_edge() {
    let fake = fake_with(
        LIMITS,
        InterfaceConfig {
            quota: 2,
            ..config()
        },
    );
    for port in 1..=5 {
        let c = outward(40_000, port);
        feed_all(&fake, [c.syn(), c.syn()]);
    }
    for port in 1..=5 {
        feed(&fake, outward(40_000, port).syn_ack());
    }
    assert_eq!(fake.entries(Edges).len(), 5);
    assert!((1..=5).all(|port| fake.sum(&tcp(Egress, port)) == (1, 1, 0)));
    let stats = fake.statistics(IFINDEX);
    assert_eq!(
        (
            stats.attempts_made,
            stats.attempts_lost,
            stats.attempts_recovered
        ),
        (2, 3, 3)
    );
}

#[test]
fn a_full_ring_delays_and_loses_nothing() {
    let fake = fake_with(
        Limits {
            sights: 1,
            ..LIMITS
        },
        config(),
    );
    for port in 1..=4 {
        let c = outward(40_000, port);
        feed_all(&fake, [c.syn(), c.syn_ack()]);
    }
    assert_eq!(fake.entries(Edges).len(), 4);
    assert_eq!((fake.sights().len(), fake.count(Event::RingFull)), (1, 3));
}

#[test]
fn past_the_size_of_edges_each_loss_counts_once_on_its_interface() {
    let other = InterfaceConfig {
        ifindex: 8,
        interface: 43,
        ..config()
    };
    let fake = netpol_ebpf::host::Fake::new(Limits { edges: 2, ..LIMITS }, &[config(), other]);
    for port in 1..=5 {
        let c = outward(40_000, port);
        feed_all(&fake, [c.syn(), c.syn_ack(), c.syn_ack()]);
        let again = common::Connection { isn: 5, ..c };
        feed_all(&fake, [again.syn(), again.syn_ack()]);
    }
    assert_eq!(fake.entries(Edges).len(), 2);
    assert_eq!(fake.statistics(IFINDEX).edges_lost, 3);
    assert_eq!(fake.statistics(8).edges_lost, 0);
    assert_eq!(fake.count(Event::EdgeLost), 3);
    assert_eq!(
        fake.sum(&tcp(Egress, 5)),
        (2, 2, 0),
        "its attempts are on record"
    );
}

#[test]
fn two_interfaces_of_one_node_do_not_mix() {
    let other = InterfaceConfig {
        ifindex: 8,
        interface: 43,
        ..config()
    };
    let fake = netpol_ebpf::host::Fake::new(LIMITS, &[config(), other]);
    let c = outward(40_000, 443);
    let frames = [c.syn(), c.syn_ack()];
    for (side, frame) in frames {
        fake.observe(side, IFINDEX, &frame.bytes());
        fake.observe(side.opposite(), 8, &frame.bytes());
    }
    let edges = fake.entries(Edges);
    assert_eq!(edges.len(), 2);
    assert!(edges.iter().all(|(_, value)| value.answered == 1));
    assert_eq!(fake.count(Event::Retransmission), 0);
}

/// The client's port once stood at the same bits of the hash as the interface's handle.
#[test]
fn one_interfaces_attempt_is_not_anothers_by_its_port() {
    let other = InterfaceConfig {
        ifindex: 8,
        interface: HANDLE ^ 1,
        ..config()
    };
    let fake = netpol_ebpf::host::Fake::new(LIMITS, &[config(), other]);
    let (side, syn) = outward(40_000, 443).syn();
    fake.observe(side, IFINDEX, &syn.bytes());
    let (side, syn) = outward(40_001, 443).syn();
    fake.observe(side, 8, &syn.bytes());
    assert_eq!(fake.count(Event::Retransmission), 0);
    assert_eq!(fake.entries(Attempts).len(), 2);
}

#[test]
fn icmp_refuses_the_attempt_that_it_embeds() {
    let fake = fake();
    let c = outward(40_000, 443);
    let reporter = [10, 1, 0, 1].into();
    feed(&fake, c.syn());
    let (_, syn) = c.syn();
    let (_, stranger) = common::Connection { isn: 4, ..c }.syn();
    let to_pod = netpol_ebpf::Side::ToPod;
    let path_size = icmp_unreachable(reporter, &syn, 4);
    assert_eq!(feed(&fake, (to_pod, path_size)), Fate::Icmp);
    feed(&fake, (to_pod, icmp_unreachable(reporter, &stranger, 1)));
    assert_eq!(fake.sum(&tcp(Egress, 443)), (1, 0, 0));
    let refusal = icmp_unreachable(reporter, &syn, 1);
    feed_all(&fake, [(to_pod, refusal.clone()), (to_pod, refusal)]);
    assert_eq!(fake.sum(&tcp(Egress, 443)), (1, 0, 1));
}

#[test]
fn icmp_about_an_open_connection_is_nothing() {
    let fake = fake();
    let c = outward(40_000, 443);
    let (_, syn) = c.syn();
    feed_all(&fake, [c.syn(), c.syn_ack()]);
    feed(
        &fake,
        (
            netpol_ebpf::Side::ToPod,
            icmp_unreachable(PEER.into(), &syn, 1),
        ),
    );
    assert_eq!(fake.sum(&tcp(Egress, 443)), (1, 1, 0));
}

#[test]
fn an_interface_that_is_not_configured_makes_nothing() {
    let fake = fake();
    let (side, frame) = outward(40_000, 443).syn();
    assert_eq!(
        fake.observe(side, 99, &frame.bytes()),
        Fate::UnknownInterface
    );
    assert_eq!(fake.entries(Attempts), []);
}

#[test]
fn flags_that_no_stack_sends_are_malformed() {
    let fake = fake();
    let c = outward(40_000, 443);
    for flags in [SYN | FIN, SYN | RST, FIN | RST, SYN | ACK | FIN] {
        assert_eq!(feed(&fake, c.forth(flags, 1, 1)), Fate::Malformed);
    }
}

#[test]
fn an_interface_that_hides_answers_is_found_out_by_the_end_of_a_connection() {
    let fake = fake();
    let c = outward(40_000, 443);
    feed_all(&fake, [c.syn(), c.ack(), c.fin(), c.fin()]);
    assert_eq!(fake.sum(&tcp(Egress, 443)), (1, 1, 0));
    assert_eq!(fake.statistics(IFINDEX).unseen_answers, 1);
    assert_eq!(fake.statistics(IFINDEX).handshakes_to_pod, 0);
}

#[test]
fn where_answers_are_seen_the_end_of_a_connection_proves_nothing_new() {
    let mut fake = fake();
    let c = outward(40_000, 443);
    feed_all(&fake, [c.syn(), c.syn_ack(), c.ack()]);
    let waiting = outward(40_001, 443);
    feed(&fake, waiting.syn());
    fake.forget_pending();
    feed(&fake, c.fin());
    assert_eq!(fake.sum(&tcp(Egress, 443)), (2, 1, 0));
    assert_eq!(fake.statistics(IFINDEX).unseen_answers, 0);
}

#[test]
fn what_others_open_towards_the_pod_is_no_answer_to_it() {
    let fake = fake();
    let probe = inward(50_000, 80);
    feed_all(&fake, [probe.syn(), probe.syn_ack()]);
    assert_eq!(fake.statistics(IFINDEX).handshakes_to_pod, 0);
    assert_eq!(fake.statistics(IFINDEX).handshakes_from_pod, 1);
}
