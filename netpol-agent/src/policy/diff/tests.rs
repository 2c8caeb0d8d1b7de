//! The difference is that of what the plain evaluator says of pods before and after.

use std::collections::BTreeSet;

use netpol_common::words::Protocol;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::policy::evaluate::random::{
    PORTS, Shown, addresses, any_policies, any_reading, any_world, world_of,
};
use crate::policy::evaluate::{Connection, End, Evaluator, Pod};

type Asked = BTreeSet<(Party, Party, Protocol, u16)>;

/// A pod's twin, which another replica of its workload would be.
fn twin(pod: &Pod) -> Pod {
    let mut twin = pod.clone();
    twin.name.name.push_str("-twin");
    twin
}

/// What is denied before and allowed after.
fn gained(
    world: &World,
    before: &[NetworkPolicy],
    after: &[NetworkPolicy],
    reading: Reading,
) -> Asked {
    let pods: Vec<(Party, Pod, IpAddr)> = world
        .pods()
        .flat_map(|(id, member)| {
            let party = Party::Workload(member.workload.clone());
            world
                .addresses_of(id)
                .into_iter()
                .map(move |address| (party.clone(), member.pod.clone(), address))
        })
        .collect();
    let twins: Vec<(Party, Pod, IpAddr)> = pods
        .iter()
        .map(|(party, pod, address)| (party.clone(), twin(pod), *address))
        .collect();
    let outside: Vec<IpAddr> = addresses()
        .into_iter()
        .filter(|address| !address.is_unspecified())
        .collect();
    let clients = pods
        .iter()
        .map(|(party, pod, address)| (party.clone(), End::Pod(pod), *address));
    let servers = twins
        .iter()
        .map(|(party, pod, address)| (party.clone(), End::Pod(pod), *address));
    let stranger = |address: &IpAddr| (Party::Block((*address).into()), End::Outside, *address);
    let clients: Vec<_> = clients.chain(outside.iter().map(stranger)).collect();
    let servers: Vec<_> = servers.chain(outside.iter().map(stranger)).collect();
    let judge = |policies, connection: &Connection<'_>| {
        let evaluator = Evaluator {
            namespaces: world.namespaces(),
            policies,
            reading,
        };
        evaluator.verdict(connection).allowed()
    };
    let mut gained = Asked::new();
    for (from, client, client_address) in &clients {
        for (to, server, server_address) in &servers {
            let apart = client_address.is_ipv4() != server_address.is_ipv4();
            let strangers = [client, server].map(|end| *end == End::Outside);
            if strangers == [true, true] || (apart && strangers == [false, false]) {
                continue;
            }
            for (protocol, port) in Protocol::ALL
                .into_iter()
                .flat_map(|protocol| PORTS.map(|port| (protocol, port)))
            {
                let connection = Connection {
                    client: *client,
                    client_address: *client_address,
                    server: *server,
                    server_address: *server_address,
                    protocol,
                    port,
                };
                if !judge(before, &connection) && judge(after, &connection) {
                    gained.insert((from.clone(), to.clone(), protocol, port));
                }
            }
        }
    }
    gained
}

/// What is listed, each block broken into the addresses that were asked for.
fn listed(changes: &[Change]) -> Asked {
    let parties = |party: &Party| -> Vec<Party> {
        let Party::Block(net) = party else {
            return vec![party.clone()];
        };
        let asked = addresses()
            .into_iter()
            .filter(|address| !address.is_unspecified() && net.contains(address));
        asked.map(|address| Party::Block(address.into())).collect()
    };
    let mut listed = Asked::new();
    for change in changes {
        for (from, to) in parties(&change.from).into_iter().flat_map(|from| {
            parties(&change.to)
                .into_iter()
                .map(move |to| (from.clone(), to))
        }) {
            for (protocol, port) in Protocol::ALL
                .into_iter()
                .flat_map(|protocol| PORTS.map(|port| (protocol, port)))
            {
                if change.ports.contains(protocol, port) {
                    assert!(
                        listed.insert((from.clone(), to.clone(), protocol, port)),
                        "listed twice"
                    );
                }
            }
        }
    }
    listed
}

/// Two sets of policies that have some in common.
fn any_two() -> impl Strategy<Value = (Shown<Vec<NetworkPolicy>>, Shown<Vec<NetworkPolicy>>)> {
    (any_policies(), any_policies(), 0usize..6).prop_map(|(before, other, kept)| {
        let kept = before.iter().take(kept).cloned();
        let after = kept.chain(other.0.into_iter().take(2)).collect();
        (before, Shown(after))
    })
}

/// Whether IPv6 is listed at all.
fn six(world: &World, policies: [&[NetworkPolicy]; 2], reading: Reading) -> bool {
    let names = |policies: &&[NetworkPolicy]| Compiled::new(world, policies, reading).names_v6();
    world.families().iter().any(IpAddr::is_ipv6) || policies.iter().any(names)
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_changes_is_listed_and_nothing_else(world in any_world(), (before, after) in any_two(), reading in any_reading()) {
        let difference = diff(&world, &before, &after, reading);
        let six = six(&world, [&before, &after], reading);
        let asked = |mut changes: Asked| {
            let v6 = |party: &Party| matches!(party, Party::Block(IpNet::V6(_)));
            changes.retain(|(from, to, ..)| six || !(v6(from) || v6(to)));
            changes
        };
        prop_assert_eq!(listed(&difference.allowed), asked(gained(&world, &before, &after, reading)));
        prop_assert_eq!(listed(&difference.denied), asked(gained(&world, &after, &before, reading)));
    }

    #[test]
    fn nothing_differs_from_itself(world in any_world(), policies in any_policies(), reading in any_reading()) {
        let mut turned = policies.clone();
        turned.reverse();
        prop_assert_eq!(diff(&world, &policies, &turned, reading), Difference::default());
    }

    /// Back again is the reverse.
    #[test]
    fn the_way_back_is_the_reverse(world in any_world(), (before, after) in any_two(), reading in any_reading()) {
        let (there, back) = (diff(&world, &before, &after, reading), diff(&world, &after, &before, reading));
        prop_assert_eq!(&there.allowed, &back.denied);
        prop_assert_eq!(&there.denied, &back.allowed);
        prop_assert_eq!(there.latent.len(), back.latent.len());
    }

    /// What is latent is listed at its end's verdict, and the other end's denies it before and after.
    #[test]
    fn latent_changes_change_one_end(world in any_world(), (before, after) in any_two()) {
        let reading = Reading::default();
        let [old, new] = [&before, &after].map(|policies| Compiled::new(&world, policies, reading));
        for latent in diff(&world, &before, &after, reading).latent {
            let (Party::Workload(from), Party::Workload(to)) = (&latent.change.from, &latent.change.to) else {
                return Err(TestCaseError::fail("an address has no say"));
            };
            let range = latent.change.ports.iter().next().unwrap();
            let mut places = Vec::new();
            for (client, server) in world.pods_of(from).flat_map(|client| world.pods_of(to).map(move |server| (client, server))) {
                for client in old.places(client).iter().zip(new.places(client)) {
                    places.extend(old.places(server).iter().zip(new.places(server)).map(|server| (client, server)));
                }
            }
            let seen = |compiled: &Compiled, client: Place, server: Place, way: Way| {
                compiled.ports(way, client.kind(), server.kind()).contains(range.protocol, range.first)
            };
            let changes = places.into_iter().any(|((a, b), (c, d))| {
                let first = seen(&old, a.1, c.1, latent.way);
                let second = seen(&new, b.1, d.1, latent.way);
                let passes = [
                    old.allowed(a.1.kind(), c.1.kind()).contains(range.protocol, range.first),
                    new.allowed(b.1.kind(), d.1.kind()).contains(range.protocol, range.first),
                ];
                first != second && second == latent.allows && passes == [false, false]
            });
            prop_assert!(changes, "{:?}", latent);
        }
    }
}

fn pod(name: &str, node: &str, address: &str, workload: Option<&str>) -> Value {
    let own = workload.is_some_and(|workload| workload == "agent");
    let owners = workload.map(|workload| json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": workload, "uid": workload}]));
    let labels = json!({"app": workload.unwrap_or(name)});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "a", "name": name, "labels": labels, "ownerReferences": owners.unwrap_or(json!([]))},
        "spec": {"nodeName": node, "hostNetwork": own}, "status": {"podIP": address},
    })
}

/// A policy that isolates the pods of `db` against all but some.
fn ingress_of_db(rules: &Value) -> NetworkPolicy {
    let selector = json!({"matchLabels": {"app": "db"}});
    let spec = json!({"podSelector": selector, "policyTypes": ["Ingress"], "ingress": rules});
    let metadata = json!({"namespace": "a", "name": "db"});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

fn between(changes: &[Change]) -> Vec<(String, String)> {
    let each = changes.iter();
    each.map(|change| (change.from.to_string(), change.to.to_string()))
        .collect()
}

/// What no policy can deny does not change; but as soon as one of the pods is on another node, something does.
#[test]
fn pods_on_the_network_of_their_only_servers_node_lose_nothing() {
    let lost = |agents: &[&str], servers: &[&str]| {
        let number = |node: &str| if node == "one" { 1 } else { 2 };
        let agents = agents.iter().map(|node| {
            let address = format!("192.0.2.{}", number(node));
            pod(&format!("agent-{node}"), node, &address, Some("agent"))
        });
        let servers = servers.iter().map(|node| {
            let address = format!("10.0.0.{}", number(node));
            pod(&format!("db-{node}"), node, &address, Some("db"))
        });
        let world = world_of(agents.chain(servers).collect());
        let difference = diff(
            &world,
            &[],
            &[ingress_of_db(&json!([]))],
            Reading::default(),
        );
        let agents = ("a/DaemonSet/agent".to_owned(), "a/DaemonSet/db".to_owned());
        between(&difference.denied).contains(&agents)
    };
    assert!(!lost(&["one"], &["one"]));
    assert!(lost(&["one"], &["one", "two"]));
    assert!(lost(&["one", "two"], &["one"]));
    assert!(lost(&["one", "two"], &["one", "two"]));
    assert!(lost(&["one"], &["two"]));
}

#[test]
fn a_pod_without_an_owner_is_compared_with_all_but_itself() {
    let bare = |name, last| pod(name, "one", &format!("10.0.0.{last}"), None);
    let world = world_of(json!([bare("db", 1), bare("web", 2)]));
    let after = [ingress_of_db(
        &json!([{"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]),
    )];
    let reading = Reading {
        blocks_match_pods: false,
        ..Reading::default()
    };
    let denied = between(&diff(&world, &[], &after, reading).denied);
    assert_eq!(denied, [("a/Pod/web".to_owned(), "a/Pod/db".to_owned())]);
}

/// IPv6 is listed if either set of policies names it, or if any pod uses it.
#[test]
fn addresses_of_either_family_are_listed_where_anybody_names_them() {
    let with = |address| world_of(json!([pod("db", "one", address, None)]));
    let six = ingress_of_db(&json!([{"from": [{"ipBlock": {"cidr": "fd00::/8"}}]}]));
    let none = ingress_of_db(&json!([]));
    let allowed = |address, before: &NetworkPolicy, after: &[NetworkPolicy]| {
        let before = std::slice::from_ref(before);
        let difference = diff(&with(address), before, after, Reading::default());
        let changes = between(&difference.allowed).into_iter();
        changes.map(|(from, _)| from).collect::<Vec<_>>()
    };
    let after = [none.clone(), six];
    assert_eq!(allowed("10.0.0.1", &none, &after), ["fd00::/8"]);
    assert_eq!(allowed("10.0.0.1", &none, &[]), ["0.0.0.0/0"]);
    assert_eq!(allowed("fd00::1", &none, &[]), ["0.0.0.0/0", "::/0"]);
}
