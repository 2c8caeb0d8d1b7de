//! A network namespace with a veth in it, and a BPF file system that nobody else sees.
//!
//! The namespaces have no names and belong to the thread of their test: when it ends, however it ends, the kernel
//! removes them with everything in them.

use std::path::Path;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, unshare};

/// The two ends of the veth; the first is the host's.
pub(crate) const ENDS: [&str; 2] = ["host", "pod"];

/// Runs `test` in a thread with namespaces of its own, and tells it where the BPF file system is.
pub(crate) fn within(test: impl FnOnce(&Path) + Send) {
    let directory = tempfile::tempdir().unwrap();
    let thread = || {
        enter(directory.path());
        test(directory.path());
    };
    let result = std::thread::scope(|scope| scope.spawn(thread).join());
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// The ifindexes of the two ends.
pub(crate) fn ifindexes() -> [u32; 2] {
    ENDS.map(|name| if_nametoindex(name).unwrap())
}

fn enter(bpffs: &Path) {
    let new = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET;
    unshare(new).expect("these tests need root, to make namespaces");
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(Some("bpf"), bpffs, Some("bpf"), MsFlags::empty(), none).unwrap();
    // No packets but the test's.
    let switch = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
    if Path::new(switch).exists() {
        std::fs::write(switch, "1").unwrap();
    }
    let [host, pod] = ENDS;
    ip(&["link", "add", host, "type", "veth", "peer", "name", pod]);
    for end in ENDS {
        ip(&["link", "set", end, "mtu", "9000", "arp", "off", "up"]);
    }
}

fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status().unwrap();
    assert!(status.success(), "ip {}", arguments.join(" "));
}
