//! Explanations of random connections, judged by the evaluator: what is said of rules, and what a change brings.

mod by_hand;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_common::names::WorkloadName;
use netpol_common::words::Protocol;
use proptest::prelude::*;

use super::candidates::Edit;
use super::change::{Candidate, Side};
use super::*;
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

    /// Whether every client may reach every server and there are such, asked of the plain evaluator.
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
        let speaks = |client: &ends::Spot| to.iter().any(|server| client.speaks_with(server));
        from.iter().any(speaks)
            && from.iter().all(|client| {
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

    /// No single edit of any policy, rule and kind makes a smaller change of a side than the one that is proposed.
    #[test]
    fn no_single_edit_is_smaller(case in any_case()) {
        let compiled = Compiled::new(&case.world, &case.policies, case.reading);
        let (from, to) = (case.from.spots(&case.scene(), &compiled), case.to.spots(&case.scene(), &compiled));
        for way in Way::ALL {
            let question = case.question();
            let Some(side) = Side::denying(case.scene(), &question, way, (&from, &to), &compiled) else {
                continue;
            };
            if !side.can_be_named() {
                prop_assert!(side.best().is_none());
                continue;
            }
            let proposed = side.best().map(|(_, size, extra)| (!extra.is_empty(), size));
            for (edit, candidate) in single_edits(&side) {
                let Some(extra) = side.tried(&candidate, &compiled) else {
                    continue;
                };
                let single = (!extra.is_empty(), candidates::size(&[&edit]));
                prop_assert!(proposed.is_some_and(|proposed| proposed <= single), "{:?} {:?}", proposed, edit);
            }
        }
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
        let met = !explanation.answers.is_empty();
        prop_assert_eq!(!met || explanation.allowed || unknown, !met || explanation.change.is_none() || unknown);
    }
}

/// Every edit of a rule or policy that is there, and every policy more, each made for all that is denied.
fn single_edits(side: &Side<'_>) -> Vec<(Edit, Candidate)> {
    let mut edits: Vec<Edit> = Vec::new();
    for (policy, object) in side.scene.policies.iter().enumerate() {
        let rules = misses::rules(object, side.way).len();
        let places = (0..rules).map(|rule| candidates::Place { policy, rule });
        edits.extend(places.flat_map(|place| [Edit::Port(place), Edit::Peers(place)]));
        // A rule would make a policy of another direction one of this direction too, until the API server has filled in
        // `policyTypes`.
        let types = object.spec.iter().flat_map(|spec| &spec.policy_types);
        if rules > 0 || types.flatten().next().is_some() {
            edits.push(Edit::Rule(policy));
        }
    }
    edits.extend(side.workloads(side.own).into_iter().map(Edit::Policy));
    let all: BTreeSet<usize> = (0..side.denied.len()).collect();
    let made = edits.into_iter().filter_map(|edit| {
        let candidate = side.candidate(&[&edit], &[(edit.clone(), all.clone())].into())?;
        Some((edit, candidate))
    });
    made.collect()
}

fn asked_ports(case: &Case) -> PortSet {
    use crate::policy::evaluate::PortRange;
    [PortRange::one(case.protocol, case.port)]
        .into_iter()
        .collect()
}
