//! A host and a pod: two network namespaces, a veth between them, and a BPF file system that nobody else sees.
//!
//! The namespaces have no names and belong to the thread of their test: when it ends, however it ends, the kernel
//! removes them with everything in them.

use std::fs::File;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns, unshare};

use super::bpf;

/// What a test's thread is in.
pub(crate) struct Lab {
    bpffs: PathBuf,
    pod: File,
    host_socket: Option<UdpSocket>,
    pod_socket: Option<UdpSocket>,
}

/// The host's side of the veth.
pub(crate) const HOST: &str = "veth-host";

impl Lab {
    /// Runs `test` in a lab of its own.
    pub(crate) fn run(test: impl FnOnce(&mut Lab) + Send) {
        let directory = tempfile::tempdir().unwrap();
        let thread = || {
            let mut lab = Lab::enter(directory.path());
            lab.plug(None);
            test(&mut lab);
        };
        let result = std::thread::scope(|scope| scope.spawn(thread).join());
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }

    /// Moves the calling thread into new namespaces.
    fn enter(bpffs: &Path) -> Self {
        let new = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET;
        unshare(new).expect("these tests need root, to make namespaces");
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(Some("bpf"), bpffs, Some("bpf"), MsFlags::empty(), none).unwrap();
        quiet();
        run("ip", &["link", "set", "lo", "up"]);
        let pod = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            quiet();
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        for side in ["in", "out"] {
            bpf::pin(&bpf::counters(), &bpffs.join(side));
        }
        Self {
            bpffs: bpffs.to_owned(),
            pod: pod.join().unwrap(),
            host_socket: None,
            pod_socket: None,
        }
    }

    /// Makes the veth, with this ifindex if it has to be.
    pub(crate) fn plug(&mut self, ifindex: Option<u32>) {
        let pod = format!("/proc/{}/fd/{}", std::process::id(), self.pod.as_raw_fd());
        let index = ifindex.map(|ifindex| ifindex.to_string());
        let mut arguments = vec!["link", "add", HOST];
        arguments.extend(
            index
                .as_deref()
                .into_iter()
                .flat_map(|index| ["index", index]),
        );
        arguments.extend(["type", "veth", "peer", "name", "eth0", "netns", &pod]);
        run("ip", &arguments);
        run("ip", &["addr", "add", "10.77.0.1/24", "dev", HOST]);
        run("ip", &["link", "set", HOST, "up"]);
        let socket = self.in_pod(|| {
            run("ip", &["addr", "add", "10.77.0.2/24", "dev", "eth0"]);
            run("ip", &["link", "set", "eth0", "up"]);
            UdpSocket::bind("10.77.0.2:7000").unwrap()
        });
        self.pod_socket = Some(socket);
        self.host_socket = Some(UdpSocket::bind("10.77.0.1:7000").unwrap());
    }

    /// Removes the veth.
    pub(crate) fn unplug(&mut self) {
        (self.host_socket, self.pod_socket) = (None, None);
        run("ip", &["link", "del", HOST]);
    }

    /// The ifindex of the host's side.
    pub(crate) fn ifindex(&self) -> u32 {
        if_nametoindex(HOST).unwrap()
    }

    /// Where the BPF file system is mounted.
    pub(crate) fn bpffs(&self) -> &Path {
        &self.bpffs
    }

    /// The counters of a direction, `in` or `out`.
    pub(crate) fn map(&self, side: &str) -> OwnedFd {
        bpf::open_pin(&self.bpffs.join(side))
    }

    /// Sends a packet with this number in both directions, and waits until both have arrived.
    pub(crate) fn send(&self, number: u32) {
        let [host, pod] = self.sockets();
        assert!(
            exchange(pod, host, number, PATIENCE),
            "packet {number} from the pod"
        );
        assert!(
            exchange(host, pod, number, PATIENCE),
            "packet {number} to the pod"
        );
    }

    /// The same, but what is lost is sent again: the kernel drops packets while it adds a qdisc.
    pub(crate) fn insist(&self, number: u32) {
        let [host, pod] = self.sockets();
        while !exchange(pod, host, number, SHORT) {}
        while !exchange(host, pod, number, SHORT) {}
    }

    /// How often our classifiers saw this packet: from the pod, and towards it.
    pub(crate) fn seen(&self, number: u32) -> (u64, u64) {
        let [from_pod, to_pod] = ["in", "out"].map(|side| bpf::count(&self.map(side), number));
        (from_pod, to_pod)
    }

    fn sockets(&self) -> [&UdpSocket; 2] {
        [&self.host_socket, &self.pod_socket].map(|socket| socket.as_ref().unwrap())
    }

    fn in_pod<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let enter = || {
            setns(&self.pod, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        std::thread::scope(|scope| scope.spawn(enter).join().unwrap())
    }
}

/// Runs a command in the calling thread's namespaces.
pub(crate) fn run(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command} {}: {error}",
        arguments.join(" ")
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Keeps the calling thread's network namespace from sending packets by itself.
fn quiet() {
    for interfaces in ["all", "default"] {
        let switch = format!("/proc/sys/net/ipv6/conf/{interfaces}/disable_ipv6");
        if Path::new(&switch).exists() {
            std::fs::write(switch, "1").unwrap();
        }
    }
}

/// How long a packet may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(20);
/// After how long a packet is sent again.
const SHORT: Duration = Duration::from_millis(200);

/// Whether a packet with this number arrived in time.
fn exchange(from: &UdpSocket, to: &UdpSocket, number: u32, patience: Duration) -> bool {
    to.set_read_timeout(Some(patience)).unwrap();
    from.send_to(&number.to_ne_bytes(), to.local_addr().unwrap())
        .unwrap();
    let mut payload = [0; 4];
    while to.recv(&mut payload).is_ok() {
        if u32::from_ne_bytes(payload) == number {
            return true;
        }
    }
    false
}
