//! A node and its pods for tests: the test's own thread in a network namespace of its own, and pods that real CNI
//! plugins attach to it. Everything ends with the thread, also when the test fails.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use netpol_agent::identity::objects::{NamespacedName, Pod};
use netpol_agent::node::links::{self, Link};
use nix::sched::{CloneFlags, setns, unshare};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Where Debian keeps the plugins.
const PLUGINS: &str = "/usr/lib/cni";

/// The node: the calling thread, in a new network namespace.
pub(crate) struct Node {
    data: TempDir,
    network: String,
    attached: usize,
}

/// A pod's network namespace, and the process that keeps it.
pub(crate) struct Sandbox {
    keeper: Child,
}

/// A pod that a plugin attached.
pub(crate) struct Attached {
    pub(crate) sandbox: Sandbox,
    /// What the plugin reported.
    pub(crate) result: Value,
    /// The addresses it gave.
    pub(crate) addresses: Vec<IpAddr>,
}

impl Node {
    /// Moves the calling thread into a new network namespace.
    pub(crate) fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace needs root");
        run("ip", &["link", "set", "lo", "up"]);
        let data = tempfile::tempdir().unwrap();
        let unique = data
            .path()
            .file_name()
            .unwrap()
            .to_string_lossy()
            .replace('.', "");
        Self {
            data,
            network: format!("test-{unique}"),
            attached: 0,
        }
    }

    /// Attaches a new pod by the plugin `ptp` or `bridge`, dual stack.
    pub(crate) fn attach(&mut self, plugin: &str) -> Attached {
        let sandbox = Sandbox::new();
        self.attached += 1;
        let result = self.call(plugin, &sandbox);
        let ips = result["ips"].as_array().expect("addresses in the result");
        let address = |ip: &Value| ip["address"].as_str()?.split('/').next()?.parse().ok();
        let addresses = ips
            .iter()
            .map(|ip| address(ip).expect("an address"))
            .collect();
        Attached {
            sandbox,
            result,
            addresses,
        }
    }

    fn call(&self, plugin: &str, sandbox: &Sandbox) -> Value {
        let mut child = Command::new(Path::new(PLUGINS).join(plugin))
            .env("CNI_COMMAND", "ADD")
            .env(
                "CNI_CONTAINERID",
                format!("{}-{}", self.network, self.attached),
            )
            .env("CNI_NETNS", sandbox.namespace())
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", PLUGINS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("CNI plugins are installed");
        let config = self.config(plugin).to_string();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(config.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{plugin}: {text}");
        serde_json::from_str(&text).expect("the plugin reports in JSON")
    }

    fn config(&self, plugin: &str) -> Value {
        json!({
            "cniVersion": "1.0.0", "name": self.network, "type": plugin,
            "bridge": "cni0", "isGateway": true,
            "ipam": {
                "type": "host-local", "dataDir": self.data.path(),
                "ranges": [[{"subnet": "10.77.0.0/24"}], [{"subnet": "fd77::/64"}]],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
            },
        })
    }
}

impl Sandbox {
    /// A new network namespace, kept by a process that dies with the calling thread.
    pub(crate) fn new() -> Self {
        let keeper = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--net", "sleep", "600"])
            .spawn()
            .unwrap();
        let sandbox = Self { keeper };
        let ours = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        wait_until("a new network namespace", || {
            let slept = std::fs::read(format!("/proc/{}/comm", sandbox.process()));
            let namespace = std::fs::read_link(sandbox.namespace());
            slept.is_ok_and(|name| name == b"sleep\n") && namespace.is_ok_and(|it| it != ours)
        });
        sandbox
    }

    /// The process that keeps it.
    pub(crate) fn process(&self) -> u32 {
        self.keeper.id()
    }

    /// The file of the namespace.
    pub(crate) fn namespace(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.process()).into()
    }

    /// Runs `work` by a thread within it. Sockets made there stay there.
    pub(crate) fn enter<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let namespace = File::open(self.namespace()).unwrap();
        let entered = thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        entered.join().expect("the work within the pod succeeds")
    }

    /// Runs a command within it.
    pub(crate) fn run(&self, program: &'static str, arguments: &[&'static str]) {
        let arguments = arguments.to_vec();
        self.enter(move || run(program, &arguments));
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

impl Attached {
    /// The host's side of its veth.
    pub(crate) fn link(&self) -> Link {
        let interfaces = self.result["interfaces"].as_array().unwrap();
        let outside = |it: &&Value| {
            let name = it["name"].as_str().unwrap_or_default();
            it["sandbox"].as_str().unwrap_or_default().is_empty() && name.starts_with("veth")
        };
        let interface = interfaces.iter().find(outside).expect("a veth on the host");
        let name = interface["name"].as_str().unwrap();
        let links = links::scan().unwrap();
        links
            .into_iter()
            .find(|link| link.name == name)
            .expect("the veth is there")
    }

    /// Its IPv6 address, or its IPv4 address.
    pub(crate) fn address(&self, v6: bool) -> IpAddr {
        *self
            .addresses
            .iter()
            .find(|address| address.is_ipv6() == v6)
            .unwrap()
    }
}

/// A pod of this node as the API tells it.
pub(crate) fn pod(name: &str, uid: &str, ips: &[IpAddr]) -> Pod {
    Pod {
        name: NamespacedName {
            namespace: "shop".into(),
            name: name.into(),
        },
        uid: uid.into(),
        ips: ips.to_vec(),
        ..Pod::default()
    }
}

/// Runs a command in the calling thread's network namespace.
pub(crate) fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
}

/// Waits for what the kernel does in its own time.
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if done() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("waited in vain for {what}");
}

/// No first source addresses.
pub(crate) fn no_sources() -> BTreeMap<u32, IpAddr> {
    BTreeMap::new()
}
