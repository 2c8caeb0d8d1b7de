//! An end of a flow as both forms of the evaluator know it.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::identity::{Host, objects};
use crate::policy::evaluate::{Compiled, End, Place, Pod, PodId, World};

/// Whoever stands at an end, at one address.
#[derive(Clone, Debug)]
pub(super) struct Standing<'a> {
    who: Who<'a>,
    pub(super) address: IpAddr,
    /// Where it is in the tables, unless it is a pod that is there no more.
    pub(super) place: Option<Place>,
    /// Whether it stands for a workload that may have more than one pod.
    of_workload: bool,
}

#[derive(Clone, Debug)]
enum Who<'a> {
    Pod(Cow<'a, Pod>),
    Node(String),
    Outside,
}

impl<'a> Standing<'a> {
    /// Everybody that a host may be, at every address that it may have.
    pub(super) fn of(host: Host<'_>, world: &'a World, compiled: &Compiled) -> Vec<Self> {
        match host {
            Host::Node(name, address) => vec![Self {
                place: Some(compiled.node(&name, address)),
                who: Who::Node(name),
                address,
                of_workload: false,
            }],
            Host::Outside(address) => vec![Self {
                who: Who::Outside,
                address,
                place: Some(compiled.outside(address)),
                of_workload: false,
            }],
            Host::Workload(name) => {
                let (pods, many) = (world.pods_of(&name), name.kind != "Pod");
                pods.flat_map(|id| Self::member(id, None, many, world, compiled))
                    .collect()
            }
            Host::Pod(pod, address) => match world.named(&(&pod.name).into()) {
                Some(id) if is_same(&world.pod(id).pod, pod) => {
                    Self::member(id, address, false, world, compiled)
                }
                _ => gone(pod, address),
            },
        }
    }

    fn member(
        id: PodId,
        address: Option<IpAddr>,
        of_workload: bool,
        world: &'a World,
        compiled: &Compiled,
    ) -> Vec<Self> {
        let places = compiled.places(id).iter();
        let pod = &world.pod(id).pod;
        let standing = |at: IpAddr, place: Option<Place>| Self {
            who: Who::Pod(Cow::Borrowed(pod)),
            address: at,
            place,
            of_workload,
        };
        let Some(address) = address else {
            return places
                .map(|(at, place)| standing(*at, Some(*place)))
                .collect();
        };
        let place = places.clone().find(|(at, _)| *at == address);
        vec![standing(address, place.map(|(_, place)| *place))]
    }

    /// Whether both are at addresses of one family.
    pub(super) fn meets(&self, other: &Self) -> bool {
        self.address.is_ipv4() == other.address.is_ipv4()
    }

    /// Whether both are one pod of a workload, where the flow may have been between two of the workload's pods.
    pub(super) fn may_be_two(&self, other: &Self) -> bool {
        match (&self.who, &other.who) {
            (Who::Pod(one), Who::Pod(another)) => {
                self.of_workload && other.of_workload && one.name == another.name
            }
            _ => false,
        }
    }

    pub(super) fn end(&self) -> End<'_> {
        match &self.who {
            Who::Pod(pod) => End::Pod(pod),
            Who::Node(name) => End::Node(name),
            Who::Outside => End::Outside,
        }
    }

    /// What messages call it.
    pub(super) fn name(&self) -> String {
        match &self.who {
            Who::Pod(pod) => pod.name.to_string(),
            Who::Node(name) => format!("node {name}"),
            Who::Outside => self.address.to_string(),
        }
    }
}

/// Whether a pod that is there is the one that was seen, or at least looks the same to policies.
fn is_same(present: &Pod, seen: &objects::Pod) -> bool {
    present.labels == *seen.labels && present.node == seen.node && !seen.terminal
}

/// A pod that is there no more, or has other addresses now.
fn gone<'a>(pod: &objects::Pod, address: Option<IpAddr>) -> Vec<Standing<'a>> {
    let ports = pod.named_ports.iter();
    let known = Pod {
        name: (&pod.name).into(),
        labels: (*pod.labels).clone(),
        node: pod.node.clone(),
        host_network: pod.host_network,
        named_ports: ports
            .map(|port| (port.name.clone(), port.protocol, port.port))
            .collect(),
    };
    let addresses = match address {
        Some(address) => vec![address],
        None if pod.ips.is_empty() => {
            vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
        }
        None => pod.ips.clone(),
    };
    let standing = |address| Standing {
        who: Who::Pod(Cow::Owned(known.clone())),
        address,
        place: None,
        of_workload: false,
    };
    addresses.into_iter().map(standing).collect()
}
