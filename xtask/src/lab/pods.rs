//! Pods of a lab: started, announced, ended.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, anyhow};
use jiff::Timestamp;

use super::cluster::pod::Pod;
use super::cluster::workload::Workload;
use super::cni::Attachment;
use super::process::{Place, Server};
use super::topology::{Node, make_namespace};
use super::{Lab, cgroup, netns};

/// What is to be started.
#[derive(Clone, Copy, Debug)]
pub struct PodPlan {
    /// The workload that it is of.
    pub workload: &'static Workload,
    /// Which run of it, for kinds that have runs.
    pub run: u32,
    /// Which pod of it.
    pub ordinal: u32,
    /// Where.
    pub node: Node,
    /// The last part of its addresses.
    pub address: u8,
    /// What runs in it.
    pub servers: &'static [Server],
}

/// A pod of the lab, by number.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct PodId(pub(super) u32);

/// What the lab holds of a pod that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) place: Place,
    /// The node's end of its veth; none on the host's network.
    pub(super) veth: Option<String>,
    attachment: Option<Attachment>,
    processes: Vec<Child>,
}

impl Lab {
    /// Starts a pod and makes it known to services.
    ///
    /// # Errors
    ///
    /// If the plugin, a server or the kernel fails.
    pub fn start_pod(&mut self, plan: &PodPlan) -> Result<PodId> {
        let id = self.create_pod(plan)?;
        self.announce_pod(id)?;
        Ok(id)
    }

    /// Starts a pod whose address is not in the API yet, as during its init containers.
    ///
    /// # Errors
    ///
    /// As [`Lab::start_pod`].
    pub fn create_pod(&mut self, plan: &PodPlan) -> Result<PodId> {
        let number = self.next_pod;
        self.next_pod += 1;
        let addresses = match plan.workload.host_network {
            true => plan.node.addresses(),
            false => plan.node.pod_addresses(plan.address),
        };
        let (run, tag) = ((plan.run, plan.ordinal), &self.state.tag);
        let now = Timestamp::now();
        let pod = Pod::scheduled(plan.workload, run, plan.node, addresses, now, tag);
        self.cluster.add(number, pod.clone())?;
        let running = self
            .make_pod(number, &pod, plan.servers)
            .with_context(|| format!("start the pod {}/{}", plan.workload.namespace, pod.name))?;
        self.running.insert(number, running);
        Ok(PodId(number))
    }

    /// Puts the pod's address into the API and the pod behind its services.
    ///
    /// # Errors
    ///
    /// If the inventory cannot be written or the services cannot be programmed.
    pub fn announce_pod(&mut self, id: PodId) -> Result<()> {
        self.cluster.change(id.0, Pod::run_containers)?;
        self.program_services()
    }

    /// Marks the pod for deletion and takes it out of its services; its processes still run.
    ///
    /// # Errors
    ///
    /// As [`Lab::announce_pod`].
    pub fn terminate_pod(&mut self, id: PodId) -> Result<()> {
        let now = Timestamp::now();
        self.cluster.change(id.0, |pod| pod.terminate(now))?;
        self.program_services()
    }

    /// Ends the pod and removes it from the API.
    ///
    /// # Errors
    ///
    /// If the plugin fails or something cannot be removed.
    pub fn delete_pod(&mut self, id: PodId) -> Result<()> {
        self.dismantle(id)?;
        self.cluster.remove(id.0)?;
        self.program_services()
    }

    /// Ends the pod well: it stays in the API as `Succeeded`, and its addresses are free.
    ///
    /// # Errors
    ///
    /// As [`Lab::delete_pod`].
    pub fn complete_pod(&mut self, id: PodId) -> Result<()> {
        self.dismantle(id)?;
        let now = Timestamp::now();
        self.cluster.change(id.0, |pod| pod.succeed(now))?;
        self.program_services()
    }

    /// The path of the pod's network namespace.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn pod_namespace(&self, id: PodId) -> Result<PathBuf> {
        Ok(netns::path(&self.running(id)?.place.namespace))
    }

    /// The pod's addresses, one per family.
    ///
    /// # Errors
    ///
    /// If there is no such pod.
    pub fn pod_addresses(&self, id: PodId) -> Result<[IpAddr; 2]> {
        Ok(self.pod(id)?.addresses)
    }

    /// The pod as the API holds it.
    pub(super) fn pod(&self, id: PodId) -> Result<&Pod> {
        let missing = || anyhow!("the lab has no pod number {}", id.0);
        self.cluster.pod(id.0).ok_or_else(missing)
    }

    /// What runs of the pod.
    pub(super) fn running(&self, id: PodId) -> Result<&Running> {
        let missing = || anyhow!("pod number {} of the lab does not run", id.0);
        self.running.get(&id.0).ok_or_else(missing)
    }

    fn make_pod(&self, number: u32, pod: &Pod, servers: &[Server]) -> Result<Running> {
        let (namespace, attachment, veth) = match pod.workload.host_network {
            true => (self.names().node(pod.node), None, None),
            false => {
                let attachment = self.attachment(number, pod);
                make_namespace(&attachment.pod_namespace)?;
                let veth = attachment.add()?;
                (
                    attachment.pod_namespace.clone(),
                    Some(attachment),
                    Some(veth),
                )
            }
        };
        let cgroup = cgroup::make(&self.state.tag, &pod.uid, "main")?;
        let place = Place { namespace, cgroup };
        let mut running = Running {
            place,
            veth,
            attachment,
            processes: Vec::new(),
        };
        running.processes.push(self.pause(&running.place)?);
        for (index, server) in servers.iter().enumerate() {
            let directory = self.server_directory(number, index);
            let child = server.start(&self.options.xtask, &running.place, &directory)?;
            running.processes.push(child);
        }
        Ok(running)
    }

    fn attachment(&self, number: u32, pod: &Pod) -> Attachment {
        let namespace = pod.workload.namespace.to_owned();
        Attachment {
            plugin: self.options.plugin,
            node: pod.node,
            node_namespace: self.names().node(pod.node),
            pod_namespace: self.names().pod(number),
            tag: self.state.tag.clone(),
            directory: self.directory.clone(),
            addresses: pod.addresses,
            pod: (namespace, pod.name.clone(), pod.uid.clone()),
        }
    }

    fn server_directory(&self, number: u32, index: usize) -> PathBuf {
        self.directory.join(format!("servers/{number}-{index}"))
    }

    /// The process that every pod has, so that its namespaces have one.
    fn pause(&self, place: &Place) -> Result<Child> {
        let mut command: Command =
            place.command(&self.options.xtask, std::path::Path::new("/usr/bin/sleep"));
        command
            .arg("infinity")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("start the pause process")
    }

    fn dismantle(&mut self, id: PodId) -> Result<()> {
        let Some(mut running) = self.running.remove(&id.0) else {
            return Ok(());
        };
        for process in &mut running.processes {
            // A process that has ended by itself is as good.
            let _ = process.kill();
            let _ = process.wait();
        }
        if let Some(attachment) = &running.attachment {
            let name = std::slice::from_ref(&attachment.pod_namespace);
            super::guard::end_processes(name)?;
            attachment.delete()?;
            netns::remove(&attachment.pod_namespace)?;
        }
        match running
            .place
            .cgroup
            .as_deref()
            .and_then(|path| path.parent())
        {
            Some(pod_group) => cgroup::remove_tree(pod_group),
            None => Ok(()),
        }
    }
}
