//! Each case, judged by the evaluator in both its forms and by all that is listed as allowed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_agent::inventory;
use netpol_agent::policy::connectivity::{Party, connectivity};
use netpol_agent::policy::evaluate::{Compiled, Connection, End, Evaluator, Place, World};
use netpol_common::names::{ObjectName, WorkloadName};

use crate::case::{self, Asked, Case, Who};

/// The clusters of the cases, by their names.
fn worlds(cases: &[Case]) -> BTreeMap<&'static str, World> {
    let clusters: BTreeMap<_, _> = cases.iter().map(Case::cluster).collect();
    let world = |(name, text)| {
        let inventory = inventory::parse(name, text).expect(name);
        (name, World::of(&inventory.index()))
    };
    clusters.into_iter().map(world).collect()
}

fn policies(case: &Case) -> Vec<NetworkPolicy> {
    let read = inventory::parse("policies.json", &case.manifest());
    let read = read.unwrap_or_else(|error| panic!("{}: {error}", case.name()));
    read.policies.into_iter().map(|each| each.policy).collect()
}

/// An end as the evaluator takes it, and its address.
fn end<'w>(world: &'w World, who: &'w Who) -> (End<'w>, IpAddr) {
    let of_family = |addresses: Vec<IpAddr>, v6: bool| {
        let mut addresses = addresses.into_iter();
        addresses
            .find(|address| address.is_ipv6() == v6)
            .expect("an address of each family")
    };
    match who {
        Who::Outside(address) => (End::Outside, *address),
        Who::Node { name, v6 } => {
            let addresses = world.nodes()[name].iter().copied().collect();
            (End::Node(name), of_family(addresses, *v6))
        }
        Who::Pod {
            namespace,
            name,
            v6,
        } => {
            let id = world.named(&ObjectName::new(namespace, name)).expect(name);
            let member = world.pod(id);
            (
                End::Pod(&member.pod),
                of_family(member.addresses.clone(), *v6),
            )
        }
    }
}

fn plain(world: &World, policies: &[NetworkPolicy], case: &Case, asked: &Asked) -> bool {
    let evaluator = Evaluator {
        namespaces: world.namespaces(),
        policies,
        reading: case.reading(),
    };
    let (client, client_address) = end(world, &asked.client);
    let (server, server_address) = end(world, &asked.server);
    let connection = Connection {
        client,
        client_address,
        server,
        server_address,
        protocol: asked.protocol,
        port: asked.port,
    };
    evaluator.verdict(&connection).allowed()
}

/// An end as the compiled evaluator takes it.
fn place(world: &World, compiled: &Compiled, who: &Who) -> Place {
    match (who, end(world, who).1) {
        (Who::Outside(_), address) => compiled.outside(address),
        (Who::Node { name, .. }, address) => compiled.node(name, address),
        (
            Who::Pod {
                namespace, name, ..
            },
            address,
        ) => {
            let id = world.named(&ObjectName::new(namespace, name)).expect(name);
            let mut places = compiled.places(id).iter();
            let found = places.find(|(at, _)| *at == address);
            found.expect("a place for each address").1
        }
    }
}

/// The connections on which a judge does not say what the case does.
fn differing(judge: impl Fn(&World, &[NetworkPolicy], &Case, &Asked) -> bool) -> String {
    let cases = case::all();
    let worlds = worlds(&cases);
    let mut differing = Vec::new();
    for case in cases.iter().filter(|case| case.rejected.is_none()) {
        let (world, policies) = (&worlds[case.cluster().0], policies(case));
        for (asked, expected) in case.asked() {
            if judge(world, &policies, case, asked) != expected {
                let expected = if expected { "allowed" } else { "denied" };
                let (name, text) = (case.name(), asked.text());
                differing.push(format!("{name}\n    {text} is not {expected}\n"));
            }
        }
    }
    differing.concat()
}

#[test]
fn every_sentence_holds() {
    assert_eq!(differing(plain), "");
}

#[test]
fn every_sentence_holds_in_tables() {
    let judge = |world: &World, policies: &[NetworkPolicy], case: &Case, asked: &Asked| {
        let compiled = Compiled::new(world, policies, case.reading());
        let client = place(world, &compiled, &asked.client);
        let server = place(world, &compiled, &asked.server);
        let passes = compiled.passes(client, server, asked.protocol, asked.port);
        let verdict = compiled.verdict(client, server, asked.protocol, asked.port);
        let allowed = compiled
            .allowed(client, server)
            .contains(asked.protocol, asked.port);
        assert_eq!(
            (verdict.allowed(), allowed),
            (passes, passes),
            "{}",
            case.name()
        );
        passes
    };
    assert_eq!(differing(judge), "");
}

/// The other address of a pod; nobody else has one.
fn other_family(who: &Who) -> Who {
    match who {
        Who::Pod {
            namespace,
            name,
            v6,
        } => Who::Pod {
            namespace: namespace.clone(),
            name: name.clone(),
            v6: !v6,
        },
        other => other.clone(),
    }
}

/// Whether an end is what a list names so. Nodes, and what uses their network, are not asked for by name.
fn is(party: &Party, who: &Who) -> bool {
    match (party, who) {
        (
            Party::Workload(workload),
            Who::Pod {
                namespace, name, ..
            },
        ) => *workload == WorkloadName::new(namespace, "Pod", name),
        (Party::Block(block), Who::Outside(address)) => block.contains(address),
        _ => false,
    }
}

/// What is listed of two pods is what is allowed by any two of their addresses.
#[test]
fn every_sentence_holds_in_the_list_of_all_that_is_allowed() {
    let cases = case::all();
    let worlds = worlds(&cases);
    let listed = |asked: &Asked| {
        let named = |who: &Who| match who {
            Who::Pod { name, .. } => name != "host",
            Who::Node { .. } => false,
            Who::Outside(_) => true,
        };
        named(&asked.client) && named(&asked.server)
    };
    let mut asked_in_all = 0;
    for case in cases.iter().filter(|case| case.rejected.is_none()) {
        let (world, policies) = (&worlds[case.cluster().0], policies(case));
        let all = connectivity(world, &policies, case.reading());
        for (asked, _) in case.asked().filter(|(asked, _)| listed(asked)) {
            let (client, server) = (end(world, &asked.client), end(world, &asked.server));
            if matches!((client.0, server.0), (End::Pod(one), End::Pod(other)) if one == other) {
                continue;
            }
            let pods = matches!((client.0, server.0), (End::Pod(_), End::Pod(_)));
            let mut other = asked.clone();
            other.client = other_family(&asked.client);
            other.server = other_family(&asked.server);
            let expected = plain(world, &policies, case, asked)
                || (pods && plain(world, &policies, case, &other));
            let found = all.entries().any(|entry| {
                is(entry.from, &asked.client)
                    && is(entry.to, &asked.server)
                    && entry.ports.contains(asked.protocol, asked.port)
            });
            assert_eq!(found, expected, "{}: {}", case.name(), asked.text());
            asked_in_all += 1;
        }
    }
    assert!(asked_in_all > 700, "only {asked_in_all} were asked");
}

#[test]
fn what_the_reference_forbids_is_rejected_for_its_field() {
    for case in case::all() {
        let Some(field) = &case.rejected else {
            continue;
        };
        let error = inventory::parse("p.json", &case.manifest()).expect_err(&case.name());
        let named = format!("items[0].{field}: ");
        assert!(
            error.to_string().contains(&named),
            "{}: {error}",
            case.name()
        );
    }
}

#[test]
fn every_case_asks_something_and_has_a_name_of_its_own() {
    let mut names = std::collections::BTreeSet::new();
    for case in case::all() {
        let asks = case.asked().count() > 0 || case.rejected.is_some();
        assert!(asks && case.is_attributed(), "{}", case.name());
        assert!(names.insert(case.name()), "{} is there twice", case.name());
    }
}
