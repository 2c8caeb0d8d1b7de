//! A node with its pods, and the rest of the cluster, made of network namespaces that go with their processes.
//!
//! The caller's namespaces become the node's, in which the agent runs as in its own pod on the host's network. Each pod is a
//! process in a network namespace of its own, which waits for its input to end and so ends with this program, however that
//! ends. All other addresses are local to the node's namespace: one listener there answers for every pod of other nodes, and
//! their connections come from there. So each edge passes one veth, and is one entry of the kernel's map.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

/// The node's name.
pub(crate) const NODE: &str = "bench-node";
/// What the kubelet allows by default.
const PODS: u8 = 110;
/// How many others each pod talks to: half of them it calls, the other half call it.
const PEERS: u8 = 91;
const PORT: u16 = 8080;
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);
/// Seconds that a connection may take.
const PATIENCE: i64 = 10;

/// The pods.
pub(crate) struct Lab {
    directory: PathBuf,
    pods: Vec<Pod>,
    /// Answers for the pods of other nodes.
    elsewhere: TcpListener,
    /// The node's namespace.
    own: File,
}

struct Pod {
    process: Child,
    namespace: File,
    address: Ipv4Addr,
    listener: TcpListener,
}

/// One client and one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edge {
    pod: u8,
    peer: u8,
}

/// What the process of a pod does.
pub(crate) fn stand() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    writeln!(std::io::stdout())?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

impl Lab {
    /// Makes the calling thread's namespaces a node's; to be called before there are other threads. The directory is for the
    /// BPF file system.
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        let own = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
        unshare(own).context("new namespaces (are you root?)")?;
        mount_bpffs(directory)?;
        let mut lab = Self {
            directory: directory.to_owned(),
            pods: Vec::new(),
            elsewhere: TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))?,
            own: File::open("/proc/thread-self/ns/net")?,
        };
        ip("link set lo up\nroute add local 10.89.0.0/16 dev lo\n")?;
        for number in 0..PODS {
            let pod = lab.pod(number).with_context(|| format!("pod {number}"))?;
            lab.pods.push(pod);
        }
        Ok(lab)
    }

    pub(crate) fn bpffs(&self) -> PathBuf {
        bpffs(&self.directory)
    }

    /// The addresses of the pods.
    pub(crate) fn pods(&self) -> Vec<Ipv4Addr> {
        self.pods.iter().map(|pod| pod.address).collect()
    }

    /// Who calls whom: neighbours in this list are of different pods.
    pub(crate) fn edges(&self) -> Vec<Edge> {
        let edges = (0..PEERS).flat_map(|peer| (0..PODS).map(move |pod| Edge { pod, peer }));
        edges.collect()
    }

    /// Makes one connection, and resets it at once so that no port is left waiting. The kernel takes its packets through
    /// the veth within the system calls.
    pub(crate) fn connect(&self, edge: Edge) -> Result<()> {
        let (client, server) = self.open(edge)?;
        let linger = nix::libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        setsockopt(&client, sockopt::Linger, &linger)?;
        drop((client, server));
        Ok(())
    }

    /// Both ends of a new connection.
    pub(crate) fn open(&self, edge: Edge) -> Result<(TcpStream, TcpStream)> {
        let pod = &self.pods[usize::from(edge.pod)];
        let elsewhere = Ipv4Addr::new(10, 89, edge.peer, edge.pod + 1);
        let (client, server) = if edge.peer.is_multiple_of(2) {
            let client = self.within(&pod.namespace, || call(pod.address, elsewhere));
            (client, &self.elsewhere)
        } else {
            (call(elsewhere, pod.address), &pod.listener)
        };
        let client = client.with_context(|| format!("{edge:?}"))?;
        let (accepted, _) = server.accept()?;
        Ok((client, accepted))
    }

    fn pod(&self, number: u8) -> Result<Pod> {
        let process = process()?;
        let namespace = File::open(format!("/proc/{}/ns/net", process.id()))?;
        let address = Ipv4Addr::new(10, 88, 1, number + 1);
        let mut outside = String::new();
        let (veth, pid) = (format!("veth{number}"), process.id());
        writeln!(
            outside,
            "link add {veth} type veth peer name eth0 netns {pid}"
        )?;
        writeln!(outside, "address add {GATEWAY}/32 dev {veth}")?;
        writeln!(outside, "link set {veth} up")?;
        writeln!(outside, "route add {address}/32 dev {veth}")?;
        ip(&outside)?;
        let inside = format!(
            "link set lo up\naddress add {address}/32 dev eth0\nlink set eth0 up\nroute add {GATEWAY}/32 dev eth0\n\
             route add default via {GATEWAY}\n"
        );
        let listener = self.within(&namespace, || {
            ip(&inside)?;
            Ok(TcpListener::bind((address, PORT))?)
        })?;
        Ok(Pod {
            process,
            namespace,
            address,
            listener,
        })
    }

    /// Does something in a pod's namespace.
    fn within<T>(&self, namespace: &File, work: impl FnOnce() -> Result<T>) -> Result<T> {
        setns(namespace, CloneFlags::CLONE_NEWNET).context("enter a network namespace")?;
        let done = work();
        setns(&self.own, CloneFlags::CLONE_NEWNET).context("come back")?;
        done
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// A process in a network namespace of its own.
fn process() -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("pod")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut process = command.spawn()?;
    let out = process.stdout.take().context("its output")?;
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    ensure!(!line.is_empty(), "its process did not start");
    Ok(process)
}

/// Connects from an address of the calling thread's namespace to another.
fn call(from: Ipv4Addr, to: Ipv4Addr) -> Result<TcpStream> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    // Connecting ends with it, too.
    setsockopt(&socket, sockopt::SendTimeout, &TimeVal::new(PATIENCE, 0))?;
    let address = |address, port| SockaddrIn::from(SocketAddrV4::new(address, port));
    bind(socket.as_raw_fd(), &address(from, 0))?;
    connect(socket.as_raw_fd(), &address(to, PORT))?;
    Ok(socket.into())
}

fn bpffs(directory: &Path) -> PathBuf {
    directory.join("bpf")
}

/// In the mount namespace of this program, so that it goes with it.
fn mount_bpffs(directory: &Path) -> Result<()> {
    let none: Option<&str> = None;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, private, none).context("keep mounts to ourselves")?;
    let path = bpffs(directory);
    fs::create_dir(&path)?;
    let mounted = mount(Some("bpf"), &path, Some("bpf"), MsFlags::empty(), none);
    mounted.context("mount a BPF file system")
}

/// Runs commands of `ip` in the calling thread's namespace.
fn ip(commands: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().context("ip (iproute2)")?;
    let mut input = child.stdin.take().context("its input")?;
    input.write_all(commands.as_bytes())?;
    drop(input);
    let output = child.wait_with_output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip: {}", told.trim());
    Ok(())
}
