//! A node and its pods, made of network namespaces and veths, and connections between the pods.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{setsockopt, sockopt::Linger};

/// The node's name.
pub(crate) const NODE: &str = "bench-node";
/// What the kubelet allows by default.
const PODS: u8 = 110;
/// How many others a pod calls.
const CALLS: u8 = 46;
const PORT: u16 = 8080;
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);

/// The node's namespace and its pods'; all of it is removed when it is dropped.
pub(crate) struct Lab {
    prefix: String,
    directory: tempfile::TempDir,
    pods: Vec<Pod>,
    /// A process in each pod's namespace, as every pod has one.
    sleepers: Vec<Child>,
    own: File,
}

/// A pod: its namespace, and where it listens.
struct Pod {
    namespace: File,
    listener: TcpListener,
    address: Ipv4Addr,
}

impl Lab {
    pub(crate) fn new() -> Result<Self> {
        let mut lab = Self {
            prefix: format!("npb{}", std::process::id()),
            directory: tempfile::tempdir()?,
            pods: Vec::new(),
            sleepers: Vec::new(),
            own: File::open("/proc/thread-self/ns/net")?,
        };
        lab.wire()?;
        for number in 0..PODS {
            let namespace = File::open(format!("/run/netns/{}", lab.namespace(number)))?;
            let listener = lab.within(&namespace, || {
                Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))?)
            })?;
            lab.pods.push(Pod {
                namespace,
                listener,
                address: address(number),
            });
            lab.sleepers.push(sleeper(&lab.namespace(number))?);
        }
        fs::create_dir(lab.bpffs())?;
        let none: Option<&str> = None;
        mount(
            Some("bpf"),
            &lab.bpffs(),
            Some("bpf"),
            MsFlags::empty(),
            none,
        )
        .context("mount a BPF file system (are you root?)")?;
        Ok(lab)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn bpffs(&self) -> PathBuf {
        self.directory.path().join("bpf")
    }

    /// The node's namespace.
    pub(crate) fn node(&self) -> String {
        format!("{}-node", self.prefix)
    }

    /// The addresses of the pods.
    pub(crate) fn pods(&self) -> Vec<Ipv4Addr> {
        self.pods.iter().map(|pod| pod.address).collect()
    }

    /// Who calls whom.
    pub(crate) fn pairs(&self) -> Vec<(u8, u8)> {
        let pairs =
            (1..=CALLS).flat_map(|shift| (0..PODS).map(move |pod| (pod, (pod + shift) % PODS)));
        pairs.collect()
    }

    /// Connects the pods of each pair, and resets at once so that no port is left waiting. The kernel takes the packets
    /// through both veths within the system calls.
    pub(crate) fn connect(&self, pairs: impl Iterator<Item = (u8, u8)>) -> Result<()> {
        for (client, server) in pairs {
            let (client, server) = (
                &self.pods[usize::from(client)],
                &self.pods[usize::from(server)],
            );
            let stream = self.within(&client.namespace, || {
                Ok(TcpStream::connect(SocketAddrV4::new(server.address, PORT))?)
            })?;
            let accepted = server.listener.accept()?;
            let linger = nix::libc::linger {
                l_onoff: 1,
                l_linger: 0,
            };
            setsockopt(&stream, Linger, &linger)?;
            drop((stream, accepted));
        }
        Ok(())
    }

    /// Does something in a namespace.
    fn within<T>(&self, namespace: &File, work: impl FnOnce() -> Result<T>) -> Result<T> {
        setns(namespace, CloneFlags::CLONE_NEWNET).context("enter a network namespace")?;
        let done = work();
        setns(&self.own, CloneFlags::CLONE_NEWNET).context("come back")?;
        done
    }

    fn namespace(&self, pod: u8) -> String {
        format!("{}-{pod}", self.prefix)
    }

    fn wire(&self) -> Result<()> {
        let node = self.node();
        let mut outside = format!("netns add {node}\n");
        let mut inside = "link set lo up\n".to_owned();
        for pod in 0..PODS {
            let (name, veth, address) = (self.namespace(pod), format!("veth{pod}"), address(pod));
            writeln!(outside, "netns add {name}")?;
            writeln!(
                outside,
                "link add {veth} netns {node} type veth peer name eth0 netns {name}"
            )?;
            writeln!(inside, "address add {GATEWAY}/32 dev {veth}")?;
            writeln!(inside, "link set {veth} up")?;
            writeln!(inside, "route add {address}/32 dev {veth}")?;
        }
        batch(&[], &outside)?;
        batch(&["-n", &node], &inside)?;
        let space = File::open(format!("/run/netns/{node}"))?;
        self.within(&space, || {
            Ok(fs::write("/proc/sys/net/ipv4/ip_forward", "1")?)
        })?;
        for pod in 0..PODS {
            let address = address(pod);
            let text = format!(
                "link set lo up\naddress add {address}/32 dev eth0\nlink set eth0 up\nroute add {GATEWAY}/32 dev eth0\n\
                 route add default via {GATEWAY}\n"
            );
            batch(&["-n", &self.namespace(pod)], &text)?;
        }
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for sleeper in &mut self.sleepers {
            // It may have ended already.
            let _killed = sleeper.kill();
            let _reaped = sleeper.wait();
        }
        // What is not there cannot be removed.
        let _gone = umount2(&self.bpffs(), MntFlags::MNT_DETACH);
        let names = (0..PODS)
            .map(|pod| self.namespace(pod))
            .chain([self.node()]);
        for name in names {
            let _gone = batch(&[], &format!("netns delete {name}\n"));
        }
    }
}

/// A pod's address.
fn address(pod: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 88, 1, pod + 1)
}

fn sleeper(namespace: &str) -> Result<Child> {
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", namespace, "sleep", "3600"])
        .stdin(Stdio::null());
    command.spawn().context("ip (iproute2)")
}

/// Runs commands of `ip`.
fn batch(flags: &[&str], commands: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command
        .args(flags)
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
