//! The node's own addresses.

use std::net::IpAddr;

use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_sys::protocols::NETLINK_ROUTE;

use super::netlink::{NetlinkError, Requests};

/// Every address of every interface in the calling thread's network namespace, sorted: bridges, tunnels and
/// overlays too. Loopback addresses are left out, and link-local ones, which the node shares with anybody.
///
/// # Errors
///
/// Any [`NetlinkError`].
pub fn of_node() -> Result<Vec<IpAddr>, NetlinkError> {
    let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let answer = Requests::open(NETLINK_ROUTE)?.ask(&request, NLM_F_DUMP)?;
    let mut addresses: Vec<IpAddr> = answer
        .iter()
        .filter_map(address)
        .filter(is_global)
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

/// The address that a message is about. `IFA_LOCAL` is the interface's own where the other end has another one.
pub(super) fn address(message: &RouteNetlinkMessage) -> Option<IpAddr> {
    let RouteNetlinkMessage::NewAddress(message) = message else {
        return None;
    };
    let local = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Local(address) => Some(*address),
            _ => None,
        });
    let any = || {
        message
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            })
    };
    local.or_else(any)
}

fn is_global(address: &IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !address.is_loopback() && !link_local
}
