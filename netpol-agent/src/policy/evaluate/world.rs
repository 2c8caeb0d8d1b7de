//! The pods, namespaces and nodes that policies are evaluated over.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use netpol_common::names::{ObjectName, WorkloadName};

use super::Pod;
use crate::identity::objects::{self, Labels, NamedPort};
use crate::identity::{Index, WorkloadView};

/// A cluster as policies see it: who is there now, and who would be if a workload without pods had one.
///
/// Pods are numbered in the order of their workloads, then of their names, so equal inventories give equal worlds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct World {
    namespaces: BTreeMap<String, Labels>,
    nodes: BTreeMap<String, BTreeSet<IpAddr>>,
    members: Vec<Member>,
    workloads: Vec<(WorkloadName, Range<u32>)>,
    by_name: BTreeMap<ObjectName, PodId>,
    by_address: BTreeMap<IpAddr, Vec<PodId>>,
}

/// A pod's number within its [`World`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PodId(u32);

/// A pod of a workload.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member {
    /// The pod as policies look at it. A stand-in bears the name `namespace/Kind/name` of its workload, which is no
    /// name that a pod can have.
    pub pod: Pod,
    /// Its addresses; none before it has got any, and none of a stand-in.
    pub addresses: Vec<IpAddr>,
    /// The workload that it belongs to.
    pub workload: WorkloadName,
    /// Whether it stands for the pods that its workload would have: a workload at zero, or a CronJob between runs.
    pub stand_in: bool,
}

impl PodId {
    /// The number, from 0.
    #[must_use]
    pub fn number(self) -> usize {
        self.0 as usize
    }
}

impl World {
    /// What an index knows at present: every pod that is not finished, and a stand-in, made from its template, for
    /// each workload that has none.
    #[must_use]
    pub fn of(index: &Index) -> Self {
        let running = index.pods().filter(|pod| !pod.terminal);
        let running = running.map(|pod| member(pod, index.workload_of(pod)));
        let workloads = index.workloads().into_iter();
        let absent = workloads.filter(|view| view.running == 0 && view.name.kind != "Pod");
        let members = running.chain(absent.map(stand_in)).collect();
        let hosts = index.pods().filter_map(|pod| pod.node.as_ref());
        let nodes = index.nodes().map(|node| &node.name).chain(hosts);
        let nodes: BTreeSet<&String> = nodes.collect();
        let addresses = |name: &String| (name.clone(), index.node_addresses(name));
        let nodes = nodes.into_iter().map(addresses).collect();
        Self::new(index.namespaces(), nodes, members)
    }

    /// A world of these pods. Namespaces that are known only from pods need not be listed.
    #[must_use]
    pub fn new(
        mut namespaces: BTreeMap<String, Labels>,
        nodes: BTreeMap<String, BTreeSet<IpAddr>>,
        mut members: Vec<Member>,
    ) -> Self {
        for member in &members {
            let name = &member.pod.name.namespace;
            if !namespaces.contains_key(name) {
                namespaces.insert(name.clone(), Labels::new());
            }
        }
        members.sort_by(|one, other| {
            let key = |member: &Member| (member.workload.clone(), member.pod.name.clone());
            key(one).cmp(&key(other))
        });
        let mut world = Self {
            namespaces,
            nodes,
            ..Self::default()
        };
        members.into_iter().for_each(|member| world.add(member));
        world
    }

    /// The labels of every namespace by its name.
    #[must_use]
    pub fn namespaces(&self) -> &BTreeMap<String, Labels> {
        &self.namespaces
    }

    /// The addresses of every node by its name.
    #[must_use]
    pub fn nodes(&self) -> &BTreeMap<String, BTreeSet<IpAddr>> {
        &self.nodes
    }

    /// Every pod, stand-ins included.
    pub fn pods(&self) -> impl ExactSizeIterator<Item = (PodId, &Member)> {
        let numbered = self.members.iter().enumerate();
        numbered.map(|(number, member)| (id(number), member))
    }

    /// The pod of that number.
    ///
    /// # Panics
    ///
    /// If the number is of another world.
    #[must_use]
    pub fn pod(&self, id: PodId) -> &Member {
        &self.members[id.number()]
    }

    /// The pod of that name.
    #[must_use]
    pub fn named(&self, name: &ObjectName) -> Option<PodId> {
        self.by_name.get(name).copied()
    }

    /// The pods that have an address: one, or all host-network pods of a node, or none.
    #[must_use]
    pub fn at(&self, address: IpAddr) -> &[PodId] {
        self.by_address.get(&address).map_or(&[], Vec::as_slice)
    }

    /// Every workload in the order of their names, each with its pods.
    pub fn workloads(
        &self,
    ) -> impl ExactSizeIterator<Item = (&WorkloadName, impl Iterator<Item = PodId> + Clone + use<>)>
    {
        let each = self.workloads.iter();
        each.map(|(name, numbers)| (name, numbers.clone().map(PodId)))
    }

    /// The pods of a workload; none if there is no such workload.
    pub fn pods_of(&self, workload: &WorkloadName) -> impl Iterator<Item = PodId> + Clone + use<> {
        let found = self
            .workloads
            .binary_search_by(|(name, _)| name.cmp(workload));
        let numbers = found.map_or(0..0, |at| self.workloads[at].1.clone());
        numbers.map(PodId)
    }

    /// A pod's addresses. Of a pod that has none yet they are not known: the unspecified address of each of the
    /// cluster's [`families`](Self::families) stands for them.
    #[must_use]
    pub fn addresses_of(&self, id: PodId) -> Vec<IpAddr> {
        let known = &self.pod(id).addresses;
        if known.is_empty() {
            return self.families();
        }
        known.clone()
    }

    /// The unspecified address of each family that pods use; where no pod has an address, that nodes use; of IPv4 if
    /// none of them has any.
    #[must_use]
    pub fn families(&self) -> Vec<IpAddr> {
        let nodes = self.nodes.values().flatten();
        let nodes = nodes.filter(|_| self.by_address.is_empty());
        let used: BTreeSet<bool> = self
            .by_address
            .keys()
            .chain(nodes)
            .map(IpAddr::is_ipv6)
            .collect();
        let (v4, v6) = (Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into());
        match (used.contains(&false), used.contains(&true)) {
            (true, true) => vec![v4, v6],
            (false, true) => vec![v6],
            _ => vec![v4],
        }
    }

    fn add(&mut self, member: Member) {
        let id = id(self.members.len());
        match self.workloads.last_mut() {
            Some((name, numbers)) if *name == member.workload => numbers.end = id.0 + 1,
            _ => self
                .workloads
                .push((member.workload.clone(), id.0..id.0 + 1)),
        }
        for address in &member.addresses {
            self.by_address.entry(*address).or_default().push(id);
        }
        self.by_name.insert(member.pod.name.clone(), id);
        self.members.push(member);
    }
}

fn id(number: usize) -> PodId {
    PodId(u32::try_from(number).expect("there are fewer pods than 2^32"))
}

fn member(pod: &objects::Pod, workload: WorkloadName) -> Member {
    Member {
        pod: Pod {
            name: (&pod.name).into(),
            labels: Labels::clone(&pod.labels),
            node: pod.node.clone(),
            host_network: pod.host_network,
            named_ports: ports(&pod.named_ports),
        },
        addresses: pod.ips.clone(),
        workload,
        stand_in: false,
    }
}

fn stand_in(view: WorkloadView) -> Member {
    let name = format!("{}/{}", view.name.kind, view.name.name);
    Member {
        pod: Pod {
            name: ObjectName::new(&view.name.namespace, name),
            labels: view.template_labels,
            node: None,
            host_network: view.host_network,
            named_ports: ports(&view.named_ports),
        },
        addresses: Vec::new(),
        workload: view.name,
        stand_in: true,
    }
}

fn ports(named: &[NamedPort]) -> Vec<(String, netpol_common::words::Protocol, u16)> {
    let port = |port: &NamedPort| (port.name.clone(), port.protocol, port.port);
    named.iter().map(port).collect()
}
