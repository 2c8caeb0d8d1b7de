//! Facts from the kernel's tables: routes, bridges, neighbours, and addresses in other network namespaces.

use std::collections::BTreeMap;
use std::net::IpAddr;

use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;

use super::facts::{FdbEntry, HostRoute, Neighbour};
use crate::node::addresses;
use crate::node::netlink::{NetlinkError, Requests};

/// The kernel's tables as the calling thread's network namespace has them.
pub(super) struct Tables {
    requests: Requests,
}

impl Tables {
    pub(super) fn open() -> Result<Self, NetlinkError> {
        let requests = Requests::open(NETLINK_ROUTE)?;
        Ok(Self { requests })
    }

    /// Routes to single addresses of others, of every routing table. The kernel adds such routes to the host's own
    /// addresses on its ends of the pods' veths.
    pub(super) fn host_routes(&self) -> Result<Vec<HostRoute>, NetlinkError> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            let request = RouteNetlinkMessage::GetRoute(request);
            let answer = self.requests.ask(&request, NLM_F_DUMP)?;
            routes.extend(answer.iter().filter_map(host_route));
        }
        let own = addresses::of_node()?;
        routes.retain(|route| !own.contains(&route.address));
        routes.sort_unstable();
        routes.dedup();
        Ok(routes)
    }

    /// What bridges learned, and the neighbours of the host.
    pub(super) fn neighbours(&self) -> Result<(Vec<FdbEntry>, Vec<Neighbour>), NetlinkError> {
        let fdb = self.neighbour_dump(AddressFamily::Bridge)?;
        let mut fdb: Vec<FdbEntry> = fdb.iter().filter_map(fdb_entry).collect();
        let hosts = self.neighbour_dump(AddressFamily::Unspec)?;
        let mut hosts: Vec<Neighbour> = hosts.iter().filter_map(neighbour).collect();
        fdb.sort_unstable();
        hosts.sort_unstable();
        Ok((fdb, hosts))
    }

    fn neighbour_dump(&self, family: AddressFamily) -> Result<Vec<NeighbourMessage>, NetlinkError> {
        let mut request = NeighbourMessage::default();
        request.header.family = family;
        let request = RouteNetlinkMessage::GetNeighbour(request);
        let answer = self.requests.ask(&request, NLM_F_DUMP)?;
        let messages = answer.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewNeighbour(message) => Some(message),
            _ => None,
        });
        Ok(messages.collect())
    }
}

/// Addresses configured in other network namespaces, by number (`IFA_TARGET_NETNSID`, Linux 4.20).
pub(super) fn inner_addresses(
    numbers: impl IntoIterator<Item = i32>,
) -> Result<BTreeMap<i32, Vec<IpAddr>>, NetlinkError> {
    let requests = Requests::open(NETLINK_ROUTE)?.strict()?;
    let mut inner = BTreeMap::new();
    for number in numbers {
        let mut request = AddressMessage::default();
        request
            .attributes
            .push(AddressAttribute::TargetNetNsId(number));
        let request = RouteNetlinkMessage::GetAddress(request);
        // The namespace may be gone by now.
        let Ok(answer) = requests.ask(&request, NLM_F_DUMP) else {
            continue;
        };
        let found = answer.iter().filter_map(addresses::address);
        inner.insert(
            number,
            found.filter(|address| !address.is_loopback()).collect(),
        );
    }
    Ok(inner)
}

fn host_route(message: &RouteNetlinkMessage) -> Option<HostRoute> {
    let RouteNetlinkMessage::NewRoute(message) = message else {
        return None;
    };
    if message.header.kind != RouteType::Unicast {
        return None;
    }
    let address = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => {
                Some(IpAddr::from(*address))
            }
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => {
                Some(IpAddr::from(*address))
            }
            _ => None,
        })?;
    let ifindex = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Oif(ifindex) => Some(*ifindex),
            _ => None,
        })?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let single = message.header.destination_prefix_length == bits;
    single.then_some(HostRoute { address, ifindex })
}

/// A learned entry; a port's own hardware address is permanent.
fn fdb_entry(message: &NeighbourMessage) -> Option<FdbEntry> {
    let own = message.header.state == NeighbourState::Permanent
        || message.header.flags.contains(NeighbourFlags::Own);
    let entry = FdbEntry {
        ifindex: message.header.ifindex,
        mac: mac(message)?,
    };
    (!own).then_some(entry)
}

fn neighbour(message: &NeighbourMessage) -> Option<Neighbour> {
    let address = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(IpAddr::from(*ip)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some(IpAddr::from(*ip)),
            _ => None,
        })?;
    let neighbour = Neighbour {
        ifindex: message.header.ifindex,
        address,
        mac: mac(message)?,
    };
    use NeighbourState::{Delay, Permanent, Probe, Reachable, Stale};
    let known = [Reachable, Stale, Delay, Probe, Permanent];
    known.contains(&message.header.state).then_some(neighbour)
}

fn mac(message: &NeighbourMessage) -> Option<[u8; 6]> {
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => bytes.as_slice().try_into().ok(),
            _ => None,
        })
}
