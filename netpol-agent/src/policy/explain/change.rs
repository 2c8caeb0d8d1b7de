//! The smallest change to the policies that allows a connection.
//!
//! Changes that allow nothing else come first, then the smaller ones: a port of a rule, a peer of a rule, a rule, a
//! policy. Each is tried: what it allows and what it would deny is asked of the compiled evaluator.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, LabelSelectorRequirement, ObjectMeta,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use netpol_common::names::WorkloadName;
use serde::Serialize;
use serde_json::{Value, json};

use super::ends::{Spot, Who};
use super::misses::{self, Part};
use super::widened::{self, Other};
use super::{Question, Scene, isolates, pairs, words};
use crate::identity::objects::Labels;
use crate::policy::emit;
use crate::policy::emit::kubernetes::NAMESPACE_NAME;
use crate::policy::evaluate::{Compiled, Connection, PortRange, PortSet, Way};
use crate::policy::selectors::Selectors;

/// How many rules of each kind are tried.
const TRIED: usize = 8;
/// How much of what a change allows besides is listed.
const LISTED: usize = 10;

/// A change to the policies.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// What to do; together they allow the connection.
    pub steps: Vec<Step>,
    /// What they allow besides, as far as this cluster and these policies go.
    pub also_allows: Vec<String>,
    /// All policies after the change.
    #[serde(skip)]
    pub policies: Vec<NetworkPolicy>,
}

impl Eq for Change {}

/// A change to one policy.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Step {
    /// What to do.
    pub what: String,
    /// What to put in there.
    pub yaml: String,
}

/// Spots of the clients and of the servers.
type BothEnds<'s> = (&'s [Spot], &'s [Spot]);

/// A change of one side that was not tried yet.
struct Candidate {
    policies: Vec<NetworkPolicy>,
    steps: Vec<Step>,
    /// How large it is.
    size: usize,
}

/// One side of the question.
struct Side<'a> {
    scene: Scene<'a>,
    question: &'a Question<'a>,
    way: Way,
    /// The namespace of the pods whose side it is.
    namespace: String,
    own: &'a [Spot],
    other: &'a [Spot],
    peers: Vec<NetworkPolicyPeer>,
}

/// The change that allows what is asked, unless there is an end that no policy can name.
pub(super) fn smallest(
    scene: &Scene<'_>,
    question: &Question<'_>,
    (from, to): BothEnds<'_>,
    compiled: &Compiled,
) -> Option<Change> {
    let mut change = Change {
        steps: Vec::new(),
        also_allows: Vec::new(),
        policies: scene.policies.to_vec(),
    };
    for way in [Way::Egress, Way::Ingress] {
        if allowed(question, way, (from, to), compiled) {
            continue;
        }
        let policies = change.policies.clone();
        let scene = Scene {
            policies: &policies,
            ..*scene
        };
        let (own, other) = match way {
            Way::Egress => (from, to),
            Way::Ingress => (to, from),
        };
        let side = Side {
            scene,
            question,
            way,
            namespace: namespace(&scene, own)?,
            own,
            other,
            peers: Vec::new(),
        };
        let peers = side.peers()?;
        let (best, extra) = Side { peers, ..side }.best()?;
        change.steps.extend(best.steps);
        change.also_allows.extend(extra);
        change.policies = best.policies;
    }
    Some(change)
}

/// Whether one side allows every pair that is asked.
fn allowed(
    question: &Question<'_>,
    way: Way,
    (from, to): BothEnds<'_>,
    compiled: &Compiled,
) -> bool {
    let to_port = (question.protocol, question.port);
    let passes = |client: &Spot, server: &Spot| {
        let ports = compiled.ports(way, client.place, server.place);
        ports.contains(to_port.0, to_port.1)
    };
    let pairs = pairs::alike(from, to);
    pairs.iter().all(|pair| passes(pair.client, pair.server))
}

/// The namespace of the pods among some spots.
fn namespace(scene: &Scene<'_>, spots: &[Spot]) -> Option<String> {
    spots.iter().find_map(|spot| match &spot.who {
        Who::Pod(id) => Some(scene.world.pod(*id).pod.name.namespace.clone()),
        Who::Node(_) | Who::Outside => None,
    })
}

impl Side<'_> {
    /// The best change of this side, and what it allows besides.
    fn best(&self) -> Option<(Candidate, Vec<String>)> {
        let before = Compiled::new(self.scene.world, self.scene.policies, self.scene.reading);
        let tried = self.candidates().into_iter().filter_map(|candidate| {
            let extra = self.tried(&candidate, &before)?;
            Some((candidate, extra))
        });
        let best =
            tried.min_by_key(|(candidate, extra)| (!extra.is_empty(), candidate.size, extra.len()));
        best.map(|(candidate, extra)| (candidate, said(self.way, &extra)))
    }

    /// What a change allows besides what is asked; `None`, if it does not allow that, or denies something.
    fn tried(
        &self,
        candidate: &Candidate,
        before: &Compiled,
    ) -> Option<BTreeMap<(WorkloadName, Other), PortSet>> {
        let after = Compiled::new(self.scene.world, &candidate.policies, self.scene.reading);
        let from = self.question.from.spots(&self.scene, &after);
        let to = self.question.to.spots(&self.scene, &after);
        if !allowed(self.question, self.way, (&from, &to), &after) {
            return None;
        }
        let both = (before, &after);
        let changed = widened::changed(&self.scene, &self.namespace, self.way, both);
        if changed.lost {
            return None;
        }
        let asked: PortSet = [PortRange::one(self.question.protocol, self.question.port)]
            .into_iter()
            .collect();
        let (own, others) = (self.workloads(self.own), self.others());
        let beyond = changed
            .gained
            .into_iter()
            .filter_map(|((owner, other), gained)| {
                let meant = own.contains(&owner) && others.contains(&other);
                let beyond = if meant {
                    gained.difference(&asked)
                } else {
                    gained
                };
                (!beyond.is_empty()).then_some(((owner, other), beyond))
            });
        Some(beyond.collect())
    }

    fn workloads(&self, spots: &[Spot]) -> BTreeSet<WorkloadName> {
        let workload = |spot: &Spot| match &spot.who {
            Who::Pod(id) => Some(self.scene.world.pod(*id).workload.clone()),
            Who::Node(_) | Who::Outside => None,
        };
        spots.iter().filter_map(workload).collect()
    }

    fn nets(&self) -> BTreeSet<IpNet> {
        let outside = self
            .other
            .iter()
            .filter(|spot| !matches!(spot.who, Who::Pod(_)));
        outside.map(|spot| IpNet::from(spot.address)).collect()
    }

    fn others(&self) -> BTreeSet<Other> {
        let workloads = self.workloads(self.other).into_iter().map(Other::Workload);
        workloads
            .chain(self.nets().into_iter().map(Other::Net))
            .collect()
    }

    /// The other ends as peers of a rule; `None` if one of them has no address and is no pod.
    fn peers(&self) -> Option<Vec<NetworkPolicyPeer>> {
        let pods = self.workloads(self.other).into_iter().map(|workload| {
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
        let nets = self.nets();
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

    fn port(&self) -> NetworkPolicyPort {
        NetworkPolicyPort {
            protocol: Some(self.question.protocol.name().to_owned()),
            port: Some(IntOrString::Int(self.question.port.into())),
            end_port: None,
        }
    }

    /// Every change that may do.
    fn candidates(&self) -> Vec<Candidate> {
        let hindering = self.hindering();
        let policies: BTreeSet<usize> = hindering.iter().flatten().copied().collect();
        let mut candidates: Vec<Candidate> = Vec::new();
        for number in &policies {
            candidates.extend(self.extended_rules(*number));
            candidates.extend(self.with_rules([*number].into()));
        }
        let firsts: BTreeSet<usize> = hindering
            .iter()
            .filter_map(|each| each.first().copied())
            .collect();
        if firsts.len() > 1 {
            candidates.extend(self.with_rules(firsts));
        }
        let workloads = self.workloads(self.own);
        candidates.extend(
            workloads
                .iter()
                .take(1)
                .map(|workload| self.with_policy(workload)),
        );
        candidates
    }

    /// For each group of own pods that is denied the policies that isolate it, by their numbers.
    fn hindering(&self) -> Vec<Vec<usize>> {
        let (from, to) = self.ends();
        let groups = pairs::alike(from, to);
        let each = groups.iter().map(|pair| {
            let connection = self.connection(pair.client, pair.server);
            let policies = self.scene.policies.iter().enumerate();
            let isolating =
                policies.filter(|(_, policy)| isolates(&self.scene, policy, &connection, self.way));
            isolating.map(|(number, _)| number).collect()
        });
        each.collect()
    }

    fn ends(&self) -> BothEnds<'_> {
        match self.way {
            Way::Egress => (self.own, self.other),
            Way::Ingress => (self.other, self.own),
        }
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

    /// A policy with a port or a peer more in one of its rules.
    fn extended_rules(&self, number: usize) -> Vec<Candidate> {
        let policy = &self.scene.policies[number];
        let (from, to) = self.ends();
        let Some(pair) = pairs::alike(from, to).into_iter().next() else {
            return Vec::new();
        };
        let connection = self.connection(pair.client, pair.server);
        let rules = misses::rules(policy, self.way).into_iter().enumerate();
        let candidates = rules.filter_map(|(at, rule)| {
            let misses = misses::of_rule(&self.scene, policy, &rule, &connection, self.way);
            let of_port = |part: Part| part == Part::Port || part == Part::Protocol;
            let ports = misses.iter().filter(|miss| of_port(miss.part)).count();
            match (ports, misses.len() - ports) {
                (1.., 0) => Some(self.with_port(number, at)),
                (0, 1..) => Some(self.with_peers(number, at)),
                _ => None,
            }
        });
        candidates.take(TRIED).collect()
    }

    fn with_port(&self, number: usize, rule: usize) -> Candidate {
        let port = self.port();
        let entry = json!([port]);
        self.edited(number, (rule, "ports"), entry, 0, |spec| match self.way {
            Way::Ingress => push(&mut spec.ingress, rule, |rule| &mut rule.ports, vec![port]),
            Way::Egress => push(&mut spec.egress, rule, |rule| &mut rule.ports, vec![port]),
        })
    }

    fn with_peers(&self, number: usize, rule: usize) -> Candidate {
        let peers = self.peers.clone();
        let list = match self.way {
            Way::Ingress => "from",
            Way::Egress => "to",
        };
        let entry = json!(peers);
        self.edited(number, (rule, list), entry, 1, |spec| match self.way {
            Way::Ingress => push(&mut spec.ingress, rule, |rule| &mut rule.from, peers),
            Way::Egress => push(&mut spec.egress, rule, |rule| &mut rule.to, peers),
        })
    }

    /// A policy with more entries in a list of one of its rules.
    fn edited(
        &self,
        number: usize,
        (rule, list): (usize, &str),
        entry: Value,
        size: usize,
        edit: impl FnOnce(&mut NetworkPolicySpec),
    ) -> Candidate {
        let mut policies = self.scene.policies.to_vec();
        edit(policies[number].spec.get_or_insert_default());
        let name = words::name(&policies[number]);
        let way = words::way(self.way);
        Candidate {
            policies,
            steps: vec![Step {
                what: format!("to spec.{way}[{rule}].{list} of NetworkPolicy {name} add"),
                yaml: emit::fragment(&entry),
            }],
            size,
        }
    }

    /// Some policies, each with a rule more.
    fn with_rules(&self, numbers: BTreeSet<usize>) -> Option<Candidate> {
        let mut policies = self.scene.policies.to_vec();
        let mut steps = Vec::new();
        let way = words::way(self.way);
        let size = 1 + numbers.len();
        for number in numbers {
            let policy = policies.get_mut(number)?;
            let rule = self.add_rule(policy.spec.get_or_insert_default());
            let name = words::name(policy);
            steps.push(Step {
                what: format!("to spec.{way} of NetworkPolicy {name} add"),
                yaml: emit::fragment(&json!([rule])),
            });
        }
        Some(Candidate {
            policies,
            steps,
            size,
        })
    }

    /// Adds the rule that allows exactly what is asked, and gives it back.
    fn add_rule(&self, spec: &mut NetworkPolicySpec) -> Value {
        let (peers, ports) = (Some(self.peers.clone()), Some(vec![self.port()]));
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

    /// All policies, and one for a workload.
    fn with_policy(&self, workload: &WorkloadName) -> Candidate {
        let word = match self.way {
            Way::Ingress => "Ingress",
            Way::Egress => "Egress",
        };
        let mut spec = NetworkPolicySpec {
            pod_selector: Some(selector(&self.scene, workload)),
            policy_types: Some(vec![word.to_owned()]),
            ..NetworkPolicySpec::default()
        };
        self.add_rule(&mut spec);
        let policy = NetworkPolicy {
            metadata: ObjectMeta {
                namespace: Some(workload.namespace.clone()),
                name: Some(self.free_name(workload)),
                ..ObjectMeta::default()
            },
            spec: Some(spec),
        };
        let step = Step {
            what: format!("add NetworkPolicy {}", words::name(&policy)),
            yaml: emit::fragment(&json!(policy)),
        };
        let mut policies = self.scene.policies.to_vec();
        policies.push(policy);
        Candidate {
            policies,
            steps: vec![step],
            size: 3,
        }
    }

    /// A name that no policy of the namespace has.
    fn free_name(&self, workload: &WorkloadName) -> String {
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
            self.scene
                .policies
                .iter()
                .any(|policy| words::name(policy) == full)
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
    for (key, values) in lasting.0 {
        match (values.len(), values.first()) {
            (1, Some(value)) => drop(labels.insert(key, value.clone())),
            _ => expressions.push(LabelSelectorRequirement {
                key,
                operator: "In".to_owned(),
                values: Some(values.into_iter().collect()),
            }),
        }
    }
    LabelSelector {
        match_labels: Some(labels),
        match_expressions: (!expressions.is_empty()).then_some(expressions),
    }
}

/// What a change allows besides, in words.
fn said(way: Way, extra: &BTreeMap<(WorkloadName, Other), PortSet>) -> Vec<String> {
    let preposition = match way {
        Way::Ingress => "from",
        Way::Egress => "to",
    };
    let each = extra.iter().take(LISTED).map(|((owner, other), ports)| {
        let other = match other {
            Other::Workload(name) => name.to_string(),
            Other::Net(net) => net.to_string(),
        };
        format!(
            "{} of {owner} {preposition} {other}: {ports}",
            words::way(way)
        )
    });
    let mut all: Vec<String> = each.collect();
    if let Some(more @ 1..) = extra.len().checked_sub(LISTED) {
        all.push(format!("and {more} more"));
    }
    all
}
