//! Nodes and the API server, which rules name by their addresses.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::small::{changed, cluster, deployment, egress, with};
use crate::identity::{EdgeId, Peer};
use crate::policy::model::PolicyPeer;
use crate::policy::options::Nodes;
use crate::policy::{Options, synthesise};

#[test]
fn an_address_of_a_node_and_of_the_api_server_is_written_once() {
    let mut cluster = cluster(&["web"]);
    let address = IpAddr::from([192, 0, 2, 1]);
    cluster.nodes = [("one".to_owned(), [address].into())].into();
    cluster.api_server = [address].into();
    let web = || Peer::Workload(deployment("web"));
    let to_node = EdgeId {
        port: 80,
        ..with(web(), Peer::Node("one".to_owned()))
    };
    let edges = [to_node, with(web(), Peer::ApiServer)];
    let proposal = synthesise(&changed(&edges, |_| {}), &cluster, &Options::default());
    let block = PolicyPeer::Block("192.0.2.1/32".parse().unwrap());
    let ports = vec!["TCP 80".to_owned(), "TCP 443".to_owned()];
    assert_eq!(egress(&proposal, "web"), Some(vec![(vec![block], ports)]));
}

#[test]
fn a_node_without_addresses_is_not_written_as_all_nodes() {
    let mut cluster = cluster(&["api", "web"]);
    let known = IpAddr::from([192, 0, 2, 1]);
    cluster.nodes = [
        ("known".to_owned(), [known].into()),
        ("lost".to_owned(), BTreeSet::new()),
    ]
    .into();
    let block: ipnet::IpNet = "192.0.2.0/24".parse().unwrap();
    let options = Options {
        nodes: Nodes::Given([block].into()),
        ..Options::default()
    };
    let peers = |node: &str| {
        let edges = [
            with(
                Peer::Workload(deployment("web")),
                Peer::Node(node.to_owned()),
            ),
            with(
                Peer::Workload(deployment("web")),
                Peer::Workload(deployment("api")),
            ),
        ];
        let proposal = synthesise(&changed(&edges, |_| {}), &cluster, &options);
        let rules = egress(&proposal, "web").expect("a policy").into_iter();
        rules.flat_map(|(peers, _)| peers).collect::<Vec<_>>()
    };
    let all = PolicyPeer::Block("192.0.2.0/24".parse().unwrap());
    assert!(peers("known").contains(&all));
    assert!(!peers("lost").contains(&all));
}
