//! What of the cluster lies inside blocks that stand for something else.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::policy::cluster::Cluster;
use crate::policy::options::Options;
use crate::policy::outside::Outside;
use crate::policy::widening::{Block, Within};
use crate::policy::writer::Writer;

/// What of the cluster lies inside blocks, if anything does; nodes only where the blocks are not meant for them.
pub(super) fn within(
    writer: &Writer<'_>,
    options: &Options,
    blocks: &BTreeSet<Block>,
    for_nodes: bool,
) -> Option<Box<Within>> {
    let cluster = writer.cluster;
    let outside = writer.outsides.of(cluster, options);
    outside.within(blocks, for_nodes, || {
        let within = found(cluster, &outside, blocks, for_nodes);
        (!within.is_empty()).then(|| Box::new(within))
    })
}

fn found(
    cluster: &Cluster,
    outside: &Outside,
    blocks: &BTreeSet<Block>,
    for_nodes: bool,
) -> Within {
    let holds = |address: &IpAddr| {
        let address = address.to_canonical();
        blocks.iter().any(|block| block.contains(address))
    };
    let nodes = cluster.nodes.iter().filter(|_| !for_nodes);
    let nodes = nodes.filter(|(_, addresses)| addresses.iter().any(holds));
    let services = cluster.services.iter();
    let services = services.filter(|service| service.cluster_ips.iter().any(holds));
    let pods = blocks.iter().map(|block| cluster.pods_in(&block.block));
    let ranges = match for_nodes {
        true => outside.ranges(),
        false => outside.known(),
    };
    let ranges = blocks.iter().map(|block| ranges.at(&block.block));
    Within {
        ranges: ranges.flatten().copied().collect(),
        workloads: pods.flatten().cloned().collect(),
        nodes: nodes.map(|(name, _)| name.clone()).collect(),
        services: services.map(|service| service.name.clone()).collect(),
        api_server: strange(cluster).any(holds),
    }
}

/// The addresses of the API server that are no node's.
fn strange(cluster: &Cluster) -> impl Iterator<Item = &IpAddr> {
    let of_node = |address: &IpAddr| cluster.nodes.values().any(|own| own.contains(address));
    (cluster.api_server.iter()).filter(move |address| !of_node(address))
}

#[cfg(test)]
mod tests {
    use ipnet::IpNet;

    use super::*;
    use crate::policy::options::OptionsFor;
    use crate::policy::outside::Outsides;
    use crate::policy::widen::plain;

    #[test]
    fn a_range_that_holds_nodes_is_named_unless_the_blocks_are_meant_for_nodes() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let options = Options {
            cluster_ranges: [net("10.0.0.0/8"), net("10.1.0.0/16")].into(),
            ..Options::default()
        };
        let cluster = Cluster {
            nodes: [("one".to_owned(), ["10.0.0.1".parse().unwrap()].into())].into(),
            ..Cluster::default()
        };
        let outsides = Outsides::new(&OptionsFor::from(options.clone()));
        let outside = outsides.of(&cluster, &options);
        let named = |for_nodes: bool| {
            let blocks = plain([net("10.0.0.0/12")]);
            let ranges = found(&cluster, &outside, &blocks, for_nodes).ranges;
            ranges
                .first
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(named(false), ["10.0.0.0/8"]);
        assert_eq!(named(true), ["10.1.0.0/16"]);
    }
}
