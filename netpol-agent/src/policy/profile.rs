//! What a network plugin does not enforce as the specification says, in a policy that is written already.
//!
//! - Without support for `endPort` (see [`Plugin::port_ranges_since`](super::options::Plugin::port_ranges_since))
//!   ranges are written port by port, or told where they are too long.
//! - Cilium's `ipBlock` matches no node and no API server, unless it runs with `policy-cidr-match-mode=nodes`
//!   (cilium#20550, #27464); what names them by what they are is its own format. Labels that it [ignores](super::ignored)
//!   select nothing there, in whatever format.
//! - Amazon's agent keeps at most 24 entries of ports for each address and drops the rest (aws-network-policy-agent,
//!   `MAX_PORT_PROTOCOL` in `pkg/ebpf/c`), and its controller looks a service's port up for the first port of a range
//!   only (amazon-network-policy-controller-k8s, `getMatchingServicePort`).

use std::collections::BTreeMap;

use super::finding::{Finding, Unenforced};
use super::ignored;
use super::model::{Direction, Policy, PolicyPeer, PortSpec, Rule};
use super::options::{Cni, Plugin};

/// How many ports one by one stand for ranges at most, in one rule.
const MOST_SINGLE: usize = 128;
/// How many entries of ports Amazon's agent keeps for an address.
const MOST_OF_AWS: usize = 24;

/// Writes a policy as its network plugin can enforce it, and says what of it cannot be.
pub(super) fn fit(policy: &mut Policy, cni: Cni) -> Vec<Finding> {
    let mut unenforced: Vec<(Direction, Unenforced)> = Vec::new();
    for direction in Direction::ALL {
        let rules = match direction {
            Direction::Ingress => &mut policy.ingress,
            Direction::Egress => &mut policy.egress,
        };
        let by_port = !cni.has_port_ranges();
        let by_service = cni.plugin == Plugin::Aws && direction == Direction::Egress;
        if by_port || by_service {
            let most = if by_port { MOST_SINGLE } else { MOST_OF_AWS };
            for rule in rules.iter_mut() {
                let ranges = spread(rule, most).into_iter();
                unenforced.extend(ranges.map(|range| (direction, Unenforced::PortRange(range))));
            }
        }
        if cni.plugin == Plugin::Aws {
            let crowded = crowded(rules).into_iter();
            unenforced.extend(crowded.map(|entries| (direction, Unenforced::PortEntries(entries))));
        }
    }
    if cni.plugin == Plugin::Cilium {
        let entities = policy.entities.iter().map(|rule| {
            let what = Unenforced::Entities(rule.entities.clone(), rule.ports.clone());
            (rule.direction, what)
        });
        unenforced.extend(entities);
    }
    let workload = &policy.workload;
    let finding = |(direction, what)| Finding::Unenforceable {
        workload: workload.clone(),
        direction,
        plugin: cni,
        what,
    };
    let unenforced = unenforced.into_iter().map(finding);
    let ignored = (cni.plugin == Plugin::Cilium).then(|| ignored::by_cilium(policy));
    unenforced.chain(ignored.into_iter().flatten()).collect()
}

/// Writes ranges port by port, if that makes at most `most` entries; else tells them.
fn spread(rule: &mut Rule, most: usize) -> Vec<PortSpec> {
    let size = |spec: &PortSpec| usize::from(spec.last() - spec.port) + 1;
    let ranges = rule.ports.iter().filter(|spec| spec.end_port.is_some());
    let ranges: Vec<PortSpec> = ranges.copied().collect();
    if ranges.is_empty() {
        return ranges;
    }
    if rule.ports.iter().map(size).sum::<usize>() > most {
        return ranges;
    }
    let single = rule.ports.iter().flat_map(|spec| {
        (spec.port..=spec.last()).map(|port| PortSpec {
            port,
            end_port: None,
            ..*spec
        })
    });
    rule.ports = single.collect();
    Vec::new()
}

/// The numbers of entries of ports that are too many for one peer.
fn crowded(rules: &[Rule]) -> Vec<usize> {
    let mut entries: BTreeMap<&PolicyPeer, usize> = BTreeMap::new();
    for rule in rules {
        for peer in &rule.peers {
            *entries.entry(peer).or_default() += rule.ports.len();
        }
    }
    let over = entries.into_values().filter(|number| *number > MOST_OF_AWS);
    over.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use netpol_common::names::WorkloadName;
    use netpol_common::words::Protocol;
    use proptest::prelude::*;

    use super::*;
    use crate::policy::model::{Entity, EntityRule, Selector};
    use crate::policy::ports::Ports;

    fn spec(port: u16, end_port: Option<u16>) -> PortSpec {
        PortSpec {
            protocol: Protocol::Tcp,
            port,
            end_port,
        }
    }

    fn rule(peer: &str, ports: &[PortSpec]) -> Rule {
        Rule {
            peers: vec![PolicyPeer::Block(peer.parse().unwrap())],
            ports: ports.to_vec(),
            evidence: Vec::new(),
        }
    }

    fn policy(ingress: &[Rule], egress: &[Rule]) -> Policy {
        Policy {
            workload: WorkloadName::new("shop", "Deployment", "web"),
            name: "web-deployment".to_owned(),
            subject: Selector::default(),
            ingress: ingress.to_vec(),
            egress: egress.to_vec(),
            entities: Vec::new(),
            already: BTreeMap::new(),
            coverage: None,
        }
    }

    /// What is said of a policy, and the ports of its ingress and of its egress.
    fn fitted(cni: &str, mut policy: Policy) -> (Vec<(Direction, Unenforced)>, [Vec<String>; 2]) {
        let cni: Cni = cni.parse().unwrap();
        let said = fit(&mut policy, cni)
            .into_iter()
            .map(|finding| match finding {
                Finding::Unenforceable {
                    workload,
                    direction,
                    plugin,
                    what,
                } => {
                    assert_eq!((&workload, plugin), (&policy.workload, cni));
                    (direction, what)
                }
                other => panic!("{other:?}"),
            });
        let said = said.collect();
        let written = |rules: &[Rule]| -> Vec<String> {
            let ports = rules.iter().flat_map(|rule| &rule.ports);
            ports.map(ToString::to_string).collect()
        };
        (said, [written(&policy.ingress), written(&policy.egress)])
    }

    const HOST: &str = "192.0.2.1/32";

    fn any_rules() -> impl Strategy<Value = Vec<Rule>> {
        let protocol = prop::sample::select(&Protocol::ALL[..]);
        let length = prop_oneof![2 => Just(0u16), 3 => 1u16..30, 1 => 30u16..200];
        let spec = (protocol, 1u16..400, length).prop_map(|(protocol, port, length)| PortSpec {
            protocol,
            port,
            end_port: (length > 0).then_some(port + length),
        });
        let ports = prop::collection::vec(spec, 1..6);
        prop::collection::vec(ports.prop_map(|ports| rule(HOST, &ports)), 0..4)
    }

    /// What each of some rules allows.
    fn meant(rules: &[Rule]) -> Vec<(Vec<PolicyPeer>, Ports)> {
        let ports = |rule: &Rule| {
            let ports = rule.ports.iter();
            let each = |spec: &PortSpec| {
                let protocol = spec.protocol;
                (spec.port..=spec.last()).map(move |port| (protocol, port))
            };
            ports.flat_map(each).collect()
        };
        let rules = rules.iter();
        rules
            .map(|rule| (rule.peers.clone(), ports(rule)))
            .collect()
    }

    proptest! {
        /// A policy that is fitted to a network plugin means the same as before.
        #[test]
        fn fitted_rules_mean_the_same(ingress in any_rules(), egress in any_rules()) {
            for cni in ["generic", "cilium=1.15", "calico=3.19", "aws"] {
                let mut fitted = policy(&ingress, &egress);
                fit(&mut fitted, cni.parse().unwrap());
                prop_assert_eq!(meant(&fitted.ingress), meant(&ingress), "{}", cni);
                prop_assert_eq!(meant(&fitted.egress), meant(&egress), "{}", cni);
            }
        }
    }

    #[test]
    fn ranges_are_written_port_by_port_where_the_plugin_has_none() {
        let mixed = [rule(HOST, &[spec(10, None), spec(20, Some(22))])];
        let whole = vec!["TCP 10".to_owned(), "TCP 20-22".to_owned()];
        let single: Vec<String> = [10, 20, 21, 22].map(|port| format!("TCP {port}")).into();
        let old = fitted("cilium=1.15", policy(&mixed, &mixed));
        assert_eq!(old, (vec![], [single.clone(), single.clone()]));
        for cni in ["generic", "cilium=1.16", "calico"] {
            let new = fitted(cni, policy(&mixed, &mixed));
            assert_eq!(new, (vec![], [whole.clone(), whole.clone()]), "{cni}");
        }
        let aws = fitted("aws", policy(&mixed, &mixed));
        assert_eq!(aws, (vec![], [whole, single]));
    }

    #[test]
    fn ranges_that_are_too_long_stay_and_are_told() {
        let of = |last: u16| {
            let long = spec(1000, Some(last));
            let (said, [ports, _]) = fitted(
                "calico=3.19",
                policy(&[rule(HOST, &[spec(10, None), long])], &[]),
            );
            (said, ports.len(), long)
        };
        assert_eq!(of(1126).0, []);
        assert_eq!(of(1126).1, 128);
        let (said, entries, long) = of(1127);
        assert_eq!(said, [(Direction::Ingress, Unenforced::PortRange(long))]);
        assert_eq!(entries, 2);
        let many: Vec<PortSpec> = (0..200).map(|port| spec(2 * port + 1, None)).collect();
        let (said, [ports, _]) = fitted("calico=3.19", policy(&[rule(HOST, &many)], &[]));
        assert_eq!((said, ports.len()), (vec![], 200));
    }

    #[test]
    fn what_amazons_agent_drops_is_told() {
        let ports = |first: u16, number: u16| -> Vec<PortSpec> {
            let all = (0..number).map(|place| spec(first + 2 * place, None));
            all.collect()
        };
        let other = rule("192.0.2.2/32", &ports(1, 24));
        let both = [rule(HOST, &ports(1, 20)), rule(HOST, &ports(101, 5)), other];
        let entries = (Direction::Ingress, Unenforced::PortEntries(25));
        assert_eq!(fitted("aws", policy(&both, &[])).0, [entries]);
        assert_eq!(fitted("generic", policy(&both, &both)).0, []);
        let long = spec(1000, Some(1024));
        let range = (Direction::Egress, Unenforced::PortRange(long));
        assert_eq!(
            fitted("aws", policy(&[], &[rule(HOST, &[long])])).0,
            [range]
        );
    }

    /// Labels that Cilium ignores are told in every format, for the policy's own pods and for its peers.
    #[test]
    fn labels_that_cilium_ignores_are_told() {
        let selector = |key: &str| Selector::default().with(key, ["x"].into_iter().collect());
        let peer = PolicyPeer::Pods {
            namespaces: None,
            pods: selector("beta.kubernetes.io/os"),
        };
        let mut to_peer = rule(HOST, &[spec(80, None)]);
        to_peer.peers = vec![peer];
        let mut subject = policy(&[to_peer.clone()], &[to_peer]);
        subject.subject = selector("kubernetes.io/arch");
        let told = |cni: &str| fit(&mut subject.clone(), cni.parse().unwrap());
        let ignored = |label: &str| Finding::IgnoredLabel {
            workload: subject.workload.clone(),
            label: label.to_owned(),
        };
        let both = [
            ignored("beta.kubernetes.io/os"),
            ignored("kubernetes.io/arch"),
        ];
        assert_eq!(told("cilium"), both);
        assert_eq!(told("generic"), []);
        assert_eq!(told("calico"), []);
    }

    #[test]
    fn nodes_are_told_where_blocks_do_not_match_them() {
        let entities = BTreeSet::from([Entity::RemoteNode]);
        let ports = vec![spec(80, None)];
        let with_node = || Policy {
            entities: vec![EntityRule {
                direction: Direction::Ingress,
                entities: entities.clone(),
                addresses: BTreeSet::new(),
                ports: ports.clone(),
                evidence: Vec::new(),
            }],
            ..policy(&[], &[])
        };
        let told = Unenforced::Entities(entities.clone(), ports.clone());
        assert_eq!(
            fitted("cilium", with_node()).0,
            [(Direction::Ingress, told)]
        );
        assert_eq!(fitted("calico", with_node()).0, []);
    }
}
