//! A cluster of four workloads, with a keeper that was told a day of their traffic, and a controller.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use netpol_agent::control::{Figures, Settings};
use netpol_agent::controller::{self, Options, Report};
use netpol_agent::crd::LearnedPolicyStatus;
use netpol_agent::identity::Index;
use netpol_agent::keeper::{self, SharedIndex};
use netpol_agent::observe::{Batch, Epoch, ObservedEdge, ObservedKey, PodIdentity, Source};
use netpol_agent::policy::coverage::Requirements;
use netpol_agent::store::Store;
use netpol_agent::watch::{self, Scope};
use netpol_common::abi::Direction;
use netpol_common::names::ObjectName;
use netpol_common::names::cluster::AGGREGATOR_ACCOUNT;
use netpol_common::words::Protocol;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::double::ApiServer;
use crate::double::world::Request;

/// Long enough for any machine; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Hours of traffic before a test begins.
const HOURS: i64 = 30;

/// Client, server and port of what occurs in every hour.
pub(crate) const USUAL: [(&str, &str, u16); 2] = [("web", "api", 8080), ("api", "db", 5432)];
/// What the controller shows to the API server, which grants it what the manifests do.
pub(crate) const CONTROLLER: &str = "the-controllers-own";
/// What somebody shows who may do everything.
pub(crate) const PERSON: &str = "a-persons-own";

/// An edge that nobody has seen yet.
pub(crate) const NEW: (&str, &str, u16) = ("web", "db", 5432);
/// The same as people write it.
pub(crate) const NEW_EDGE: &str = "shop/Deployment/web -> shop/Deployment/db 5432/TCP";

/// A running controller, and everything around it. It ends when it is dropped.
pub(crate) struct Lab {
    pub(crate) server: ApiServer,
    keeper: keeper::Handle,
    ready: tokio::sync::watch::Receiver<bool>,
    leader: tokio::sync::watch::Sender<bool>,
    report: tokio::sync::watch::Receiver<Report>,
    sequence: u64,
    counts: std::collections::BTreeMap<(String, String, u16), (u64, u64)>,
    dir: tempfile::TempDir,
    tasks: Vec<JoinHandle<Infallible>>,
}

fn address(pod: &str) -> String {
    let number = ["web", "api", "db", "ui"]
        .iter()
        .position(|name| *name == pod);
    format!("10.1.0.{}", number.expect("a pod of the lab") + 1)
}

fn objects() -> String {
    // After the records begin, so that the start is seen.
    let started = Timestamp::now() - SignedDuration::from_mins(HOURS * 60 - 90);
    let mut all = String::from(
        "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n---\n\
         {apiVersion: v1, kind: Namespace, metadata: {name: default}}\n---\n\
         {apiVersion: v1, kind: Node, metadata: {name: n1}, status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}}\n",
    );
    for name in ["web", "api", "db", "ui"] {
        let labels = format!("{{app: {name}}}");
        all.push_str(&format!(
            "---\n{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {name}, namespace: shop, uid: d-{name}}}, \
             spec: {{selector: {{matchLabels: {labels}}}, template: {{metadata: {{labels: {labels}}}, spec: {{containers: \
             []}}}}}}}}\n---\n{{apiVersion: apps/v1, kind: ReplicaSet, metadata: {{name: {name}-1, namespace: shop, uid: \
             r-{name}, ownerReferences: [{{apiVersion: apps/v1, kind: Deployment, name: {name}, uid: d-{name}, controller: \
             true}}]}}}}\n---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}-1-a, namespace: shop, uid: p-{name}, \
             labels: {labels}, creationTimestamp: \"{started}\", ownerReferences: [{{apiVersion: apps/v1, kind: \
             ReplicaSet, name: {name}-1, uid: r-{name}, controller: true}}]}}, spec: {{nodeName: n1, containers: []}}, \
             status: {{phase: Running, startTime: \"{started}\", podIP: {ip}, podIPs: [{{ip: {ip}}}]}}}}\n",
            ip = address(name),
        ));
    }
    all
}

fn options() -> Options {
    Options {
        settings: Settings {
            requirements: Requirements {
                hours: 24,
                coverage: 0.0,
            },
            watch: SignedDuration::from_millis(300),
            step: 2,
            ..Settings::default()
        },
        at_most: Duration::from_millis(20),
        at_least: Duration::from_millis(200),
        spacing: Duration::from_millis(1),
        backoff: (Duration::from_millis(5), Duration::from_millis(50)),
        ..Options::default()
    }
}

impl Lab {
    /// A cluster without any label of ours, of which a day was seen.
    pub(crate) async fn start() -> Self {
        let server = ApiServer::start(&objects()).await;
        server.world().now = Timestamp::now().as_second();
        server.guard(AGGREGATOR_ACCOUNT, CONTROLLER);
        server.trust(PERSON);
        let dir = tempfile::tempdir().expect("a directory");
        let (leader, leads) = tokio::sync::watch::channel(true);
        let (keeper, ready, watching) = keep(&server, &dir, "graph.db").await;
        let (report, told) = tokio::sync::watch::channel(Report::default());
        let running = controller::run(
            server.client_with(CONTROLLER),
            keeper.clone(),
            ready.clone(),
            leads,
            options(),
            report,
        );
        let mut lab = Self {
            server,
            keeper,
            ready,
            leader,
            report: told,
            sequence: 0,
            counts: Default::default(),
            dir,
            tasks: vec![watching, tokio::spawn(running)],
        };
        for hour in (0..HOURS).rev() {
            let time = Timestamp::now() - SignedDuration::from_hours(hour);
            for edge in USUAL {
                lab.count(edge, 1, 1);
            }
            lab.batch(time, time).await;
        }
        lab
    }

    /// Loses the database, and starts another controller on what the API server holds.
    pub(crate) async fn start_anew(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
        let (keeper, ready, watching) = keep(&self.server, &self.dir, "another.db").await;
        self.keeper = keeper;
        self.run(ready, watching);
        self.counts.clear();
        self.batch(Timestamp::now(), Timestamp::now()).await;
    }

    /// Starts another controller with the same traffic, of which a graph is made before the first object is known, and the
    /// next one only a while later.
    pub(crate) async fn start_with_an_early_graph(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
        let (keeper, index) = hold(&self.dir, "another.db", Duration::from_secs(2));
        self.keeper = keeper;
        let now = Timestamp::now();
        self.batch(now - SignedDuration::from_secs(1), now).await;
        let mut snapshots = self.keeper.snapshots();
        let told = snapshots.wait_for(|snapshot| !snapshot.observers.is_empty());
        let told = tokio::time::timeout(PATIENCE, told).await;
        drop(told.expect("in time").expect("the keeper runs"));
        let (ready, watching) = look(&self.server, &index);
        self.run(ready, watching);
    }

    /// Runs a controller that leads, on what the keeper has and on an index that is watched.
    fn run(&mut self, ready: tokio::sync::watch::Receiver<bool>, watching: JoinHandle<Infallible>) {
        let (leader, leads) = tokio::sync::watch::channel(true);
        let (report, told) = tokio::sync::watch::channel(Report::default());
        (self.ready, self.leader, self.report) = (ready, leader, told);
        let running = controller::run(
            self.server.client_with(CONTROLLER),
            self.keeper.clone(),
            self.ready.clone(),
            leads,
            options(),
            report,
        );
        self.tasks = vec![watching, tokio::spawn(running)];
    }

    /// Ends the controller, as when its pod is deleted.
    pub(crate) fn stop(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
    }

    /// Another replica leads from now on, or not.
    pub(crate) fn lead(&self, leads: bool) {
        self.leader.send_replace(leads);
    }

    fn count(&mut self, (client, server, port): (&str, &str, u16), attempts: u64, answered: u64) {
        let key = (client.to_owned(), server.to_owned(), port);
        let counts = self.counts.entry(key).or_default();
        counts.0 += attempts;
        counts.1 += answered;
    }

    /// Attempts of an edge, of which so many were answered, seen a moment ago.
    pub(crate) async fn see(&mut self, edge: (&str, &str, u16), attempts: u64, answered: u64) {
        self.count(edge, attempts, answered);
        let now = Timestamp::now();
        self.batch(now - SignedDuration::from_secs(1), now).await;
    }

    /// Attempts of an edge that nobody answered, told when it is too late for an answer.
    pub(crate) async fn fail(&mut self, edge: (&str, &str, u16), attempts: u64) {
        self.count(edge, attempts, 0);
        let now = Timestamp::now();
        self.batch(now, now + SignedDuration::from_secs(45)).await;
    }

    /// Tells the keeper all counts so far, as of a time.
    async fn batch(&mut self, seen: Timestamp, time: Timestamp) {
        self.sequence += 1;
        let edges = self
            .counts
            .iter()
            .flat_map(|((client, server, port), counts)| {
                [Direction::Egress, Direction::Ingress]
                    .map(|direction| edge((client, server, *port), direction, *counts, seen))
            });
        let batch = Batch {
            observer: "n1".to_owned(),
            epoch: Epoch {
                boot_id: "boot".to_owned(),
                instance: 1,
                abi_version: 1,
            },
            sequence: self.sequence,
            time,
            edges: edges.collect(),
            losses: Vec::new(),
            node_addresses: vec!["192.0.2.1".parse().expect("an address")],
        };
        let kept = self.keeper.commit(vec![Arc::new(batch)]).await;
        kept.expect("the keeper keeps");
    }

    /// A proposal as the API server holds it.
    pub(crate) fn proposal(&self, name: &str) -> Value {
        self.server.get("learnedpolicies", "shop", name)
    }

    /// What was answered about a proposal.
    pub(crate) fn status(&self, name: &str) -> LearnedPolicyStatus {
        serde_json::from_value(self.proposal(name)["status"].clone()).unwrap_or_default()
    }

    /// The names of the NetworkPolicies that are there.
    pub(crate) fn policies(&self) -> Vec<String> {
        let all = self.server.all("networkpolicies");
        let name = |policy: &Value| policy["metadata"]["name"].as_str().map(str::to_owned);
        all.iter().filter_map(name).collect()
    }

    /// Changes an object as somebody else.
    pub(crate) async fn patch(&self, path: &str, manager: &str, patch: Value) -> Value {
        self.send(path, manager, "application/merge-patch+json", patch)
            .await
    }

    /// Applies an object as somebody else, by force.
    pub(crate) async fn apply(&self, path: &str, manager: &str, object: Value) -> Value {
        self.send(path, manager, "application/apply-patch+yaml", object)
            .await
    }

    async fn send(&self, path: &str, manager: &str, kind: &str, body: Value) -> Value {
        let force = if kind.contains("apply") {
            "&force=true"
        } else {
            ""
        };
        let uri = format!("{path}?fieldManager={manager}{force}");
        let request = axum::http::Request::patch(uri)
            .header("content-type", kind)
            .body(serde_json::to_vec(&body).expect("JSON"))
            .expect("a request");
        let answer = self.server.client_with(PERSON).request(request).await;
        answer.expect("the change is taken")
    }

    /// Sets the mode of the namespace.
    pub(crate) async fn label(&self, mode: Option<&str>) {
        let patch = json!({"metadata": {"labels": {"netpol.io/mode": mode}}});
        self.patch("/api/v1/namespaces/shop", "kubectl", patch)
            .await;
    }

    /// Sets an annotation of the namespace.
    pub(crate) async fn annotate(&self, key: &str, value: &str) {
        let patch = json!({"metadata": {"annotations": {key: value}}});
        self.patch("/api/v1/namespaces/shop", "kubectl", patch)
            .await;
    }

    /// Writes into the `spec` of a proposal, as a person does.
    pub(crate) async fn want(&self, name: &str, spec: Value) {
        let path = format!("/apis/netpol.io/v1alpha1/namespaces/shop/learnedpolicies/{name}");
        self.patch(&path, "kubectl", json!({"spec": spec})).await;
    }

    /// Waits until that holds; the controller must not end meanwhile.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let wait = async {
            while !holds(self) {
                let ended = self.tasks.iter().any(JoinHandle::is_finished);
                assert!(!ended, "it ended while waiting: {what}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        waited.unwrap_or_else(|_| {
            let all = self.server.all("learnedpolicies");
            panic!("never: {what}: {:#}", json!(all));
        });
    }

    /// What the metrics tell of proposals.
    pub(crate) fn figures(&self) -> Figures {
        self.report.borrow().figures.clone()
    }

    /// Waits until so many further decisions were made and carried out.
    pub(crate) async fn decisions(&self, more: u64) {
        let wanted = self.report.borrow().decisions + more;
        let what = "further decisions are made";
        self.until(what, |lab| lab.report.borrow().decisions >= wanted)
            .await;
    }

    /// Waits until nothing has been written during several decisions.
    pub(crate) async fn rests(&self) {
        let own = |lab: &Self| {
            let writes = lab.server.writes();
            writes.iter().filter(|write| is_ours(write)).count()
        };
        loop {
            let before = own(self);
            self.decisions(3).await;
            if own(self) == before {
                return;
            }
        }
    }

    /// What the controller has written so far, in words.
    pub(crate) fn written(&self) -> Vec<String> {
        let writes = self.server.writes();
        let own = writes.iter().filter(|write| is_ours(write));
        own.map(Request::brief).collect()
    }
}

/// Whether a write is the controller's; Events have no field manager of ours.
fn is_ours(write: &Request) -> bool {
    write.manager == "netpol" || write.sort == "delete"
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop();
    }
}

type Watching = (tokio::sync::watch::Receiver<bool>, JoinHandle<Infallible>);

async fn keep(
    server: &ApiServer,
    dir: &tempfile::TempDir,
    file: &str,
) -> (
    keeper::Handle,
    tokio::sync::watch::Receiver<bool>,
    JoinHandle<Infallible>,
) {
    let (keeper, index) = hold(dir, file, Duration::from_millis(20));
    let (is_ready, watching) = look(server, &index);
    let mut listed = is_ready.clone();
    let listed = tokio::time::timeout(PATIENCE, listed.wait_for(|ready| *ready)).await;
    drop(listed.expect("ready in time").expect("the watchers run"));
    (keeper, is_ready, watching)
}

/// A keeper whose index is still empty, and the index.
fn hold(dir: &tempfile::TempDir, file: &str, snapshots: Duration) -> (keeper::Handle, SharedIndex) {
    let index = SharedIndex::new(Index::default());
    let store = Store::open(&dir.path().join(file)).expect("a store");
    let options = keeper::Options {
        snapshots: Some(snapshots),
        ..keeper::Options::default()
    };
    let (keeper, _threads) = keeper::start(store, index.clone(), &options).expect("a keeper");
    (keeper, index)
}

/// Begins to fill an index.
fn look(server: &ApiServer, index: &SharedIndex) -> Watching {
    let (ready, is_ready) = tokio::sync::watch::channel(false);
    let watching = watch::run(
        server.client_with(CONTROLLER),
        watch::Options::new(Scope::Cluster),
        index.inner(),
        Timestamp::now,
        ready,
    );
    (is_ready, tokio::spawn(watching))
}

fn edge(
    (client, server, port): (&str, &str, u16),
    direction: Direction,
    (attempts, answered): (u64, u64),
    seen: Timestamp,
) -> ObservedEdge {
    let (own, other) = match direction {
        Direction::Egress => (client, server),
        Direction::Ingress => (server, client),
    };
    let pod = format!("{own}-1-a");
    ObservedEdge {
        key: ObservedKey {
            interface: address(own).bytes().last().map_or(0, u32::from),
            source: Source::Kernel,
            direction,
            protocol: Protocol::Tcp,
            port,
            local: address(own).parse().expect("an address"),
            remote: address(other).parse().expect("an address"),
        },
        pod: PodIdentity {
            name: (&ObjectName::new("shop", pod)).into(),
            uid: format!("p-{own}"),
        },
        attempts,
        answered,
        refused: 0,
        first_seen: seen,
        last_seen: seen,
        one_sided: false,
    }
}
