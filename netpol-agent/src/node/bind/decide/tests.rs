//! Tables of facts, and the bindings that must come of them.

use super::*;
use crate::identity::objects::NamespacedName;
use crate::node::bind::{FdbEntry, HostRoute, Neighbour};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
/// The bridge of every link.
const BRIDGE: u32 = 3;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The host's end of a pod's veth. Its namespace has the number of its index.
fn link(ifindex: u32) -> Link {
    Link {
        ifindex,
        name: format!("veth{ifindex}"),
        is_veth: true,
        peer_ifindex: Some(2),
        netnsid: Some(ifindex.cast_signed()),
        master: Some(BRIDGE),
        ..Link::default()
    }
}

/// A pod whose uid is `uid-<name>`.
fn pod(name: &str, ips: &[&str]) -> Pod {
    Pod {
        name: NamespacedName {
            namespace: "shop".into(),
            name: name.into(),
        },
        uid: format!("uid-{name}"),
        ips: ips.iter().map(|text| ip(text)).collect(),
        ..Pod::default()
    }
}

fn sandbox(name: &str, netnsid: i32) -> Facts {
    Facts {
        sandboxes: vec![Sandbox {
            pod_uid: format!("uid-{name}"),
            netnsid,
        }],
        ..Facts::default()
    }
}

fn cni(name: &str, uid: Option<&str>, interface: &str) -> Facts {
    let result = CniResult {
        pod: Some(CniPod {
            namespace: "shop".into(),
            name: name.into(),
            uid: uid.map(str::to_owned),
        }),
        host_interfaces: vec![interface.into()],
        ..CniResult::default()
    };
    Facts {
        cni: vec![result],
        ..Facts::default()
    }
}

fn route(address: &str, ifindex: u32) -> Facts {
    let address = ip(address);
    Facts {
        routes: vec![HostRoute { address, ifindex }],
        ..Facts::default()
    }
}

fn learned(address: &str, port: u32, bridge: u32) -> Facts {
    Facts {
        fdb: vec![FdbEntry {
            ifindex: port,
            mac: MAC,
        }],
        neighbours: vec![Neighbour {
            ifindex: bridge,
            address: ip(address),
            mac: MAC,
        }],
        ..Facts::default()
    }
}

fn source(address: &str, ifindex: u32) -> Facts {
    Facts {
        sources: BTreeMap::from([(ifindex, ip(address))]),
        ..Facts::default()
    }
}

fn inner(netnsid: i32, addresses: &[&str]) -> Facts {
    let addresses = addresses.iter().map(|text| ip(text)).collect();
    Facts {
        inner: BTreeMap::from([(netnsid, addresses)]),
        ..Facts::default()
    }
}

fn all(parts: impl IntoIterator<Item = Facts>) -> Facts {
    let mut facts = Facts::default();
    for part in parts {
        facts.sandboxes.extend(part.sandboxes);
        facts.cni.extend(part.cni);
        facts.routes.extend(part.routes);
        facts.fdb.extend(part.fdb);
        facts.neighbours.extend(part.neighbours);
        facts.sources.extend(part.sources);
        facts.inner.extend(part.inner);
    }
    facts
}

/// Pods `a` (10.1.0.5, fd00::5), `b` (10.1.0.6), `c` without an address, and two that share 10.1.0.8.
fn pods() -> Vec<Pod> {
    vec![
        pod("a", &["10.1.0.5", "fd00::5"]),
        pod("b", &["10.1.0.6"]),
        pod("c", &[]),
        pod("d", &["10.1.0.8"]),
        pod("e", &["10.1.0.8"]),
    ]
}

fn bound(facts: &Facts) -> Vec<(u32, String, Evidence)> {
    let bindings = decide(&[link(7), link(8)], &pods(), facts);
    let shown = bindings.into_iter();
    shown
        .map(|(ifindex, it)| (ifindex, it.pod.name.name, it.evidence))
        .collect()
}

fn check(parts: impl IntoIterator<Item = Facts>, expected: &[(u32, &str, Evidence)]) {
    let facts = all(parts);
    let expected: Vec<_> = expected
        .iter()
        .map(|(ifindex, pod, kind)| (*ifindex, (*pod).to_owned(), *kind))
        .collect();
    assert_eq!(bound(&facts), expected, "{facts:#?}");
}

use Evidence::{BridgeFdb, CniCache, FirstSource, HostRoute as Route, Process};

#[test]
fn each_kind_of_evidence_binds_alone() {
    check([], &[]);
    check([sandbox("a", 7)], &[(7, "a", Process)]);
    check([sandbox("a", 9)], &[]);
    check([cni("c", Some("uid-c"), "veth7")], &[(7, "c", CniCache)]);
    check([cni("c", None, "veth7")], &[(7, "c", CniCache)]);
    check([cni("c", Some("uid-former"), "veth7")], &[]);
    check([cni("c", None, "veth9")], &[]);
    check([route("fd00::5", 8)], &[(8, "a", Route)]);
    check([route("10.1.0.99", 8)], &[]);
    check([learned("10.1.0.6", 7, BRIDGE)], &[(7, "b", BridgeFdb)]);
    check([learned("10.1.0.6", 7, 99)], &[]);
    check([source("10.1.0.6", 7)], &[(7, "b", FirstSource)]);
}

/// Evidence for a pod on link 7.
type Make = fn(&str) -> Facts;

#[test]
fn the_stronger_evidence_wins() {
    let kinds: [(Evidence, Make); 5] = [
        (Process, |name| sandbox(name, 7)),
        (CniCache, |name| cni(name, None, "veth7")),
        (Route, |name| route(address_of(name), 7)),
        (BridgeFdb, |name| learned(address_of(name), 7, BRIDGE)),
        (FirstSource, |name| source(address_of(name), 7)),
    ];
    for (at, (stronger, strong)) in kinds.iter().enumerate() {
        for (weaker, weak) in &kinds[at + 1..] {
            assert!(stronger < weaker);
            check([strong("a"), weak("b")], &[(7, "a", *stronger)]);
            check([weak("a"), strong("b")], &[(7, "b", *stronger)]);
        }
    }
}

fn address_of(name: &str) -> &'static str {
    if name == "a" { "10.1.0.5" } else { "10.1.0.6" }
}

#[test]
fn evidence_for_two_pods_decides_nothing() {
    check([sandbox("a", 7), sandbox("b", 7)], &[]);
    check(
        [sandbox("a", 7), sandbox("b", 7), route("10.1.0.6", 7)],
        &[(7, "b", Route)],
    );
    check([cni("a", None, "veth7"), cni("b", None, "veth7")], &[]);
    check([route("10.1.0.8", 7)], &[]);
    check([source("10.1.0.8", 7)], &[]);
    check(
        [route("10.1.0.5", 7), route("fd00::5", 7)],
        &[(7, "a", Route)],
    );
    check([route("10.1.0.5", 7), route("10.1.0.6", 7)], &[]);
}

#[test]
fn a_pod_that_the_api_does_not_tell_yet_is_waited_for() {
    let unknown = |uid: &str| {
        let mut facts = sandbox("", 7);
        facts.sandboxes[0].pod_uid = uid.into();
        facts
    };
    let new_pod = "2f7a1c1e-8f7c-4a55-9f2d-0d5c3b0f6a11";
    check(
        [
            unknown(new_pod),
            route("10.1.0.5", 7),
            source("10.1.0.5", 7),
        ],
        &[],
    );
    let static_pod = "d6b5e8c1a7f04f7b9b1f6f1c2d3e4a5b";
    check(
        [unknown(static_pod), route("10.1.0.5", 7)],
        &[(7, "a", Route)],
    );
    check([unknown(new_pod), sandbox("b", 7)], &[(7, "b", Process)]);
}

#[test]
fn a_first_source_takes_no_pod_from_its_interface() {
    let facts = [route("10.1.0.5", 7), source("10.1.0.5", 8)];
    check(facts, &[(7, "a", Route)]);
    let second_network = [sandbox("a", 7), route("10.1.0.5", 8)];
    check(second_network, &[(7, "a", Process), (8, "a", Route)]);
}

#[test]
fn an_old_cache_binds_by_its_addresses() {
    let mut facts = cni("nobody", None, "veth7");
    facts.cni[0].pod = None;
    facts.cni[0].addresses = vec![ip("10.1.0.6")];
    check([facts], &[(7, "b", CniCache)]);
    let mut inside = cni("b", None, "eth0");
    inside.cni[0].netnsid = Some(8);
    check([inside], &[(8, "b", CniCache)]);
}

#[test]
fn only_pods_of_their_own_network_on_veths_to_elsewhere_are_bound() {
    let host = Pod {
        host_network: true,
        ..pod("a", &["10.1.0.5"])
    };
    let facts = all([sandbox("a", 7), route("10.1.0.5", 7)]);
    assert_eq!(decide(&[link(7)], &[host], &facts), BTreeMap::new());
    let local = Link {
        netnsid: None,
        ..link(7)
    };
    let dummy = Link {
        is_veth: false,
        ..link(7)
    };
    assert_eq!(decide(&[local, dummy], &pods(), &facts), BTreeMap::new());
}

#[test]
fn the_address_of_a_pod_that_ended_may_be_anothers() {
    let ended = Pod {
        terminal: true,
        ..pod("former", &["10.1.0.6"])
    };
    let mut pods = pods();
    pods.push(ended);
    let facts = all([route("10.1.0.6", 7), sandbox("former", 8)]);
    let found = decide(&[link(7), link(8)], &pods, &facts);
    assert_eq!(found[&7].pod.name.name, "b");
    assert_eq!(found[&8].pod.name.name, "former");
}

#[test]
fn addresses_are_what_the_pod_cannot_forge() {
    let of = |parts: Vec<Facts>| {
        let found = decide(&[link(7)], &pods(), &all(parts));
        found[&7]
            .addresses
            .iter()
            .map(IpAddr::to_string)
            .collect::<Vec<_>>()
    };
    let told = of(vec![
        sandbox("a", 7),
        inner(7, &["10.1.0.5", "10.9.9.9", "fe80::5"]),
    ]);
    assert_eq!(told, ["10.1.0.5", "fd00::5", "fe80::5"]);
    let routed = of(vec![
        sandbox("c", 7),
        route("10.1.0.7", 7),
        inner(7, &["10.9.9.9"]),
    ]);
    assert_eq!(routed, ["10.1.0.7"]);
    let untold = of(vec![
        sandbox("c", 7),
        inner(7, &["10.1.0.7", "10.1.0.6", "fe80::7"]),
    ]);
    assert_eq!(untold, ["10.1.0.7", "fe80::7"]);
    let nothing = of(vec![sandbox("c", 7), inner(8, &["10.1.0.7"])]);
    assert_eq!(nothing, Vec::<String>::new());
}
