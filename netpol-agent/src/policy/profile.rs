//! What a network plugin does not enforce as the specification says, in a policy that is written already.
//!
//! - Without support for `endPort` (see [`Plugin::port_ranges_since`](super::options::Plugin::port_ranges_since))
//!   ranges are written port by port, or told where they are too long.
//! - Cilium's `ipBlock` matches no node and no API server, unless it runs with `policy-cidr-match-mode=nodes`
//!   (cilium#20550, #27464); what names them by what they are is its own format.
//! - Amazon's agent keeps at most 24 entries of ports for each address and drops the rest (aws-network-policy-agent,
//!   `MAX_PORT_PROTOCOL` in `pkg/ebpf/c`), and its controller looks a service's port up for the first port of a range
//!   only (amazon-network-policy-controller-k8s, `getMatchingServicePort`).

use std::collections::BTreeMap;

use super::finding::{Finding, Unenforced};
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
    unenforced.into_iter().map(finding).collect()
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
