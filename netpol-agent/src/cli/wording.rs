//! Ports and addresses in words, the shorter way: what they are, or what they are not.

use ipnet::IpNet;

use crate::policy::evaluate::PortSet;

/// `TCP 80,443`, or `all ports but TCP 25`.
pub(super) fn ports(ports: &PortSet) -> String {
    let rest = PortSet::all().difference(ports);
    if rest.is_empty() || rest.iter().count() >= ports.iter().count() {
        return ports.to_string();
    }
    format!("all ports but {rest}")
}

/// `10.0.0.0/8, fd00::/8`, or `0.0.0.0/0 but 10.0.0.0/8`, each family by itself.
pub(super) fn addresses(nets: &[IpNet]) -> String {
    let (v4, v6): (Vec<IpNet>, Vec<IpNet>) = nets.iter().partition(|net| net.addr().is_ipv4());
    let families = [v4, v6].into_iter().filter(|nets| !nets.is_empty());
    families
        .map(|nets| family(&nets))
        .collect::<Vec<_>>()
        .join(", ")
}

fn family(nets: &[IpNet]) -> String {
    let nets = IpNet::aggregate(&nets.to_vec());
    let rest = rest(&nets);
    if rest.is_empty() || rest.len() >= nets.len() {
        return list(&nets);
    }
    let whole = if nets[0].addr().is_ipv4() {
        "0.0.0.0/0"
    } else {
        "::/0"
    };
    format!("{whole} but {}", list(&rest))
}

fn list(nets: &[IpNet]) -> String {
    nets.iter()
        .map(IpNet::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// What is left of a family without some blocks: wherever a block lies, its siblings on the way down to it.
fn rest(nets: &[IpNet]) -> Vec<IpNet> {
    let mut rest: Vec<IpNet> = Vec::new();
    for net in nets {
        let Some(whole) = IpNet::new(net.addr(), 0).ok().map(|whole| whole.trunc()) else {
            continue;
        };
        if rest.is_empty() && *net == nets[0] {
            rest.push(whole);
        }
        rest = rest
            .into_iter()
            .flat_map(|left| without(left, *net))
            .collect();
    }
    IpNet::aggregate(&rest)
}

/// A block less another that lies in it or apart from it.
fn without(net: IpNet, hole: IpNet) -> Vec<IpNet> {
    if !net.contains(&hole) {
        return if hole.contains(&net) {
            Vec::new()
        } else {
            vec![net]
        };
    }
    let mut left = Vec::new();
    let mut around = net;
    while around.prefix_len() < hole.prefix_len() {
        let Ok(halves) = around.subnets(around.prefix_len() + 1) else {
            break;
        };
        for half in halves {
            if half.contains(&hole) {
                around = half;
            } else {
                left.push(half);
            }
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use netpol_common::words::Protocol;
    use proptest::prelude::*;

    use super::*;
    use crate::policy::evaluate::PortRange;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn addresses_are_told_the_shorter_way() {
        let cases = [
            (&["10.0.0.0/8"][..], "10.0.0.0/8"),
            (&["0.0.0.0/0", "::/0"], "0.0.0.0/0, ::/0"),
            (&["10.0.0.0/9", "10.128.0.0/9"], "10.0.0.0/8"),
            (
                &[
                    "0.0.0.0/5",
                    "8.0.0.0/7",
                    "11.0.0.0/8",
                    "12.0.0.0/6",
                    "16.0.0.0/4",
                    "32.0.0.0/3",
                    "64.0.0.0/2",
                    "128.0.0.0/1",
                ],
                "0.0.0.0/0 but 10.0.0.0/8",
            ),
            (&["8000::/1", "fe80::/10"], "8000::/1"),
        ];
        for (given, expected) in cases {
            assert_eq!(addresses(&nets(given)), expected);
        }
    }

    #[test]
    fn ports_are_told_the_shorter_way() {
        let one = PortSet::from(PortRange::one(Protocol::Tcp, 25));
        assert_eq!(ports(&one), "TCP 25");
        assert_eq!(
            ports(&PortSet::all().difference(&one)),
            "all ports but TCP 25"
        );
        assert_eq!(ports(&PortSet::all()), "all ports");
    }

    proptest! {
        /// What blocks are and what they are not is everything, once.
        #[test]
        fn the_rest_is_the_rest(blocks in prop::collection::vec((any::<u32>(), 0u8..=12), 1..6), address in any::<u32>()) {
            let nets: Vec<IpNet> = blocks.iter().map(|(bits, length)| IpNet::new(std::net::Ipv4Addr::from_bits(*bits).into(), *length).unwrap().trunc()).collect();
            let nets = IpNet::aggregate(&nets);
            let address = std::net::IpAddr::from(std::net::Ipv4Addr::from_bits(address));
            let within = |nets: &[IpNet]| nets.iter().filter(|net| net.contains(&address)).count();
            prop_assert_eq!(within(&nets) + within(&rest(&nets)), 1);
        }
    }
}
