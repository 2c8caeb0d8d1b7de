//! The compiled form gives the verdicts of the plain one.

use std::net::IpAddr;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_common::words::Protocol;
use proptest::prelude::*;
use serde_json::json;

use super::{Compiled, Place};
use crate::policy::evaluate::random::{
    PORTS, addresses, any_policies, any_reading, any_world, world_of,
};
use crate::policy::evaluate::{Connection, End, Evaluator, PortSet, Reading, Way, World};

/// Everything that can be at an end: what the plain evaluator calls it, and where the compiled one has it.
fn everybody<'a>(world: &'a World, compiled: &Compiled) -> Vec<(End<'a>, IpAddr, Place)> {
    let pods = world.pods().flat_map(|(id, member)| {
        let places = compiled.places(id).to_vec().into_iter();
        places.map(|(address, place)| (End::Pod(&member.pod), address, place))
    });
    let nodes = world.nodes().iter().flat_map(|(name, own)| {
        own.iter()
            .map(|address| (End::Node(name), *address, compiled.node(name, *address)))
    });
    let stranger = "198.51.100.9".parse().unwrap();
    let unknown = [(
        End::Node("unheard-of"),
        stranger,
        compiled.node("unheard-of", stranger),
    )];
    let outside = addresses()
        .into_iter()
        .map(|address| (End::Outside, address, compiled.outside(address)));
    pods.chain(nodes).chain(unknown).chain(outside).collect()
}

fn evaluator<'a>(
    world: &'a World,
    policies: &'a [NetworkPolicy],
    reading: Reading,
) -> Evaluator<'a> {
    Evaluator {
        namespaces: world.namespaces(),
        policies,
        reading,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    /// Whoever connects to whom, on whichever port: the same verdict, down to the rules that allow it.
    #[test]
    fn both_forms_agree(world in any_world(), policies in any_policies(), reading in any_reading(), turn in 0usize..100) {
        let compiled = Compiled::new(&world, &policies, reading);
        let plain = evaluator(&world, &policies, reading);
        let everybody = everybody(&world, &compiled);
        for (at, (client, client_address, from)) in everybody.iter().enumerate() {
            for (other, (server, server_address, to)) in everybody.iter().enumerate() {
                if matches!((client, server), (End::Outside, End::Outside)) {
                    continue;
                }
                let number = turn + at + other;
                let protocol = Protocol::ALL[number % 3];
                for port in [PORTS[number % PORTS.len()], PORTS[(number / 3) % PORTS.len()]] {
                    let verdict = plain.verdict(&Connection {
                        client: *client,
                        client_address: *client_address,
                        server: *server,
                        server_address: *server_address,
                        protocol,
                        port,
                    });
                    let asked = format!("{client:?} {client_address} -> {server:?} {server_address} {protocol} {port}");
                    prop_assert_eq!(&compiled.verdict(*from, *to, protocol, port), &verdict, "{}", &asked);
                    prop_assert_eq!(compiled.passes(*from, *to, protocol, port), verdict.allowed(), "{}", &asked);
                    prop_assert_eq!(compiled.isolated(Way::Egress, *from), verdict.egress.isolated, "{}", &asked);
                    prop_assert_eq!(compiled.isolated(Way::Ingress, *to), verdict.ingress.isolated, "{}", &asked);
                }
            }
        }
    }

    /// The sets of ports are those that the verdicts allow.
    #[test]
    fn sets_hold_what_is_allowed(world in any_world(), policies in any_policies(), reading in any_reading()) {
        let compiled = Compiled::new(&world, &policies, reading);
        let pods: Vec<Place> = world.pods().flat_map(|(id, _)| compiled.places(id)).map(|(_, place)| *place).collect();
        for from in &pods {
            for to in &pods {
                let allowed = compiled.allowed(*from, *to);
                for (protocol, port) in Protocol::ALL.into_iter().flat_map(|protocol| PORTS.map(|port| (protocol, port))) {
                    let verdict = compiled.verdict(*from, *to, protocol, port);
                    prop_assert_eq!(allowed.contains(protocol, port), verdict.allowed());
                    prop_assert_eq!(compiled.ports(Way::Egress, *from, *to).contains(protocol, port), verdict.egress.allowed);
                }
            }
        }
    }

    /// Blocks cover every address once, and treat it as it is treated by itself.
    #[test]
    fn blocks_cover_everything(world in any_world(), policies in any_policies(), reading in any_reading()) {
        let compiled = Compiled::new(&world, &policies, reading);
        for way in Way::ALL {
            let blocks = compiled.blocks(way, true);
            for address in addresses().into_iter().filter(|address| !address.is_unspecified()) {
                let holding: Vec<_> = blocks.iter().filter(|block| block.net.contains(&address)).collect();
                prop_assert_eq!(holding.len(), 1, "{} {:?}", address, blocks);
                let (block, alone) = (holding[0].place, compiled.outside(address));
                for (_, place) in world.pods().flat_map(|(id, _)| compiled.places(id)) {
                    let ports = |end: Place| -> PortSet {
                        let (client, server) = match way {
                            Way::Ingress => (end, *place),
                            Way::Egress => (*place, end),
                        };
                        compiled.allowed(client, server)
                    };
                    prop_assert_eq!(ports(block), ports(alone), "{} as of {}", address, holding[0].net);
                }
            }
        }
    }

    /// Two blocks that could be one are treated differently.
    #[test]
    fn blocks_are_as_large_as_can_be(world in any_world(), policies in any_policies()) {
        let compiled = Compiled::new(&world, &policies, Reading::default());
        for way in Way::ALL {
            for pair in compiled.blocks(way, true).windows(2) {
                let siblings = pair[0].net.supernet().filter(|_| pair[0].net.prefix_len() > 0);
                let siblings = siblings.is_some() && siblings == pair[1].net.supernet();
                let alike = world.pods().flat_map(|(id, _)| compiled.places(id)).all(|(_, place)| {
                    let ports = |end: Place| match way {
                        Way::Ingress => compiled.ports(way, end, *place).clone(),
                        Way::Egress => compiled.ports(way, *place, end).clone(),
                    };
                    ports(pair[0].place) == ports(pair[1].place)
                });
                prop_assert!(!(siblings && alike), "{} and {}", pair[0].net, pair[1].net);
            }
        }
    }
}

/// The API server takes no such policy, but one that is read from a file may be so.
#[test]
fn an_exception_beyond_its_block_changes_nothing() {
    let block = json!({"cidr": "10.0.0.0/29", "except": ["9.0.0.0/8", "10.0.1.0/24"]});
    let spec = json!({"podSelector": {}, "ingress": [{"from": [{"ipBlock": block}]}]});
    let policy = json!({"metadata": {"namespace": "a", "name": "p"}, "spec": spec});
    let policies: [NetworkPolicy; 1] = [serde_json::from_value(policy).unwrap()];
    let world = world_of(json!([{
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "a", "name": "db"}, "spec": {"nodeName": "one"},
        "status": {"podIP": "10.9.0.1"},
    }]));
    let compiled = Compiled::new(&world, &policies, Reading::default());
    let (id, _) = world.pods().next().expect("a pod");
    let (_, db) = compiled.places(id)[0];
    let reached = |address: &str| {
        let client = compiled.outside(address.parse().unwrap());
        compiled.passes(client, db, Protocol::Tcp, 80)
    };
    let within = ["10.0.0.0", "10.0.0.7"].map(reached);
    let beyond = ["9.255.255.255", "10.0.0.8", "10.0.0.255", "10.0.1.0"].map(reached);
    assert_eq!((within, beyond), ([true; 2], [false; 4]));
}
