//! Each kind of evidence alone, and in competition.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use netpol_agent::identity::objects::Pod;
use netpol_agent::node::bind::{BindOptions, Binder, Binding, Evidence};
use netpol_agent::node::links::{self, Link};
use serde_json::json;
use tempfile::TempDir;

use crate::pods::{Attached, Node, Sandbox, no_sources, pod, run};

/// A binder that looks at the real processes, and at a CNI cache of the test's own.
struct Looking {
    cache: TempDir,
    binder: Binder,
}

impl Looking {
    fn new() -> Self {
        let cache = tempfile::tempdir().unwrap();
        let binder = Binder::new(BindOptions {
            cni_cache: vec!["/nonexistent/results".into(), cache.path().into()],
            ..BindOptions::default()
        });
        Self { cache, binder }
    }

    fn bind(&self, pods: &[Pod]) -> BTreeMap<u32, Binding> {
        self.binder
            .bind(&links::scan().unwrap(), pods, &no_sources())
    }

    /// Leaves a result behind as libcni would.
    fn keep_result(&self, attached: &Attached, name: &str, uid: &str) {
        let arguments = [
            ["K8S_POD_NAMESPACE", "shop"],
            ["K8S_POD_NAME", name],
            ["K8S_POD_UID", uid],
        ];
        let result = json!({
            "kind": "cniCacheV1", "ifName": "eth0", "networkName": "pods", "containerId": name,
            "cniArgs": arguments, "result": attached.result,
        });
        fs::write(self.cache.path().join(name), result.to_string()).unwrap();
    }
}

/// A pod's cgroup in a hierarchy of version 1 or 2, taken away when the test ends.
struct Cgroup {
    paths: Vec<PathBuf>,
}

impl Cgroup {
    /// Puts a process into the cgroup `relative`, made in the hierarchy that is mounted at `root`.
    fn enter(root: &Path, relative: &str, process: u32) -> Self {
        let mut path = root.to_owned();
        let mut paths = Vec::new();
        for part in relative.split('/') {
            path.push(part);
            if !path.exists() {
                fs::create_dir(&path).unwrap();
                paths.insert(0, path.clone());
            }
        }
        fs::write(path.join("cgroup.procs"), process.to_string()).unwrap();
        Self { paths }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let Some((innermost, _)) = self.paths.split_first() else {
            return;
        };
        let left = fs::read_to_string(innermost.join("cgroup.procs")).unwrap_or_default();
        let root = innermost
            .ancestors()
            .nth(self.paths.len())
            .map(Path::to_owned);
        for process in left.lines() {
            let _ = fs::write(root.as_ref().unwrap().join("cgroup.procs"), process);
        }
        for path in &self.paths {
            let _ = fs::remove_dir(path);
        }
    }
}

/// Where cgroup hierarchies are mounted: one of version 1 if there is any, and one of version 2.
fn hierarchies() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let of_type = |wanted: &str| {
        let mounts = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>());
        let mut found = mounts.filter(|words| words[2] == wanted && !words[3].contains("cpuset"));
        found.next().map(|words| PathBuf::from(words[1]))
    };
    [of_type("cgroup"), of_type("cgroup2")]
        .into_iter()
        .flatten()
        .collect()
}

fn uid(name: &str) -> String {
    format!("{:08x}-0000-4000-8000-{name:0>12}", std::process::id())
}

fn expect(bindings: &BTreeMap<u32, Binding>, link: &Link, name: &str, evidence: Evidence) {
    let binding = bindings
        .get(&link.ifindex)
        .unwrap_or_else(|| panic!("{link:?} is not bound"));
    assert_eq!(binding.pod.name.name, name, "{binding:?}");
    assert_eq!(binding.evidence, evidence, "{binding:?}");
}

#[test]
fn ptp_routes_tell_the_pod() {
    let mut node = Node::new();
    let (first, second) = (node.attach("ptp"), node.attach("ptp"));
    let pods = [
        pod("a", "1", &first.addresses),
        pod("b", "2", &second.addresses),
    ];
    let bindings = Looking::new().bind(&pods);
    expect(&bindings, &first.link(), "a", Evidence::HostRoute);
    expect(&bindings, &second.link(), "b", Evidence::HostRoute);
    assert_eq!(bindings.len(), 2);
    let addresses = &bindings[&first.link().ifindex].addresses;
    assert!(
        first
            .addresses
            .iter()
            .all(|address| addresses.contains(address))
    );
    let link_local = |it: &&IpAddr| matches!(it, IpAddr::V6(it) if it.is_unicast_link_local());
    assert_eq!(
        addresses.iter().filter(link_local).count(),
        1,
        "{addresses:?}"
    );
    assert_eq!(addresses.len(), 3, "{addresses:?}");
}

#[test]
fn a_bridge_tells_the_pod_once_it_has_talked() {
    let mut node = Node::new();
    let (first, second) = (node.attach("bridge"), node.attach("bridge"));
    let pods = [
        pod("a", "1", &first.addresses),
        pod("b", "2", &second.addresses),
    ];
    let looking = Looking::new();
    assert_eq!(looking.bind(&pods), BTreeMap::new());
    for v6 in [false, true] {
        let listener = TcpListener::bind(if v6 { "[::]:0" } else { "0.0.0.0:0" }).unwrap();
        let port = listener.local_addr().unwrap().port();
        let gateway: IpAddr = if v6 { "fd77::1" } else { "10.77.0.1" }.parse().unwrap();
        let talking = if v6 { &second.sandbox } else { &first.sandbox };
        talking.enter(move || TcpStream::connect((gateway, port)).unwrap());
        listener.accept().unwrap();
    }
    let bindings = looking.bind(&pods);
    expect(&bindings, &first.link(), "a", Evidence::BridgeFdb);
    expect(&bindings, &second.link(), "b", Evidence::BridgeFdb);
}

#[test]
fn a_kept_result_tells_the_pod_and_its_addresses_before_the_api_does() {
    let mut node = Node::new();
    let attached = node.attach("ptp");
    let looking = Looking::new();
    let pods = [pod("a", "1", &[]), pod("b", "2", &[])];
    assert_eq!(looking.bind(&pods), BTreeMap::new());
    looking.keep_result(&attached, "b", "2");
    let bindings = looking.bind(&pods);
    expect(&bindings, &attached.link(), "b", Evidence::CniCache);
    let addresses = &bindings[&attached.link().ifindex].addresses;
    assert!(
        attached
            .addresses
            .iter()
            .all(|address| addresses.contains(address))
    );
}

#[test]
fn a_result_of_a_pod_that_was_replaced_tells_nothing() {
    let mut node = Node::new();
    let attached = node.attach("ptp");
    let looking = Looking::new();
    looking.keep_result(&attached, "a", "former");
    assert_eq!(looking.bind(&[pod("a", "1", &[])]), BTreeMap::new());
}

#[test]
fn a_kept_result_outweighs_a_route() {
    let mut node = Node::new();
    let attached = node.attach("ptp");
    let pods = [pod("a", "1", &attached.addresses), pod("b", "2", &[])];
    let looking = Looking::new();
    expect(
        &looking.bind(&pods),
        &attached.link(),
        "a",
        Evidence::HostRoute,
    );
    looking.keep_result(&attached, "b", "2");
    expect(
        &looking.bind(&pods),
        &attached.link(),
        "b",
        Evidence::CniCache,
    );
}

#[test]
fn processes_outweigh_everything_in_every_hierarchy() {
    let found = hierarchies();
    assert!(!found.is_empty(), "no cgroup hierarchy is mounted");
    for (number, root) in found.iter().enumerate() {
        let mut node = Node::new();
        let attached = node.attach("ptp");
        let uid = uid(&format!("a{number}"));
        let pods = [pod("a", &uid, &[]), pod("b", "2", &attached.addresses)];
        let looking = Looking::new();
        looking.keep_result(&attached, "b", "2");
        expect(
            &looking.bind(&pods),
            &attached.link(),
            "b",
            Evidence::CniCache,
        );
        let spelling = match number {
            0 => format!("kubepods-test-{uid}/burstable/pod{uid}/4e5b"),
            _ => format!(
                "kubepods-test-{uid}.slice/kubepods-pod{}.slice",
                uid.replace('-', "_")
            ),
        };
        let _cgroup = Cgroup::enter(root, &spelling, attached.sandbox.process());
        expect(
            &looking.bind(&pods),
            &attached.link(),
            "a",
            Evidence::Process,
        );
    }
}

#[test]
fn a_visitor_does_not_speak_for_the_pod() {
    let mut node = Node::new();
    let (first, second) = (node.attach("ptp"), node.attach("ptp"));
    let (uid_a, uid_b) = (uid("c"), uid("d"));
    let root = hierarchies().remove(0);
    let cgroup = |uid: &str, process: u32| {
        Cgroup::enter(&root, &format!("kubepods-test-{uid}/pod{uid}"), process)
    };
    let _owner = cgroup(&uid_a, first.sandbox.process());
    let visitor = Visitor::new(&first.sandbox);
    let _monitor = [
        cgroup(&uid_b, second.sandbox.process()),
        cgroup(&uid_b, visitor.0.id()),
    ];
    let pods = [pod("a", &uid_a, &[]), pod("b", &uid_b, &[])];
    let bindings = Looking::new().bind(&pods);
    expect(&bindings, &first.link(), "a", Evidence::Process);
    expect(&bindings, &second.link(), "b", Evidence::Process);
}

/// A process in somebody else's network namespace.
struct Visitor(std::process::Child);

impl Visitor {
    fn new(host: &Sandbox) -> Self {
        let namespace = format!("--net={}", host.namespace().display());
        let command = ["--pdeathsig", "KILL", "nsenter", &namespace, "sleep", "600"];
        let child = std::process::Command::new("setpriv")
            .args(command)
            .spawn()
            .unwrap();
        let visitor = Self(child);
        let inside = fs::read_link(host.namespace()).unwrap();
        crate::pods::wait_until("the visitor to enter", || {
            fs::read_link(format!("/proc/{}/ns/net", visitor.0.id())).unwrap() == inside
        });
        visitor
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_first_source_binds_until_better_is_known() {
    let mut node = Node::new();
    let attached = node.attach("bridge");
    let looking = Looking::new();
    let pods = [pod("a", "1", &attached.addresses)];
    let all = links::scan().unwrap();
    let link = attached.link();
    let sources = BTreeMap::from([(link.ifindex, attached.address(false))]);
    let bindings = looking.binder.bind(&all, &pods, &sources);
    expect(&bindings, &link, "a", Evidence::FirstSource);
    assert!(bindings[&link.ifindex].evidence.is_provisional());
    looking.keep_result(&attached, "b", "2");
    let pods = [pods[0].clone(), pod("b", "2", &[])];
    expect(
        &looking.binder.bind(&all, &pods, &sources),
        &link,
        "b",
        Evidence::CniCache,
    );
}

#[test]
fn pods_in_the_hosts_network_and_links_between_nodes_are_not_bound() {
    let mut node = Node::new();
    let attached = node.attach("ptp");
    let host_network = Pod {
        host_network: true,
        ..pod("a", "1", &attached.addresses)
    };
    let neighbour = Sandbox::new();
    let process = neighbour.process().to_string();
    run(
        "ip",
        &[
            "link", "add", "uplink", "type", "veth", "peer", "name", "eth0", "netns", &process,
        ],
    );
    run("ip", &["link", "set", "uplink", "up"]);
    run("ip", &["route", "add", "10.78.0.0/24", "dev", "uplink"]);
    let elsewhere = pod("b", "2", &["10.78.0.5".parse().unwrap()]);
    let looking = Looking::new();
    assert_eq!(looking.bind(&[host_network, elsewhere]), BTreeMap::new());
}
