//! The difference is that of what the plain evaluator says of pods before and after.

use std::collections::BTreeSet;

use netpol_common::words::Protocol;
use proptest::prelude::*;

use super::*;
use crate::policy::evaluate::random::{
    PORTS, Shown, addresses, any_policies, any_reading, any_world,
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
