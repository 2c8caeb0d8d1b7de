//! Two network namespaces joined by a veth, and loads between them. All of it goes with the process.
//!
//! One thread, pinned to a core, does both ends of a load: it lives in the pod's namespace and has been handed the sockets
//! of the node's. The kernel passes each packet through the veth to the other end within the system call that sends it,
//! so the thread's own processor time is all that a connection or a byte costs, and other programs do not count.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, unshare};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, gettid};

const DEVICE: &str = "veth0";
/// All of this network is the node's: one listener answers for 2²⁴ addresses.
const NODE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// What is written at once.
const CHUNK: usize = 128 * 1024;

/// The calling thread's namespace is the node; the pod's is kept by a thread that runs the loads.
pub(crate) struct VethLab {
    ifindex: u32,
    pod: mpsc::Sender<Task>,
}

type Task = Box<dyn FnOnce() + Send>;

/// One step of a load: how much it moved.
type Step = Box<dyn FnMut() -> Result<u64> + Send>;

/// A load: bytes on one connection, or connections.
pub(crate) struct Load {
    step: Arc<Mutex<Step>>,
    stretch: u64,
}

impl VethLab {
    pub(crate) fn new() -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNET).context("a new network namespace (are you root?)")?;
        let (pod, tasks) = mpsc::channel::<Task>();
        let (ready, made) = mpsc::channel();
        std::thread::spawn(move || {
            let result = unshare(CloneFlags::CLONE_NEWNET).map(|()| gettid());
            if ready.send(result).is_ok() {
                pin(0);
                tasks.into_iter().for_each(|task| task());
            }
        });
        let thread = made
            .recv()
            .context("the pod's thread")?
            .context("the pod's namespace")?;
        let lab = Self { ifindex: 0, pod };
        lab.wire(thread)?;
        let ifindex = nix::net::if_::if_nametoindex(DEVICE)?;
        Ok(Self { ifindex, ..lab })
    }

    pub(crate) fn device(&self) -> &'static str {
        DEVICE
    }

    pub(crate) fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// One connection that carries `stretch` bytes at a time to the node.
    pub(crate) fn bulk(&self, stretch: u64) -> Result<Load> {
        let (listener, address) = listen()?;
        let mut sender = self.on_pod(move || Ok(TcpStream::connect(address)?))?;
        let (mut receiver, _) = listener.accept()?;
        sender.set_nonblocking(true)?;
        receiver.set_nonblocking(true)?;
        let mut buffer = vec![0; CHUNK];
        let step = move || {
            while some(sender.write(&buffer))?.is_some() {}
            let mut moved = 0;
            while let Some(length) = some(receiver.read(&mut buffer))? {
                moved += length;
            }
            Ok(moved)
        };
        Ok(Load::new(step, stretch))
    }

    /// Connections one after the other, each reset at once so that no port is left waiting; `stretch` of them at a time.
    pub(crate) fn connections(&self, stretch: u64) -> Result<Load> {
        let (listener, address) = listen()?;
        let step = move || one_shot(&listener, address).map(|()| 1);
        Ok(Load::new(step, stretch))
    }

    /// `count` connections, each to another address of the node.
    pub(crate) fn one_shot(&self, count: u32) -> Result<()> {
        let (listener, address) = listen()?;
        let first = u32::from(NODE) + 256;
        self.on_pod(move || {
            (first..first + count).try_for_each(|server| {
                let server = SocketAddrV4::new(server.into(), address.port());
                one_shot(&listener, server).with_context(|| format!("connecting to {server}"))
            })
        })
    }

    /// Runs one stretch of a load: what it moved in a second of processor time.
    pub(crate) fn rate(&self, load: &Load) -> Result<f64> {
        let (step, stretch) = (Arc::clone(&load.step), load.stretch);
        self.on_pod(move || {
            let mut step = step
                .lock()
                .map_err(|_| anyhow!("an earlier stretch failed"))?;
            // What has just been attached or detached is in no cache yet.
            run(&mut step, stretch / 8)?;
            let start = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
            let moved = run(&mut step, stretch)?;
            let end = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            let moved = moved as f64;
            Ok(moved / Duration::from(end - start).as_secs_f64())
        })
    }

    fn wire(&self, pod: Pid) -> Result<()> {
        ip(&format!(
            "link add {DEVICE} type veth peer name eth0 netns {pod}"
        ))?;
        ip(&format!("address add {NODE}/32 dev {DEVICE}"))?;
        ip("link set lo up")?;
        ip(&format!("link set {DEVICE} up"))?;
        ip("route add local 10.0.0.0/8 dev lo")?;
        ip(&format!("route add 172.16.0.2/32 dev {DEVICE}"))?;
        self.on_pod(|| {
            let commands = [
                "link set lo up",
                "address add 172.16.0.2/32 dev eth0",
                "link set eth0 up",
                "route add 10.0.0.1/32 dev eth0",
                // By a gateway: the table of neighbours does not hold as many addresses as are connected to.
                "route add 10.0.0.0/8 via 10.0.0.1",
            ];
            commands.into_iter().try_for_each(ip)
        })
    }

    /// Runs a task in the pod's namespace, and waits for it.
    fn on_pod<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (done, result) = mpsc::channel();
        let task = move || {
            // Nobody waits for it any more only if this program is ending.
            let _ = done.send(task());
        };
        let sent = self.pod.send(Box::new(task));
        sent.ok().context("the pod's thread ended")?;
        result.recv().context("the pod's thread ended")?
    }
}

impl Load {
    fn new(step: impl FnMut() -> Result<u64> + Send + 'static, stretch: u64) -> Self {
        let step: Step = Box::new(step);
        Self {
            step: Arc::new(Mutex::new(step)),
            stretch,
        }
    }
}

/// Takes steps until this much has been moved, and says how much it was.
fn run(step: &mut Step, stretch: u64) -> Result<u64> {
    let mut moved = 0;
    while moved < stretch {
        moved += step()?;
    }
    Ok(moved)
}

/// A listener in the caller's namespace, and where it is.
fn listen() -> Result<(TcpListener, SocketAddrV4)> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let port = listener.local_addr()?.port();
    Ok((listener, SocketAddrV4::new(NODE, port)))
}

/// Connects, accepts, and resets. The kernel has queued the connection when the client's call returns.
fn one_shot(listener: &TcpListener, address: SocketAddrV4) -> Result<()> {
    let client = TcpStream::connect(address)?;
    let server = listener.accept()?;
    let linger = nix::libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    nix::sys::socket::setsockopt(&client, nix::sys::socket::sockopt::Linger, &linger)?;
    drop(client);
    drop(server);
    Ok(())
}

/// How many bytes were moved; `None` if none could be for now.
fn some(result: std::io::Result<usize>) -> Result<Option<u64>> {
    match result {
        Ok(length) => Ok(Some(length as u64)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn pin(core: usize) {
    let mut cores = CpuSet::new();
    // Without the right to choose, the load runs where it may.
    if cores.set(core).is_ok() {
        let _ = sched_setaffinity(Pid::from_raw(0), &cores);
    }
}

fn ip(arguments: &str) -> Result<()> {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .context("ip (iproute2)")?;
    ensure!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
