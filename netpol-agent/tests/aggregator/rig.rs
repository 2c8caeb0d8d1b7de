//! An aggregator at work in a cluster of two nodes, and agents that deliver to it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::BoxFuture;
use jiff::Timestamp;
use netpol_agent::aggregator::{Intake, Limits, Parts, Running, TlsSource, start};
use netpol_agent::identity::Index;
use netpol_agent::keeper::{self, Handle, SharedIndex};
use netpol_agent::lead;
use netpol_agent::observe::{
    Batch, Epoch, ObjectIdentity, ObservedEdge, ObservedKey, PodIdentity, Source,
};
use netpol_agent::store::Store;
use netpol_agent::watch as api_watch;
use netpol_agent::wire::{Agent, Delivery, encode};
use netpol_common::abi::Direction;
use netpol_common::words::Protocol;
use reqwest::{Certificate, Client, RequestBuilder};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::double::ApiServer;
use crate::double::auth::{Account, Right};

/// The name under which clients reach the aggregator.
pub(crate) const HOST: &str = "netpol-aggregator.netpol-system.svc";
const NAMESPACE: &str = "netpol-system";
/// What the aggregator shows to the API server, which grants it what the manifests do.
pub(crate) const OWN_TOKEN: &str = "the-aggregators-own";

/// Two nodes with an agent and a pod each.
const CLUSTER: &str = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: shop, uid: ns1}}
- {apiVersion: v1, kind: Namespace, metadata: {name: netpol-system, uid: ns2}}
- {apiVersion: v1, kind: Namespace, metadata: {name: other, uid: ns3}}
- {apiVersion: v1, kind: Pod, metadata: {name: secretive, namespace: other, uid: other-uid, creationTimestamp: 2026-01-01T00:00:00Z}, spec: {nodeName: n2}, status: {podIP: 10.2.0.20}}
- {apiVersion: v1, kind: Node, metadata: {name: n1, uid: nu1}}
- {apiVersion: v1, kind: Node, metadata: {name: n2, uid: nu2}}
- {apiVersion: v1, kind: Pod, metadata: {name: agent-1, namespace: netpol-system, uid: agent-uid-1, creationTimestamp: 2026-01-01T00:00:00Z}, spec: {nodeName: n1, hostNetwork: true}}
- {apiVersion: v1, kind: Pod, metadata: {name: agent-2, namespace: netpol-system, uid: agent-uid-2, creationTimestamp: 2026-01-01T00:00:00Z}, spec: {nodeName: n2, hostNetwork: true}}
- {apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, uid: web-uid, labels: {app: web}, creationTimestamp: 2026-01-01T00:00:00Z}, spec: {nodeName: n1}, status: {podIP: 10.1.0.4}}
- {apiVersion: v1, kind: Pod, metadata: {name: db, namespace: shop, uid: db-uid, labels: {app: db}, creationTimestamp: 2026-01-01T00:00:00Z}, spec: {nodeName: n2}, status: {podIP: 10.2.0.9}}
";

/// A running aggregator and its cluster.
pub(crate) struct Rig {
    pub(crate) api: ApiServer,
    pub(crate) running: Running,
    pub(crate) kept: Arc<Kept>,
    pub(crate) client: Client,
    watching: JoinHandle<()>,
}

/// Where batches go: to a keeper, unless it is told to fail.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) keeper: Handle,
    book: Mutex<Book>,
    _directory: tempfile::TempDir,
}

#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) batches: Vec<Arc<Batch>>,
    pub(crate) failing: bool,
    pub(crate) slow: Duration,
}

impl Kept {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("graph.db")).unwrap();
        let options = keeper::Options {
            snapshots: Some(Duration::from_millis(50)),
            ..keeper::Options::default()
        };
        let index = SharedIndex::new(Index::default());
        let (keeper, _ends_with_the_handle) = keeper::start(store, index, &options).unwrap();
        Self {
            keeper,
            book: Mutex::default(),
            _directory: directory,
        }
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    /// The numbers of the batches that were kept of an observer.
    pub(crate) fn numbers(&self, observer: &str) -> Vec<u64> {
        let book = self.book();
        let own = book.batches.iter().filter(|b| b.observer == observer);
        own.map(|batch| batch.sequence).collect()
    }
}

impl Intake for Kept {
    fn commit(&self, batches: Vec<Arc<Batch>>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let slow = self.book().slow;
            tokio::time::sleep(slow).await;
            if self.book().failing {
                return Err("no room on the disk".to_owned());
            }
            Intake::commit(&self.keeper, batches.clone()).await?;
            self.book().batches.extend(batches);
            Ok(())
        })
    }

    fn sequences(&self, observer: &str) -> BTreeMap<Epoch, u64> {
        self.keeper.sequences(observer)
    }
}

impl Rig {
    /// An aggregator with the usual bounds that has listed everything.
    pub(crate) async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        let rig = Self::unready(limits, TlsSource::Secret).await;
        rig.ready().await;
        rig
    }

    /// An aggregator that may not have listed everything yet.
    pub(crate) async fn unready(limits: Limits, tls: TlsSource) -> Self {
        Self::on(Self::cluster().await, limits, tls).await
    }

    /// The cluster without an aggregator.
    pub(crate) async fn cluster() -> ApiServer {
        let api = ApiServer::start(CLUSTER).await;
        api.guard("netpol-aggregator", OWN_TOKEN);
        api.world().tokens.extend(accounts());
        let right = |name: &str, namespace: &str| Right {
            user: format!("system:serviceaccount:{NAMESPACE}:{name}"),
            verb: "get".to_owned(),
            group: "netpol.io".to_owned(),
            resource: "learnedpolicies".to_owned(),
            namespace: namespace.to_owned(),
            name: String::new(),
        };
        let rights = [right("netpol-viewer", ""), right("tenant", "shop")];
        api.world().rights.extend(rights);
        api
    }

    /// An aggregator of that cluster.
    pub(crate) async fn on(api: ApiServer, limits: Limits, tls: TlsSource) -> Self {
        let _first = rustls::crypto::ring::default_provider().install_default();
        let kept = Arc::new(Kept::new());
        let (running, watching) = run(&api, limits, tls, &kept).await;
        let client = client(&api, running.address());
        Self {
            api,
            running,
            kept,
            client,
            watching,
        }
    }

    /// A second replica in the cluster of the first.
    pub(crate) async fn beside(first: &Self) -> Running {
        let (running, watching) = run(
            &first.api,
            Limits::default(),
            TlsSource::Secret,
            &first.kept,
        )
        .await;
        watching.abort();
        running
    }

    /// Waits until everything was listed.
    pub(crate) async fn ready(&self) {
        for _ in 0..500 {
            if self.probe("readyz").await.0 == 200 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("not ready after 10 s");
    }

    pub(crate) async fn probe(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}/{path}", self.running.metrics_address());
        let response = self.client.get(url).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// The value of a metric, by its name and labels as they are written.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.probe("metrics").await;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in\n{text}"))
            .parse()
            .unwrap()
    }

    /// Waits until a metric has that value.
    pub(crate) async fn until(&self, name: &str, value: f64) {
        for _ in 0..1_500 {
            if self.metric(name).await == value {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{name} is not {value}: {}", self.metric(name).await);
    }

    /// How many requests were refused for a reason.
    pub(crate) async fn refused(&self, reason: &str) -> f64 {
        let name = format!("netpol_aggregator_refused_requests_total{{reason=\"{reason}\"}}");
        self.metric(&name).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{HOST}:{}{path}", self.running.address().port())
    }

    /// Asks for something to read.
    pub(crate) fn read(&self, token: &str, path: &str) -> RequestBuilder {
        self.client.get(self.url(path)).bearer_auth(token)
    }

    /// A request that posts, with what an agent's bears but for a body.
    pub(crate) fn post(&self, token: &str) -> RequestBuilder {
        let request = self.client.post(self.url("/v1/batches"));
        request
            .bearer_auth(token)
            .header("netpol-wire", "1")
            .header("content-type", "application/json")
    }

    /// Delivers, and tells the status and the answer.
    pub(crate) async fn deliver(
        &self,
        token: &str,
        delivery: &Delivery,
    ) -> (u16, serde_json::Value) {
        let body = encode(delivery).unwrap();
        let request = self
            .post(token)
            .header("content-encoding", "zstd")
            .body(body);
        answer(request).await
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

async fn run(
    api: &ApiServer,
    limits: Limits,
    tls: TlsSource,
    kept: &Arc<Kept>,
) -> (Running, JoinHandle<()>) {
    let (ready, whole) = watch::channel(false);
    let options = api_watch::Options::new(api_watch::Scope::Cluster);
    let index = kept.keeper.index().inner();
    let client = api.client_with(OWN_TOKEN);
    let feeding = api_watch::run(client.clone(), options, index, Timestamp::now, ready);
    let watching = tokio::spawn(async move { match feeding.await {} });
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let running = start(Parts {
        client,
        namespace: NAMESPACE.to_owned(),
        listen: anywhere,
        metrics_listen: anywhere,
        tls,
        limits,
        intake: Arc::clone(kept) as Arc<dyn Intake>,
        keeper: kept.keeper.clone(),
        ready: whole,
        leader: lead::alone(),
    });
    (running.await.unwrap(), watching)
}

/// Sends a request; tells the status and the answer.
pub(crate) async fn answer(request: RequestBuilder) -> (u16, serde_json::Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let json = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: {text:?}"));
    (status, json)
}

/// A client that trusts what the aggregator published.
pub(crate) fn client(api: &ApiServer, address: SocketAddr) -> Client {
    let map = api.get("configmaps", NAMESPACE, "netpol-ca");
    let builder = Client::builder().resolve(HOST, address).no_proxy();
    let builder = match map["data"]["ca.crt"].as_str() {
        Some(ca) => builder.tls_certs_only(Certificate::from_pem_bundle(ca.as_bytes()).unwrap()),
        None => builder,
    };
    builder.build().unwrap()
}

/// The tokens of the cluster, and whose they are.
fn accounts() -> Vec<(String, Account)> {
    let bound = |pod: &str, uid: &str, node: Option<&str>, audience: &str, account: &str| {
        let mut account = Account::of_service(NAMESPACE, account);
        account.audiences = vec![audience.to_owned()];
        let mut note = |key: &str, value: &str| {
            let key = format!("authentication.kubernetes.io/{key}");
            account.extra.insert(key, vec![value.to_owned()]);
        };
        note("pod-name", pod);
        note("pod-uid", uid);
        if let Some(node) = node {
            note("node-name", node);
        }
        account
    };
    let ours = "netpol-aggregator";
    let viewer = |name: &str| {
        let mut account = Account::of_service(NAMESPACE, name);
        account.audiences = vec![ours.to_owned()];
        account
    };
    let agent = "netpol-agent";
    let named = |name: &str, account| (name.to_owned(), account);
    vec![
        named(
            "one",
            bound("agent-1", "agent-uid-1", Some("n1"), ours, agent),
        ),
        named("two", bound("agent-2", "agent-uid-2", None, ours, agent)),
        named(
            "moved",
            bound("agent-1", "agent-uid-1", Some("n2"), ours, agent),
        ),
        named(
            "replaced",
            bound("agent-1", "agent-uid-0", Some("n1"), ours, agent),
        ),
        named(
            "other-audience",
            bound("agent-1", "agent-uid-1", Some("n1"), "vault", agent),
        ),
        named(
            "aggregator",
            bound(
                "agent-1",
                "agent-uid-1",
                Some("n1"),
                ours,
                "netpol-aggregator",
            ),
        ),
        named("unbound", {
            let mut account = Account::of_service(NAMESPACE, agent);
            account.audiences = vec![ours.to_owned()];
            account
        }),
        named("viewer", viewer("netpol-viewer")),
        named("tenant", viewer("tenant")),
        named("nobody", viewer("nobody")),
    ]
}

/// A token of the API server's form that says when it expires.
pub(crate) fn jwt(name: &str, expires: Timestamp, audience: &str) -> String {
    let claims = json!({"exp": expires.as_second(), "aud": [audience], "sub": name});
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!(
        "{}.{}.{}",
        part("{}"),
        part(&claims.to_string()),
        part(name)
    )
}

/// A pod of the cluster.
pub(crate) fn pod(name: &str, uid: &str) -> PodIdentity {
    PodIdentity {
        name: ObjectIdentity {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        },
        uid: uid.to_owned(),
    }
}

/// An edge of a pod, seen just now.
pub(crate) fn edge(pod: &PodIdentity, port: u16) -> ObservedEdge {
    let now = Timestamp::now();
    ObservedEdge {
        key: ObservedKey {
            interface: 1,
            source: Source::Kernel,
            direction: Direction::Egress,
            protocol: Protocol::Tcp,
            port,
            local: IpAddr::from([10, 1, 0, 4]),
            remote: IpAddr::from([10, 2, 0, 9]),
        },
        pod: pod.clone(),
        attempts: 1,
        answered: 1,
        refused: 0,
        first_seen: now,
        last_seen: now,
        one_sided: false,
    }
}

/// A batch of the observer's only epoch.
pub(crate) fn batch(observer: &str, sequence: u64, edges: Vec<ObservedEdge>) -> Arc<Batch> {
    Arc::new(Batch {
        observer: observer.to_owned(),
        epoch: Epoch {
            boot_id: format!("boot-{observer}"),
            instance: 7,
            abi_version: 1,
        },
        sequence,
        time: Timestamp::now(),
        edges,
        losses: Vec::new(),
        node_addresses: Vec::new(),
    })
}

/// A delivery of a node's agent.
pub(crate) fn delivery(node: &str, batches: Vec<Arc<Batch>>) -> Delivery {
    Delivery {
        agent: Agent {
            node: node.to_owned(),
            pod_uid: Some(format!("uid-of-{node}")),
            version: "0.1.0".to_owned(),
        },
        batches,
    }
}

/// What the agent of n1 usually delivers.
pub(crate) fn good(sequence: u64) -> Delivery {
    let edges = vec![edge(&pod("web", "web-uid"), 5432)];
    delivery("n1", vec![batch("n1", sequence, edges)])
}
