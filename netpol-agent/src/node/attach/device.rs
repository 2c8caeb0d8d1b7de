//! Telling an interface from another that took its ifindex.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use nix::errno::Errno;

use super::error::{AttachError, refused};
use crate::node::netlink::Requests;

/// What differs between two interfaces that bear the same ifindex one after the other.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Device {
    name: String,
    address: Vec<u8>,
    peer: u32,
}

impl Device {
    /// The interface `ifindex`; `None` if there is none.
    pub(super) fn of(requests: &Requests, ifindex: u32) -> Result<Option<Self>, AttachError> {
        let mut message = LinkMessage::default();
        message.header.index = ifindex;
        let request = RouteNetlinkMessage::GetLink(message);
        match requests.ask(&request, 0) {
            Ok(answers) => Ok(answers.iter().find_map(Self::read)),
            Err(error) if refused(&error) == Some(Errno::ENODEV) => Ok(None),
            Err(source) => Err(AttachError::List {
                what: "an interface",
                source,
            }),
        }
    }

    fn read(answer: &RouteNetlinkMessage) -> Option<Self> {
        let RouteNetlinkMessage::NewLink(message) = answer else {
            return None;
        };
        let mut device = Self::default();
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => device.name.clone_from(name),
                LinkAttribute::Address(address) => device.address.clone_from(address),
                LinkAttribute::Link(peer) => device.peer = *peer,
                _ => {}
            }
        }
        Some(device)
    }
}
