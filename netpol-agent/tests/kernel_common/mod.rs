//! The loaded program, run over frames by `BPF_PROG_TEST_RUN`.
#![expect(dead_code, reason = "every test uses its part")]

use std::io::ErrorKind::InvalidInput;

use aya::programs::{ProgramError, SchedClassifier, TestRun as _};
use aya::{TestRunAttrs, programs::TestRunOptions};
use netpol_agent::kernel::{Kernel, KernelOptions, MapKind};
use netpol_common::abi::{EdgeKey, EdgeValue, Event, Fate, InterfaceConfig};
use netpol_ebpf::Side;

/// `sizeof(struct __sk_buff)` up to `hwtstamp`, and where its `ifindex` is.
const CONTEXT: usize = 192;
const CONTEXT_IFINDEX: usize = 40;
/// The loopback interface of any network namespace.
pub(crate) const LOOPBACK: u32 = 1;

/// Bits of `linux/capability.h`.
pub(crate) const NET_ADMIN: u64 = 1 << 12;
pub(crate) const NET_RAW: u64 = 1 << 13;
pub(crate) const PERFMON: u64 = 1 << 38;
pub(crate) const BPF: u64 = 1 << 39;

/// Leaves the calling thread no capabilities but `kept`.
pub(crate) fn keep(kept: u64) {
    let header = [0x2008_0522_u32, 0];
    let [low, high] = [kept as u32, (kept >> 32) as u32];
    let sets = [low, low, 0, high, high, 0];
    // SAFETY: version 3 of the structures, of two and of six words.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Runs `test` in a thread with no capabilities but these.
pub(crate) fn with_rights(kept: u64, test: impl FnOnce() + Send) {
    let thread = || {
        keep(kept);
        test();
    };
    let result = std::thread::scope(|scope| scope.spawn(thread).join());
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// Opens unpinned maps.
pub(crate) fn open(options: &KernelOptions) -> Kernel {
    Kernel::open(options).expect("these tests need root and Linux 5.11")
}

/// Runs the program of this side over a frame and says what it answered.
pub(crate) fn run(kernel: &mut Kernel, side: Side, ifindex: u32, frame: &[u8]) -> u32 {
    try_run(kernel, side, ifindex, frame).expect("a frame of more than an IP header")
}

/// As [`run`]; `None` if the kernel makes no packet of such a frame.
pub(crate) fn try_run(kernel: &mut Kernel, side: Side, ifindex: u32, frame: &[u8]) -> Option<u32> {
    let mut context = [0; CONTEXT];
    context[CONTEXT_IFINDEX..][..4].copy_from_slice(&ifindex.to_ne_bytes());
    let options = TestRunOptions {
        data_in: Some(frame),
        ctx_in: Some(&context),
        repeat: 1,
        attrs: TestRunAttrs::new(),
        ..TestRunOptions::new()
    };
    match program(kernel, side).test_run(options) {
        Ok(result) => Some(result.return_value),
        Err(ProgramError::SyscallError(error)) if error.io_error.kind() == InvalidInput => None,
        Err(error) => panic!("{error}"),
    }
}

pub(crate) fn program(kernel: &mut Kernel, side: Side) -> &mut SchedClassifier {
    let programs = kernel.programs().unwrap();
    match side {
        Side::FromPod => programs.from_pod,
        Side::ToPod => programs.to_pod,
    }
}

/// Tells the program of an interface under a new handle.
pub(crate) fn configure(kernel: &mut Kernel, ifindex: u32, config: InterfaceConfig) -> u32 {
    let interface = kernel.next_interface().unwrap();
    let config = InterfaceConfig {
        interface,
        ..config
    };
    kernel.configure(ifindex, config).unwrap();
    interface
}

/// The entries of a map, ordered by key.
pub(crate) fn entries(kernel: &Kernel, kind: MapKind) -> Vec<(EdgeKey, EdgeValue)> {
    let mut entries = Vec::new();
    kernel
        .walk(kind, |key, value| entries.push((key, value)))
        .unwrap();
    entries.sort_by_key(|(key, _)| *key);
    entries
}

/// As [`entries`], counts only and of one interface.
pub(crate) fn counts(kernel: &Kernel, kind: MapKind, interface: u32) -> Vec<(EdgeKey, [u64; 3])> {
    entries(kernel, kind)
        .into_iter()
        .filter(|(key, _)| key.interface == interface)
        .map(|(key, value)| (key, [value.attempts, value.answered, value.refused]))
        .collect()
}

pub(crate) fn event(kernel: &Kernel, event: Event) -> u64 {
    kernel.events().unwrap()[event as usize]
}

pub(crate) fn fate(kernel: &Kernel, fate: Fate) -> u64 {
    kernel.fates().unwrap()[fate as usize]
}

pub(crate) fn fates(kernel: &Kernel) -> u64 {
    kernel.fates().unwrap().iter().sum()
}
