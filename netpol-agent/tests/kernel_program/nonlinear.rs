//! Packets whose headers lie outside the part that can be read directly, over a real veth.
//!
//! A packet socket with `PACKET_VNET_HDR` says how much of a frame of more than a page is to be linear
//! (`packet_alloc_skb` in net/packet/af_packet.c); the rest goes into pages. The golden packets are padded to such a
//! size: IP says where they end.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use aya::programs::LinkOrder;
use aya::programs::tc::{TcAttachOptions, TcAttachType};
use netpol_agent::kernel::Kernel;
use netpol_common::abi::Event;
use netpol_ebpf::Side;
use netpol_ebpf::host::golden::{Golden, packets};

use crate::golden::{clear, makes, new_fate, small};
use crate::kernel_common::*;
use crate::namespaces::{self, ENDS};
use crate::traffic::quota;

/// More than a page.
const FRAME: usize = 6000;
/// Ethernet; within the IP headers; within the transport header; and all that any golden packet has.
const LINEAR: [u16; 5] = [14, 30, 36, 58, 200];

#[test]
fn headers_outside_the_linear_part_are_read_all_the_same() {
    read_all_the_same(BPF | NET_ADMIN | NET_RAW | PERFMON);
}

#[test]
fn they_are_under_guards_against_speculation_too() {
    read_all_the_same(BPF | NET_ADMIN | NET_RAW);
}

fn read_all_the_same(rights: u64) {
    namespaces::within(|_| {
        keep(rights);
        let mut kernel = open(&small());
        attach(&mut kernel);
        let sockets = namespaces::ifindexes().map(socket);
        let mut told = 0;
        for packet in packets().unwrap() {
            for linear in LINEAR {
                told += u64::from(check(&mut kernel, &sockets, &packet, linear));
            }
        }
        assert_eq!(event(&kernel, Event::NonLinear), told);
        assert!(told > 300, "only {told} packets were in pieces");
    });
}

/// Sends a packet of which `linear` bytes are linear, and says whether the program told of it.
fn check(kernel: &mut Kernel, sockets: &[OwnedFd; 2], packet: &Golden, linear: u16) -> bool {
    // The kernel takes the outer tag out of a packet that arrives, before any classifier.
    let tagged = packet.frame[12..14] == [0x81, 0x00] || packet.frame[12..14] == [0x88, 0xa8];
    if tagged && packet.side() == Side::FromPod {
        return false;
    }
    let [host, _] = namespaces::ifindexes();
    let interface = configure(kernel, host, quota(8));
    let (before, told) = (kernel.fates().unwrap(), event(kernel, Event::NonLinear));
    // What the pod sends arrives at the host's end; what the host's end sends goes to the pod.
    let [at_host, at_pod] = sockets;
    match packet.side() {
        Side::FromPod => send(at_pod, &packet.frame, linear),
        Side::ToPod => send(at_host, &packet.frame, linear),
    }
    await_packets(kernel, before.iter().sum::<u64>() + 1);
    let what = format!("{} with {linear} bytes linear", packet.name);
    assert_eq!(new_fate(kernel, &before), packet.fate, "{what}");
    assert_eq!(makes(kernel, interface), packet.makes, "{what}");
    clear(kernel);
    let told = event(kernel, Event::NonLinear) - told;
    let is_ip = matches!(packet.frame[12..14], [0x08, 0x00] | [0x86, 0xdd]);
    // What is tagged is read the slow way in any case.
    if linear == 14 {
        assert_eq!(told, u64::from(is_ip), "{what}");
    }
    told == 1
}

fn attach(kernel: &mut Kernel) {
    let [host, _] = ENDS;
    for (side, hook) in [
        (Side::FromPod, TcAttachType::Ingress),
        (Side::ToPod, TcAttachType::Egress),
    ] {
        let first = TcAttachOptions::TcxOrder(LinkOrder::first());
        let program = program(kernel, side);
        program.attach_with_options(host, hook, first).unwrap();
    }
}

/// A packet socket bound to an interface, whose frames bear a `virtio_net_hdr`.
fn socket(ifindex: u32) -> OwnedFd {
    // SAFETY: no pointers.
    let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0) };
    assert!(socket >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: just opened, and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let on: libc::c_int = 1;
    // SAFETY: the kernel reads one integer.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_VNET_HDR,
            std::ptr::from_ref(&on).cast(),
            libc::socklen_t::try_from(size_of_val(&on)).unwrap(),
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    bind(&socket, ifindex);
    socket
}

fn bind(socket: &OwnedFd, ifindex: u32) {
    // SAFETY: an address of integers, of which any are valid.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
    address.sll_ifindex = ifindex.cast_signed();
    let length = libc::socklen_t::try_from(size_of_val(&address)).unwrap();
    let pointer = std::ptr::from_ref(&address).cast();
    // SAFETY: the kernel reads as many bytes as the address has.
    let result = unsafe { libc::bind(socket.as_raw_fd(), pointer, length) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Sends a frame, padded, with this many bytes in its linear part.
fn send(socket: &OwnedFd, frame: &[u8], linear: u16) {
    // `struct virtio_net_hdr`: flags, GSO type, header length, GSO size, and where checksums are.
    let mut message = vec![0; 10];
    message[2..4].copy_from_slice(&linear.to_ne_bytes());
    message.extend(frame);
    message.resize(10 + FRAME, 0);
    let sent = nix::unistd::write(socket, &message).unwrap();
    assert_eq!(sent, message.len());
}

/// Waits until this many packets have come to their ends.
fn await_packets(kernel: &Kernel, number: u64) {
    let started = Instant::now();
    while fates(kernel) < number {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "a packet is missing"
        );
        std::thread::yield_now();
    }
}
