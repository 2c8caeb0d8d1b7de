//! Whose an address on a pod's interface is.
//!
//! The kernel program counts whatever passes; an address that is not the pod's own is neither learned nor hidden.

use std::net::IpAddr;

use netpol_common::abi::Direction;

/// Whose the address on the pod's side of an edge is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Ownership {
    /// The pod's.
    Own,
    /// Somebody else's, used by the pod as a source: spoofed, or routed through the pod.
    Foreign,
    /// Somebody else's, addressed by others: flooded by a bridge.
    NotForPod,
    /// It cannot be told yet: no address of the pod is known. To be judged again.
    Undecided,
}

/// Judges `local`, the address on the pod's side of an edge, by the pod's `addresses`.
///
/// Unspecified addresses are nobody's. A link-local address is compared with the pod's link-local addresses only:
/// the API never tells them, so without one a source on the pod's own link is taken for the pod's. All others are
/// known together: a pod with an address of one family only has none of the other.
#[must_use]
pub fn judge(direction: Direction, local: IpAddr, addresses: &[IpAddr]) -> Ownership {
    let local = local.to_canonical();
    let mut alike = addresses
        .iter()
        .map(IpAddr::to_canonical)
        .filter(|address| comparable(*address, local))
        .peekable();
    if alike.peek().is_none() && !nobodys(local) {
        return unknown(direction, local);
    }
    if alike.any(|address| address == local) {
        return Ownership::Own;
    }
    match direction {
        Direction::Egress => Ownership::Foreign,
        Direction::Ingress => Ownership::NotForPod,
    }
}

/// Without an address to compare with.
fn unknown(direction: Direction, local: IpAddr) -> Ownership {
    match direction {
        Direction::Egress if is_link_local(local) => Ownership::Own,
        _ => Ownership::Undecided,
    }
}

fn comparable(known: IpAddr, local: IpAddr) -> bool {
    is_link_local(known) == is_link_local(local)
}

fn nobodys(address: IpAddr) -> bool {
    address.is_unspecified() || address.is_loopback()
}

/// RFC 3927 and RFC 4291, 2.5.6.
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Egress, Ingress};
    use Ownership::{Foreign, NotForPod, Own, Undecided};

    fn check(direction: Direction, local: &str, addresses: &[&str], expected: Ownership) {
        let parsed: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let actual = judge(direction, local.parse().unwrap(), &parsed);
        assert_eq!(actual, expected, "{direction:?} {local} of {addresses:?}");
    }

    #[test]
    fn addresses_are_judged_by_family_and_scope() {
        let dual: &[&str] = &["10.1.0.5", "fd00::5"];
        let with_link_local: &[&str] = &["10.1.0.5", "fe80::5"];
        for (direction, local, addresses, expected) in [
            (Egress, "10.1.0.5", dual, Own),
            (Ingress, "10.1.0.5", dual, Own),
            (Egress, "fd00::5", dual, Own),
            (Egress, "::ffff:10.1.0.5", dual, Own),
            (Egress, "10.1.0.6", dual, Foreign),
            (Ingress, "10.1.0.6", dual, NotForPod),
            (Egress, "fd00::6", dual, Foreign),
            (Ingress, "fd00::6", dual, NotForPod),
            (Egress, "10.1.0.5", &["fd00::5"], Foreign),
            (Ingress, "fd00::5", &["10.1.0.5"], NotForPod),
            (Egress, "10.1.0.5", &[], Undecided),
            (Egress, "fe80::5", dual, Own),
            (Ingress, "fe80::5", dual, Undecided),
            (Egress, "fe80::5", with_link_local, Own),
            (Egress, "fe80::6", with_link_local, Foreign),
            (Ingress, "fe80::6", with_link_local, NotForPod),
            (Egress, "fd00::5", &["fe80::5"], Undecided),
            (Egress, "169.254.7.7", dual, Own),
            (Egress, "0.0.0.0", &[], Foreign),
            (Egress, "::", dual, Foreign),
            (Egress, "127.0.0.1", dual, Foreign),
            (Ingress, "::1", &[], NotForPod),
        ] {
            check(direction, local, addresses, expected);
        }
    }
}
