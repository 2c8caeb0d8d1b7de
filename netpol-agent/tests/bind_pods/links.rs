//! The watch on interfaces.

use std::collections::BTreeMap;
use std::fs::File;
use std::future::Future;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use netpol_agent::node::addresses;
use netpol_agent::node::links::{self, Link, LinkEvent, LinkWatcher, WatchOptions};
use netpol_agent::node::netlink::NetlinkError;
use netpol_agent::node::netns::Numbers;
use netpol_agent::node::processes::inhabitants;
use netpol_agent::node::spoken;

use crate::pods::{self, Node, Sandbox, run};

/// What a receiver of events believes to be there.
#[derive(Default)]
struct Believed(BTreeMap<u32, Link>);

impl Believed {
    fn take(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Resync(links) => {
                self.0 = links.into_iter().map(|link| (link.ifindex, link)).collect();
            }
            LinkEvent::Added(link) => {
                let known = self.0.insert(link.ifindex, link);
                assert_eq!(known, None, "added twice");
            }
            LinkEvent::Changed(link) => {
                let known = self.0.insert(link.ifindex, link);
                assert!(known.is_some(), "changed before it was added");
            }
            LinkEvent::Removed(ifindex) => {
                assert!(self.0.remove(&ifindex).is_some(), "removed twice");
            }
        }
    }

    fn names(&self) -> Vec<&str> {
        self.0.values().map(|link| link.name.as_str()).collect()
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}

/// Takes events until none comes for a while.
async fn settle(watcher: &mut LinkWatcher, believed: &mut Believed) -> Vec<LinkEvent> {
    let mut events = Vec::new();
    let quiet = Duration::from_millis(300);
    while let Ok(event) = tokio::time::timeout(quiet, watcher.next()).await {
        let event = event.unwrap();
        events.push(event.clone());
        believed.take(event);
    }
    events
}

fn add_veth(name: &str, sandbox: &Sandbox) {
    let process = sandbox.process().to_string();
    run(
        "ip",
        &[
            "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", &process,
        ],
    );
}

#[test]
fn interfaces_come_and_go() {
    let _node = Node::new();
    let sandbox = Sandbox::new();
    block_on(async {
        let mut watcher = LinkWatcher::new(WatchOptions::default()).unwrap();
        let mut believed = Believed::default();
        let first = settle(&mut watcher, &mut believed).await;
        assert!(matches!(&first[..], [LinkEvent::Resync(_)]), "{first:?}");
        assert!(!believed.0.values().any(Link::may_be_pods));

        add_veth("pod0", &sandbox);
        settle(&mut watcher, &mut believed).await;
        let link = believed
            .0
            .values()
            .find(|link| link.name == "pod0")
            .unwrap()
            .clone();
        assert!(link.may_be_pods(), "{link:?}");
        assert!(link.mac.is_some() && link.peer_ifindex.is_some());

        run("ip", &["link", "add", "br0", "type", "bridge"]);
        run("ip", &["link", "set", "pod0", "master", "br0"]);
        let events = settle(&mut watcher, &mut believed).await;
        assert!(
            !events.contains(&LinkEvent::Removed(link.ifindex)),
            "{events:?}"
        );
        assert!(believed.0[&link.ifindex].master.is_some());
        run("ip", &["link", "set", "pod0", "nomaster"]);
        settle(&mut watcher, &mut believed).await;
        assert_eq!(believed.0[&link.ifindex].master, None);

        drop(sandbox);
        pods::wait_until("the veth to go", || {
            links::scan().unwrap().iter().all(|it| it.name != "pod0")
        });
        let events = settle(&mut watcher, &mut believed).await;
        assert!(
            events.contains(&LinkEvent::Removed(link.ifindex)),
            "{events:?}"
        );
    });
}

#[test]
fn a_veth_within_the_node_is_no_pods() {
    let _node = Node::new();
    run(
        "ip",
        &[
            "link", "add", "here", "type", "veth", "peer", "name", "there",
        ],
    );
    let links = links::scan().unwrap();
    let here = links.iter().find(|link| link.name == "here").unwrap();
    assert!(here.is_veth && !here.may_be_pods(), "{here:?}");
}

#[test]
fn fast_changes_end_in_what_is_there() {
    let _node = Node::new();
    let sandbox = Sandbox::new();
    block_on(async {
        let mut watcher = LinkWatcher::new(WatchOptions::default()).unwrap();
        let mut believed = Believed::default();
        settle(&mut watcher, &mut believed).await;
        for round in 0..20 {
            let name = format!("pod{round}");
            add_veth(&name, &sandbox);
            if round % 2 == 0 {
                run("ip", &["link", "del", &name]);
            } else {
                sandbox.run("ip", &["link", "set", "eth0", "name", "moved"]);
                run("ip", &["link", "del", &name]);
            }
        }
        add_veth("last", &sandbox);
        let events = settle(&mut watcher, &mut believed).await;
        let removed = events
            .iter()
            .filter(|event| matches!(event, LinkEvent::Removed(_)))
            .count();
        assert_eq!(removed, 20);
        assert!(believed.names().contains(&"last"));
        let expected: Vec<u32> = links::scan()
            .unwrap()
            .iter()
            .map(|link| link.ifindex)
            .collect();
        assert_eq!(believed.0.into_keys().collect::<Vec<_>>(), expected);
    });
}

#[test]
fn lost_events_are_made_good_by_a_scan() {
    let _node = Node::new();
    let sandbox = Sandbox::new();
    let process = sandbox.process().to_string();
    let add = |index: &str, mac: &str| {
        let veth = [
            "link", "add", "again", "index", index, "address", mac, "type", "veth",
        ];
        run(
            "ip",
            &[&veth[..], &["peer", "name", "eth0", "netns", &process]].concat(),
        );
    };
    block_on(async {
        let options = WatchOptions {
            receive_buffer: Some(1),
        };
        let mut watcher = LinkWatcher::new(options).unwrap();
        let mut believed = Believed::default();
        add("7007", "02:00:00:00:00:01");
        settle(&mut watcher, &mut believed).await;
        assert!(believed.0.contains_key(&7007));

        run("ip", &["link", "del", "again"]);
        for round in 0..20 {
            let name = format!("gone{round}");
            run("ip", &["link", "add", &name, "type", "bridge"]);
            run("ip", &["link", "del", &name]);
        }
        add("7007", "02:00:00:00:00:02");
        let events = settle(&mut watcher, &mut believed).await;
        let resyncs = events
            .iter()
            .filter(|event| matches!(event, LinkEvent::Resync(_)))
            .count();
        assert!(resyncs >= 1, "no event was lost: {events:?}");
        let removed = events
            .iter()
            .position(|event| *event == LinkEvent::Removed(7007));
        let resync = events
            .iter()
            .position(|event| matches!(event, LinkEvent::Resync(_)));
        assert!(removed < resync && removed.is_some(), "{events:?}");
        assert_eq!(believed.0[&7007].mac, Some([2, 0, 0, 0, 0, 2]));
        let expected: Vec<u32> = links::scan()
            .unwrap()
            .iter()
            .map(|link| link.ifindex)
            .collect();
        assert_eq!(believed.0.into_keys().collect::<Vec<_>>(), expected);
    });
}

#[test]
fn the_nodes_addresses_are_those_of_all_its_interfaces() {
    let mut node = Node::new();
    let pod = node.attach("bridge");
    run("ip", &["link", "add", "tunnel0", "type", "bridge"]);
    run("ip", &["addr", "add", "10.88.0.0/32", "dev", "tunnel0"]);
    run(
        "ip",
        &[
            "addr",
            "add",
            "198.51.100.7",
            "peer",
            "198.51.100.8",
            "dev",
            "tunnel0",
        ],
    );
    run("ip", &["link", "set", "tunnel0", "up"]);
    let found = addresses::of_node().unwrap();
    let expected = ["10.77.0.1", "10.88.0.0", "198.51.100.7", "fd77::1"];
    assert_eq!(
        found,
        expected.map(|text| text.parse::<IpAddr>().unwrap()),
        "{:?}",
        pod.addresses
    );
}

#[test]
fn a_namespace_is_silent_until_somebody_in_it_speaks() {
    let _node = Node::new();
    let sandbox = Sandbox::new();
    add_veth("pod", &sandbox);
    run("ip", &["link", "set", "pod", "up"]);
    sandbox.run("ip", &["link", "set", "eth0", "up"]);
    sandbox.run("ip", &["link", "set", "lo", "up"]);
    let links = links::scan().unwrap();
    let namespace = links.iter().find_map(|link| link.netnsid).unwrap();
    let silent = |carried| {
        let carried = BTreeMap::from([(namespace, carried)]);
        spoken::silent(Path::new("/proc"), &carried).contains(&namespace)
    };
    assert!(silent(0));
    assert!(!silent(1_000), "nobody in its own kernel sent so many");
    sandbox.enter(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    });
    assert!(!silent(0));
}

#[test]
fn a_namespace_has_one_number_however_it_is_asked_for() {
    let _node = Node::new();
    let (near, far) = (Sandbox::new(), Sandbox::new());
    let numbers = Numbers::open().unwrap();
    assert_eq!(
        numbers.of_process(near.process()).unwrap(),
        None,
        "no interface leads there yet"
    );
    add_veth("near", &near);
    add_veth("far", &far);
    for link in links::scan()
        .unwrap()
        .iter()
        .filter(|link| link.may_be_pods())
    {
        let sandbox = if link.name == "near" { &near } else { &far };
        let file = File::open(sandbox.namespace()).unwrap();
        assert_eq!(numbers.of_process(sandbox.process()).unwrap(), link.netnsid);
        assert_eq!(numbers.of_file(file.as_fd()).unwrap(), link.netnsid);
        let found = inhabitants(Path::new("/proc"), &numbers).unwrap();
        assert_eq!(found.oldest[&link.netnsid.unwrap()], sandbox.process());
    }
    let no_namespace = File::open("/proc/self/comm").unwrap();
    assert!(matches!(
        numbers.of_file(no_namespace.as_fd()),
        Err(NetlinkError::Refused(_))
    ));
    assert!(matches!(
        numbers.of_process(u32::MAX / 2),
        Err(NetlinkError::Refused(_))
    ));
}
