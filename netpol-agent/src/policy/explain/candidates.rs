//! The changes that may allow a connection, none of them tried yet.

use std::collections::BTreeSet;

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

use super::change::{BothEnds, Candidate, Side, Step};
use super::ends::Spot;
use super::misses::{self, Part};
use super::{Scene, isolates, pairs, words};
use crate::identity::objects::Labels;
use crate::policy::emit;
use crate::policy::emit::kubernetes::NAMESPACE_NAME;
use crate::policy::evaluate::{Connection, Way};
use crate::policy::selectors::Selectors;

/// How many rules of each kind are tried.
const TRIED: usize = 8;

impl Side<'_> {
    /// The other ends as peers of a rule; `None` if one of them has no address and is no pod.
    pub(super) fn peers(&self) -> Option<Vec<NetworkPolicyPeer>> {
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
    pub(super) fn candidates(&self) -> Vec<Candidate> {
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

    pub(super) fn ends(&self) -> BothEnds<'_> {
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
