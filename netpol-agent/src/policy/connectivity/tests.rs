//! What is listed is what the plain evaluator allows some pods, neither more nor less.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_common::words::Protocol;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::policy::evaluate::random::{
    PORTS, addresses, any_policies, any_reading, any_world, world_of,
};
use crate::policy::evaluate::{Connection, End, Evaluator};

type Asked = BTreeSet<(Party, Party, Protocol, u16)>;

/// Everybody as the plain evaluator knows them, each at each of their addresses.
fn everybody(world: &World) -> Vec<(Option<WorkloadName>, End<'_>, IpAddr)> {
    let pods = world.pods().flat_map(|(id, member)| {
        let own = world.addresses_of(id).into_iter();
        own.map(|address| {
            (
                Some(member.workload.clone()),
                End::Pod(&member.pod),
                address,
            )
        })
    });
    let outside = addresses()
        .into_iter()
        .filter(|address| !address.is_unspecified());
    pods.chain(outside.map(|address| (None, End::Outside, address)))
        .collect()
}

/// What the plain evaluator allows, an address standing for the block that is listed with it.
fn expected(world: &World, policies: &[NetworkPolicy], reading: Reading) -> Asked {
    let evaluator = Evaluator {
        namespaces: world.namespaces(),
        policies,
        reading,
    };
    let everybody = everybody(world);
    let party = |workload: &Option<WorkloadName>, address: IpAddr| match workload {
        Some(name) => Party::Workload(name.clone()),
        None => Party::Block(address.into()),
    };
    let mut expected = Asked::new();
    for (from, client, client_address) in &everybody {
        for (to, server, server_address) in &everybody {
            let apart = client_address.is_ipv4() != server_address.is_ipv4();
            if from == to || (apart && from.is_some() && to.is_some()) {
                continue;
            }
            for (protocol, port) in Protocol::ALL
                .into_iter()
                .flat_map(|protocol| PORTS.map(|port| (protocol, port)))
            {
                let verdict = evaluator.verdict(&Connection {
                    client: *client,
                    client_address: *client_address,
                    server: *server,
                    server_address: *server_address,
                    protocol,
                    port,
                });
                if verdict.allowed() {
                    expected.insert((
                        party(from, *client_address),
                        party(to, *server_address),
                        protocol,
                        port,
                    ));
                }
            }
        }
    }
    expected
}

/// What is listed, each block broken into the addresses that were asked for.
fn listed(connectivity: &Connectivity, six: bool) -> Asked {
    let parties = |party: &Party| -> Vec<Party> {
        match party {
            Party::Workload(_) => vec![party.clone()],
            Party::Block(net) => {
                let asked = addresses()
                    .into_iter()
                    .filter(|address| !address.is_unspecified());
                let within = asked.filter(|address| net.contains(address));
                within
                    .filter(|address| six || address.is_ipv4())
                    .map(|address| Party::Block(address.into()))
                    .collect()
            }
        }
    };
    let mut listed = Asked::new();
    for entry in connectivity.entries() {
        for from in parties(entry.from) {
            for to in parties(entry.to) {
                for (protocol, port) in Protocol::ALL
                    .into_iter()
                    .flat_map(|protocol| PORTS.map(|port| (protocol, port)))
                {
                    if entry.ports.contains(protocol, port) {
                        let new = listed.insert((from.clone(), to.clone(), protocol, port));
                        assert!(new, "{from} -> {to} is listed twice");
                    }
                }
            }
        }
    }
    listed
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_listed_is_what_is_allowed(world in any_world(), policies in any_policies(), reading in any_reading()) {
        let connectivity = connectivity(&world, &policies, reading);
        let used = world.families().iter().any(|family| family.is_ipv6());
        let six = used || connectivity.entries().any(|entry| {
            [entry.from, entry.to].iter().any(|party| matches!(party, Party::Block(IpNet::V6(_))))
        });
        let mut expected = expected(&world, &policies, reading);
        if !six {
            expected.retain(|(from, to, ..)| {
                let is_v6 = |party: &Party| matches!(party, Party::Block(IpNet::V6(_)));
                !is_v6(from) && !is_v6(to)
            });
        }
        let listed = listed(&connectivity, six);
        prop_assert_eq!(listed.difference(&expected).next(), None, "listed and not allowed");
        prop_assert_eq!(expected.difference(&listed).next(), None, "allowed and not listed");
    }

    #[test]
    fn entries_are_in_order_and_say_something(world in any_world(), policies in any_policies()) {
        let connectivity = connectivity(&world, &policies, Reading::default());
        let keys: Vec<_> = connectivity.entries().map(|entry| (entry.from.clone(), entry.to.clone())).collect();
        prop_assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", keys);
        for entry in connectivity.entries() {
            prop_assert!(!entry.ports.is_empty() && entry.from != entry.to);
        }
    }
}

/// Nothing isolates a pod from its own node, and where that is asked for, nothing keeps it from its own node.
#[test]
fn pods_on_the_network_of_a_servers_node_are_its_node() {
    let world = world_of(json!([
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "a", "name": "agent"},
            "spec": {"nodeName": "one", "hostNetwork": true}, "status": {"podIP": "192.0.2.1"},
        },
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "a", "name": "db"},
            "spec": {"nodeName": "one"}, "status": {"podIP": "10.0.0.1"},
        },
    ]));
    let policy = json!({
        "metadata": {"namespace": "a", "name": "deny"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
    });
    let policies: [NetworkPolicy; 1] = [serde_json::from_value(policy).unwrap()];
    let listed = |own_node_both_ways| {
        let reading = Reading {
            own_node_both_ways,
            ..Reading::default()
        };
        let connectivity = connectivity(&world, &policies, reading);
        let workloads = connectivity.entries().filter(|entry| {
            [entry.from, entry.to]
                .iter()
                .all(|party| matches!(party, Party::Workload(_)))
        });
        let named = workloads.map(|entry| (entry.from.to_string(), entry.to.to_string()));
        named.collect::<Vec<_>>()
    };
    let (agent, db) = ("a/Pod/agent".to_owned(), "a/Pod/db".to_owned());
    assert_eq!(listed(false), [(agent.clone(), db.clone())]);
    assert_eq!(listed(true), [(agent.clone(), db.clone()), (db, agent)]);
}
