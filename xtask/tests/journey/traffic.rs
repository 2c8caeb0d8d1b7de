//! Clients in pods that open connections all the time, and count them.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Client, server and port of connections, as `namespace/Kind/name`.
pub(crate) type Edge = (&'static str, &'static str, u16);

/// Connections of one edge from one pod.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) edge: Edge,
    /// The client's network namespace.
    pub(crate) from: PathBuf,
    /// What it connects to: a pod, or a service in front of it.
    pub(crate) to: SocketAddr,
}

/// A client at work.
#[derive(Debug)]
pub(crate) struct Client {
    edge: Edge,
    opened: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// Opens one connection after the other, with short pauses.
    pub(crate) fn start(route: &Route) -> Self {
        let (opened, stop) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (counted, stopped, route_of) = (opened.clone(), stop.clone(), route.clone());
        let run = move || {
            enter(&route_of.from);
            while !stopped.load(Ordering::Relaxed) {
                converse(route_of.to);
                counted.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(fastrand::u64(5..60)));
            }
        };
        Self {
            edge: route.edge,
            opened,
            stop,
            thread: Some(std::thread::spawn(run)),
        }
    }

    /// The edge, and how many connections of it were opened so far.
    pub(crate) fn opened(&self) -> (Edge, u64) {
        (self.edge, self.opened.load(Ordering::Relaxed))
    }

    /// Opens nothing more.
    pub(crate) fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok(), "a client of {:?} failed", self.edge);
        }
    }
}

impl Drop for Client {
    /// Nobody may be left in a namespace of the lab when that is taken away.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // The test has failed already.
            let _ended = thread.join();
        }
    }
}

/// Moves this thread into a network namespace.
fn enter(namespace: &Path) {
    let file = File::open(namespace).unwrap();
    setns(file, CloneFlags::CLONE_NEWNET).unwrap();
}

/// One connection: a few words there and back.
fn converse(to: SocketAddr) {
    let opened = TcpStream::connect_timeout(&to, PATIENCE);
    let mut stream = opened.unwrap_or_else(|error| panic!("{to}: {error}"));
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let answered = stream.read(&mut [0; 64]).unwrap();
    assert!(answered > 0, "{to} says nothing");
}
