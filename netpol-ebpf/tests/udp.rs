//! UDP: the client is whoever sent first.

mod common;

use common::*;
use netpol_common::abi::Direction::{Egress, Ingress};
use netpol_common::abi::{Event, Fate, InterfaceConfig};
use netpol_ebpf::Side::{FromPod, ToPod};
use netpol_ebpf::Table::{Attempts, Edges};
use netpol_ebpf::host::{Frame, LIMITS, icmp_unreachable};

#[test]
fn a_reply_makes_the_edge_that_the_request_began() {
    let fake = fake();
    let request = (FromPod, Frame::udp(pod(40_000), peer(53)));
    let reply = (ToPod, Frame::udp(peer(53), pod(40_000)));
    assert_eq!(feed(&fake, request.clone()), Fate::UdpNew);
    assert_eq!(fake.entries(Edges), []);
    assert_eq!(feed(&fake, reply.clone()), Fate::UdpNew);
    assert_eq!(feed(&fake, request), Fate::UdpKnown);
    assert_eq!(feed(&fake, reply), Fate::UdpKnown);
    assert_eq!(fake.sum(&udp(Egress, 53)), (2, 2, 0));
    assert_eq!(
        (fake.entries(Edges).len(), fake.entries(Attempts).len()),
        (1, 1)
    );
}

#[test]
fn ports_decide_nothing() {
    for (client, server) in [(40_000, 53), (53, 40_000), (5000, 5000), (60_000, 50_000)] {
        for outwards in [true, false] {
            let fake = fake();
            let (request, reply, direction) = if outwards {
                let (a, b) = (pod(client), peer(server));
                (
                    (FromPod, Frame::udp(a, b)),
                    (ToPod, Frame::udp(b, a)),
                    Egress,
                )
            } else {
                let (a, b) = (peer(client), pod(server));
                (
                    (ToPod, Frame::udp(a, b)),
                    (FromPod, Frame::udp(b, a)),
                    Ingress,
                )
            };
            feed_all(&fake, [request.clone(), reply.clone(), reply, request]);
            assert_eq!(
                fake.sum(&udp(direction, server)),
                (2, 2, 0),
                "{client} to {server}"
            );
            assert_eq!(fake.entries(Edges).len(), 1);
        }
    }
}

#[test]
fn a_server_that_answers_from_another_port_is_a_client_too() {
    let fake = fake();
    feed_all(
        &fake,
        [
            (FromPod, Frame::udp(pod(40_000), peer(69))),
            (ToPod, Frame::udp(peer(50_000), pod(40_000))),
            (FromPod, Frame::udp(pod(40_000), peer(50_000))),
        ],
    );
    assert_eq!(fake.sum(&udp(Egress, 69)), (1, 0, 0));
    assert_eq!(fake.sum(&udp(Ingress, 40_000)), (1, 1, 0));
    assert_eq!(fake.entries(Edges).len(), 1);
}

#[test]
fn one_way_datagrams_stay_attempts() {
    let fake = fake();
    for _ in 0..5 {
        feed(&fake, (FromPod, Frame::udp(pod(40_000), peer(8125))));
    }
    assert_eq!(fake.sum(&udp(Egress, 8125)), (5, 0, 0));
    assert_eq!(fake.entries(Edges), []);
}

#[test]
fn icmp_refuses_what_was_never_replied_to() {
    let fake = fake();
    let request = Frame::udp(pod(40_000), peer(99));
    feed(&fake, (FromPod, request.clone()));
    let refusal = (ToPod, icmp_unreachable(PEER.into(), &request, 3));
    feed_all(&fake, [refusal.clone(), refusal.clone()]);
    assert_eq!(fake.sum(&udp(Egress, 99)), (1, 0, 1));

    let known = Frame::udp(pod(40_000), peer(53));
    feed_all(
        &fake,
        [
            (FromPod, known.clone()),
            (ToPod, Frame::udp(peer(53), pod(40_000))),
        ],
    );
    feed(&fake, (ToPod, icmp_unreachable(PEER.into(), &known, 3)));
    assert_eq!(fake.sum(&udp(Egress, 53)), (1, 1, 0));
}

#[test]
fn a_pod_refuses_datagrams_on_its_own_interface() {
    let fake = fake();
    let request = Frame::udp(peer(40_000), pod(99));
    feed(&fake, (ToPod, request.clone()));
    feed(&fake, (FromPod, icmp_unreachable(POD.into(), &request, 3)));
    assert_eq!(fake.sum(&udp(Ingress, 99)), (1, 0, 1));
}

#[test]
fn an_icmp_error_to_somebody_else_is_not_about_the_pod() {
    let fake = fake();
    let request = Frame::udp(pod(40_000), peer(99));
    feed(&fake, (FromPod, request.clone()));
    let mut bytes = icmp_unreachable(PEER.into(), &request, 3).bytes();
    bytes[14 + 19] = 77;
    fake.observe(ToPod, IFINDEX, &bytes);
    assert_eq!(fake.sum(&udp(Egress, 99)), (1, 0, 0));
}

#[test]
fn groups_of_receivers_are_never_edges() {
    let fake = fake();
    for frame in [
        Frame::udp(pod(40_000), ([224, 0, 0, 251].into(), 5353)),
        Frame::udp(pod(40_000), ([255; 4].into(), 67)),
        Frame::udp(pod(40_000), ([10, 1, 0, 255].into(), 9)).to_group(),
        Frame::udp(([0; 4].into(), 68), ([255; 4].into(), 67)),
    ] {
        assert_eq!(feed(&fake, (FromPod, frame)), Fate::Multicast);
    }
    assert_eq!(fake.entries(Attempts), []);
}

#[test]
fn over_its_quota_an_interface_still_gets_the_edge_of_a_reply() {
    let fake = fake_with(
        LIMITS,
        InterfaceConfig {
            quota: 0,
            ..config()
        },
    );
    let request = (FromPod, Frame::udp(pod(40_000), peer(53)));
    let reply = (ToPod, Frame::udp(peer(53), pod(40_000)));
    feed_all(
        &fake,
        [
            request.clone(),
            request.clone(),
            reply.clone(),
            reply,
            request,
        ],
    );
    assert_eq!(fake.sum(&udp(Egress, 53)), (2, 2, 0));
    assert_eq!(fake.count(Event::AttemptLost), 1);
    assert_eq!(fake.entries(Attempts), []);
    assert_eq!(fake.statistics(IFINDEX).attempts_recovered, 1);
}

#[test]
fn a_slot_remembers_a_lost_attempt_for_a_while_only() {
    let over_quota = InterfaceConfig {
        quota: 0,
        ..config()
    };
    let fake = fake_with(LIMITS, over_quota);
    let datagram = (FromPod, Frame::udp(pod(40_000), peer(8125)));
    feed_all(&fake, [datagram.clone(), datagram.clone()]);
    assert_eq!(fake.statistics(IFINDEX).attempts_lost, 1);
    fake.pass(200_000_000_000);
    feed(&fake, datagram);
    assert_eq!(fake.statistics(IFINDEX).attempts_lost, 2);
}
