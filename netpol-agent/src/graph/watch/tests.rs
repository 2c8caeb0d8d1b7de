//! Which ends count as watched: by whom, when, and what may stand behind another address.

use netpol_common::names::{ObjectName, WorkloadName};

use super::*;
use crate::graph::Builder;
use crate::graph::Resolve;
use crate::identity::{Resolution, Sighting, Unresolved};

/// Pods of `web` on node a and of `api` on node b; whatever has no node's name is an address outside.
struct Cluster;

impl Resolve for Cluster {
    fn resolve(&self, sighting: &Sighting) -> Resolution {
        let (client, server) = (peer(&sighting.client), peer(&sighting.server));
        if let Endpoint::Pod(name) = &sighting.server
            && name.name == "nobody"
        {
            return Resolution::Unresolved(Unresolved::NotInInventory(name.to_string()));
        }
        let mark = Mark {
            client_nodes: nodes(&client),
            server_nodes: nodes(&server),
            ..Mark::default()
        };
        let id = EdgeId {
            client,
            server,
            protocol: sighting.protocol,
            port: sighting.port,
        };
        Resolution::Edges(vec![(id, mark)])
    }

    fn nodes_of(&self, workload: &WorkloadName) -> BTreeSet<String> {
        nodes(&Peer::Workload(workload.clone()))
    }
}

fn peer(end: &Endpoint) -> Peer {
    match end {
        Endpoint::Ip(address) => Peer::External(*address),
        Endpoint::Pod(name) if name.name == "node" => Peer::Node("b".to_owned()),
        Endpoint::Pod(name) => Peer::Workload(WorkloadName::new("shop", "Deployment", &name.name)),
        Endpoint::Workload(name) => Peer::Workload(name.clone()),
    }
}

fn nodes(peer: &Peer) -> BTreeSet<String> {
    let node = match peer.to_string().as_str() {
        "shop/Deployment/web" => "a",
        "shop/Deployment/api" => "b",
        _ => return BTreeSet::new(),
    };
    BTreeSet::from([node.to_owned()])
}

fn end(name: &str) -> Endpoint {
    let workload = name.parse().map(Endpoint::Workload);
    let address = name.parse().map(Endpoint::Ip);
    let pod = || Endpoint::Pod(ObjectName::new("shop", name));
    workload.ok().or(address.ok()).unwrap_or_else(pod)
}

/// A record such as `a: web > api 80 10:00-10:05 client`; the observer and the times may be left out.
fn record(text: &str) -> FlowRecord {
    let (observer, text) = text.split_once(": ").unwrap_or(("", text));
    let words: Vec<&str> = text.split(' ').collect();
    let [client, _, server, port, times, view] = words[..] else {
        panic!("{text}");
    };
    let time = |part: Option<&str>| format!("2026-01-02T{}:00Z", part?).parse().ok();
    let mut times = times.split('-').filter(|time| !time.is_empty());
    FlowRecord {
        time: time(times.next()),
        client: end(client),
        server: end(server),
        protocol: Protocol::Tcp,
        port: port.parse().unwrap(),
        outcome: Outcome::Established,
        count: 1,
        last_seen: time(times.next()),
        view: match view {
            "client" => Some(View::Client),
            "server" => Some(View::Server),
            _ => None,
        },
        by_service: None,
        observer: Some(observer.to_owned()).filter(|name| !name.is_empty()),
        remote_node: None,
    }
}

/// Whether the client and the server of the edge from web to api on port 81 were watched, in any order of records.
fn watched(records: &[&str]) -> (bool, bool) {
    let judge = |records: &mut dyn Iterator<Item = &&str>| {
        let mut builder = Builder::default();
        records.for_each(|text| builder.add(&Cluster, &record(text)));
        let graph = builder.finish(&Cluster);
        let mut edges = graph.edges.iter();
        let edge = edges.find(|(id, _)| id.port == 81);
        edge.map(|(_, seen)| (seen.client_watched, seen.server_watched))
    };
    let straight = judge(&mut records.iter());
    assert_eq!(straight, judge(&mut records.iter().rev()), "{records:?}");
    straight.unwrap()
}

const BY_WEB: &str = "a: web > api 80 10:00-10:30 client";
const BY_API: &str = "b: web > api 80 10:00-10:30 server";
/// What api alone sees.
const FALSE_WEB: &str = "b: web > api 81 10:10-10:11 server";
/// What web alone sees.
const LOST: &str = "a: web > api 81 10:10-10:11 client";

#[test]
fn an_end_that_an_agent_saw_at_that_time_was_watched() {
    assert_eq!(watched(&[BY_WEB, BY_API, FALSE_WEB]), (true, false));
    assert_eq!(watched(&[BY_WEB, BY_API, LOST]), (false, true));
    let as_server_only = "a: api > web 90 10:00-10:30 server";
    assert_eq!(watched(&[as_server_only, FALSE_WEB]), (true, false));
}

#[test]
fn an_end_that_nobody_is_known_to_have_watched_was_not() {
    let cases: &[&[&str]] = &[
        &[FALSE_WEB],
        &[LOST],
        // No observer, no time, or no view.
        &["web > api 80 10:00-10:30 client", FALSE_WEB],
        &["a: web > api 80 - client", FALSE_WEB],
        &["a: web > api 80 10:00-10:30 both", FALSE_WEB],
        &[BY_WEB, "web > api 81 10:10-10:11 server"],
        &[BY_WEB, "b: web > api 81 - server"],
        &[BY_WEB, FALSE_WEB, "b: web > api 81 - server"],
        // Whichever pod of web it was.
        &[BY_WEB, "b: shop/Deployment/web > api 81 10:10-10:11 server"],
        // Another node's agent, and an agent of that node for another pod only.
        &["b: web > api 80 10:00-10:30 client", FALSE_WEB],
        &["a: db > api 80 10:00-10:30 client", FALSE_WEB],
        // Before the agent came, and after it went.
        &[BY_WEB, "b: web > api 81 09:00-09:59 server"],
        &[BY_WEB, "b: web > api 81 10:31-10:40 server"],
        &[
            BY_WEB,
            "a: web > api 80 14:00-14:30 client",
            "b: web > api 81 12:00-12:10 server",
        ],
        // A server that was never seen to be one may be seen from one side only.
        &["b: api > web 80 10:00-10:30 client", LOST],
    ];
    for records in cases {
        assert_eq!(watched(records), (false, false), "{records:?}");
    }
}

#[test]
fn what_may_stand_behind_another_address_is_not_denied() {
    let cases: &[(&[&str], (bool, bool))] = &[
        (&["a: web > 192.0.2.1 80 10:10-10:11 client"], (false, true)),
        (&["a: web > node 80 10:10-10:11 client"], (false, true)),
        (&["a: web > 192.0.2.1 80 10:20-10:21 client"], (true, true)),
        (&["a: web > nobody 80 10:10-10:11 client"], (false, true)),
        (&["b: node > api 81 10:20-10:21 server"], (true, false)),
        (&["b: 192.0.2.1 > api 81 10:20-10:21 server"], (true, false)),
        (&["b: node > api 82 10:20-10:21 server"], (true, true)),
    ];
    for (more, expected) in cases {
        let of_client = watched(&[&[BY_WEB, BY_API, FALSE_WEB], *more].concat()).0;
        let of_server = watched(&[&[BY_WEB, BY_API, LOST], *more].concat()).1;
        assert_eq!((of_client, of_server), *expected, "{more:?}");
    }
}

#[test]
fn silence_of_an_hour_does_not_end_a_watch() {
    let later = "a: web > api 80 11:20-11:21 client";
    let between = "b: web > api 81 11:00-11:01 server";
    assert_eq!(watched(&[BY_WEB, later, between]), (true, false));
}

#[test]
fn nodes_had_agents_only_while_these_saw_something() {
    let had_agents = |text: &str| {
        let mut builder = Builder::default();
        for text in [BY_API, text] {
            builder.add(&Cluster, &record(text));
        }
        let id = EdgeId {
            client: peer(&end("web")),
            server: peer(&end("api")),
            protocol: Protocol::Tcp,
            port: 81,
        };
        builder.watches.had_agents(&id)
    };
    assert_eq!(had_agents(LOST), Some(true));
    assert_eq!(
        had_agents("a: web > api 81 07:00-07:10 client"),
        Some(false)
    );
    assert_eq!(had_agents("a: web > api 81 - client"), None);
    assert_eq!(had_agents("web > api 81 10:10-10:11 client"), None);
}

#[test]
fn places_are_kept_by_node_each_once() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let mut places = Places::default();
    for (nodes, from) in [(vec![3, 1], 5), (vec![2], 6), (vec![1, 3], 9)] {
        places.add(nodes, Some((at(from), at(from + 1))));
    }
    let spans = places.spans.iter().map(|stay| (stay.node, stay.span()));
    let expected = [(1, 5, 10), (2, 6, 7), (3, 5, 10)];
    let expected = expected.map(|(node, from, to)| (node, (at(from), at(to))));
    assert_eq!(spans.collect::<Vec<_>>(), expected);
}

#[test]
fn a_packed_time_is_the_same() {
    let seconds = [0, 1, -1, 1 << 31, -(1 << 31), (1 << 32) + 7, -(1 << 32) - 7];
    let times = seconds.into_iter().flat_map(|second| {
        [0, 1, 999_999_999].map(|nanosecond| Timestamp::new(second, nanosecond).unwrap())
    });
    for time in times.chain([Timestamp::MIN, Timestamp::MAX]) {
        assert_eq!(Timestamp::from(Packed::from(time)), time);
    }
}
