//! Servers and clients on real sockets.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Lab;

/// Accepts connections on many ports and closes them at once, in a pod, until dropped.
pub(crate) struct Server {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Listens on every port of `ports` before it returns.
    pub(crate) fn start(lab: &Lab, pod: &str, ports: Range<u16>) -> Self {
        let address = lab.address(pod);
        let listeners = lab.inside(pod, || {
            let listen = |port| TcpListener::bind((address, port)).unwrap();
            ports.map(listen).collect::<Vec<_>>()
        });
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let serve = move || {
            listeners
                .iter()
                .for_each(|listener| listener.set_nonblocking(true).unwrap());
            while !stopped.load(Ordering::Relaxed) {
                listeners.iter().for_each(accept_all);
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        Self {
            stop,
            threads: vec![std::thread::spawn(serve)],
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads
            .drain(..)
            .for_each(|thread| thread.join().unwrap());
    }
}

fn accept_all(listener: &TcpListener) {
    while let Ok((stream, _)) = listener.accept() {
        drop(stream);
    }
}

/// Sends every datagram back, in a pod, until dropped.
pub(crate) struct UdpEcho {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl UdpEcho {
    /// Is bound before it returns.
    pub(crate) fn start(lab: &Lab, pod: &str, port: u16) -> Self {
        let address = lab.address(pod);
        let socket = lab.inside(pod, || UdpSocket::bind((address, port)).unwrap());
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let serve = move || {
            let mut bytes = [0; 64];
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut bytes) {
                    socket.send_to(&bytes[..length], from).unwrap();
                }
            }
        };
        Self {
            stop,
            thread: Some(std::thread::spawn(serve)),
        }
    }
}

impl Drop for UdpEcho {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .take()
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    }
}

/// Opens a connection from the calling thread's network namespace, and waits until the server has closed it.
/// Returns whether it was accepted.
pub(crate) fn connect(to: Ipv4Addr, port: u16) -> bool {
    match TcpStream::connect_timeout(&SocketAddrV4::new(to, port).into(), Duration::from_secs(5)) {
        Ok(mut stream) => {
            let _closed = stream.read(&mut [0]);
            true
        }
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => false,
        Err(error) => panic!("{to}:{port}: {error}"),
    }
}

/// Opens one connection to each port.
pub(crate) fn one_shots(lab: &Lab, from: &str, to: &str, ports: Range<u16>) {
    let address = lab.address(to);
    lab.inside(from, || {
        ports.for_each(|port| assert!(connect(address, port)))
    });
}
