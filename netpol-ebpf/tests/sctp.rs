//! SCTP: INIT, INIT ACK and ABORT are what SYN, SYN-ACK and reset are to TCP.

mod common;

use common::*;
use netpol_common::abi::Direction::{Egress, Ingress};
use netpol_common::abi::{Event, Fate, InterfaceConfig, SCTP};
use netpol_ebpf::Side::{FromPod, ToPod};
use netpol_ebpf::Table::Edges;
use netpol_ebpf::host::{Frame, LIMITS};
use netpol_ebpf::packet::chunk::{ABORT, COOKIE_ECHO, INIT, INIT_ACK};

const TAG: u32 = 0x1234_5678;

#[test]
fn an_init_that_is_acknowledged_is_an_edge() {
    let fake = fake();
    let init = (FromPod, Frame::sctp(pod(5000), peer(36_412), INIT, 0, TAG));
    let ack = (
        ToPod,
        Frame::sctp(peer(36_412), pod(5000), INIT_ACK, TAG, 99),
    );
    let stray = (ToPod, Frame::sctp(peer(36_412), pod(5000), INIT_ACK, 3, 99));
    feed_all(&fake, [init.clone(), init, stray]);
    assert_eq!(fake.entries(Edges), []);
    feed_all(&fake, [ack.clone(), ack]);
    assert_eq!(fake.sum(&key(SCTP, Egress, 36_412)), (1, 1, 0));
    assert_eq!(fake.count(Event::Retransmission), 2);
    let data = Frame::sctp(pod(5000), peer(36_412), 0, 99, 0);
    assert_eq!(feed(&fake, (FromPod, data)), Fate::SctpData);
}

#[test]
fn an_abort_refuses_what_is_pending_only() {
    let fake = fake();
    let init = (ToPod, Frame::sctp(peer(5000), pod(36_412), INIT, 0, TAG));
    let abort = (FromPod, Frame::sctp(pod(36_412), peer(5000), ABORT, TAG, 0));
    feed_all(&fake, [init.clone(), abort.clone(), abort]);
    assert_eq!(fake.sum(&key(SCTP, Ingress, 36_412)), (1, 0, 1));
}

#[test]
fn a_cookie_proves_the_answer_on_a_one_sided_interface() {
    let fake = fake_with(
        LIMITS,
        InterfaceConfig {
            flags: InterfaceConfig::ONE_SIDED,
            ..config()
        },
    );
    let init = (FromPod, Frame::sctp(pod(5000), peer(36_412), INIT, 0, TAG));
    let cookie = (
        FromPod,
        Frame::sctp(pod(5000), peer(36_412), COOKIE_ECHO, 99, 0),
    );
    feed_all(&fake, [init, cookie.clone(), cookie]);
    assert_eq!(fake.sum(&key(SCTP, Egress, 36_412)), (1, 1, 0));
}

#[test]
fn an_init_under_a_verification_tag_is_malformed() {
    let fake = fake();
    let init = Frame::sctp(pod(5000), peer(36_412), INIT, 7, TAG);
    assert_eq!(feed(&fake, (FromPod, init)), Fate::Malformed);
}
