//! The two classifiers, one for each direction of a pod's veth as the host sees it. Every packet passes.
#![no_std]
#![no_main]

mod maps;
mod observe;
mod parts;
mod source;

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use netpol_ebpf::Side;

/// The verdict on every packet: `TCX_NEXT`, which clsact knows as `TC_ACT_UNSPEC`. The next program decides.
const NEXT: i32 = -1;

/// Packets that the pod sends: ingress of the host's side.
#[classifier]
fn from_pod(context: TcContext) -> i32 {
    observe::observe(&context, Side::FromPod);
    NEXT
}

/// Packets towards the pod: egress of the host's side.
#[classifier]
fn to_pod(context: TcContext) -> i32 {
    observe::observe(&context, Side::ToPod);
    NEXT
}

/// Nothing here panics; the compiler wants it all the same.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// What the kernel checks before it offers helpers that only GPL programs may call.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
