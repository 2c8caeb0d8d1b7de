//! The ends of a question: from what a person wrote to pods, nodes and addresses.

use std::collections::BTreeSet;
use std::net::IpAddr;

use netpol_common::names::{ObjectName, WorkloadName};

use super::{Scene, services};
use crate::policy::Cluster;
use crate::policy::evaluate::{Compiled, End, Place, PodId, World};

/// What the API server is called.
const API_SERVER: &str = "kube-apiserver";
/// How many names a message lists.
const LISTED: usize = 5;

/// One end of a question.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ends {
    /// Every pod of a workload.
    Workload(WorkloadName),
    /// One pod, at all its addresses or at one.
    Pod(ObjectName, Option<IpAddr>),
    /// The pods behind a service.
    Service(ObjectName, Vec<PodId>),
    /// A node, and what uses its network, at all its addresses or at one.
    Node(String, Option<IpAddr>),
    /// The addresses of the API server.
    ApiServer(BTreeSet<IpAddr>),
    /// An address at which there is neither a pod nor a node.
    Address(IpAddr),
}

/// An end that is not there.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnknownEnd {
    /// It is no name and no address.
    #[error(
        "{0:?} is none of namespace/Kind/name, namespace/name, node/NAME, kube-apiserver and an IP address"
    )]
    Form(String),
    /// Nothing is called so.
    #[error("{name:?} is not in the inventory: {hint}")]
    Absent {
        /// What was asked for.
        name: String,
        /// What there is instead.
        hint: String,
    },
    /// A service behind which there is nobody.
    #[error("behind the service {service} there is no pod: {hint}")]
    NoPods {
        /// The service.
        service: ObjectName,
        /// Why.
        hint: &'static str,
    },
    /// A port that a service has not.
    #[error("the service {service} has no port {asked}: it has {}", ports.join(", "))]
    NoPort {
        /// The service.
        service: ObjectName,
        /// What was asked for.
        asked: String,
        /// What it has.
        ports: Vec<String>,
    },
    /// A named target port that is no single number.
    #[error(
        "the target port {target:?} of the service {service} is {} at its pods: ask for one of them",
        several(numbers)
    )]
    Targets {
        /// The service.
        service: ObjectName,
        /// The name of the target port.
        target: String,
        /// What it is at its pods.
        numbers: Vec<u16>,
    },
    /// Several are called so.
    #[error("{name:?} is the name of {}: say which", candidates.join(" and of "))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// Their full names.
        candidates: Vec<String>,
    },
}

/// An end at one of its addresses.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub(super) who: Who,
    /// The unspecified address of a family, if it is not known.
    pub(super) address: IpAddr,
    pub(super) place: Place,
}

/// Who is at a [`Spot`].
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Who {
    Pod(PodId),
    Node(String),
    Outside,
}

impl Ends {
    /// Finds out what a person means by `namespace/Kind/name` (the kind may be `Service`), `namespace/name`,
    /// `node/name`, `kube-apiserver` or an address.
    ///
    /// # Errors
    /// What is not there, or not one thing only.
    pub fn find(text: &str, world: &World, cluster: &Cluster) -> Result<Self, UnknownEnd> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::of_address(address.to_canonical(), world));
        }
        if text == API_SERVER && cluster.api_server.is_empty() {
            return Err(UnknownEnd::Absent {
                name: text.to_owned(),
                hint: "the service default/kubernetes has no endpoints there".to_owned(),
            });
        }
        if text == API_SERVER {
            return Ok(Self::ApiServer(cluster.api_server.clone()));
        }
        if let Ok(name) = text.parse::<WorkloadName>() {
            let service = ObjectName::new(&name.namespace, &name.name);
            return match name.kind == services::KIND {
                true => services::find(&service, world, cluster),
                false => Self::of_workload(name, world),
            };
        }
        let node = text.strip_prefix("node/").or(text.strip_prefix("node "));
        match (text.parse::<ObjectName>(), node) {
            (_, Some(node)) if world.nodes().contains_key(node) => {
                Ok(Self::Node(node.to_owned(), None))
            }
            (Ok(name), _) => Self::of_name(name, world, cluster),
            (Err(_), _) => Err(UnknownEnd::Form(text.to_owned())),
        }
    }

    /// What the answer calls it.
    #[must_use]
    pub fn title(&self) -> String {
        match self {
            Self::Workload(name) => name.to_string(),
            Self::Pod(name, None) => name.to_string(),
            Self::Pod(name, Some(address)) => format!("{address} ({name})"),
            Self::Service(name, _) => format!("service {name}"),
            Self::Node(name, None) => format!("node {name}"),
            Self::Node(name, Some(address)) => format!("{address} (node {name})"),
            Self::ApiServer(_) => API_SERVER.to_owned(),
            Self::Address(address) => address.to_string(),
        }
    }

    /// Who has an address.
    pub(super) fn of_address(address: IpAddr, world: &World) -> Self {
        let pods = world.at(address).iter().map(|id| world.pod(*id));
        let mut pods = pods.filter(|member| !member.pod.host_network);
        if let Some(member) = pods.next() {
            return Self::Pod(member.pod.name.clone(), Some(address));
        }
        let mut nodes = world.nodes().iter();
        match nodes.find(|(_, addresses)| addresses.contains(&address)) {
            Some((name, _)) => Self::Node(name.clone(), Some(address)),
            None => Self::Address(address),
        }
    }

    fn of_workload(name: WorkloadName, world: &World) -> Result<Self, UnknownEnd> {
        if world.pods_of(&name).next().is_some() {
            return Ok(Self::Workload(name));
        }
        let pod = ObjectName::new(&name.namespace, &name.name);
        if name.kind == "Pod" && world.named(&pod).is_some() {
            return Ok(Self::Pod(pod, None));
        }
        Err(absent(
            &name.to_string(),
            &name.namespace,
            &name.name,
            world,
        ))
    }

    fn of_name(name: ObjectName, world: &World, cluster: &Cluster) -> Result<Self, UnknownEnd> {
        let named = world.workloads().map(|(workload, _)| workload);
        let same = |workload: &&WorkloadName| {
            (&workload.namespace, &workload.name) == (&name.namespace, &name.name)
        };
        let workloads: Vec<&WorkloadName> = named.filter(same).collect();
        let pod = world.named(&name).map(|id| &world.pod(id).workload);
        let pod = pod.filter(|workload| !workloads.contains(workload));
        match (pod, &workloads[..]) {
            (Some(_), []) => Ok(Self::Pod(name, None)),
            (None, [workload]) => Ok(Self::Workload((*workload).clone())),
            (None, []) if cluster.services.iter().any(|known| known.name == name) => {
                services::find(&name, world, cluster)
            }
            (None, []) => Err(absent(
                &name.to_string(),
                &name.namespace,
                &name.name,
                world,
            )),
            (pod, workloads) => {
                let pod = pod.map(|_| format!("{}/Pod/{}", name.namespace, name.name));
                let workloads = workloads.iter().map(ToString::to_string);
                Err(UnknownEnd::Ambiguous {
                    name: name.to_string(),
                    candidates: workloads.chain(pod).collect(),
                })
            }
        }
    }

    /// Everyone that it stands for, at each address.
    pub(super) fn spots(&self, scene: &Scene<'_>, compiled: &Compiled) -> Vec<Spot> {
        match self {
            Self::Workload(name) => {
                let pods = scene.world.pods_of(name);
                pods.flat_map(|id| of_pod(scene, compiled, id)).collect()
            }
            Self::Pod(name, address) => {
                let id = scene.world.named(name);
                let spots = id.map(|id| of_pod(scene, compiled, id)).unwrap_or_default();
                let wanted = |spot: &Spot| address.is_none_or(|address| spot.address == address);
                spots.into_iter().filter(wanted).collect()
            }
            Self::Service(_, pods) => {
                let pods = pods.iter();
                pods.flat_map(|id| of_pod(scene, compiled, *id)).collect()
            }
            Self::Node(name, address) => {
                let all = scene.world.nodes().get(name).into_iter().flatten().copied();
                let wanted = all.filter(|own| address.is_none_or(|address| address == *own));
                let spot = |address| Spot {
                    who: Who::Node(name.clone()),
                    address,
                    place: compiled.node(name, address),
                };
                wanted.map(spot).collect()
            }
            Self::ApiServer(addresses) => {
                let each = addresses.iter();
                let ends = each.map(|address| Self::of_address(*address, scene.world));
                ends.flat_map(|end| end.spots(scene, compiled)).collect()
            }
            Self::Address(address) => vec![Spot {
                who: Who::Outside,
                address: *address,
                place: compiled.outside(*address),
            }],
        }
    }
}

fn of_pod(scene: &Scene<'_>, compiled: &Compiled, id: PodId) -> Vec<Spot> {
    let pod = &scene.world.pod(id).pod;
    let as_node = pod.host_network && scene.reading.host_network_is_node;
    let who = match pod.node.clone().filter(|_| as_node) {
        Some(node) => Who::Node(node),
        None if as_node => Who::Outside,
        None => Who::Pod(id),
    };
    let spot = |(address, place): &(IpAddr, Place)| Spot {
        who: who.clone(),
        address: *address,
        place: *place,
    };
    compiled.places(id).iter().map(spot).collect()
}

impl Spot {
    /// It as the evaluator takes it.
    pub(super) fn end<'w>(&'w self, world: &'w World) -> End<'w> {
        match &self.who {
            Who::Pod(id) => End::Pod(&world.pod(*id).pod),
            Who::Node(name) => End::Node(name),
            Who::Outside => End::Outside,
        }
    }

    /// What the answer calls it.
    pub(super) fn name(&self, world: &World) -> String {
        match &self.who {
            Who::Pod(id) => {
                let member = world.pod(*id);
                let note = if member.stand_in {
                    " (has no pods now)"
                } else {
                    ""
                };
                format!("{}{note}", member.pod.name)
            }
            Who::Node(name) => format!("node {name}"),
            Who::Outside if self.address.is_unspecified() => "a node that is not known".to_owned(),
            Who::Outside => self.address.to_string(),
        }
    }

    /// The family of its address.
    pub(super) fn family(&self) -> &'static str {
        match self.address.is_ipv4() {
            true => "IPv4",
            false => "IPv6",
        }
    }

    /// Whether both speak the same family.
    pub(super) fn speaks_with(&self, other: &Self) -> bool {
        self.address.is_ipv4() == other.address.is_ipv4()
    }
}

fn several(numbers: &[u16]) -> String {
    match numbers {
        [] => "no number".to_owned(),
        numbers => {
            let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            numbers.join(" or ")
        }
    }
}

/// Says what there is of that name elsewhere, or what else is in that namespace.
fn absent(text: &str, namespace: &str, name: &str, world: &World) -> UnknownEnd {
    let all: Vec<&WorkloadName> = world.workloads().map(|(workload, _)| workload).collect();
    let called = all.iter().filter(|workload| workload.name == name);
    let beside = all
        .iter()
        .filter(|workload| workload.namespace == namespace);
    let called: Vec<String> = called.take(LISTED).map(ToString::to_string).collect();
    let beside: Vec<String> = beside.take(LISTED).map(ToString::to_string).collect();
    let hint = match (&called[..], &beside[..]) {
        ([], []) => format!("the namespace {namespace:?} has no workload"),
        ([], beside) => format!(
            "in that namespace there are for example {}",
            beside.join(", ")
        ),
        (called, _) => format!("there is {}", called.join(", ")),
    };
    UnknownEnd::Absent {
        name: text.to_owned(),
        hint,
    }
}
