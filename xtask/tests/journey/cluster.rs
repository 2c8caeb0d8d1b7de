//! A cluster: the lab's nodes and pods, and a double of the API server that knows them.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Child;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::runtime::Runtime;
use xtask::build::{Profile, Programs, programs};
use xtask::lab::cni::Plugin;
use xtask::lab::pods::{PodId, PodPlan};
use xtask::lab::process::Server;
use xtask::lab::scenario::cast;
use xtask::lab::state::replace;
use xtask::lab::topology::Node;
use xtask::lab::{Lab, Options};

use crate::double::ApiServer;
use crate::double::auth::Account;
use crate::forward::{self, Tunnels};
use crate::service::{self, Replica};
use crate::traffic::{Edge, Route};

/// Netpol's namespace, and the Deployment and the DaemonSet in it.
pub(crate) const SYSTEM: &str = "netpol-system";
pub(crate) const AGGREGATOR: &str = "netpol-aggregator";
pub(crate) const AGENT: &str = "netpol-agent";
/// Workloads between which connections are opened.
pub(crate) const FRONTEND: &str = "shop/Deployment/frontend";
pub(crate) const WEB: &str = "shop/Deployment/web";
pub(crate) const API: &str = "shop/Deployment/api-v1";
pub(crate) const WORKER: &str = "data/Deployment/worker";

/// The cluster address of the service `shop/web`, whose pods listen on another port.
const WEB_SERVICE: (&str, u16) = ("10.96.1.1", 80);
/// Replicas of the aggregator at most.
pub(crate) const REPLICAS: usize = 2;

/// A cluster without netpol.
pub(crate) struct Cluster {
    pub(crate) api: ApiServer,
    pub(crate) programs: Programs,
    pub(crate) service: SocketAddr,
    pub(crate) runtime: Runtime,
    /// Everything that outlives processes.
    pub(crate) directory: tempfile::TempDir,
    /// What a person runs at the moment, if somebody may kill it.
    pub(crate) person: Mutex<Option<Child>>,
    loopback: [u8; 2],
    pods: Vec<(&'static str, PodId)>,
    // Goes last: processes work in it.
    pub(crate) lab: Lab,
}

impl Cluster {
    /// Brings it up, with pods that may talk.
    pub(crate) fn up(name: &str) -> Self {
        let options = Options {
            name: format!("journey-{name}-{}", std::process::id()),
            plugin: Plugin::Ptp,
            xtask: PathBuf::from(env!("CARGO_BIN_EXE_xtask")),
        };
        let programs = programs(Profile::Debug).unwrap();
        let mut lab = Lab::up(options).unwrap();
        let pods = PODS.map(|(workload, plan)| (workload, lab.start_pod(&plan).unwrap()));
        let runtime = Runtime::new().unwrap();
        let loopback = [fastrand::u8(1..=250), fastrand::u8(1..=250)];
        let replicas = (0..REPLICAS).map(|number| replica(loopback, number));
        let service = service::start(&runtime, replicas.collect());
        let tunnels = Arc::new(Mutex::new(Tunnels {
            to: Some(service),
            ..Tunnels::default()
        }));
        let own = forward::routes(tunnels).merge(forward::groups());
        let text = fs::read_to_string(lab.inventory()).unwrap();
        let api = runtime.block_on(ApiServer::start_with(&text, own));
        let cluster = Self {
            api,
            programs,
            service,
            runtime,
            directory: tempfile::tempdir().unwrap(),
            person: Mutex::default(),
            loopback,
            pods: pods.to_vec(),
            lab,
        };
        cluster.admit_people();
        cluster
    }

    /// Makes tokens known: alice's, who may do everything, and those of netpol's own accounts.
    fn admit_people(&self) {
        self.api.trust("alice");
        let mut world = self.api.world();
        for name in [AGENT, AGGREGATOR] {
            let account = Account::of_service(SYSTEM, name);
            world.tokens.insert(name.to_owned(), account);
        }
        for node in Node::ALL {
            let mut account = Account::of_service(SYSTEM, AGENT);
            account.audiences = vec![AGGREGATOR.to_owned()];
            for (key, value) in [
                ("pod-name", agent_pod(node)),
                ("pod-uid", agent_uid(node)),
                ("node-name", node.name().to_owned()),
            ] {
                let key = format!("authentication.kubernetes.io/{key}");
                account.extra.insert(key, vec![value]);
            }
            world.tokens.insert(agent_uid(node), account);
        }
        drop(world);
        for name in ["alice", AGENT, AGGREGATOR] {
            fs::write(self.kubeconfig(name), self.api.kubeconfig(name)).unwrap();
        }
        for node in Node::ALL {
            fs::write(self.file(&agent_uid(node)), agent_uid(node)).unwrap();
        }
    }

    /// The kubeconfig of whoever has that token.
    pub(crate) fn kubeconfig(&self, token: &str) -> PathBuf {
        self.file(&format!("kubeconfig-{token}"))
    }

    /// A file or directory that outlives processes.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where a replica of the aggregator listens. No other program listens on these addresses of the loopback.
    pub(crate) fn replica(&self, number: usize) -> Replica {
        replica(self.loopback, number)
    }

    /// Where a node's agent serves metrics.
    pub(crate) fn agent_probes(&self, node: Node) -> SocketAddr {
        let [a, b] = self.loopback;
        (Ipv4Addr::new(127, a, b, 20 + node.number()), 9465).into()
    }

    /// Connections of the usual edges, and of one that begins later.
    pub(crate) fn routes(&self, late: bool) -> Vec<Route> {
        let api = self.lab.pod_addresses(self.pods_of(API)[0]).unwrap();
        let service = (WEB_SERVICE.0.parse::<IpAddr>().unwrap(), WEB_SERVICE.1);
        let usual: [(Edge, SocketAddr); 3] = [
            ((FRONTEND, WEB, 8080), service.into()),
            ((FRONTEND, API, 9090), (api[0], 9090).into()),
            ((WORKER, API, 9090), (api[1], 9090).into()),
        ];
        let later = [((WEB, API, 9090), (api[0], 9090).into())];
        let wanted: &[(Edge, SocketAddr)] = if late { &later } else { &usual };
        let each = wanted.iter().flat_map(|(edge, to)| {
            self.pods_of(edge.0).into_iter().map(|pod| Route {
                edge: *edge,
                from: self.lab.pod_namespace(pod).unwrap(),
                to: *to,
            })
        });
        each.collect()
    }

    /// The workload that has an address, of a pod or of a service, if it is one of those that talk.
    pub(crate) fn owner(&self, address: IpAddr) -> Option<&'static str> {
        if WEB_SERVICE.0.parse() == Ok(address) {
            return Some(WEB);
        }
        let has = |pod: &PodId| self.lab.pod_addresses(*pod).unwrap().contains(&address);
        let found = self.pods.iter().find(|(_, pod)| has(pod));
        found.map(|(workload, _)| *workload)
    }

    /// How many of those pods a node has.
    pub(crate) fn pods_on(&self, node: Node) -> usize {
        let own = PODS.iter().filter(|(_, plan)| plan.node == node);
        own.count()
    }

    fn pods_of(&self, workload: &str) -> Vec<PodId> {
        let own = self.pods.iter().filter(|(name, _)| *name == workload);
        own.map(|(_, pod)| *pod).collect()
    }

    /// Where the agents find who vouches for the aggregator, once it has said so.
    pub(crate) fn authority(&self) -> Option<PathBuf> {
        let map = self.api.get("configmaps", SYSTEM, "netpol-ca");
        let text = map["data"]["ca.crt"].as_str()?.to_owned();
        let path = self.file("ca.crt");
        if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            replace(&path, &text).unwrap();
        }
        Some(path)
    }

    /// The proposals of a namespace, by name.
    pub(crate) fn proposals(&self, namespace: &str) -> Vec<(String, Value)> {
        self.named("learnedpolicies", namespace)
    }

    /// Objects of a namespace, by name.
    pub(crate) fn named(&self, plural: &str, namespace: &str) -> Vec<(String, Value)> {
        let all = self.api.all(plural).into_iter();
        let own = all.filter(|object| object["metadata"]["namespace"] == namespace);
        own.map(|object| {
            (
                object["metadata"]["name"].as_str().unwrap().to_owned(),
                object,
            )
        })
        .collect()
    }
}

/// The name and the UID of a node's agent's pod; the latter is the name of its token too.
pub(crate) fn agent_pod(node: Node) -> String {
    format!("{AGENT}-{}", node.name())
}

pub(crate) fn agent_uid(node: Node) -> String {
    format!("uid-of-agent-{}", node.name())
}

fn replica([a, b]: [u8; 2], number: usize) -> Replica {
    let address = Ipv4Addr::new(127, a, b, 10 + u8::try_from(number).unwrap());
    Replica {
        api: (address, 8443).into(),
        probes: (address, 8080).into(),
    }
}

/// The pods that talk.
const PODS: [(&str, PodPlan); 5] = [
    (FRONTEND, cast::pod(cast::FRONTEND, Node::One, 10, &[])),
    (
        FRONTEND,
        PodPlan {
            ordinal: 1,
            ..cast::pod(cast::FRONTEND, Node::Two, 10, &[])
        },
    ),
    (
        WEB,
        cast::pod(cast::WEB, Node::Two, 11, &[Server::Own(&["--tcp", "8080"])]),
    ),
    (
        API,
        cast::pod(
            cast::API_V1,
            Node::One,
            12,
            &[Server::Own(&["--tcp", "9090"])],
        ),
    ),
    (WORKER, cast::pod(cast::WORKER, Node::Two, 22, &[])),
];
