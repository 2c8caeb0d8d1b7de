//! Who gets a connection: so many in all, and so many from one address.

use std::collections::BTreeMap;
use std::future::{Ready, ready};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Lets connections in.
#[derive(Clone, Debug)]
pub(super) struct Door(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    most_per_peer: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_peer: BTreeMap<IpAddr, usize>,
}

/// A place among the open connections. Dropping it frees it.
#[derive(Debug)]
struct Seat {
    shared: Arc<Shared>,
    peer: IpAddr,
}

/// A connection that was let in.
#[derive(Debug)]
pub(super) struct Guest {
    stream: TcpStream,
    _seat: Seat,
}

impl Door {
    pub(super) fn new(most: usize, most_per_peer: usize) -> Self {
        Self(Arc::new(Shared {
            most,
            most_per_peer,
            open: Mutex::default(),
        }))
    }

    /// How many connections are open.
    pub(super) fn open(&self) -> usize {
        self.0.with(|open| open.all)
    }

    fn seat(&self, peer: SocketAddr) -> Option<Seat> {
        let peer = peer.ip().to_canonical();
        let shared = &self.0;
        shared.with(|open| {
            let from_peer = open.by_peer.get(&peer).copied().unwrap_or_default();
            if open.all >= shared.most || from_peer >= shared.most_per_peer {
                return None;
            }
            open.all += 1;
            open.by_peer.insert(peer, from_peer + 1);
            Some(Seat {
                shared: Arc::clone(shared),
                peer,
            })
        })
    }
}

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut Open) -> T) -> T {
        work(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.with(|open| {
            open.all -= 1;
            match open.by_peer.get_mut(&self.peer) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(open.by_peer.remove(&self.peer)),
            }
        });
    }
}

impl<S> Accept<TcpStream, S> for Door {
    type Stream = Guest;
    type Service = S;
    type Future = Ready<io::Result<(Guest, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let seat = stream.peer_addr().map(|peer| self.seat(peer));
        ready(match seat {
            Ok(Some(seat)) => {
                // Answers are small and wait for nothing; without it they are only slower.
                let _unimportant = stream.set_nodelay(true);
                Ok((
                    Guest {
                        stream,
                        _seat: seat,
                    },
                    service,
                ))
            }
            Ok(None) => Err(io::Error::other("too many connections")),
            Err(error) => Err(error),
        })
    }
}

impl AsyncRead for Guest {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 1000))
    }

    #[test]
    fn seats_are_bounded_in_all_and_by_peer_and_come_free_again() {
        let door = Door::new(3, 2);
        let first = door.seat(peer(1));
        let second = door.seat(peer(1));
        assert!(first.is_some() && second.is_some());
        assert!(door.seat(peer(1)).is_none());
        let third = door.seat(peer(2));
        assert!(third.is_some());
        assert!(door.seat(peer(3)).is_none());
        assert_eq!(door.open(), 3);
        drop(first);
        assert!(door.seat(peer(3)).is_some());
        drop((second, third));
        assert_eq!(door.open(), 0);
        assert!(door.0.with(|open| open.by_peer.is_empty()));
    }
}
