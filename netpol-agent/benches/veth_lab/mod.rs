//! Two network namespaces joined by a veth, and loads between them. All of it goes with the process.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, unshare};
use nix::unistd::{Pid, gettid};

const DEVICE: &str = "veth0";
/// All of this network is the node's: one listener answers for 2²⁴ addresses.
const NODE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const BULK_PORT: u16 = 5001;
const CONNECTION_PORT: u16 = 5002;
const ONE_SHOT_PORT: u16 = 5003;

/// The calling thread's namespace is the node; the pod's is kept by a thread that runs the clients.
pub(crate) struct VethLab {
    ifindex: u32,
    pod: mpsc::Sender<Task>,
}

type Task = Box<dyn FnOnce() + Send>;

/// A load that runs until it is dropped.
pub(crate) struct Load {
    moved: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    address: SocketAddrV4,
}

impl VethLab {
    pub(crate) fn new() -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNET).context("a new network namespace (are you root?)")?;
        let (pod, tasks) = mpsc::channel::<Task>();
        let (ready, made) = mpsc::channel();
        std::thread::spawn(move || {
            let result = unshare(CloneFlags::CLONE_NEWNET).map(|()| gettid());
            if ready.send(result).is_ok() {
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

    /// One connection that sends as fast as it can; bytes that arrive are counted.
    pub(crate) fn bulk(&self) -> Result<Load> {
        let load = Load::new(BULK_PORT);
        self.serve(
            load,
            |mut stream, moved| {
                let mut buffer = vec![0; 256 * 1024];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    moved.fetch_add(length as u64, Ordering::Relaxed);
                }
            },
            |address, stop| {
                let Ok(mut stream) = TcpStream::connect(address) else {
                    return;
                };
                let buffer = vec![0; 256 * 1024];
                while !stop.load(Ordering::Relaxed) && stream.write_all(&buffer).is_ok() {}
            },
        )
    }

    /// Connections one after the other, each closed at once; each is counted when it is accepted.
    pub(crate) fn connections(&self) -> Result<Load> {
        let load = Load::new(CONNECTION_PORT);
        self.serve(
            load,
            |_, moved| {
                moved.fetch_add(1, Ordering::Relaxed);
            },
            |address, stop| {
                while !stop.load(Ordering::Relaxed) {
                    one_shot(address);
                }
            },
        )
    }

    /// `count` connections, each to another address of the node. How many were answered.
    pub(crate) fn one_shot(&self, count: u32) -> Result<u32> {
        let load = self.serve(Load::new(ONE_SHOT_PORT), |_, _| (), |_, _| ())?;
        let (done, answered) = mpsc::channel();
        self.on_pod(move || {
            let address =
                |n| SocketAddrV4::new(Ipv4Addr::from(u32::from(NODE) + 256 + n), ONE_SHOT_PORT);
            let made = (0..count).filter(|n| one_shot(address(*n))).count();
            let _ = done.send(made);
        })?;
        let made = answered.recv().context("the pod's thread ended")?;
        drop(load);
        Ok(u32::try_from(made)?)
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
        let (done, wired) = mpsc::channel();
        self.on_pod(move || {
            let commands = [
                "link set lo up",
                "address add 172.16.0.2/32 dev eth0",
                "link set eth0 up",
                "route add 10.0.0.1/32 dev eth0",
                // By a gateway: the table of neighbours does not hold as many addresses as are connected to.
                "route add 10.0.0.0/8 via 10.0.0.1",
            ];
            let _ = done.send(commands.into_iter().try_for_each(ip));
        })?;
        wired.recv().context("the pod's thread ended")?
    }

    fn on_pod(&self, task: impl FnOnce() + Send + 'static) -> Result<()> {
        self.pod
            .send(Box::new(task))
            .ok()
            .context("the pod's thread ended")
    }

    /// Starts a server on the node, on the second core, and a client in the pod, on the first.
    fn serve(
        &self,
        mut load: Load,
        serve: impl Fn(TcpStream, &AtomicU64) + Send + 'static,
        client: impl FnOnce(SocketAddrV4, &AtomicBool) + Send + 'static,
    ) -> Result<Load> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, load.address.port()))?;
        listener.set_nonblocking(false)?;
        let (moved, stop) = (Arc::clone(&load.moved), Arc::clone(&load.stop));
        let server = std::thread::spawn(move || {
            pin(1);
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                if let Ok(stream) = stream {
                    serve(stream, &moved);
                }
            }
        });
        let (address, stop) = (load.address, Arc::clone(&load.stop));
        self.on_pod(move || {
            pin(0);
            client(address, &stop);
        })?;
        load.threads.push(server);
        Ok(load)
    }
}

impl Load {
    fn new(port: u16) -> Self {
        Self {
            moved: Arc::default(),
            stop: Arc::default(),
            threads: Vec::new(),
            address: SocketAddrV4::new(NODE, port),
        }
    }

    /// What was moved so far: bytes or connections.
    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(50));
        // Wakes the server up from waiting for a connection.
        let _ = TcpStream::connect(self.address);
        for thread in std::mem::take(&mut self.threads) {
            let _ = thread.join();
        }
    }
}

/// Connects and resets at once, so that no port is left waiting. Whether it was answered.
fn one_shot(address: SocketAddrV4) -> bool {
    let Ok(stream) = TcpStream::connect_timeout(&address.into(), Duration::from_secs(2)) else {
        return false;
    };
    let linger = nix::libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &linger).is_ok()
}

fn pin(core: usize) {
    let mut cores = CpuSet::new();
    // Without a second core, or without the right to choose, the load runs where it may.
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
