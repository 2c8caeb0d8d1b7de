//! Services' own addresses, where the network plugin judges what a pod sends before they are translated.

use std::net::IpAddr;

use netpol_common::names::ObjectName;
use netpol_common::words::Protocol;

use super::small::{cluster, deployment, egress, graph, seen};
use crate::identity::Peer;
use crate::identity::objects::{Labels, Service, ServicePort, TargetPort};
use crate::policy::model::PolicyPeer;
use crate::policy::options::{Cni, Plugin};
use crate::policy::{Cluster, Options, Proposal, synthesise};

fn labels(of: &[(&str, &str)]) -> Labels {
    let labels = of.iter();
    labels
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// A service on port 80 over TCP.
fn service(name: &str, last: u8, selector: &[(&str, &str)], target: TargetPort) -> Service {
    Service {
        name: ObjectName::new("n", name),
        cluster_ips: vec![[10, 96, 0, last].into()],
        external_ips: Vec::new(),
        selector: labels(selector),
        ports: vec![port(Protocol::Tcp, 80, target)],
        keeps_client: false,
        created: None,
    }
}

fn port(protocol: Protocol, port: u16, target: TargetPort) -> ServicePort {
    ServicePort {
        name: String::new(),
        protocol,
        port,
        target,
        node_port: None,
    }
}

/// Two variants of one application, and a client of theirs.
fn variants() -> Cluster {
    let mut cluster = cluster(&["blue", "green", "web"]);
    for name in ["blue", "green"] {
        let workload = cluster.workloads.get_mut(&deployment(name));
        let workload = workload.expect("it is there");
        workload.selector = labels(&[("app", "api"), ("track", name)]);
        workload.label_sets = [workload.selector.clone()].into();
    }
    let numbers = [("blue", 8080), ("green", 9090)];
    let named = numbers.map(|(name, number)| {
        let port = ("http".to_owned(), Protocol::Tcp, number);
        (deployment(name), [port].into())
    });
    cluster.named_ports = named.into();
    cluster
}

fn with(plugin: Plugin) -> Options {
    Options {
        cni: Cni {
            plugin,
            version: None,
        },
        ..Options::default()
    }
}

/// The addresses of services in a workload's egress, each with its ports.
fn addresses(proposal: &Proposal, name: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (peers, ports) in egress(proposal, name).expect("a policy") {
        for peer in peers {
            if let PolicyPeer::Block(block) = peer {
                found.push((block.to_string(), ports.join(", ")));
            }
        }
    }
    found
}

fn written(of: &[(u8, u16)]) -> Vec<(String, String)> {
    let each = of.iter();
    each.map(|(last, port)| (format!("10.96.0.{last}/32"), format!("TCP {port}")))
        .collect()
}

#[test]
fn a_services_address_is_written_where_the_controller_does_not_add_it() {
    let of = |service: Service, to: (&str, u16), plugin| {
        let cluster = Cluster {
            services: vec![service],
            ..variants()
        };
        let edges = graph(&[("web", to.0, to.1)]);
        addresses(&synthesise(&edges, &cluster, &with(plugin)), "web")
    };
    let aws = |service, to| of(service, to, Plugin::Aws);
    let number = TargetPort::Number;
    let name = || TargetPort::Name("http".to_owned());
    let both = &[("app", "api"), ("track", "blue")][..];
    let blue = &[("track", "blue")][..];
    let all = &[("app", "api")][..];
    let to = ("blue", 8080);
    // Its selector, read as labels, does not match the peer's.
    let plain = || service("plain", 1, blue, number(8080));
    assert_eq!(aws(plain(), to), written(&[(1, 80)]));
    assert_eq!(of(plain(), to, Plugin::Generic), []);
    assert_eq!(of(plain(), to, Plugin::Cilium), []);
    // The controller adds it.
    assert_eq!(aws(service("added", 1, both, number(8080)), to), []);
    assert_eq!(aws(service("added", 1, both, name()), to), []);
    // It leads to another port, or another workload.
    assert_eq!(aws(plain(), ("blue", 8081)), []);
    assert_eq!(aws(plain(), ("green", 8080)), []);
    assert_eq!(
        aws(service("named", 1, blue, name()), to),
        written(&[(1, 80)])
    );
    assert_eq!(aws(service("named", 1, blue, name()), ("blue", 9090)), []);
    // Others stand behind it, and nobody was seen to use it.
    assert_eq!(aws(service("all", 1, all, number(8080)), to), []);
    // It has no address.
    let headless = Service {
        cluster_ips: Vec::new(),
        ..plain()
    };
    assert_eq!(aws(headless, to), []);
    let datagrams = Service {
        ports: vec![port(Protocol::Udp, 80, number(8080))],
        ..plain()
    };
    assert_eq!(aws(datagrams, to), []);
}

/// The controller leaves out what leads to a named port of several numbers; it is written where it was seen in use.
#[test]
fn a_services_address_is_written_where_it_was_used() {
    let all = &[("app", "api")][..];
    let name = TargetPort::Name("http".to_owned());
    let mut cluster = variants();
    let mut addresses_of = |used: bool, named: bool| {
        let target = match named {
            true => name.clone(),
            false => TargetPort::Number(8080),
        };
        cluster.services = vec![service("all", 1, all, target)];
        let mut edges = graph(&[]);
        let (edge, mut evidence) = seen("web", "blue", 8080, 1);
        if used {
            evidence.by_service = [ObjectName::new("n", "all")].into();
        }
        edges.edges.insert(edge.into(), evidence);
        addresses(&synthesise(&edges, &cluster, &with(Plugin::Aws)), "web")
    };
    for named in [true, false] {
        assert_eq!(addresses_of(true, named), written(&[(1, 80)]), "{named}");
        assert_eq!(addresses_of(false, named), []);
    }
    // One workload whose pods name different ports: its own selector is the service's, so only the name hinders.
    let mut cluster = variants();
    let two = [8080, 9090].map(|number| ("http".to_owned(), Protocol::Tcp, number));
    cluster.named_ports = [(deployment("blue"), two.into())].into();
    let both = &[("app", "api"), ("track", "blue")][..];
    let edges = graph(&[("web", "blue", 8080)]);
    let mut of = |target| {
        cluster.services = vec![service("blue", 1, both, target)];
        addresses(&synthesise(&edges, &cluster, &with(Plugin::Aws)), "web")
    };
    assert_eq!(of(name), written(&[(1, 80)]));
    assert_eq!(of(TargetPort::Number(8080)), []);
}

#[test]
fn the_api_servers_service_is_written_beside_its_addresses() {
    let mut cluster = variants();
    cluster.api_server = [IpAddr::from([192, 0, 2, 3])].into();
    let number = TargetPort::Number;
    let kubernetes = Service {
        name: ObjectName::new("default", "kubernetes"),
        ports: vec![
            port(Protocol::Udp, 444, number(6443)),
            port(Protocol::Tcp, 443, number(6443)),
        ],
        ..service("", 9, &[], number(6443))
    };
    let other = service("kubernetes", 8, &[], number(6443));
    cluster.services = vec![other, kubernetes];
    let (mut edge, evidence) = seen("web", "blue", 6443, 1);
    edge.server = Peer::ApiServer;
    let mut edges = graph(&[("web", "blue", 80)]);
    edges.edges.insert(edge.into(), evidence);
    let proposal = synthesise(&edges, &cluster, &with(Plugin::Aws));
    let own = ("192.0.2.3/32".to_owned(), "TCP 6443".to_owned());
    assert_eq!(
        addresses(&proposal, "web"),
        [written(&[(9, 443)]), vec![own]].concat()
    );
    let mut policies = proposal.policies.iter();
    let blue = policies.find(|policy| policy.workload == deployment("blue"));
    let ingress = &blue.expect("a policy").ingress;
    assert_eq!((ingress.len(), ingress[0].ports.len()), (1, 1));
}
