//! The journey, step by step. Each step waits until what it is about has come to be, and looks at the objects.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};
use xtask::lab::topology::Node;

use crate::cluster::{AGENT, AGGREGATOR, Cluster, SYSTEM};
use crate::double::auth::Account;
use crate::double::rights::below_deploy;
use crate::double::world::{Key, key};
use crate::kubelet::{Kubelet, Role};
use crate::objects::{allow_exactly, condition, holds, why};
use crate::person::{command, netpol, persistently, until};
use crate::postgres::Server;
use crate::traffic::Client;
use crate::{pods, rights, service, truth};

/// The edge that begins when edges are frozen already.
pub(crate) const LATE: &str = "shop/Deployment/web -> shop/Deployment/api-v1 9090/TCP";
/// The proposals of `shop` with edges.
pub(crate) const NAMES: [&str; 3] = ["api-v1-deployment", "frontend-deployment", "web-deployment"];
/// What `kubectl get lp` shows.
const COLUMNS: [&str; 8] = [
    "Workload",
    "Mode",
    "Complete",
    "Coverage",
    "Rules",
    "Violations",
    "Applied",
    "Age",
];
/// The account of the hook that Helm runs before it uninstalls, and its token.
const HOOK: &str = "netpol-uninstall";
const SHOP: (&str, &str, &str) = ("namespaces", "", "shop");

/// A cluster, who runs netpol in it, and connections between its pods.
pub(crate) struct Journey {
    // Ends first.
    pub(crate) kubelet: Arc<Kubelet>,
    clients: Vec<Client>,
    /// Every object that was there before netpol, by plural, namespace and name.
    before: BTreeSet<Key>,
    pub(crate) cluster: Arc<Cluster>,
}

impl Journey {
    /// A cluster in which nothing is installed yet.
    pub(crate) fn begin(name: &str, database: Option<Server>) -> Self {
        let cluster = Arc::new(Cluster::up(name));
        Self {
            kubelet: Arc::new(Kubelet::start(&cluster, database)),
            clients: Vec::new(),
            before: cluster.api.names(),
            cluster,
        }
    }

    /// Waits until nothing is amiss any more, as long as netpol runs as it should.
    pub(crate) fn until(&self, what: &str, now: impl FnMut() -> Result<(), String>) {
        until(what, || self.kubelet.check(), now);
    }

    /// Installs netpol with so many replicas of the aggregator. From then on nobody may do more than the roles say.
    pub(crate) fn install(&self, replicas: u64) {
        persistently(&self.cluster, &["install", "--no-wait"], 0);
        let deployment = ("deployments", SYSTEM, AGGREGATOR);
        self.cluster
            .api
            .change(deployment, |it| it["spec"]["replicas"] = json!(replicas));
        rights::enforce(&self.cluster.api);
        let api = &self.cluster.api;
        self.until("everything runs", || {
            let aggregators = &api.get("deployments", SYSTEM, AGGREGATOR)["status"];
            let agents = &api.get("daemonsets", SYSTEM, AGENT)["status"];
            let runs = aggregators["availableReplicas"] == replicas && agents["numberReady"] == 2;
            runs.then_some(())
                .ok_or_else(|| format!("{aggregators} {agents}"))
        });
        let name = "learnedpolicies.netpol.io";
        let definition = api.get("customresourcedefinitions", "", name);
        let columns = &definition["spec"]["versions"][0]["additionalPrinterColumns"];
        let columns = columns.as_array().unwrap().iter();
        let columns: Vec<&str> = columns.map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(columns, COLUMNS);
        assert_eq!(definition["spec"]["names"]["shortNames"], json!(["lp"]));
    }

    /// Pods talk, and proposals fill in.
    pub(crate) fn learn(&mut self) {
        self.until("every pod is watched", || {
            Node::ALL
                .into_iter()
                .try_for_each(|node| self.watched(node))
        });
        self.clients = self
            .cluster
            .routes(false)
            .iter()
            .map(Client::start)
            .collect();
        self.until("every workload has a proposal", || {
            self.proposals(|name, status| {
                let rules = if name == "frontend-deployment" { 2 } else { 1 };
                status["counts"]["rules"] == rules && status["mode"] == "learn"
            })
        });
        for (name, proposal) in self.cluster.proposals("shop") {
            assert_eq!(proposal.get("spec"), None, "{name}: people's alone");
            let status = &proposal["status"];
            let workload = status["workload"].as_str().unwrap();
            let (kind, of) = workload.split_once('/').unwrap();
            assert_eq!(name, format!("{of}-{}", kind.to_lowercase()));
            assert_eq!(status["workloadRef"], json!({"kind": kind, "name": of}));
            assert_eq!(condition(&proposal, "Complete"), "False", "{proposal}");
            assert_eq!(condition(&proposal, "LostEvents"), "False", "{proposal}");
            assert_eq!(condition(&proposal, "Frozen"), "False", "{proposal}");
        }
        assert!(self.policies().is_empty());
    }

    /// Whether a node's agent watches all the pods there: what happened before, nobody has seen.
    fn watched(&self, node: Node) -> Result<(), String> {
        let (cluster, name) = (&self.cluster, node.name());
        let wanted = cluster.pods_on(node);
        let line =
            format!("\nnetpol_agent_interfaces{{node=\"{name}\",state=\"bound\"}} {wanted}.0\n");
        let asked = service::get(cluster.agent_probes(node), "metrics");
        let said = cluster.runtime.block_on(asked).unwrap_or_default();
        said.contains(&line)
            .then_some(())
            .ok_or_else(|| format!("not {line}"))
    }

    /// What would be written is what was seen.
    pub(crate) fn generate(&self) {
        self.until("all that was seen is generated", || {
            let said = netpol(&self.cluster, &["generate", "-n", "shop"]);
            let file = self.cluster.file("generated.yaml");
            fs::write(&file, &said.out).unwrap();
            match said.code {
                Some(0) => allow_exactly(&self.cluster, "generated.yaml", false),
                _ => Err(said.problems),
            }
        });
    }

    /// Edges are frozen; one that is new is a violation, until somebody approves it.
    pub(crate) fn audit_and_approve(&mut self) {
        persistently(&self.cluster, &["audit", "shop"], 0);
        self.until("edges are frozen", || {
            self.proposals(|_, status| status["mode"] == "audit" && status["frozen"].is_object())
        });
        let late = self.cluster.routes(true);
        self.clients.extend(late.iter().map(Client::start));
        self.until("the new edge is a violation", || {
            let said = netpol(&self.cluster, &["violations", "-n", "shop"]);
            let told = said.code == Some(1) && said.out.contains(LATE);
            told.then_some(()).ok_or_else(|| format!("{said:#?}"))
        });
        assert!(self.policies().is_empty(), "nothing is enforced");
        let approve = ["approve", "--edge", LATE, "-n", "shop"];
        persistently(&self.cluster, &approve, 0);
        persistently(&self.cluster, &["violations", "-n", "shop"], 0);
        for name in ["web-deployment", "api-v1-deployment"] {
            let proposal = self.cluster.api.get("learnedpolicies", "shop", name);
            assert_eq!(proposal["spec"]["approved"], json!([LATE]));
        }
    }

    /// What is not complete is refused; forced, it is applied, and allows exactly what was seen.
    pub(crate) fn enforce(&self) {
        persistently(&self.cluster, &["enforce", "shop"], 0);
        self.until("it is refused", || {
            self.proposals(|_, status| {
                status["mode"] == "enforce" && why(status, "Applied").contains("not complete")
            })
        });
        assert!(self.policies().is_empty(), "nothing is enforced");
        self.cluster.api.change(SHOP, |it| {
            it["metadata"]["annotations"] = json!({"netpol.io/force": "true"});
        });
        self.until("all are applied", || {
            self.proposals(|_, status| holds(status, "Applied"))?;
            let text = json!({"apiVersion": "v1", "kind": "List", "items": self.policies()});
            fs::write(self.cluster.file("applied.json"), text.to_string()).unwrap();
            allow_exactly(&self.cluster, "applied.json", true)
        });
        let policies = self.cluster.named("networkpolicies", "shop");
        let names: Vec<&str> = policies.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, NAMES);
        for (name, policy) in &policies {
            let proposal = self.cluster.api.get("learnedpolicies", "shop", name);
            let (metadata, owner) = (&policy["metadata"], &proposal["metadata"]["uid"]);
            let owners = metadata["ownerReferences"].as_array().unwrap();
            assert_eq!(owners.len(), 1);
            assert_eq!(
                (&owners[0]["kind"], &owners[0]["uid"]),
                (&json!("LearnedPolicy"), owner)
            );
            assert_eq!(metadata["managedFields"][0]["manager"], "netpol");
            assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
            let labels = metadata["labels"].as_object();
            let bad = |value: &Value| value.as_str().is_some_and(|it| name.starts_with(it));
            assert!(
                !labels.into_iter().flatten().any(|(_, value)| bad(value)),
                "{metadata}"
            );
        }
        persistently(&self.cluster, &["status", "-n", "shop"], 0);
    }

    /// The label off takes away ours and nothing else.
    pub(crate) fn off(&self) {
        let other = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": "theirs", "namespace": "shop"},
            "spec": {"podSelector": {"matchLabels": {"app": "cache"}}, "policyTypes": ["Ingress"]},
        });
        self.cluster.api.apply(other);
        self.cluster.api.change(SHOP, |it| {
            it["metadata"]["labels"]["netpol.io/mode"] = json!("off")
        });
        self.until("ours are gone", || {
            let names: Vec<String> = (self.cluster.named("networkpolicies", "shop").into_iter())
                .map(|(name, _)| name)
                .collect();
            (names == ["theirs"])
                .then_some(())
                .ok_or_else(|| format!("{names:?}"))
        });
        self.until("that is said", || {
            self.proposals(|_, status| status["mode"] == "off" && !holds(status, "Applied"))
        });
        let web = self
            .cluster
            .api
            .get("learnedpolicies", "shop", "web-deployment");
        assert_eq!(web["spec"]["approved"], json!([LATE]), "approvals stay");
    }

    /// Nobody talks any more; what both views tell is what was opened.
    pub(crate) fn count(&mut self) {
        self.clients.iter_mut().for_each(Client::stop);
        let opened = truth::opened(&self.clients);
        self.until("everything has arrived", || {
            let told = truth::told(&self.cluster).ok_or("no answer")?;
            truth::difference(&told, &opened).map_or(Ok(()), Err)
        });
        for (_, proposal) in self.cluster.proposals("shop") {
            assert_eq!(condition(&proposal, "LostEvents"), "False", "{proposal}");
        }
    }

    /// Everything goes but the definition and what people decided.
    pub(crate) fn uninstall(&self) {
        let decided = self.decided();
        persistently(&self.cluster, &["uninstall", "--timeout", "120s"], 0);
        self.is_gone(&decided, &[]);
    }

    /// The same as Helm does it: the hook of the chart with its own rights, then the objects of the release. The namespace stays,
    /// since Helm is told to keep it.
    pub(crate) fn uninstall_with_helm(&self) {
        let (api, decided) = (&self.cluster.api, self.decided());
        let hook = below_deploy("uninstall");
        let (jobs, others): (Vec<_>, Vec<_>) = hook.iter().partition(|it| it["kind"] == "Job");
        others.iter().for_each(|it| api.apply((**it).clone()));
        let account = Account::of_service(SYSTEM, HOOK);
        api.world().tokens.insert(HOOK.to_owned(), account);
        fs::write(self.cluster.kubeconfig(HOOK), api.kubeconfig(HOOK)).unwrap();
        rights::enforce(api);
        let launch = pods::launch(jobs[0], Role::Person).unwrap();
        let mut command = command(&self.cluster, HOOK);
        command.args(launch.arguments).envs(launch.variables);
        let ended = command.output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{said}");
        let release = below_deploy("manifests").into_iter();
        let keep = "helm.sh/resource-policy";
        let release = release.filter(|it| it["metadata"]["annotations"][keep].is_null());
        for object in release.chain(others.into_iter().cloned()) {
            let (plural, namespace, name) = key(&object);
            api.delete(&plural, &namespace, &name);
        }
        self.is_gone(&decided, &[("namespaces", "", SYSTEM)]);
    }

    /// What people decided, by the proposal's name. What is about netpol itself goes with its namespace.
    fn decided(&self) -> Vec<(Value, Value)> {
        let all = self.cluster.api.all("learnedpolicies").into_iter();
        let all = all.filter(|it| it["metadata"]["namespace"] != SYSTEM);
        all.map(|it| (it["metadata"]["name"].clone(), it["spec"].clone()))
            .collect()
    }

    /// Nothing of netpol's is left in the cluster or on its nodes but what people decided, its definition, and `kept`.
    fn is_gone(&self, decided: &[(Value, Value)], kept: &[(&str, &str, &str)]) {
        let of_people = [
            ("customresourcedefinitions", "", "learnedpolicies.netpol.io"),
            ("networkpolicies", "shop", "theirs"),
        ];
        let expected = of_people.iter().chain(kept);
        let expected: BTreeSet<Key> = expected
            .map(|(plural, namespace, name)| {
                let owned = |text: &&str| (*text).to_owned();
                (owned(plural), owned(namespace), owned(name))
            })
            .collect();
        self.until("netpol's objects are gone", || {
            let mut left = self.cluster.api.names();
            // Events end by themselves.
            left.retain(|name| {
                let own = !["learnedpolicies", "events"].contains(&name.0.as_str());
                own && !self.before.contains(name)
            });
            (left == expected)
                .then_some(())
                .ok_or_else(|| format!("{left:#?} are left"))
        });
        assert_eq!(self.decided(), decided);
        let pins = self.cluster.lab.bpffs().join("netpol");
        let directories = Node::ALL.map(|node| pods::state_directory(&self.cluster, node));
        for directory in directories.iter().chain([&pins]) {
            let left = fs::read_dir(directory).into_iter().flatten();
            let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
            assert!(left.is_empty(), "{}: {left:?}", directory.display());
        }
    }

    /// Whether the status of every proposal with edges is as it should be.
    fn proposals(&self, is: impl Fn(&str, &Value) -> bool) -> Result<(), String> {
        for name in NAMES {
            let status = &self.cluster.api.get("learnedpolicies", "shop", name)["status"];
            if !is(name, status) {
                return Err(format!("{name}: {status:#}"));
            }
        }
        Ok(())
    }

    fn policies(&self) -> Vec<Value> {
        let policies = self.cluster.named("networkpolicies", "shop").into_iter();
        policies.map(|(_, policy)| policy).collect()
    }
}
