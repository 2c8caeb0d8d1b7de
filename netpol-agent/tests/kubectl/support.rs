//! A cluster with netpol in it, and people who ask it.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use assert_cmd::Command;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::aggregator::{Aggregator, NAME};
use crate::double::ApiServer;
use crate::double::auth::{Account, Right};
use crate::forward::{self, Tunnels};

/// The token of alice, in her kubeconfig.
pub(crate) const TOKEN: &str = "alices-own-secret";

/// What netpol is in a cluster, as far as people see it.
const NETPOL: &str = "
{apiVersion: v1, kind: Namespace, metadata: {name: netpol-system}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: pay}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: netpol-viewer, namespace: netpol-system}}
---
apiVersion: v1
kind: Pod
metadata:
  name: netpol-aggregator-0
  namespace: netpol-system
  labels: {app.kubernetes.io/name: netpol-aggregator}
status: {phase: Running, conditions: [{type: Ready, status: 'True'}]}
";

/// A cluster and alice's kubeconfig for it.
pub(crate) struct Cluster {
    pub(crate) api: ApiServer,
    pub(crate) aggregator: Aggregator,
    tunnels: Arc<Mutex<Tunnels>>,
    dir: tempfile::TempDir,
    // The servers run in it until the end.
    pub(crate) runtime: Runtime,
}

impl Cluster {
    /// A cluster in which alice may do everything.
    pub(crate) fn new() -> Self {
        Self::with_name(NAME)
    }

    /// One whose aggregator's certificate is for some other name.
    pub(crate) fn with_name(name: &str) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let aggregator = runtime.block_on(Aggregator::start(name));
        let tunnels = Arc::new(Mutex::new(Tunnels {
            to: Some(aggregator.address),
            ..Tunnels::default()
        }));
        let own = forward::routes(Arc::clone(&tunnels)).merge(forward::groups());
        let api = runtime.block_on(ApiServer::start_with(NETPOL, own));
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("config"), api.kubeconfig(TOKEN)).expect("a file");
        let cluster = Self {
            api,
            aggregator,
            tunnels,
            dir,
            runtime,
        };
        cluster.trust(&cluster.aggregator.authority);
        cluster.api.world().guarded = true;
        cluster.api.world().tokens.insert(
            TOKEN.to_owned(),
            Account {
                user: "alice".to_owned(),
                ..Account::default()
            },
        );
        cluster.grant("*", "*", "*", "");
        cluster
    }

    /// Puts an authority where clients look for it.
    pub(crate) fn trust(&self, authority: &str) {
        self.api.apply(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "netpol-ca", "namespace": "netpol-system"},
            "data": {"ca.crt": authority},
        }));
    }

    /// Gives alice a right.
    pub(crate) fn grant(&self, verb: &str, group: &str, resource: &str, namespace: &str) {
        let right = Right {
            user: "alice".to_owned(),
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: String::new(),
        };
        self.api.world().rights.insert(right);
    }

    /// Gives alice those rights and no others.
    pub(crate) fn grant_only(&self, rights: impl IntoIterator<Item = Right>) {
        let mut world = self.api.world();
        world.rights.clear();
        world.rights.extend(rights);
    }

    /// Takes all of alice's rights.
    pub(crate) fn revoke_all(&self) {
        self.api.world().rights.clear();
    }

    /// What went to pods.
    pub(crate) fn tunnels(&self) -> MutexGuard<'_, Tunnels> {
        self.tunnels
            .lock()
            .expect("no test panics with the lock held")
    }

    /// The command as alice runs it.
    pub(crate) fn netpol(&self, arguments: &[&str]) -> Command {
        let mut command = bare(arguments);
        command.env("KUBECONFIG", self.dir.path().join("config"));
        command
    }

    /// The command as whoever has that token runs it.
    pub(crate) fn netpol_as(&self, token: &str, arguments: &[String]) -> Command {
        let path = self.dir.path().join(token);
        fs::write(&path, self.api.kubeconfig(token)).expect("a file");
        let mut command = bare(&[]);
        command.args(arguments).env("KUBECONFIG", path);
        command
    }

    /// A LearnedPolicy.
    pub(crate) fn learned(&self, namespace: &str, name: &str, spec: Value, status: Value) {
        let mut object = json!({
            "apiVersion": "netpol.io/v1alpha1", "kind": "LearnedPolicy",
            "metadata": {"name": name, "namespace": namespace},
            "status": status,
        });
        if !spec.is_null() {
            object["spec"] = spec;
        }
        self.api.apply(object);
    }
}

/// The command without any cluster, and nothing of this machine's environment.
pub(crate) fn bare(arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("kubectl-netpol").expect("the binary is built");
    command
        .args(arguments)
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("TERM", "dumb");
    command
}

/// What a command leaves: its exit code, stdout and stderr.
pub(crate) fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// A file of the golden shop.
pub(crate) fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/shop")
        .join(name)
}

/// A condition of a status.
pub(crate) fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    })
}
