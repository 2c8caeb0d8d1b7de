//! Pods attached to their node by CNI plugins, called as a container runtime calls them (CNI specification 1.0.0).

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context as _, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::netns;
use super::topology::Node;
use crate::command;

/// Where Debian keeps the plugins.
const PLUGINS: &str = "/usr/lib/cni";

/// A CNI plugin that makes veths.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Plugin {
    /// `ptp`: a route per pod, no bridge.
    Ptp,
    /// `bridge`: one bridge per node, with hairpin mode.
    Bridge,
}

/// One attachment of a pod: what the plugins are told.
#[derive(Clone, Debug)]
pub(super) struct Attachment {
    pub(super) plugin: Plugin,
    pub(super) node: Node,
    pub(super) node_namespace: String,
    pub(super) pod_namespace: String,
    pub(super) tag: String,
    /// The lab's directory, for the leases and the cache.
    pub(super) directory: PathBuf,
    pub(super) addresses: [IpAddr; 2],
    /// Kubernetes' namespace, name and uid of the pod.
    pub(super) pod: (String, String, String),
}

impl Plugin {
    /// The name of the plugin.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ptp => "ptp",
            Self::Bridge => "bridge",
        }
    }
}

impl FromStr for Plugin {
    type Err = anyhow::Error;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "ptp" => Ok(Self::Ptp),
            "bridge" => Ok(Self::Bridge),
            other => bail!("{other:?} is not a CNI plugin of the lab (ptp or bridge)"),
        }
    }
}

/// The directory that holds `results/`, as `/var/lib/cni` does.
#[must_use]
pub fn cache(directory: &Path) -> PathBuf {
    directory.join("cni/cache")
}

impl Attachment {
    /// Attaches the pod and returns the name of the veth's end on the node.
    pub(super) fn add(&self) -> Result<String> {
        let result: Value =
            serde_json::from_str(&self.call("ADD")?).context("decode the plugin's result")?;
        self.remember(&result)?;
        let pod_end = self.pod_namespace_path();
        let names = result["interfaces"].as_array().into_iter().flatten();
        names
            .filter(|interface| interface["sandbox"] != pod_end)
            .filter_map(|interface| interface["name"].as_str())
            .find(|name| name.starts_with("veth"))
            .map(str::to_owned)
            .ok_or_else(|| {
                anyhow!(
                    "the CNI plugin {} named no veth: {result}",
                    self.plugin.name()
                )
            })
    }

    /// Detaches the pod and frees its addresses.
    pub(super) fn delete(&self) -> Result<()> {
        self.call("DEL")?;
        fs::remove_file(self.cache_path()).context("remove the cached CNI result")
    }

    fn call(&self, verb: &str) -> Result<String> {
        let program = Path::new(PLUGINS).join(self.plugin.name());
        let configuration = self.configuration().to_string();
        let arguments: Vec<String> = self
            .arguments()
            .iter()
            .map(|[key, value]| format!("{key}={value}"))
            .collect();
        netns::within(&self.node_namespace, || {
            let mut plugin = Command::new(&program);
            plugin
                .env("CNI_COMMAND", verb)
                .env("CNI_CONTAINERID", &self.pod_namespace)
                .env("CNI_NETNS", self.pod_namespace_path())
                .env("CNI_IFNAME", "eth0")
                .env("CNI_PATH", PLUGINS)
                .env("CNI_ARGS", arguments.join(";"));
            command::output_with_input(&mut plugin, &configuration)
        })
    }

    fn pod_namespace_path(&self) -> String {
        netns::path(&self.pod_namespace).display().to_string()
    }

    fn arguments(&self) -> [[&str; 2]; 5] {
        let (namespace, name, uid) = &self.pod;
        [
            ["IgnoreUnknown", "1"],
            ["K8S_POD_NAMESPACE", namespace],
            ["K8S_POD_NAME", name],
            ["K8S_POD_INFRA_CONTAINER_ID", &self.pod_namespace],
            ["K8S_POD_UID", uid],
        ]
    }

    fn network(&self) -> String {
        format!("{}-{}", self.tag, self.node.name())
    }

    fn configuration(&self) -> Value {
        let [v4, v6] = self.node.pod_cidrs();
        let leases = self.directory.join("cni").join(self.node.name());
        let mut configuration = json!({
            "cniVersion": "1.0.0", "name": self.network(), "type": self.plugin.name(),
            "ipam": {
                "type": "host-local", "dataDir": leases,
                "ranges": [[{"subnet": v4}], [{"subnet": v6}]],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
            },
            "args": {"cni": {"ips": self.addresses}},
        });
        if self.plugin == Plugin::Bridge {
            configuration["bridge"] = "cni0".into();
            configuration["isGateway"] = true.into();
            configuration["hairpinMode"] = true.into();
        }
        configuration
    }

    fn cache_path(&self) -> PathBuf {
        let name = format!("{}-{}-eth0", self.network(), self.pod_namespace);
        cache(&self.directory).join("results").join(name)
    }

    /// Writes the result where and as libcni caches it; plugins that are called directly leave that out.
    fn remember(&self, result: &Value) -> Result<()> {
        let cached = json!({
            "kind": "cniCacheV1", "containerId": self.pod_namespace,
            "config": STANDARD.encode(self.configuration().to_string()),
            "ifName": "eth0", "networkName": self.network(),
            "netns": self.pod_namespace_path(),
            "cniArgs": self.arguments(), "result": result,
        });
        let path = self.cache_path();
        let directory = path.parent().unwrap_or(&path);
        fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
        fs::write(&path, cached.to_string()).with_context(|| format!("write {}", path.display()))
    }
}
