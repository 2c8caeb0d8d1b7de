//! bpf(2) as far as attaching needs it and aya does not offer it: links and TCX hooks by ifindex, and queries that
//! take program ids only, since BPF_PROG_GET_FD_BY_ID asks for CAP_SYS_ADMIN.

use std::ffi::{CString, c_long};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use aya_obj::generated::{
    BPF_F_BEFORE, bpf_attach_type, bpf_attr, bpf_cmd, bpf_insn, bpf_link_info, bpf_link_type,
    bpf_prog_type,
};
use nix::errno::Errno;

use super::hook::Hook;

/// What the kernel tells about a TCX link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TcxInfo {
    /// The number of the link, as in a [`query`].
    pub(crate) id: u32,
    /// The interface; 0 once it is gone or the link was detached by force.
    pub(crate) ifindex: u32,
}

/// The most programs that one TCX hook holds (`BPF_MPROG_MAX` in the kernel).
const MOST_PROGRAMS: usize = 64;

/// Loads a classifier that does nothing, and unloads it.
pub(crate) fn load_pass() -> Result<(), Errno> {
    let pass = [instruction(MOV_IMMEDIATE, -1), instruction(EXIT, 0)];
    let mut attr = zeroed();
    // SAFETY: every bit pattern is a valid member of this union, and all of its bytes were set.
    let load = unsafe { &mut attr.__bindgen_anon_3 };
    load.prog_type = bpf_prog_type::BPF_PROG_TYPE_SCHED_CLS as u32;
    load.insns = pass.as_ptr() as u64;
    load.insn_cnt = 2;
    load.license = c"Dual MIT/GPL".as_ptr() as u64;
    descriptor(bpf_cmd::BPF_PROG_LOAD, &mut attr).map(drop)
}

/// Attaches `program` to the TCX hook of an interface, in front of what is there.
pub(crate) fn link_create(
    program: BorrowedFd<'_>,
    ifindex: u32,
    hook: Hook,
) -> Result<OwnedFd, Errno> {
    let mut attr = zeroed();
    attr.link_create.__bindgen_anon_1.prog_fd = number(program);
    attr.link_create.__bindgen_anon_2.target_ifindex = ifindex;
    attr.link_create.attach_type = attach_type(hook);
    attr.link_create.flags = BPF_F_BEFORE;
    descriptor(bpf_cmd::BPF_LINK_CREATE, &mut attr)
}

/// Puts `program` in the place of the link's.
pub(crate) fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attr = zeroed();
    attr.link_update.link_fd = number(link);
    attr.link_update.__bindgen_anon_1.new_prog_fd = number(program);
    bpf(bpf_cmd::BPF_LINK_UPDATE, &mut attr).map(drop)
}

/// Detaches a link, whoever else holds it.
pub(crate) fn link_detach(link: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attr = zeroed();
    attr.link_detach.link_fd = number(link);
    bpf(bpf_cmd::BPF_LINK_DETACH, &mut attr).map(drop)
}

/// What the kernel tells about `link`; `None` if it is not a TCX link.
pub(crate) fn link_info(link: BorrowedFd<'_>) -> Result<Option<TcxInfo>, Errno> {
    // SAFETY: the structure consists of integers, for which zeros are valid.
    let mut info: bpf_link_info = unsafe { std::mem::zeroed() };
    let mut attr = zeroed();
    attr.info.bpf_fd = number(link);
    attr.info.info_len = size_of::<bpf_link_info>() as u32;
    attr.info.info = std::ptr::from_mut(&mut info) as u64;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    if info.type_ != bpf_link_type::BPF_LINK_TYPE_TCX as u32 {
        return Ok(None);
    }
    // SAFETY: the kernel fills this member for links of this type.
    let tcx = unsafe { info.__bindgen_anon_1.tcx };
    Ok(Some(TcxInfo {
        id: info.id,
        ifindex: tcx.ifindex,
    }))
}

/// Pins a program, map or link.
pub(crate) fn pin(object: BorrowedFd<'_>, path: &Path) -> Result<(), Errno> {
    let path = c_path(path)?;
    let mut attr = zeroed();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    attr.__bindgen_anon_4.bpf_fd = number(object);
    bpf(bpf_cmd::BPF_OBJ_PIN, &mut attr).map(drop)
}

/// Opens what is pinned at `path`.
pub(crate) fn open_pin(path: &Path) -> Result<OwnedFd, Errno> {
    let path = c_path(path)?;
    let mut attr = zeroed();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    descriptor(bpf_cmd::BPF_OBJ_GET, &mut attr)
}

/// The links on the TCX hook of an interface, in the order in which packets pass their programs; 0 stands for a
/// program that was attached without a link.
pub(crate) fn query(ifindex: u32, hook: Hook) -> Result<Vec<u32>, Errno> {
    let mut links = [0_u32; MOST_PROGRAMS];
    let mut programs = [0_u32; MOST_PROGRAMS];
    let mut attr = zeroed();
    attr.query.__bindgen_anon_1.target_ifindex = ifindex;
    attr.query.attach_type = attach_type(hook);
    attr.query.__bindgen_anon_2.prog_cnt = MOST_PROGRAMS as u32;
    attr.query.prog_ids = programs.as_mut_ptr() as u64;
    attr.query.link_ids = links.as_mut_ptr() as u64;
    bpf(bpf_cmd::BPF_PROG_QUERY, &mut attr)?;
    // SAFETY: this is the member that the command above is about.
    let answer = unsafe { attr.query };
    // SAFETY: the kernel wrote the number of programs to this member.
    let count = unsafe { answer.__bindgen_anon_2.prog_cnt };
    Ok(links[..MOST_PROGRAMS.min(count as usize)].to_vec())
}

/// `r0 = immediate`.
const MOV_IMMEDIATE: u8 = 0xb7;
/// Leaves the program with `r0`.
const EXIT: u8 = 0x95;

fn instruction(code: u8, imm: i32) -> bpf_insn {
    bpf_insn {
        code,
        _bitfield_align_1: [],
        _bitfield_1: bpf_insn::new_bitfield_1(0, 0),
        off: 0,
        imm,
    }
}

fn attach_type(hook: Hook) -> u32 {
    match hook {
        Hook::Ingress => bpf_attach_type::BPF_TCX_INGRESS as u32,
        Hook::Egress => bpf_attach_type::BPF_TCX_EGRESS as u32,
    }
}

fn number(descriptor: BorrowedFd<'_>) -> u32 {
    descriptor.as_raw_fd().cast_unsigned()
}

fn c_path(path: &Path) -> Result<CString, Errno> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)
}

fn zeroed() -> bpf_attr {
    // SAFETY: the union consists of integers, for which zeros are valid.
    unsafe { std::mem::zeroed() }
}

fn descriptor(command: bpf_cmd, attr: &mut bpf_attr) -> Result<OwnedFd, Errno> {
    let made = bpf(command, attr)?;
    let made = i32::try_from(made).map_err(|_| Errno::EBADF)?;
    // SAFETY: these commands return a new descriptor that nobody else knows of.
    Ok(unsafe { OwnedFd::from_raw_fd(made) })
}

fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> Result<c_long, Errno> {
    let attr = std::ptr::from_mut(attr);
    // SAFETY: the pointer and the size are those of one union; what it points to outlives the call in every caller.
    Errno::result(unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<bpf_attr>()) })
}
