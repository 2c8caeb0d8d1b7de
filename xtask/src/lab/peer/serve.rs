//! Servers: TCP that echoes, UDP that echoes, keeps silent or answers from elsewhere, SCTP.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use socket2::{Domain, Protocol, Socket, Type};

use super::ports::Ports;
use super::sctp;

/// What a server says when all its ports listen.
pub(crate) const READY: &str = "ready";

/// What to serve.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The address to bind; any by default.
    #[arg(long, default_value_t = IpAddr::V6(Ipv6Addr::UNSPECIFIED))]
    address: IpAddr,
    /// TCP ports that echo.
    #[arg(long, default_value = None)]
    tcp: Option<Ports>,
    /// TCP ports that answer once and then reset the connection.
    #[arg(long)]
    tcp_reset: Option<Ports>,
    /// UDP ports that echo.
    #[arg(long)]
    udp: Option<Ports>,
    /// UDP ports that never answer.
    #[arg(long)]
    udp_silent: Option<Ports>,
    /// UDP ports that echo and go on sending twice a second by themselves.
    #[arg(long)]
    udp_push: Option<Ports>,
    /// UDP ports that answer from the port one higher.
    #[arg(long)]
    udp_elsewhere: Option<Ports>,
    /// SCTP ports that accept associations; all others are refused.
    #[arg(long)]
    sctp: Option<Ports>,
}

impl Arguments {
    pub(super) fn run(&self) -> Result<()> {
        for port in ports(self.tcp.as_ref()) {
            let listener = self.listen(port)?;
            thread::spawn(move || accept(&listener, echo));
        }
        for port in ports(self.tcp_reset.as_ref()) {
            let listener = self.listen(port)?;
            thread::spawn(move || accept(&listener, answer_and_reset));
        }
        self.serve_udp()?;
        if let Some(Ports(open)) = self.sctp.clone() {
            let socket = sctp::raw_socket()?;
            thread::spawn(move || sctp::serve(&socket, &open));
        }
        super::announce(READY)?;
        loop {
            sleep(Duration::from_secs(3600));
        }
    }

    fn serve_udp(&self) -> Result<()> {
        for port in ports(self.udp.as_ref()) {
            let socket = self.bind(port)?;
            thread::spawn(move || answer(&socket, &socket));
        }
        for port in ports(self.udp_silent.as_ref()) {
            let socket = self.bind(port)?;
            thread::spawn(move || while socket.recv_from(&mut [0; 2048]).is_ok() {});
        }
        for port in ports(self.udp_push.as_ref()) {
            let socket = self.bind(port)?;
            thread::spawn(move || push(&socket));
        }
        for port in ports(self.udp_elsewhere.as_ref()) {
            let (socket, other) = (self.bind(port)?, self.bind(port + 1)?);
            thread::spawn(move || answer(&socket, &other));
        }
        Ok(())
    }

    fn listen(&self, port: u16) -> Result<TcpListener> {
        let socket = self.socket(Type::STREAM, Protocol::TCP, port)?;
        socket
            .listen(1024)
            .with_context(|| format!("listen on TCP port {port}"))?;
        Ok(socket.into())
    }

    fn bind(&self, port: u16) -> Result<UdpSocket> {
        Ok(self.socket(Type::DGRAM, Protocol::UDP, port)?.into())
    }

    /// A bound socket; of both families if the address is IPv6 and any.
    fn socket(&self, kind: Type, protocol: Protocol, port: u16) -> Result<Socket> {
        let address = SocketAddr::new(self.address, port);
        let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
        if self.address == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
            socket.set_only_v6(false)?;
        }
        socket.set_reuse_address(true)?;
        socket
            .bind(&address.into())
            .with_context(|| format!("bind {address}"))?;
        Ok(socket)
    }
}

fn ports(ports: Option<&Ports>) -> impl Iterator<Item = u16> {
    ports.into_iter().flat_map(|ports| ports.0.iter().copied())
}

fn accept(listener: &TcpListener, serve: fn(TcpStream)) {
    for stream in listener.incoming().flatten() {
        thread::spawn(move || serve(stream));
    }
}

fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

fn answer_and_reset(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    if let Ok(length @ 1..) = stream.read(&mut buffer) {
        // Whether or not the answer gets through, the reset follows.
        let _ = stream.write_all(&buffer[..length]);
        sleep(Duration::from_millis(50));
    }
    let _ = Socket::from(stream).set_linger(Some(Duration::ZERO));
}

/// Answers what comes to `socket` from `from`.
fn answer(socket: &UdpSocket, from: &UdpSocket) {
    let mut buffer = [0; 2048];
    loop {
        // An ICMP error of an earlier datagram may end a receive; the next one is unharmed.
        if let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let _ = from.send_to(&buffer[..length], client);
        }
    }
}

fn push(socket: &UdpSocket) {
    let mut buffer = [0; 2048];
    let Ok((length, client)) = socket.recv_from(&mut buffer) else {
        return;
    };
    loop {
        let _ = socket.send_to(&buffer[..length], client);
        sleep(Duration::from_millis(500));
    }
}
