//! Serving HTTP on a port, over TLS or not, within bounds of connections and time.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Handle, Server};
use rustls::ServerConfig;
use tokio::task::JoinHandle;

use super::door::Door;
use super::limits::Limits;

/// Bytes of a request's header at most, and of what is read ahead: every idle connection keeps as many.
const HEADER: usize = 8 << 10;

/// A server at work.
#[derive(Debug)]
pub(super) struct Serving {
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Who is let in.
    pub(super) door: Door,
    handle: Handle<SocketAddr>,
    task: JoinHandle<io::Result<()>>,
    grace: Duration,
}

/// Called with every TLS handshake that failed, and every connection that was turned away.
type OnFailure = Arc<dyn Fn() + Send + Sync>;

/// Serves `routes` over TLS.
pub(super) fn secure(
    listener: TcpListener,
    routes: Router,
    tls: Arc<ServerConfig>,
    limits: &Limits,
    on_failure: OnFailure,
) -> io::Result<Serving> {
    let door = Door::new(limits.connections, limits.connections_per_peer);
    let acceptor = RustlsAcceptor::new(RustlsConfig::from_config(tls))
        .handshake_timeout(limits.handshake)
        .acceptor(door.clone());
    let (address, mut server, handle) = server(listener, limits)?;
    bound(&mut server, limits);
    let server = server
        .accept_error_handler(move |_, error| {
            tracing::debug!(%error, "connection refused");
            on_failure();
        })
        .acceptor(acceptor);
    let task = tokio::spawn(server.serve(service(routes)));
    Ok(Serving {
        address,
        door,
        handle,
        task,
        grace: limits.grace,
    })
}

/// Serves `routes` over plain HTTP.
pub(super) fn plain(listener: TcpListener, routes: Router, limits: &Limits) -> io::Result<Serving> {
    let door = Door::new(limits.connections_per_peer, limits.connections_per_peer);
    let (address, mut server, handle) = server(listener, limits)?;
    bound(&mut server, limits);
    let task = tokio::spawn(server.acceptor(door.clone()).serve(service(routes)));
    Ok(Serving {
        address,
        door,
        handle,
        task,
        grace: limits.grace,
    })
}

fn server(
    listener: TcpListener,
    limits: &Limits,
) -> io::Result<(SocketAddr, Server<SocketAddr>, Handle<SocketAddr>)> {
    let address = listener.local_addr()?;
    let handle = Handle::new();
    let server = axum_server::from_tcp(listener)?
        .handle(handle.clone())
        .first_request_timeout(limits.handshake)
        .http1_only();
    Ok((address, server, handle))
}

fn bound(server: &mut Server<SocketAddr>, limits: &Limits) {
    let mut http = server.http_builder().http1();
    http.header_read_timeout(limits.idle).max_buf_size(HEADER);
}

fn service(
    routes: Router,
) -> axum::extract::connect_info::IntoMakeServiceWithConnectInfo<Router, SocketAddr> {
    routes.into_make_service_with_connect_info()
}

impl Serving {
    /// Whether it has ended by itself, which only a fault can bring about.
    pub(super) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Takes nothing more in, and waits for what is under way.
    pub(super) async fn stop(self) {
        self.handle.graceful_shutdown(Some(self.grace));
        // Whatever it ended with, it has ended.
        let _ended = self.task.await;
    }
}
