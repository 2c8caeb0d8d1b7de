//! Classifiers made of instructions, and maps, by bpf(2).

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use aya_obj::generated::{
    BPF_F_AFTER, BPF_F_BEFORE, bpf_attach_type, bpf_attr, bpf_cmd, bpf_map_type, bpf_prog_type,
};

/// Lets the packet go on to the next program (`TCX_NEXT`, `TC_ACT_UNSPEC`).
pub(crate) const NEXT: i32 = -1;
/// Lets the packet pass all others (`TCX_PASS`, `TC_ACT_OK`).
pub(crate) const PASS: i32 = 0;
/// How many packets can be told apart.
pub(crate) const NUMBERS: u32 = 1 << 16;

/// A classifier that counts, under the number that a UDP payload begins with, into `map`, and returns `verdict`.
pub(crate) fn load_counter(map: &OwnedFd, verdict: i32) -> OwnedFd {
    let map = map.as_raw_fd();
    let instructions = [
        instruction(0xb7, 2, 0, 0, 14 + 20 + 8), // r2 = offset of the payload
        instruction(0xbf, 3, 10, 0, 0),          // r3 = stack
        instruction(0x07, 3, 0, 0, -8),
        instruction(0xb7, 4, 0, 0, 4),  // r4 = length
        instruction(0x85, 0, 0, 0, 26), // bpf_skb_load_bytes
        instruction(0x55, 0, 0, 8, 0),  // too short: to the end
        instruction(0xbf, 2, 10, 0, 0), // r2 = stack
        instruction(0x07, 2, 0, 0, -8),
        instruction(0x18, 1, 1, 0, map), // r1 = map
        instruction(0, 0, 0, 0, 0),
        instruction(0x85, 0, 0, 0, 1), // bpf_map_lookup_elem
        instruction(0x15, 0, 0, 2, 0), // no such number: to the end
        instruction(0xb7, 1, 0, 0, 1),
        instruction(0xdb, 0, 1, 0, 0), // lock *r0 += 1
        instruction(0xb7, 0, 0, 0, verdict),
        instruction(0x95, 0, 0, 0, 0),
    ];
    let mut attr = zeroed();
    // SAFETY: every byte of the union was set, and any is valid.
    let load = unsafe { &mut attr.__bindgen_anon_3 };
    load.prog_type = bpf_prog_type::BPF_PROG_TYPE_SCHED_CLS as u32;
    load.insns = instructions.as_ptr() as u64;
    load.insn_cnt = instructions.len() as u32;
    load.license = c"GPL".as_ptr() as u64;
    descriptor(bpf_cmd::BPF_PROG_LOAD, &mut attr)
}

/// A map of counters by packet number.
pub(crate) fn counters() -> OwnedFd {
    let mut attr = zeroed();
    attr.__bindgen_anon_1.map_type = bpf_map_type::BPF_MAP_TYPE_ARRAY as u32;
    attr.__bindgen_anon_1.key_size = 4;
    attr.__bindgen_anon_1.value_size = 8;
    attr.__bindgen_anon_1.max_entries = NUMBERS;
    descriptor(bpf_cmd::BPF_MAP_CREATE, &mut attr)
}

/// How often the packet `number` was seen.
pub(crate) fn count(map: &OwnedFd, number: u32) -> u64 {
    let mut value = 0_u64;
    let mut attr = zeroed();
    attr.__bindgen_anon_2.map_fd = map.as_raw_fd().cast_unsigned();
    attr.__bindgen_anon_2.key = std::ptr::from_ref(&number) as u64;
    attr.__bindgen_anon_2.__bindgen_anon_1.value = std::ptr::from_mut(&mut value) as u64;
    bpf(bpf_cmd::BPF_MAP_LOOKUP_ELEM, &mut attr);
    value
}

/// Somebody else's link on a TCX hook, in front of or behind what is there.
pub(crate) fn link(program: &OwnedFd, ifindex: u32, ingress: bool, first: bool) -> OwnedFd {
    let hook = if ingress {
        bpf_attach_type::BPF_TCX_INGRESS
    } else {
        bpf_attach_type::BPF_TCX_EGRESS
    };
    let mut attr = zeroed();
    attr.link_create.__bindgen_anon_1.prog_fd = program.as_raw_fd().cast_unsigned();
    attr.link_create.__bindgen_anon_2.target_ifindex = ifindex;
    attr.link_create.attach_type = hook as u32;
    attr.link_create.flags = if first { BPF_F_BEFORE } else { BPF_F_AFTER };
    descriptor(bpf_cmd::BPF_LINK_CREATE, &mut attr)
}

/// Detaches the link that is pinned at `path`, as an administrator may do.
pub(crate) fn detach_pinned(path: &Path) {
    let link = open_pin(path);
    let mut attr = zeroed();
    attr.link_detach.link_fd = link.as_raw_fd().cast_unsigned();
    bpf(bpf_cmd::BPF_LINK_DETACH, &mut attr);
}

/// Pins a map or program.
pub(crate) fn pin(object: &OwnedFd, path: &Path) {
    let path = c_path(path);
    let mut attr = zeroed();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    attr.__bindgen_anon_4.bpf_fd = object.as_raw_fd().cast_unsigned();
    bpf(bpf_cmd::BPF_OBJ_PIN, &mut attr);
}

/// Opens what is pinned.
pub(crate) fn open_pin(path: &Path) -> OwnedFd {
    let path = c_path(path);
    let mut attr = zeroed();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    descriptor(bpf_cmd::BPF_OBJ_GET, &mut attr)
}

fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> [u8; 8] {
    let mut bytes = [code, source << 4 | destination, 0, 0, 0, 0, 0, 0];
    bytes[2..4].copy_from_slice(&offset.to_ne_bytes());
    bytes[4..8].copy_from_slice(&immediate.to_ne_bytes());
    bytes
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

fn zeroed() -> bpf_attr {
    // SAFETY: the union consists of integers.
    unsafe { std::mem::zeroed() }
}

fn descriptor(command: bpf_cmd, attr: &mut bpf_attr) -> OwnedFd {
    let made = i32::try_from(bpf(command, attr)).unwrap();
    // SAFETY: these commands return a new descriptor.
    unsafe { OwnedFd::from_raw_fd(made) }
}

fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> i64 {
    let name = format!("{command:?}");
    let attr = std::ptr::from_mut(attr);
    // SAFETY: the pointer and the size are those of one union, and what it points to outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<bpf_attr>()) };
    assert!(result >= 0, "{name}: {}", std::io::Error::last_os_error());
    result
}
