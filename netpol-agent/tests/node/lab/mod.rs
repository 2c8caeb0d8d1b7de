//! A node made of network namespaces, pods with real veths, and the agent's binary observing them.
//!
//! Needs root. Everything bears a name of its own and is removed when the lab is dropped.

mod agent;
mod traffic;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use jiff::Timestamp;
use netpol_agent::node::attach::{Instance, PinRoot};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns};

pub(crate) use agent::{Agent, Flow, Flows};
pub(crate) use traffic::{Server, UdpEcho, connect, one_shots};

/// The node's name.
pub(crate) const NODE: &str = "node-a";
/// The node's address on every pod's veth.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// The node and its pods.
pub(crate) struct Lab {
    prefix: String,
    directory: tempfile::TempDir,
    /// The cluster that the agent reads, instead of the inventory.
    kubeconfig: Option<PathBuf>,
    /// The arguments that say where batches go.
    towards: Vec<String>,
    pods: BTreeMap<String, LabPod>,
}

/// A pod.
#[derive(Debug)]
struct LabPod {
    address: Ipv4Addr,
    netns: String,
    uid: String,
    created: Timestamp,
    /// A process in the pod's network namespace, as every pod has one.
    process: Option<Child>,
}

impl Lab {
    /// A node without pods.
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("np")
            .rand_bytes(6)
            .tempdir()
            .unwrap();
        let random = directory
            .path()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let lab = Self {
            prefix: format!("{random}-{}", std::process::id()),
            directory,
            kubeconfig: None,
            towards: vec!["--standalone".to_owned()],
            pods: BTreeMap::new(),
        };
        lab.make_node();
        lab
    }

    fn make_node(&self) {
        let node = self.node();
        ip(&["netns", "add", &node]);
        ip(&["-n", &node, "link", "set", "lo", "up"]);
        within(&node, || {
            fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap()
        });
        fs::create_dir(self.bpffs()).unwrap();
        let none: Option<&str> = None;
        mount(
            Some("bpf"),
            &self.bpffs(),
            Some("bpf"),
            MsFlags::empty(),
            none,
        )
        .expect("mounting a bpffs takes root");
        self.write_inventory();
    }

    /// The node's network namespace.
    pub(crate) fn node(&self) -> String {
        format!("{}-node", self.prefix)
    }

    /// The mount point of the lab's own BPF file system.
    pub(crate) fn bpffs(&self) -> PathBuf {
        self.directory.path().join("bpf")
    }

    /// The agent's state directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Where the maps of its agents are pinned.
    pub(crate) fn pins(&self) -> PinRoot {
        let agent: Instance = "default".parse().unwrap();
        PinRoot::new(&self.bpffs(), &agent.of_node(NODE).unwrap())
    }

    /// Makes agents read a cluster, at an address on the host's loopback, instead of the inventory.
    pub(crate) fn read_cluster(&mut self, server: SocketAddr) {
        let path = self.directory.path().join("kubeconfig");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: lab\n\
             clusters: [{{name: lab, cluster: {{server: 'http://{server}'}}}}]\n\
             contexts: [{{name: lab, context: {{cluster: lab, user: lab}}}}]\nusers: [{{name: lab, user: {{}}}}]\n"
        );
        fs::write(&path, text).unwrap();
        self.kubeconfig = Some(path);
    }

    /// Makes agents deliver to an aggregator at a port of the host's loopback.
    pub(crate) fn deliver_to(&mut self, port: u16, authority: &str) {
        let file = |name: &str, text: &str| {
            let path = self.directory.path().join(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        self.towards = vec![
            "--aggregator".to_owned(),
            format!("https://localhost:{port}"),
            "--aggregator-ca".to_owned(),
            file("ca.crt", authority),
            "--aggregator-token".to_owned(),
            file("token", "a token"),
        ];
    }

    /// The arguments that say where objects are read from.
    fn source(&self) -> [PathBuf; 2] {
        match &self.kubeconfig {
            Some(path) => ["--kubeconfig".into(), path.clone()],
            None => ["--inventory".into(), self.inventory()],
        }
    }

    /// The inventory.
    pub(crate) fn inventory(&self) -> PathBuf {
        self.directory.path().join("inventory.yaml")
    }

    /// Makes a pod and tells the inventory. Its veth gets the index `ifindex`, if one is given.
    pub(crate) fn add_pod(&mut self, name: &str, address: &str, ifindex: Option<u32>) {
        let uid = format!("{name}-{}", Timestamp::now().as_nanosecond());
        let pod = LabPod {
            address: address.parse().unwrap(),
            netns: format!("{}-{name}", self.prefix),
            uid,
            created: Timestamp::now(),
            process: None,
        };
        self.pods.insert(name.to_owned(), pod);
        self.write_inventory();
        self.plug(name, ifindex);
    }

    fn plug(&mut self, name: &str, ifindex: Option<u32>) {
        let (node, veth) = (self.node(), veth(name));
        let pod = self.pods.get_mut(name).unwrap();
        let address = format!("{}/32", pod.address);
        let gateway = GATEWAY.to_string();
        ip(&["netns", "add", &pod.netns]);
        pod.process = Some(sleeper(&pod.netns));
        let index = ifindex.map(|index| index.to_string());
        let mut add = vec!["link", "add", &veth];
        add.extend(index.iter().flat_map(|index| ["index", index.as_str()]));
        add.extend([
            "netns", &node, "type", "veth", "peer", "name", "eth0", "netns", &pod.netns,
        ]);
        ip(&add);
        ip(&[
            "-n",
            &node,
            "address",
            "add",
            &format!("{gateway}/32"),
            "dev",
            &veth,
        ]);
        ip(&["-n", &node, "link", "set", &veth, "up"]);
        ip(&["-n", &node, "route", "add", &address, "dev", &veth]);
        ip(&["-n", &pod.netns, "address", "add", &address, "dev", "eth0"]);
        ip(&["-n", &pod.netns, "link", "set", "eth0", "up"]);
        ip(&["-n", &pod.netns, "link", "set", "lo", "up"]);
        ip(&["-n", &pod.netns, "route", "add", &gateway, "dev", "eth0"]);
        ip(&["-n", &pod.netns, "route", "add", "default", "via", &gateway]);
    }

    /// Removes a pod, and tells the inventory.
    pub(crate) fn remove_pod(&mut self, name: &str) {
        let mut pod = self.pods.remove(name).unwrap();
        pod.end();
        ip(&["-n", &self.node(), "link", "delete", &veth(name)]);
        ip(&["netns", "delete", &pod.netns]);
        self.write_inventory();
    }

    /// The index of a pod's veth on the node.
    pub(crate) fn ifindex(&self, name: &str) -> u32 {
        let path = format!("/sys/class/net/{}/ifindex", veth(name));
        within(&self.node(), move || {
            nix::sched::unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let none: Option<&str> = None;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), none).unwrap();
            fs::read_to_string(path).unwrap().trim().parse().unwrap()
        })
    }

    /// A pod's address.
    pub(crate) fn address(&self, name: &str) -> Ipv4Addr {
        self.pods[name].address
    }

    /// A pod's network namespace.
    pub(crate) fn netns(&self, name: &str) -> String {
        self.pods[name].netns.clone()
    }

    /// Runs something in a pod's network namespace, on a thread of its own.
    pub(crate) fn inside<T: Send>(&self, name: &str, run: impl FnOnce() -> T + Send) -> T {
        within(&self.pods[name].netns, run)
    }

    /// Starts the agent, and waits until it observes every pod.
    pub(crate) fn start(&self, flags: &[&str]) -> Agent {
        let agent = Agent::start(self, flags);
        agent.wait_for("ready");
        agent
    }

    /// Replaces the inventory.
    fn write_inventory(&self) {
        let mut text = format!("apiVersion: v1\nkind: Node\nmetadata: {{name: {NODE}}}\n");
        for (name, pod) in &self.pods {
            text += &format!(
                "---\napiVersion: v1\nkind: Pod\n\
                 metadata: {{name: {name}, namespace: lab, uid: {}, creationTimestamp: {}, labels: {{app: {name}}}}}\n\
                 spec: {{nodeName: {NODE}, containers: []}}\n\
                 status: {{phase: Running, podIP: {address}, podIPs: [{{ip: {address}}}]}}\n",
                pod.uid,
                seconds(pod.created),
                address = pod.address,
            );
        }
        let new = self.directory.path().join("inventory.new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.inventory()).unwrap();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for pod in self.pods.values_mut() {
            pod.end();
            delete_netns(&pod.netns);
        }
        delete_netns(&self.node());
        let _gone = umount2(&self.bpffs(), MntFlags::MNT_DETACH);
    }
}

impl LabPod {
    /// Ends the pod's process.
    fn end(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}

/// A process that does nothing in a network namespace.
fn sleeper(netns: &str) -> Child {
    let netns = format!("--net=/run/netns/{netns}");
    Command::new("nsenter")
        .args([&netns, "sleep", "600"])
        .spawn()
        .unwrap()
}

/// Whole seconds, as the API has them.
fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap()
}

/// The name of a pod's veth on the node.
pub(crate) fn veth(pod: &str) -> String {
    format!("v-{pod}")
}

/// Runs `ip`.
pub(crate) fn ip(arguments: &[&str]) {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .expect("iproute2 is installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "ip {}: {errors}(these tests need root)",
        arguments.join(" ")
    );
}

fn delete_netns(name: &str) {
    let _gone = Command::new("ip").args(["netns", "delete", name]).output();
}

/// Runs something in a network namespace, on a thread of its own.
pub(crate) fn within<T: Send>(netns: &str, run: impl FnOnce() -> T + Send) -> T {
    let path = Path::new("/run/netns").join(netns);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(File::open(path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            run()
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
