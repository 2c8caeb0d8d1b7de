//! The stage: a lab with its cast, on which steps act.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use super::cast;
use crate::command;
use crate::lab::Lab;
use crate::lab::netns;
use crate::lab::pods::{PodId, PodPlan};
use crate::lab::process::{Place, Server};
use crate::lab::topology::{EXTERNAL_SERVER, Family, Node, ip};

/// How long a pod exists before its containers run: pulling and making them takes at least that long.
const CONTAINER_START: Duration = Duration::from_millis(1500);

/// Where a client runs.
#[derive(Clone, Copy, Debug)]
pub(super) enum At {
    /// In the pod that steps call by this name.
    Pod(&'static str),
    /// On a node, outside any pod.
    Node(Node),
    /// On the external host.
    External,
}

/// A lab with its cast.
#[derive(Debug)]
pub struct Stage {
    /// The lab.
    pub lab: Lab,
    pods: BTreeMap<&'static str, PodId>,
    background: Vec<Child>,
    /// When the last attempt was made that nothing answers.
    pub(super) last_unanswered: Option<Instant>,
    /// The wall-clock minute, since the epoch, of the first datagrams that nobody answers.
    pub(super) one_way_minute: Option<i64>,
}

impl Stage {
    /// Starts the cast in the lab.
    ///
    /// # Errors
    ///
    /// If a pod or a server does not start.
    pub fn set(lab: Lab) -> Result<Self> {
        let mut stage = Self {
            lab,
            pods: BTreeMap::new(),
            background: Vec::new(),
            last_unanswered: None,
            one_way_minute: None,
        };
        for (name, plan) in cast::PODS {
            let id = stage.lab.start_pod(plan)?;
            stage.pods.insert(name, id);
        }
        stage.serve_outside()?;
        Ok(stage)
    }

    /// Runs a client to its end.
    pub(super) fn run(&self, at: At, words: &str) -> Result<()> {
        let mut command = self.peer(at, words)?;
        command::run(&mut command).with_context(|| format!("{at:?}"))
    }

    /// Starts a client that stays, and waits until it says that it is ready.
    pub(super) fn keep(&mut self, at: At, words: &str) -> Result<()> {
        let mut child = self
            .peer(at, words)?
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {words}"))?;
        let out = child
            .stdout
            .take()
            .ok_or_else(|| anyhow!("no output of {words}"))?;
        let mut line = String::new();
        BufReader::new(out)
            .read_line(&mut line)
            .with_context(|| format!("read {words}"))?;
        self.background.push(child);
        if line.trim() != crate::lab::peer::serve::READY {
            bail!("{at:?} could not keep a connection: {words}");
        }
        Ok(())
    }

    /// An address of a pod.
    pub(super) fn address(&self, pod: &'static str, family: Family) -> Result<IpAddr> {
        Ok(family.of(self.lab.pod(self.id(pod)?)?.addresses))
    }

    /// Starts a pod as a kubelet does: attached, then some time later its containers run and the API knows it.
    pub(super) fn start(&mut self, name: &'static str, plan: &PodPlan) -> Result<()> {
        self.create(name, plan)?;
        self.announce(name)
    }

    /// Starts a pod whose address the API does not know yet.
    pub(super) fn create(&mut self, name: &'static str, plan: &PodPlan) -> Result<()> {
        let id = self.lab.create_pod(plan)?;
        self.pods.insert(name, id);
        sleep(CONTAINER_START);
        Ok(())
    }

    /// Puts a pod's address into the API.
    pub(super) fn announce(&mut self, name: &'static str) -> Result<()> {
        let id = self.id(name)?;
        self.lab.announce_pod(id)
    }

    /// Deletes a pod as the API server and a kubelet do: marked first, gone some time later.
    pub(super) fn delete(&mut self, name: &'static str) -> Result<()> {
        let id = self.id(name)?;
        self.lab.terminate_pod(id)?;
        sleep(CONTAINER_START);
        self.lab.delete_pod(id)
    }

    /// Ends a pod well.
    pub(super) fn complete(&mut self, name: &'static str) -> Result<()> {
        let id = self.id(name)?;
        self.lab.complete_pod(id)
    }

    /// Makes the node's bridge flood everything that is for this pod; without a bridge there is nothing to flood.
    pub(super) fn flood(&self, pod: &'static str) -> Result<()> {
        let id = self.id(pod)?;
        let node = self.lab.names().node(self.lab.pod(id)?.node);
        let Some(veth) = self.lab.running(id)?.veth.as_deref() else {
            return Ok(());
        };
        if !self.bridged() {
            return Ok(());
        }
        ip(
            &node,
            &format!("link set {veth} type bridge_slave learning off"),
        )?;
        ip(
            &node,
            &format!("link set {veth} type bridge_slave fdb_flush"),
        )
    }

    /// Whether pods share a bridge.
    pub(super) fn bridged(&self) -> bool {
        self.lab.options.plugin == crate::lab::cni::Plugin::Bridge
    }

    /// Drops what comes to that TCP port of the pod, inside the pod.
    pub(super) fn drop_port(&self, pod: &'static str, port: u16) -> Result<()> {
        let rules = format!(
            "table inet silent {{
  chain in {{
    type filter hook input priority 0;
    tcp dport {port} drop
  }}
}}
"
        );
        netns::nft(&self.lab.running(self.id(pod)?)?.place.namespace, &rules)
    }

    fn id(&self, name: &'static str) -> Result<PodId> {
        let missing = || anyhow!("no pod is called {name}");
        self.pods.get(name).copied().ok_or_else(missing)
    }

    fn place(&self, at: At) -> Result<Place> {
        Ok(match at {
            At::Pod(name) => self.lab.running(self.id(name)?)?.place.clone(),
            At::Node(node) => self.lab.node_place(node),
            At::External => self.lab.external_place(),
        })
    }

    fn peer(&self, at: At, words: &str) -> Result<Command> {
        let xtask: &Path = &self.lab.options.xtask;
        let mut command = self.place(at)?.command(xtask, xtask);
        command.arg("lab-peer").args(words.split(' '));
        Ok(command)
    }

    /// The API server on the first node, and a server on the external host.
    fn serve_outside(&mut self) -> Result<()> {
        let xtask = self.lab.options.xtask.clone();
        let servers = [
            (At::Node(Node::One), Server::Own(&["--tcp", "6443"])),
            (At::External, Server::Own(&["--tcp", "443"])),
        ];
        for (number, (at, server)) in servers.into_iter().enumerate() {
            let directory = self
                .lab
                .directory()
                .join(format!("servers/outside-{number}"));
            let child = server
                .start(&xtask, &self.place(at)?, &directory)
                .with_context(|| format!("serve {at:?} ({})", EXTERNAL_SERVER[0]))?;
            self.background.push(child);
        }
        Ok(())
    }
}
