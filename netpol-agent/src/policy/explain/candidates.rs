//! The edits that may allow a connection: which pairs of ends each of them allows, and what policies are after it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, LabelSelectorRequirement, ObjectMeta,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use netpol_common::names::WorkloadName;
use serde_json::{Value, json};

use super::change::{Candidate, Side, Size, Step, nets};
use super::ends::Spot;
use super::misses::{self, Part};
use super::pairs::Pair;
use super::{Scene, isolates, words};
use crate::identity::objects::Labels;
use crate::policy::emit;
use crate::policy::emit::kubernetes::NAMESPACE_NAME;
use crate::policy::evaluate::{Connection, Way};
use crate::policy::selectors::Selectors;

/// How many steps are taken at most to find edits that allow everything together.
const STEPS: usize = 10_000;

/// A change at one place of the policies. The smaller kinds come first.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Edit {
    /// A port more in a rule.
    Port(Place),
    /// Peers more in a rule.
    Peers(Place),
    /// A rule more in a policy, which is told by its number.
    Rule(usize),
    /// A policy more, for a workload.
    Policy(WorkloadName),
}

/// A rule of a direction, by its number and that of its policy.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Place {
    pub(super) policy: usize,
    pub(super) rule: usize,
}

/// Edits, each with the numbers of the denied pairs that it allows.
pub(super) type Edits = BTreeMap<Edit, BTreeSet<usize>>;

impl Edit {
    /// How large it is.
    fn size(&self) -> usize {
        match self {
            Self::Port(_) => 0,
            Self::Peers(_) => 1,
            Self::Rule(_) => 2,
            Self::Policy(_) => 3,
        }
    }
}

/// How large some edits are together.
pub(super) fn size(edits: &[&Edit]) -> Size {
    (edits.len(), edits.iter().map(|edit| edit.size()).sum())
}

/// So many edits that allow so many pairs together, none of which the others make needless, in every way there is.
pub(super) fn covers(edits: &Edits, pairs: usize, many: usize) -> BTreeSet<Vec<&Edit>> {
    let mut search = Search {
        edits,
        steps: STEPS,
        chosen: Vec::new(),
        found: BTreeSet::new(),
    };
    search.go(&(0..pairs).collect(), many);
    search.found
}

struct Search<'e> {
    edits: &'e Edits,
    /// How many steps may still be taken.
    steps: usize,
    chosen: Vec<&'e Edit>,
    found: BTreeSet<Vec<&'e Edit>>,
}

impl Search<'_> {
    /// Chooses so many edits more for the pairs that are left: one that allows the first of them, then the others.
    fn go(&mut self, left: &BTreeSet<usize>, many: usize) {
        let Some(first) = left.first() else {
            return;
        };
        let edits = self.edits;
        for (edit, pairs) in edits.iter().filter(|(_, pairs)| pairs.contains(first)) {
            self.steps = self.steps.saturating_sub(1);
            if self.steps == 0 {
                return;
            }
            let all = left.is_subset(pairs);
            self.chosen.push(edit);
            match many {
                1 if all => {
                    let mut cover = self.chosen.clone();
                    cover.sort();
                    self.found.insert(cover);
                }
                2.. if !all => self.go(&(left - pairs), many - 1),
                _ => {}
            }
            self.chosen.pop();
        }
    }
}

/// Rules for all pairs, each time one in the policy where it allows most of those that are left.
pub(super) fn rules_for_all(edits: &Edits, pairs: usize) -> Vec<&Edit> {
    let mut left: BTreeSet<usize> = (0..pairs).collect();
    let mut chosen = Vec::new();
    while !left.is_empty() {
        let rules = edits
            .iter()
            .filter(|(edit, _)| matches!(edit, Edit::Rule(_)));
        let most = rules.max_by_key(|(_, pairs)| left.intersection(pairs).count());
        let Some((edit, pairs)) = most.filter(|(_, pairs)| !left.is_disjoint(pairs)) else {
            break;
        };
        left.retain(|pair| !pairs.contains(pair));
        chosen.push(edit);
    }
    chosen
}

impl Side<'_> {
    /// Every edit that allows some of what is denied.
    pub(super) fn edits(&self) -> Edits {
        let mut edits = Edits::new();
        for (number, pair) in self.denied.iter().enumerate() {
            let connection = self.connection(pair.client, pair.server);
            let mut add = |edit| edits.entry(edit).or_default().insert(number);
            for (at, policy) in self.scene.policies.iter().enumerate() {
                if !isolates(&self.scene, policy, &connection, self.way) {
                    continue;
                }
                add(Edit::Rule(at));
                let rules = misses::rules(policy, self.way).into_iter().enumerate();
                for (number, rule) in rules {
                    let place = Place {
                        policy: at,
                        rule: number,
                    };
                    let misses = misses::of_rule(&self.scene, policy, &rule, &connection, self.way);
                    let of_port = |part: Part| part == Part::Port || part == Part::Protocol;
                    let ports = misses.iter().filter(|miss| of_port(miss.part)).count();
                    match (ports, misses.len() - ports) {
                        (1.., 0) => drop(add(Edit::Port(place))),
                        (0, 1..) => drop(add(Edit::Peers(place))),
                        _ => {}
                    }
                }
            }
        }
        for workload in self.workloads(self.own) {
            let policy = self.policy(&workload, Vec::new(), self.scene.policies);
            let numbered = self.denied.iter().enumerate();
            let isolated = numbered.filter(|(_, pair)| self.isolates_all(&policy, pair));
            let isolated: BTreeSet<usize> = isolated.map(|(number, _)| number).collect();
            if !isolated.is_empty() {
                edits.insert(Edit::Policy(workload), isolated);
            }
        }
        edits
    }

    /// Whether a policy that is not there yet isolates all own pods of a pair.
    fn isolates_all(&self, policy: &NetworkPolicy, pair: &Pair<'_>) -> bool {
        let mut own = match self.way {
            Way::Egress => pair.clients.iter(),
            Way::Ingress => pair.servers.iter(),
        };
        own.all(|own| {
            let connection = match self.way {
                Way::Egress => self.connection(own, pair.server),
                Way::Ingress => self.connection(pair.client, own),
            };
            isolates(&self.scene, policy, &connection, self.way)
        })
    }

    fn connection<'s>(&'s self, client: &'s Spot, server: &'s Spot) -> Connection<'s> {
        Connection {
            client: client.end(self.scene.world),
            client_address: client.address,
            server: server.end(self.scene.world),
            server_address: server.address,
            protocol: self.question.protocol,
            port: self.question.port,
        }
    }

    /// The policies after some edits, each of which allows those pairs; `None` if it would have to name somebody who is no
    /// pod and has no address.
    pub(super) fn candidate(&self, cover: &[&Edit], edits: &Edits) -> Option<Candidate> {
        let mut policies = self.scene.policies.to_vec();
        let mut steps = Vec::new();
        for edit in cover {
            steps.push(self.make(edit, edits.get(edit)?, &mut policies)?);
        }
        Some(Candidate { policies, steps })
    }

    /// Makes an edit, and says what it is.
    fn make(
        &self,
        edit: &Edit,
        pairs: &BTreeSet<usize>,
        policies: &mut Vec<NetworkPolicy>,
    ) -> Option<Step> {
        let way = words::way(self.way);
        let (what, yaml) = match edit {
            Edit::Port(place) => {
                let policy = policies.get_mut(place.policy)?;
                let entry = json!([self.port()]);
                let ports = vec![self.port()];
                let (number, spec) = (place.rule, policy.spec.get_or_insert_default());
                match self.way {
                    Way::Ingress => push(&mut spec.ingress, number, |rule| &mut rule.ports, ports),
                    Way::Egress => push(&mut spec.egress, number, |rule| &mut rule.ports, ports),
                }
                (
                    format!(
                        "to spec.{way}[{number}].ports of NetworkPolicy {} add",
                        words::name(policy)
                    ),
                    entry,
                )
            }
            Edit::Peers(place) => {
                let policy = policies.get_mut(place.policy)?;
                let peers = self.peers(pairs)?;
                let entry = json!(peers);
                let (number, spec) = (place.rule, policy.spec.get_or_insert_default());
                let list = match self.way {
                    Way::Ingress => {
                        push(&mut spec.ingress, number, |rule| &mut rule.from, peers);
                        "from"
                    }
                    Way::Egress => {
                        push(&mut spec.egress, number, |rule| &mut rule.to, peers);
                        "to"
                    }
                };
                (
                    format!(
                        "to spec.{way}[{number}].{list} of NetworkPolicy {} add",
                        words::name(policy)
                    ),
                    entry,
                )
            }
            Edit::Rule(number) => {
                let policy = policies.get_mut(*number)?;
                let peers = self.peers(pairs)?;
                let rule = self.add_rule(policy.spec.get_or_insert_default(), peers);
                (
                    format!("to spec.{way} of NetworkPolicy {} add", words::name(policy)),
                    json!([rule]),
                )
            }
            Edit::Policy(workload) => {
                let policy = self.policy(workload, self.peers(pairs)?, policies);
                let what = format!("add NetworkPolicy {}", words::name(&policy));
                let whole = json!(policy);
                policies.push(policy);
                (what, whole)
            }
        };
        Some(Step {
            what,
            yaml: emit::fragment(&yaml),
        })
    }

    /// Whether everybody at the other end of what is denied is a pod or has an address.
    pub(super) fn can_be_named(&self) -> bool {
        self.peers(&(0..self.denied.len()).collect()).is_some()
    }

    fn port(&self) -> NetworkPolicyPort {
        NetworkPolicyPort {
            protocol: Some(self.question.protocol.name().to_owned()),
            port: Some(IntOrString::Int(self.question.port.into())),
            end_port: None,
        }
    }

    /// The other ends of some pairs as peers of a rule; `None` if one of them has no address and is no pod.
    fn peers(&self, pairs: &BTreeSet<usize>) -> Option<Vec<NetworkPolicyPeer>> {
        let pairs = pairs.iter().filter_map(|number| self.denied.get(*number));
        let others = pairs.flat_map(|pair| match self.way {
            Way::Egress => pair.servers.iter().copied(),
            Way::Ingress => pair.clients.iter().copied(),
        });
        let others: Vec<&Spot> = others.collect();
        let pods = self.workloads(others.iter().copied()).into_iter();
        let pods = pods.map(|workload| {
            let elsewhere = workload.namespace != self.namespace;
            let by_name = [(NAMESPACE_NAME.to_owned(), workload.namespace.clone())];
            NetworkPolicyPeer {
                pod_selector: Some(selector(&self.scene, &workload)),
                namespace_selector: elsewhere.then(|| LabelSelector {
                    match_labels: Some(by_name.into()),
                    ..LabelSelector::default()
                }),
                ip_block: None,
            }
        });
        let nets = nets(others.iter().copied());
        let known = nets.iter().all(|net| !net.addr().is_unspecified());
        let blocks = nets.iter().map(|net| NetworkPolicyPeer {
            ip_block: Some(IPBlock {
                cidr: net.to_string(),
                except: None,
            }),
            ..NetworkPolicyPeer::default()
        });
        known.then(|| pods.chain(blocks).collect())
    }

    /// Adds the rule that allows the port to or from these peers, and gives it back.
    fn add_rule(&self, spec: &mut NetworkPolicySpec, peers: Vec<NetworkPolicyPeer>) -> Value {
        let (peers, ports) = (Some(peers), Some(vec![self.port()]));
        match self.way {
            Way::Ingress => {
                let rule = NetworkPolicyIngressRule { from: peers, ports };
                spec.ingress.get_or_insert_default().push(rule.clone());
                json!(rule)
            }
            Way::Egress => {
                let rule = NetworkPolicyEgressRule { to: peers, ports };
                spec.egress.get_or_insert_default().push(rule.clone());
                json!(rule)
            }
        }
    }

    /// A policy for a workload that allows the port to or from these peers, called as none of the others.
    fn policy(
        &self,
        workload: &WorkloadName,
        peers: Vec<NetworkPolicyPeer>,
        others: &[NetworkPolicy],
    ) -> NetworkPolicy {
        let word = match self.way {
            Way::Ingress => "Ingress",
            Way::Egress => "Egress",
        };
        let mut spec = NetworkPolicySpec {
            pod_selector: Some(selector(&self.scene, workload)),
            policy_types: Some(vec![word.to_owned()]),
            ..NetworkPolicySpec::default()
        };
        self.add_rule(&mut spec, peers);
        NetworkPolicy {
            metadata: ObjectMeta {
                namespace: Some(workload.namespace.clone()),
                name: Some(self.free_name(workload, others)),
                ..ObjectMeta::default()
            },
            spec: Some(spec),
        }
    }

    /// A name that no policy of the namespace has.
    fn free_name(&self, workload: &WorkloadName, others: &[NetworkPolicy]) -> String {
        let (way, port) = (words::way(self.way), self.question.port);
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let name = workload.name.to_lowercase();
        let name: String = name
            .chars()
            .map(|c| if plain(c) { c } else { '-' })
            .collect();
        let name = name.trim_matches('-').chars().take(200).collect::<String>();
        let name = format!("allow-{name}-{way}-{port}");
        let taken = |name: &str| {
            let full = format!("{}/{name}", workload.namespace);
            others.iter().any(|policy| words::name(policy) == full)
        };
        let mut numbered = (2..).map(|number| format!("{name}-{number}"));
        match taken(&name) {
            true => numbered.find(|name| !taken(name)).unwrap_or_default(),
            false => name,
        }
    }
}

/// Puts more items into a list of a rule.
fn push<R, T>(
    rules: &mut Option<Vec<R>>,
    number: usize,
    list: impl Fn(&mut R) -> &mut Option<Vec<T>>,
    items: Vec<T>,
) {
    let rule = rules.as_mut().and_then(|rules| rules.get_mut(number));
    if let Some(rule) = rule {
        list(rule).get_or_insert_default().extend(items);
    }
}

/// What selects a workload: as the policies that are generated for it do; where that cannot be, all labels that its
/// pods have in common.
fn selector(scene: &Scene<'_>, workload: &WorkloadName) -> LabelSelector {
    let Ok(lasting) = Selectors::new(scene.cluster).of(workload) else {
        let pods = scene.world.pods_of(workload);
        let labels = pods.map(|id| scene.world.pod(id).pod.labels.clone());
        let common = labels.reduce(|mut common: Labels, labels| {
            common.retain(|key, value| labels.get(key) == Some(value));
            common
        });
        return LabelSelector {
            match_labels: common,
            ..LabelSelector::default()
        };
    };
    let (mut labels, mut expressions) = (Labels::new(), Vec::new());
    for (key, values) in lasting.iter() {
        match (values.len(), values.first()) {
            (1, Some(value)) => drop(labels.insert(key.to_owned(), value.to_owned())),
            _ => expressions.push(LabelSelectorRequirement {
                key: key.to_owned(),
                operator: "In".to_owned(),
                values: Some(values.iter().map(str::to_owned).collect()),
            }),
        }
    }
    LabelSelector {
        match_labels: Some(labels),
        match_expressions: (!expressions.is_empty()).then_some(expressions),
    }
}
