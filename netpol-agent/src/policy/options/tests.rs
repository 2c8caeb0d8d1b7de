//! Options as text: what is read, what is refused, and that what is written is read the same.

use netpol_common::words::Protocol;

use super::*;
use crate::identity::Peer;

#[test]
fn an_edge_is_read_as_it_is_written() {
    let web = || Peer::Workload(WorkloadName::new("shop", "Deployment", "web"));
    let address = |text: &str| Peer::External(text.parse().unwrap());
    let cases = [
        (
            "shop/Deployment/web -> 203.0.113.7 443/TCP",
            web(),
            address("203.0.113.7"),
            Protocol::Tcp,
            443,
        ),
        (
            "2001:db8::1->shop/Deployment/web UDP 53",
            address("2001:db8::1"),
            web(),
            Protocol::Udp,
            53,
        ),
        (
            "node one  ->  kube-apiserver 6443/tcp",
            Peer::Node("one".to_owned()),
            Peer::ApiServer,
            Protocol::Tcp,
            6443,
        ),
        (
            "shop/Deployment/web -> node one SCTP 1",
            web(),
            Peer::Node("one".to_owned()),
            Protocol::Sctp,
            1,
        ),
        (
            "::ffff:203.0.113.7 -> shop/Deployment/web 1/TCP",
            address("203.0.113.7"),
            web(),
            Protocol::Tcp,
            1,
        ),
    ];
    for (text, client, server, protocol, port) in cases {
        let edge: RejectedEdge = text.parse().unwrap();
        assert_eq!(
            edge.0,
            EdgeId {
                client,
                server,
                protocol,
                port
            },
            "{text}"
        );
        assert_eq!(edge.to_string().parse(), Ok(edge), "{text}");
    }
}

#[test]
fn what_is_no_edge_is_refused_with_what_to_write() {
    let refused = [
        ("shop/Deployment/web 80/TCP", "write CLIENT -> SERVER"),
        ("a -> b", "write CLIENT -> SERVER"),
        ("shop/web -> 203.0.113.7 443/TCP", "\"shop/web\" is no end"),
        ("shop/Deployment/web ->  443/TCP", "\"\" is no end"),
        (
            "shop/Deployment/web -> 203.0.113.7 0/TCP",
            "\"0/TCP\" is no port",
        ),
        (
            "shop/Deployment/web -> 203.0.113.7 443/ICMP",
            "\"443/ICMP\" is no port",
        ),
        (
            "shop/Deployment/web -> 203.0.113.7 TCP http",
            "\"TCP http\" is no port",
        ),
    ];
    for (text, said) in refused {
        let error = text.parse::<RejectedEdge>().unwrap_err().to_string();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn a_plugin_is_read_with_or_without_version() {
    for (text, plugin, version) in [
        ("generic", Plugin::Generic, None),
        ("cilium=1.13", Plugin::Cilium, Some(Version(1, 13))),
        ("calico=v3.20.4", Plugin::Calico, Some(Version(3, 20))),
        ("aws", Plugin::Aws, None),
    ] {
        assert_eq!(text.parse(), Ok(Cni { plugin, version }));
    }
    for text in [
        "",
        "weave",
        "cilium=",
        "cilium=1",
        "cilium=1.x",
        "cilium=1.2.3.4",
        "Cilium",
    ] {
        assert!(text.parse::<Cni>().is_err(), "{text}");
    }
}

#[test]
fn port_ranges_depend_on_the_version() {
    for (text, has) in [
        ("cilium=1.15", false),
        ("cilium=1.16", true),
        ("cilium=2.0", true),
        ("cilium", true),
        ("calico=3.19", false),
        ("calico=3.20", true),
        ("generic=0.1", true),
    ] {
        assert_eq!(
            text.parse::<Cni>().unwrap().has_port_ranges(),
            has,
            "{text}"
        );
    }
}

#[test]
fn options_survive_a_custom_resource() {
    let options = Options {
        external: External::Aggregate,
        cidr_groups: [(
            "payments".to_owned(),
            ["203.0.113.0/24".parse().unwrap()].into(),
        )]
        .into(),
        nodes: Nodes::Given(["192.0.2.0/24".parse().unwrap()].into()),
        reject: ["shop/Deployment/web -> 203.0.113.7 443/TCP"
            .parse()
            .unwrap()]
        .into(),
        cni: "cilium=1.15".parse().unwrap(),
        ..Options::default()
    };
    let text = serde_json::to_string(&options).unwrap();
    assert_eq!(serde_json::from_str::<Options>(&text).unwrap(), options);
    assert_eq!(
        serde_json::from_str::<Options>("{}").unwrap(),
        Options::default()
    );
    assert!(serde_json::from_str::<Options>(r#"{"extrenal":"any"}"#).is_err());
    assert!(serde_json::from_str::<Options>(r#"{"reject":["nothing"]}"#).is_err());
}

#[test]
fn the_nearest_layer_counts() {
    let options = |external_addresses| Options {
        external_addresses,
        ..Options::default()
    };
    let web = WorkloadName::new("shop", "Deployment", "web");
    let layers = OptionsFor {
        cluster: options(1),
        namespaces: [("shop".to_owned(), options(2))].into(),
        workloads: [(web.clone(), options(3))].into(),
    };
    let of = |name: &WorkloadName| layers.workload(name).external_addresses;
    assert_eq!(of(&web), 3);
    assert_eq!(of(&WorkloadName::new("shop", "Deployment", "api")), 2);
    assert_eq!(of(&WorkloadName::new("other", "Deployment", "web")), 1);
    assert_eq!(layers.namespace("shop").external_addresses, 2);
}
