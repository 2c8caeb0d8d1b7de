//! Explanations of random connections, judged by the evaluator: what is said of rules, and what a change brings.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_common::names::WorkloadName;
use netpol_common::words::Protocol;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::inventory;
use crate::policy::cluster::Workload;
use crate::policy::evaluate::random::{Shown, addresses, any_policies, any_reading, any_world};
use crate::policy::evaluate::{PodId, PortSet};
use crate::policy::selectors::Selectors;
use crate::policy::validate::validate;

const PORTS: [u16; 4] = [80, 82, 8080, 8081];

/// A cluster and a question about two of its ends.
#[derive(Clone)]
struct Case {
    world: Shown<World>,
    cluster: Cluster,
    policies: Shown<Vec<NetworkPolicy>>,
    reading: Reading,
    from: Ends,
    to: Ends,
    protocol: Protocol,
    port: u16,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{:?}", self.world, self.policies)?;
        let (from, to, protocol, port) = (&self.from, &self.to, self.protocol, self.port);
        writeln!(
            f,
            "--- asked\n{from:?} -> {to:?} {port}/{protocol}, {:?}",
            self.reading
        )
    }
}

impl Case {
    fn scene(&self) -> Scene<'_> {
        Scene {
            world: &self.world,
            cluster: &self.cluster,
            policies: &self.policies,
            reading: self.reading,
        }
    }

    fn explanation(&self) -> Explanation {
        explain(&self.scene(), &self.question())
    }

    fn question(&self) -> Question<'_> {
        Question {
            from: &self.from,
            to: &self.to,
            protocol: self.protocol,
            port: self.port,
        }
    }

    /// Whether every client may reach every server, asked of the plain evaluator.
    fn allowed(&self, policies: &[NetworkPolicy]) -> bool {
        let scene = Scene {
            policies,
            ..self.scene()
        };
        let compiled = Compiled::new(&self.world, policies, self.reading);
        let (from, to) = (
            self.from.spots(&scene, &compiled),
            self.to.spots(&scene, &compiled),
        );
        let distinct = from.iter().any(|client| {
            to.iter()
                .any(|server| client.speaks_with(server) && client.who != server.who)
        });
        let evaluator = Evaluator {
            namespaces: self.world.namespaces(),
            policies,
            reading: self.reading,
        };
        from.iter().all(|client| {
            let others = to.iter().filter(|server| client.speaks_with(server));
            others
                .filter(|server| !distinct || client.who != server.who)
                .all(|server| {
                    let verdict = evaluator.verdict(&Connection {
                        client: client.end(&self.world),
                        client_address: client.address,
                        server: server.end(&self.world),
                        server_address: server.address,
                        protocol: self.protocol,
                        port: self.port,
                    });
                    verdict.allowed()
                })
        })
    }
}

fn any_case() -> impl Strategy<Value = Case> {
    let protocol = prop::sample::select(&Protocol::ALL[..]);
    let port = prop::sample::select(&PORTS[..]);
    let ends = (any::<prop::sample::Index>(), any::<prop::sample::Index>());
    (
        any_world(),
        any_policies(),
        any_reading(),
        ends,
        protocol,
        port,
    )
        .prop_map(|(world, policies, reading, (from, to), protocol, port)| {
            let mut all: Vec<Ends> = world
                .workloads()
                .map(|(name, _)| Ends::Workload(name.clone()))
                .collect();
            let pods = world
                .pods()
                .map(|(_, member)| Ends::Pod(member.pod.name.clone(), None));
            all.extend(pods);
            let known = addresses()
                .into_iter()
                .filter(|address| !address.is_unspecified());
            all.extend(known.map(|address| Ends::of_address(address, &world)));
            let (from, to) = (from.get(&all).clone(), to.get(&all).clone());
            Case {
                cluster: cluster(&world),
                world,
                policies,
                reading,
                from,
                to,
                protocol,
                port,
            }
        })
}

/// What selects the workloads of a world, found out from their pods.
fn cluster(world: &World) -> Cluster {
    let mut workloads: BTreeMap<WorkloadName, Workload> = BTreeMap::new();
    for (_, member) in world.pods() {
        let workload = workloads.entry(member.workload.clone()).or_default();
        workload.label_sets.insert(member.pod.labels.clone());
    }
    Cluster {
        workloads,
        ..Cluster::default()
    }
}

/// A side of a connection: whose pod, in which direction, and the other end.
type SideOf = (PodId, bool, Other);

/// Who is at the other end.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Other {
    Workload(WorkloadName),
    Address(IpAddr),
}

/// What each side of every connection allows; `true` is egress.
fn sides(case: &Case, policies: &[NetworkPolicy]) -> BTreeMap<SideOf, Vec<PortSet>> {
    let compiled = Compiled::new(&case.world, policies, case.reading);
    let mut others = Vec::new();
    for (id, member) in case.world.pods() {
        let as_node = member.pod.host_network && case.reading.host_network_is_node;
        for (address, place) in compiled.places(id) {
            let other = match as_node {
                true => Other::Address(*address),
                false => Other::Workload(member.workload.clone()),
            };
            others.push((other, *place));
        }
    }
    let outside = addresses().into_iter();
    others.extend(outside.map(|address| (Other::Address(address), compiled.outside(address))));
    let mut all: BTreeMap<SideOf, Vec<PortSet>> = BTreeMap::new();
    for (id, _) in case.world.pods() {
        for (_, own) in compiled.places(id) {
            for (other, place) in &others {
                let ingress = compiled.ports(Way::Ingress, *place, *own).clone();
                let egress = compiled.ports(Way::Egress, *own, *place).clone();
                all.entry((id, false, other.clone()))
                    .or_default()
                    .push(ingress);
                all.entry((id, true, other.clone()))
                    .or_default()
                    .push(egress);
            }
        }
    }
    all
}

/// Whether a side is one that was asked about, of whichever pods of the workloads.
fn is_asked(case: &Case, (id, egress, other): &SideOf) -> bool {
    let (own, others) = match egress {
        true => (&case.from, &case.to),
        false => (&case.to, &case.from),
    };
    let workload = |ends: &Ends| match ends {
        Ends::Workload(name) => Some(name.clone()),
        Ends::Pod(name, _) => case
            .world
            .named(name)
            .map(|id| case.world.pod(id).workload.clone()),
        Ends::Service(..) | Ends::Node(..) | Ends::ApiServer(_) | Ends::Address(_) => None,
    };
    let same_other = match other {
        Other::Workload(name) => workload(others).as_ref() == Some(name),
        Other::Address(address) => {
            let compiled = Compiled::new(&case.world, &case.policies, case.reading);
            let spots = others.spots(&case.scene(), &compiled);
            spots.iter().any(|spot| spot.address == *address)
        }
    };
    workload(own).as_ref() == Some(&case.world.pod(*id).workload) && same_other
}

/// Whether policies can single out both ends, and isolate whoever would be isolated by another policy.
fn can_be_exact(case: &Case) -> bool {
    let compiled = Compiled::new(&case.world, &case.policies, case.reading);
    let selectors = Selectors::new(&case.cluster);
    let fits = |ends: &Ends, way: Way| {
        let spots = ends.spots(&case.scene(), &compiled);
        spots.iter().all(|spot| match &spot.who {
            ends::Who::Pod(id) => {
                let workload = &case.world.pod(*id).workload;
                let mut pods = case.world.pods_of(workload);
                selectors.of(workload).is_ok()
                    && pods.all(|id| {
                        let mut places = compiled.places(id).iter();
                        places.all(|(_, place)| compiled.isolated(way, *place))
                    })
            }
            // A block matches whichever pod has that address, too.
            _ => !case.reading.blocks_match_pods || case.world.at(spot.address).is_empty(),
        })
    };
    fits(&case.from, Way::Egress) && fits(&case.to, Way::Ingress)
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    /// An explanation gives the evaluator's verdict, and a rule of which no part misses is one that allows.
    #[test]
    fn what_is_said_is_what_the_evaluator_says(case in any_case()) {
        let explanation = case.explanation();
        prop_assert_eq!(explanation.allowed, case.allowed(&case.policies));
        let compiled = Compiled::new(&case.world, &case.policies, case.reading);
        let (from, to) = (case.from.spots(&case.scene(), &compiled), case.to.spots(&case.scene(), &compiled));
        for pair in pairs::alike(&from, &to) {
            let answer = answer(&case.scene(), &case.question(), &pair);
            let evaluator = Evaluator {
                namespaces: case.world.namespaces(),
                policies: &case.policies,
                reading: case.reading,
            };
            let verdict = evaluator.verdict(&Connection {
                client: pair.client.end(&case.world),
                client_address: pair.client.address,
                server: pair.server.end(&case.world),
                server_address: pair.server.address,
                protocol: case.protocol,
                port: case.port,
            });
            for (said, side) in [(&answer.egress, &verdict.egress), (&answer.ingress, &verdict.ingress)] {
                prop_assert_eq!(said.allowed, side.allowed);
                prop_assert_eq!(!said.isolated_by.is_empty(), side.isolated);
                let by: Vec<String> =
                    side.by.iter().map(|rule| format!("{}#{}", rule.policy, rule.rule)).collect();
                let named: Vec<String> = said.by.iter().map(|rule| rule.rule.clone()).collect();
                prop_assert_eq!(named, by);
                prop_assert!(said.not_by.iter().all(|rule| !rule.misses.is_empty()));
            }
        }
    }

    /// After the change that is proposed it is allowed, by policies that the API server takes; nothing is denied that
    /// was allowed; and if the change says that it allows nothing else, it does not.
    #[test]
    fn a_change_allows_what_is_asked_and_what_it_says(case in any_case()) {
        let Some(change) = case.explanation().change else {
            return Ok(());
        };
        prop_assert!(case.allowed(&change.policies));
        for policy in &change.policies {
            prop_assert_eq!(validate(policy), []);
        }
        let (before, after) = (sides(&case, &case.policies), sides(&case, &change.policies));
        let asked = asked_ports(&case);
        for (side, now) in after {
            for (then, now) in before[&side].iter().zip(&now) {
                prop_assert!(then.is_subset(now), "{:?} lost", side);
                let gained = now.difference(then);
                if change.also_allows.is_empty() {
                    let meant = is_asked(&case, &side) && gained.is_subset(&asked);
                    prop_assert!(gained.is_empty() || meant, "{:?} gained {}", side, gained);
                }
            }
        }
        prop_assert!(change.also_allows.is_empty() || !can_be_exact(&case), "{:?}", change);
    }

    /// Where a connection is denied there is a change, unless an end is a node whose address is not known.
    #[test]
    fn there_is_a_change_wherever_it_is_denied(case in any_case()) {
        let explanation = case.explanation();
        let compiled = Compiled::new(&case.world, &case.policies, case.reading);
        let spots = [case.from.spots(&case.scene(), &compiled), case.to.spots(&case.scene(), &compiled)];
        let unknown = spots.iter().flatten().any(|spot| {
            spot.address.is_unspecified() && !matches!(spot.who, ends::Who::Pod(_))
        });
        prop_assert!(explanation.allowed || unknown || explanation.change.is_some());
    }
}

fn asked_ports(case: &Case) -> PortSet {
    use crate::policy::evaluate::PortRange;
    [PortRange::one(case.protocol, case.port)]
        .into_iter()
        .collect()
}

/// A pod of the namespace `a` on the node `one`, labelled `app` and its name before the dash, and `name`.
fn pod(name: &str, addresses: &[&str]) -> Value {
    let addresses = addresses.iter().map(|address| json!({"ip": address}));
    let addresses: Vec<Value> = addresses.collect();
    let labels = json!({"app": name.split('-').next(), "name": name});
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "a", "name": name, "labels": labels},
        "spec": {"nodeName": "one"}, "status": {"podIPs": addresses},
    })
}

/// The same pod, of the StatefulSet that is called as it before the dash.
fn of_set(mut pod: Value) -> Value {
    let set = pod["metadata"]["labels"]["app"].clone();
    let owner = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": set, "uid": set});
    pod["metadata"]["ownerReferences"] = json!([owner]);
    pod
}

/// A policy of the namespace `a`.
fn policy(name: &str, spec: &Value) -> NetworkPolicy {
    let object = json!({"metadata": {"namespace": "a", "name": name}, "spec": spec});
    serde_json::from_value(object).expect("a policy")
}

/// A policy that isolates the pods of an app and lets in some.
fn ingress_of(app: &str, rules: &Value) -> NetworkPolicy {
    let selector = json!({"matchLabels": {"app": app}});
    let spec = json!({"podSelector": selector, "policyTypes": ["Ingress"], "ingress": rules});
    policy(app, &spec)
}

/// A policy that isolates the pods of an app and lets them out to some.
fn egress_of(app: &str, rules: &Value) -> NetworkPolicy {
    let selector = json!({"matchLabels": {"app": app}});
    let spec = json!({"podSelector": selector, "policyTypes": ["Egress"], "egress": rules});
    policy(app, &spec)
}

fn explained(
    objects: &[Value],
    policies: &[NetworkPolicy],
    (from, to): (&str, &str),
    port: u16,
) -> Explanation {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    let mut read = inventory::parse("objects", &list).expect("an inventory");
    let index = read.take_index();
    let (world, cluster) = (World::of(&index), Cluster::of(&index));
    let scene = Scene {
        world: &world,
        cluster: &cluster,
        policies,
        reading: Reading::default(),
    };
    let find = |text| Ends::find(text, &world, &cluster).expect("an end");
    let question = Question {
        from: &find(from),
        to: &find(to),
        protocol: Protocol::Tcp,
        port,
    };
    explain(&scene, &question)
}

/// What misses of each rule that does not let in the clients of the only answer.
fn misses_of(explanation: &Explanation) -> Vec<Vec<Part>> {
    let [answer] = &*explanation.answers else {
        panic!("{:?}", explanation.answers);
    };
    assert!(answer.ingress.by.is_empty(), "{answer:?}");
    let rules = answer.ingress.not_by.iter();
    rules
        .map(|rule| rule.misses.iter().map(|miss| miss.part).collect())
        .collect()
}

#[test]
fn what_is_said_of_both_families_is_said_once() {
    let objects = [
        pod("web", &["10.0.0.1", "fd00::1"]),
        pod("db", &["10.0.0.2", "fd00::2"]),
        pod("other", &["10.0.0.3"]),
    ];
    let block = json!({"ipBlock": {"cidr": "10.0.0.1/32"}});
    let policies = [ingress_of("other", &json!([{"from": [block]}]))];
    let explanation = explained(&objects, &policies, ("a/web", "a/db"), 80);
    let [answer] = &*explanation.answers else {
        panic!("{:?}", explanation.answers);
    };
    assert_eq!(answer.families, ["IPv4", "IPv6"].into());
}

#[test]
fn a_policy_has_rules_in_the_directions_that_it_is_about() {
    let rules = |types: Value| {
        let spec =
            json!({"podSelector": {}, "policyTypes": types, "ingress": [{}, {}], "egress": [{}]});
        let policy = policy("p", &spec);
        Way::ALL.map(|way| rules_in_words(&policy, way).len())
    };
    assert_eq!(rules(json!(["Ingress"])), [2, 0]);
    assert_eq!(rules(json!(["Egress"])), [0, 1]);
    assert_eq!(rules(json!(["Ingress", "Egress"])), [2, 1]);
    assert_eq!(rules(json!([])), [2, 1]);
    assert_eq!(rules(Value::Null), [2, 1]);
}

#[test]
fn no_selector_matches_a_pod_on_its_nodes_network() {
    let mut agent = pod("agent", &["192.0.2.1"]);
    agent["spec"] = json!({"nodeName": "two", "hostNetwork": true});
    let objects = [agent, pod("db", &["10.0.0.1"])];
    let selector = json!({"podSelector": {"matchLabels": {"app": "agent"}}});
    let policies = [ingress_of("db", &json!([{"from": [selector]}]))];
    let explanation = explained(&objects, &policies, ("a/agent", "a/db"), 80);
    assert_eq!(misses_of(&explanation), [[Part::Peer]]);
}

#[test]
fn only_a_whole_family_surely_holds_an_address_that_is_not_known() {
    let objects = [pod("late", &[]), pod("db", &["10.0.0.1"])];
    let blocks = [
        json!({"cidr": "0.0.0.0/8"}),
        json!({"cidr": "::/0"}),
        json!({"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}),
    ];
    for block in blocks {
        let policies = [ingress_of("db", &json!([{"from": [{"ipBlock": block}]}]))];
        let explanation = explained(&objects, &policies, ("a/late", "a/db"), 80);
        assert_eq!(misses_of(&explanation), [[Part::Address]], "{block}");
    }
    let all = json!({"cidr": "0.0.0.0/0", "except": []});
    let policies = [ingress_of("db", &json!([{"from": [{"ipBlock": all}]}]))];
    assert!(explained(&objects, &policies, ("a/late", "a/db"), 80).allowed);
}

#[test]
fn a_port_of_that_name_over_another_protocol_is_none() {
    let mut db = pod("db", &["10.0.0.1"]);
    let port = json!({"name": "dns", "protocol": "UDP", "containerPort": 53});
    db["spec"]["containers"] = json!([{"name": "c", "ports": [port]}]);
    let objects = [pod("web", &["10.0.0.2"]), db];
    let policies = [ingress_of("db", &json!([{"ports": [{"port": "dns"}]}]))];
    let explanation = explained(&objects, &policies, ("a/web", "a/db"), 53);
    assert_eq!(misses_of(&explanation), [[Part::Port]]);
}

/// What is proposed for the one side stays when the other side's is made.
#[test]
fn a_change_allows_what_both_sides_deny() {
    let objects = [pod("web", &["10.0.0.1"]), pod("db", &["10.0.0.2"])];
    let policies = [egress_of("web", &json!([])), ingress_of("db", &json!([]))];
    let asked = ("a/web", "a/db");
    let change = explained(&objects, &policies, asked, 80).change;
    let change = change.expect("a change");
    assert_eq!(change.steps.len(), 2, "{change:?}");
    assert!(explained(&objects, &change.policies, asked, 80).allowed);
}

/// A policy for a workload of which some pods are not isolated would isolate them.
#[test]
fn a_change_that_allows_more_is_better_than_one_that_denies_something() {
    let objects = [
        of_set(pod("web-0", &["10.0.0.1"])),
        of_set(pod("web-1", &["10.0.0.2"])),
        pod("api", &["10.0.0.3"]),
        pod("client", &["10.0.0.4"]),
        pod("other", &["10.0.0.5"]),
    ];
    let names = json!({"key": "name", "operator": "In", "values": ["web-1", "api"]});
    let spec = json!({"podSelector": {"matchExpressions": [names]}, "policyTypes": ["Ingress"]});
    let policies = [policy("some", &spec)];
    let asked = ("a/client", "a/StatefulSet/web");
    let change = explained(&objects, &policies, asked, 80).change;
    let change = change.expect("a change");
    assert_eq!(change.also_allows.len(), 1, "{change:?}");
    assert!(explained(&objects, &change.policies, asked, 80).allowed);
    assert!(explained(&objects, &change.policies, ("a/other", "a/web-0"), 80).allowed);
}

#[test]
fn the_first_address_of_a_block_is_told_apart_from_it() {
    let objects = [pod("web", &["10.0.0.1"])];
    let to = json!([{"ipBlock": {"cidr": "198.51.100.0/24"}}]);
    let rules = json!([{"to": to, "ports": [{"port": 80}]}]);
    let policies = [egress_of("web", &rules)];
    let change = explained(&objects, &policies, ("a/web", "198.51.100.0"), 443).change;
    let change = change.expect("a change");
    assert!(change.also_allows.is_empty(), "{change:?}");
}
