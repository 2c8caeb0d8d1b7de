//! The watch: a scan first, then events, and a scan again whenever the kernel had to drop events.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use tracing::{debug, warn};

use super::{Link, LinkEvent, scan};
use crate::node::netlink::{NetlinkError, split};

/// How a watch is set up.
#[derive(Clone, Copy, Debug, Default)]
pub struct WatchOptions {
    /// The size of the socket's receive buffer in bytes; the system's default if absent. When it overflows, the
    /// watch scans.
    pub receive_buffer: Option<usize>,
}

/// Why the interfaces cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The subscription failed.
    #[error("cannot watch network interfaces: {0}")]
    Subscribe(io::Error),
    /// Events cannot be read any more.
    #[error("cannot read events of network interfaces: {0}")]
    Receive(io::Error),
    /// The scan failed.
    #[error("cannot list network interfaces: {0}")]
    Scan(#[from] NetlinkError),
}

/// A watch on the interfaces of the network namespace in which it was made. It must be polled by a thread that is
/// in that namespace: scans open sockets of their own.
pub struct LinkWatcher {
    socket: TokioSocket,
    known: Known,
    ready: VecDeque<LinkEvent>,
    started: bool,
}

/// The interfaces as the receiver of the events knows them.
#[derive(Debug, Default)]
struct Known(BTreeMap<u32, Link>);

impl LinkWatcher {
    /// Subscribes in the calling thread's network namespace, within a tokio runtime. The first event is a
    /// [`LinkEvent::Resync`].
    ///
    /// # Errors
    ///
    /// [`LinkError::Subscribe`].
    pub fn new(options: WatchOptions) -> Result<Self, LinkError> {
        let subscribe = || {
            let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
            if let Some(size) = options.receive_buffer {
                socket.socket_ref().set_rx_buf_sz(size as libc::c_int)?;
            }
            socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
            socket.socket_mut().add_membership(libc::RTNLGRP_LINK)?;
            Ok(socket)
        };
        Ok(Self {
            socket: subscribe().map_err(LinkError::Subscribe)?,
            known: Known::default(),
            ready: VecDeque::new(),
            started: false,
        })
    }

    /// The next event. Nothing is lost if the future is dropped before it is done.
    ///
    /// # Errors
    ///
    /// [`LinkError`] when neither events nor a scan can be had; the next call tries again.
    pub async fn next(&mut self) -> Result<LinkEvent, LinkError> {
        loop {
            if !self.started {
                self.resync()?;
            }
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            match self.socket.recv_from_full().await {
                Ok((bytes, _)) => self.take(&bytes),
                Err(error) => self.missed(error)?,
            }
        }
    }

    /// Takes note that events could not be read: whatever the reason, some may be missing, and only a scan tells.
    fn missed(&mut self, error: io::Error) -> Result<(), LinkError> {
        self.started = false;
        if error.raw_os_error() == Some(libc::ENOBUFS) {
            warn!("interface events were lost; scanning all interfaces");
            return Ok(());
        }
        Err(LinkError::Receive(error))
    }

    /// Scans, after throwing away what is queued: behind a gap, an event may be of an interface whose removal was
    /// dropped. What is queued from here on is newer than the gap and harmless to repeat.
    fn resync(&mut self) -> Result<(), LinkError> {
        self.drain()?;
        self.ready.extend(self.known.resync(scan()?));
        self.started = true;
        Ok(())
    }

    fn drain(&self) -> Result<(), LinkError> {
        let mut bytes = Vec::with_capacity(1 << 16);
        loop {
            bytes.clear();
            let Err(error) = self.socket.socket_ref().recv(&mut bytes, 0) else {
                continue;
            };
            match error.raw_os_error() {
                Some(libc::EAGAIN) => return Ok(()),
                Some(libc::ENOBUFS | libc::EINTR) => {}
                _ => return Err(LinkError::Receive(error)),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        for message in split(bytes) {
            let read = message.and_then(NetlinkMessage::<RouteNetlinkMessage>::deserialize);
            match read.map(|message| message.payload) {
                Ok(NetlinkPayload::InnerMessage(message)) => {
                    self.ready.extend(self.known.message(message));
                }
                Ok(NetlinkPayload::Overrun(_)) => self.started = false,
                Ok(_) => {}
                Err(error) => {
                    debug!(%error, "unreadable interface event; scanning all interfaces");
                    self.started = false;
                }
            }
        }
    }
}

impl Known {
    fn message(&mut self, message: RouteNetlinkMessage) -> Vec<LinkEvent> {
        match message {
            RouteNetlinkMessage::NewLink(link) if is_plain(&link) => self.upsert(link.into()),
            RouteNetlinkMessage::DelLink(link) if is_plain(&link) => self.remove(link.header.index),
            _ => Vec::new(),
        }
    }

    fn upsert(&mut self, link: Link) -> Vec<LinkEvent> {
        let ifindex = link.ifindex;
        match self.0.insert(ifindex, link.clone()) {
            None => vec![LinkEvent::Added(link)],
            Some(old) if old.was_replaced_by(&link) => {
                vec![LinkEvent::Removed(ifindex), LinkEvent::Added(link)]
            }
            Some(old) if old.differs_from(&link) => vec![LinkEvent::Changed(link)],
            Some(_) => Vec::new(),
        }
    }

    fn remove(&mut self, ifindex: u32) -> Vec<LinkEvent> {
        let known = self.0.remove(&ifindex);
        known
            .map(|_| LinkEvent::Removed(ifindex))
            .into_iter()
            .collect()
    }

    /// Behind a gap, another hardware address is taken for another interface: the number of a namespace that is
    /// gone is given out again, and the pods' ends tend to have the same index everywhere.
    fn resync(&mut self, links: Vec<Link>) -> Vec<LinkEvent> {
        let now: BTreeMap<u32, Link> = links
            .iter()
            .map(|link| (link.ifindex, link.clone()))
            .collect();
        let old = std::mem::replace(&mut self.0, now);
        let replaced = links.iter().filter(|link| {
            old.get(&link.ifindex)
                .is_some_and(|old| old.was_replaced_by(link) || old.mac != link.mac)
        });
        let removed = replaced
            .map(|link| LinkEvent::Removed(link.ifindex))
            .collect::<Vec<_>>();
        removed
            .into_iter()
            .chain([LinkEvent::Resync(links)])
            .collect()
    }
}

/// Bridges tell of their ports in messages of the same types and another family; a port that leaves its bridge is
/// not gone.
fn is_plain(message: &LinkMessage) -> bool {
    message.header.interface_family == AddressFamily::Unspec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn events_that_could_not_be_read_make_it_scan_again() {
        let mut watcher = LinkWatcher::new(WatchOptions::default()).unwrap();
        for number in [libc::EIO, libc::ENOBUFS] {
            let event = watcher.next().await.unwrap();
            assert!(matches!(event, LinkEvent::Resync(_)), "{event:?}");
            let missed = watcher.missed(io::Error::from_raw_os_error(number));
            assert_eq!(missed.is_err(), number == libc::EIO);
        }
        let event = watcher.next().await.unwrap();
        assert!(matches!(event, LinkEvent::Resync(_)), "{event:?}");
    }

    fn veth(ifindex: u32, mac: u8, netnsid: Option<i32>) -> Link {
        Link {
            ifindex,
            name: format!("veth{ifindex}"),
            mac: Some([2, 0, 0, 0, 0, mac]),
            is_veth: true,
            peer_ifindex: Some(2),
            netnsid,
            ..Link::default()
        }
    }

    fn known(links: impl IntoIterator<Item = Link>) -> Known {
        Known(links.into_iter().map(|link| (link.ifindex, link)).collect())
    }

    #[test]
    fn an_interface_is_added_once_and_removed_once() {
        let mut known = Known::default();
        let link = veth(7, 1, Some(0));
        assert_eq!(known.upsert(link.clone()), [LinkEvent::Added(link.clone())]);
        assert_eq!(known.upsert(link), []);
        assert_eq!(known.remove(7), [LinkEvent::Removed(7)]);
        assert_eq!(known.remove(7), []);
    }

    #[test]
    fn packet_counts_alone_are_no_event() {
        let mut known = known([veth(7, 1, Some(0))]);
        let counted = Link {
            rx_packets: 9,
            ..veth(7, 1, Some(0))
        };
        assert_eq!(known.upsert(counted), []);
    }

    #[test]
    fn what_changes_in_place_is_the_same_interface() {
        let base = veth(7, 1, Some(0));
        let changes = [
            Link {
                name: "other".into(),
                ..base.clone()
            },
            Link {
                mac: Some([4; 6]),
                ..base.clone()
            },
            Link {
                master: Some(3),
                ..base.clone()
            },
        ];
        for change in changes {
            let mut known = known([base.clone()]);
            assert_eq!(known.upsert(change.clone()), [LinkEvent::Changed(change)]);
        }
    }

    #[test]
    fn the_other_end_may_become_known_later_but_not_change() {
        let unconnected = Link {
            peer_ifindex: None,
            netnsid: None,
            ..veth(7, 1, None)
        };
        let connected = veth(7, 1, Some(0));
        let mut table = known([unconnected]);
        assert_eq!(
            table.upsert(connected.clone()),
            [LinkEvent::Changed(connected)]
        );
        for other in [
            veth(7, 1, Some(1)),
            veth(7, 1, None),
            Link {
                peer_ifindex: Some(5),
                ..veth(7, 1, Some(0))
            },
            Link {
                is_veth: false,
                ..veth(7, 1, Some(0))
            },
        ] {
            let mut table = known([veth(7, 1, Some(0))]);
            let expected = [LinkEvent::Removed(7), LinkEvent::Added(other.clone())];
            assert_eq!(table.upsert(other), expected);
        }
    }

    #[test]
    fn a_scan_names_what_was_replaced_under_the_same_index() {
        let mut table = known([
            veth(7, 1, Some(0)),
            veth(8, 1, Some(1)),
            veth(9, 1, Some(2)),
        ]);
        let links = vec![veth(7, 1, Some(0)), veth(8, 2, Some(1))];
        let expected = [LinkEvent::Removed(8), LinkEvent::Resync(links.clone())];
        assert_eq!(table.resync(links), expected);
        assert_eq!(table.remove(9), []);
    }

    #[test]
    fn a_port_that_leaves_its_bridge_is_not_gone() {
        let mut table = known([veth(7, 1, Some(0))]);
        let mut message = LinkMessage::default();
        message.header.index = 7;
        message.header.interface_family = AddressFamily::Bridge;
        let left = RouteNetlinkMessage::DelLink(message.clone());
        assert_eq!(table.message(left), []);
        message.header.interface_family = AddressFamily::Unspec;
        let gone = RouteNetlinkMessage::DelLink(message);
        assert_eq!(table.message(gone), [LinkEvent::Removed(7)]);
    }
}
