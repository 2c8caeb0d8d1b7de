//! Network interfaces of the calling thread's network namespace, and what happens to them.

mod watcher;

use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;

use super::netlink::{NetlinkError, Requests};

pub use watcher::{LinkError, LinkWatcher, WatchOptions};

/// A network interface.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Link {
    /// Its index, unique in its network namespace as long as it lives.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address, if it has one of six bytes.
    pub mac: Option<[u8; 6]>,
    /// Whether it is one end of a veth pair.
    pub is_veth: bool,
    /// `IFLA_LINK`: the index of a veth's other end, in that end's namespace.
    pub peer_ifindex: Option<u32>,
    /// `IFLA_LINK_NETNSID`: this namespace's number for the other end's namespace, if that is another one.
    pub netnsid: Option<i32>,
    /// The bridge or other device that it is a port of.
    pub master: Option<u32>,
    /// Packets received from the other end: on a pod's veth, those that the pod sent.
    pub rx_packets: u64,
    /// Packets sent to the other end: on a pod's veth, those towards the pod.
    pub tx_packets: u64,
}

/// What happened to the interfaces.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LinkEvent {
    /// Every interface there is, after a full scan: at the start, and whenever events were lost. An interface that
    /// is absent is gone; one that took an index over was [`LinkEvent::Removed`] just before.
    Resync(Vec<Link>),
    /// A new interface.
    Added(Link),
    /// An interface has another name, hardware address or master, and is the same one still.
    Changed(Link),
    /// The interface of that index is gone.
    Removed(u32),
}

impl Link {
    /// Whether a pod may be behind it: a veth whose other end is in another network namespace.
    #[must_use]
    pub fn may_be_pods(&self) -> bool {
        self.is_veth && self.netnsid.is_some()
    }

    /// Whether `later`, seen under the same index, is another interface, judged by what does not change in place:
    /// the kind and, once known, the other end. A veth is announced before its other end is there.
    fn was_replaced_by(&self, later: &Self) -> bool {
        let peer_changed = self.peer_ifindex.is_some() && self.peer_ifindex != later.peer_ifindex;
        let netns_changed = self.netnsid.is_some() && self.netnsid != later.netnsid;
        self.is_veth != later.is_veth || peer_changed || netns_changed
    }

    /// Whether `other` differs in anything but its packet counts.
    fn differs_from(&self, other: &Self) -> bool {
        let counted = Self {
            rx_packets: other.rx_packets,
            tx_packets: other.tx_packets,
            ..self.clone()
        };
        counted != *other
    }
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let mut link = Self {
            ifindex: message.header.index,
            ..Self::default()
        };
        for attribute in message.attributes {
            link.take(attribute);
        }
        link
    }
}

impl Link {
    fn take(&mut self, attribute: LinkAttribute) {
        match attribute {
            LinkAttribute::IfName(name) => self.name = name,
            LinkAttribute::Address(bytes) => self.mac = bytes.try_into().ok(),
            LinkAttribute::Link(peer) => self.peer_ifindex = (peer != 0).then_some(peer),
            LinkAttribute::LinkNetNsId(id) => self.netnsid = (id >= 0).then_some(id),
            LinkAttribute::Controller(master) => self.master = (master != 0).then_some(master),
            LinkAttribute::LinkInfo(infos) => {
                self.is_veth = infos.contains(&LinkInfo::Kind(InfoKind::Veth));
            }
            LinkAttribute::Stats64(stats) => {
                self.rx_packets = stats.rx_packets;
                self.tx_packets = stats.tx_packets;
            }
            _ => {}
        }
    }
}

/// Every interface of the calling thread's network namespace, in the order of their indexes.
///
/// # Errors
///
/// Any [`NetlinkError`].
pub fn scan() -> Result<Vec<Link>, NetlinkError> {
    let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
    let answer = Requests::open(NETLINK_ROUTE)?.ask(&request, NLM_F_DUMP)?;
    let mut links: Vec<Link> = answer
        .into_iter()
        .filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(link.into()),
            _ => None,
        })
        .collect();
    links.sort_by_key(|link| link.ifindex);
    Ok(links)
}
