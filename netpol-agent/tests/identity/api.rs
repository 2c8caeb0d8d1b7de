//! The index fed from an API server over HTTP.

use std::convert::Infallible;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use crate::double::ApiServer;
use crate::{cluster, sightings};
use jiff::Timestamp;
use netpol_agent::identity::Index;
use netpol_agent::watch::{self, Options, Scope};
use netpol_common::names::ObjectName;
use tokio::task::JoinHandle;

/// Long enough for any machine; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A watched index with a clock of its own.
struct Watched {
    index: Arc<RwLock<Index>>,
    ready: tokio::sync::watch::Receiver<bool>,
    clock: Arc<AtomicI64>,
    task: JoinHandle<Infallible>,
}

impl Watched {
    fn start(server: &ApiServer, scope: Scope) -> Self {
        Self::start_with(server, scope, Duration::from_secs(3600))
    }

    fn start_with(server: &ApiServer, scope: Scope, retention: Duration) -> Self {
        let index = Arc::new(RwLock::new(Index::default()));
        let (ready, receiver) = tokio::sync::watch::channel(false);
        let clock = Arc::new(AtomicI64::new(sightings::at("10:00:00").as_second()));
        let read = Arc::clone(&clock);
        let now = move || Timestamp::from_second(read.load(Ordering::Relaxed)).unwrap_or_default();
        let options = Options {
            page_size: 3,
            backoff: (Duration::from_millis(1), Duration::from_millis(20)),
            retention,
            ..Options::new(scope)
        };
        let task = tokio::spawn(watch::run(
            server.client(),
            options,
            Arc::clone(&index),
            now,
            ready,
        ));
        Self {
            index,
            ready: receiver,
            clock,
            task,
        }
    }

    async fn listed(&mut self) {
        let ready = tokio::time::timeout(PATIENCE, self.ready.wait_for(|ready| *ready)).await;
        ready.expect("ready in time").expect("the watchers run");
    }

    fn set_clock(&self, clock: &str) {
        self.clock
            .store(sightings::at(clock).as_second(), Ordering::Relaxed);
    }

    fn resolve(&self, sighting: &str) -> String {
        sightings::resolve(
            &self.index.read().expect("no panic under the lock"),
            sighting,
        )
    }

    fn has_pod(&self, name: &str) -> bool {
        let index = self.index.read().expect("no panic under the lock");
        index
            .pod(&name.parse::<ObjectName>().expect("a pod's name"))
            .is_some()
    }

    /// Waits until that holds; the watchers must not end meanwhile.
    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let wait = async {
            while !holds(self) {
                assert!(
                    !self.task.is_finished(),
                    "the watchers ended while waiting: {what}"
                );
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("never: {what}"));
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn pod(name: &str, address: &str, node: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: test, uid: u-{name}}}, \
         spec: {{nodeName: {node}, containers: []}}, status: {{phase: Running, podIPs: [{{ip: {address}}}]}}}}"
    )
}

async fn seven_pods() -> ApiServer {
    let pods: Vec<String> = (1..=7)
        .map(|n| pod(&format!("p{n}"), &format!("10.1.0.{n}"), "a"))
        .collect();
    ApiServer::start(&pods.join("\n---\n")).await
}

#[tokio::test]
async fn resolves_the_cluster() {
    let server = ApiServer::start(cluster::OBJECTS).await;
    let mut watched = Watched::start(&server, Scope::Cluster);
    watched.listed().await;
    sightings::assert_table(&watched.index.read().unwrap(), cluster::TABLE);
}

#[tokio::test]
async fn is_ready_only_after_the_last_page_of_every_list() {
    let server = seven_pods().await;
    server.world().held = Some("pods".to_owned());
    let watched = Watched::start(&server, Scope::Cluster);
    watched
        .until("the second page of pods is asked for", |_| {
            server.count("pods", "page") == 1
        })
        .await;
    watched
        .until("every other kind is watched", |_| {
            let watches = server
                .world()
                .requests
                .iter()
                .filter(|request| request.sort == "watch")
                .count();
            watches == 11
        })
        .await;
    watched
        .until("what has come is known", |watched| {
            watched.has_pod("test/p1")
        })
        .await;
    assert!(!watched.has_pod("test/p7"));
    assert!(!*watched.ready.borrow());
    server.world().held = None;
    server.announce();
    let mut watched = watched;
    watched.listed().await;
    assert!(watched.has_pod("test/p1") && watched.has_pod("test/p7"));
    assert_eq!(server.count("pods", "page"), 2);
}

#[tokio::test]
async fn follows_changes_and_remembers_who_had_an_address() {
    let server = seven_pods().await;
    let mut watched = Watched::start(&server, Scope::Cluster);
    watched.listed().await;
    watched.set_clock("10:05:00");
    server.delete("pods", "test", "p1");
    watched
        .until("p1 is gone", |each| !each.has_pod("test/p1"))
        .await;
    watched.set_clock("10:06:00");
    let heir = "{apiVersion: v1, kind: Pod, metadata: {name: heir, namespace: test, uid: u-heir, \
                creationTimestamp: '2026-01-02T10:05:30Z'}, spec: {nodeName: a, containers: []}, status: {}}";
    server.apply_text(heir);
    watched
        .until("the heir is there", |each| each.has_pod("test/heir"))
        .await;
    let early = "test/p2 -> 10.1.0.1:80 @ 10:05:40";
    assert!(
        watched.resolve(early).starts_with('?'),
        "its address is not known yet"
    );
    server.apply_text(&heir.replace(
        "status: {}",
        "status: {phase: Running, podIPs: [{ip: 10.1.0.1}]}",
    ));
    watched
        .until("its address is known", |each| {
            !each.resolve(early).starts_with('?')
        })
        .await;
    let table = [
        (early, "test/Pod/p2 -> test/Pod/heir:80/TCP"),
        (
            "test/p2 -> 10.1.0.1:80 @ 10:04:59",
            "test/Pod/p2 -> test/Pod/p1:80/TCP",
        ),
        (
            "test/p2 -> 10.1.0.1:80 @ 10:05:10",
            "? 10.1.0.1 belonged to no known pod, service or node at that time",
        ),
    ];
    sightings::assert_table(&watched.index.read().unwrap(), &table);
}

#[tokio::test]
async fn forgets_what_has_long_been_gone() {
    let server = seven_pods().await;
    let mut watched = Watched::start_with(&server, Scope::Cluster, Duration::from_millis(50));
    watched.listed().await;
    server.delete("pods", "test", "p1");
    let sighting = "10.1.0.1 -> 203.0.113.1:80 @ 09:00:00";
    watched
        .until("p1 is gone", |each| !each.has_pod("test/p1"))
        .await;
    assert_eq!(
        watched.resolve(sighting),
        "test/Pod/p1 -> 203.0.113.1:80/TCP"
    );
    watched.set_clock("10:00:01");
    watched
        .until("p1 is forgotten", |each| {
            each.resolve(sighting).starts_with('?')
        })
        .await;
    let other = watched.resolve("10.1.0.2 -> 203.0.113.1:80 @ 09:00:00");
    assert_eq!(other, "test/Pod/p2 -> 203.0.113.1:80/TCP");
}

#[tokio::test]
async fn goes_on_where_it_was_after_broken_connections() {
    let server = seven_pods().await;
    let mut watched = Watched::start(&server, Scope::Cluster);
    watched.listed().await;
    for n in 20..30 {
        let watches = server.count("pods", "watch");
        watched
            .until("pods are watched", |_| {
                watches > 0 || server.count("pods", "watch") > 0
            })
            .await;
        server.break_watches();
        server.apply_text(&pod(&format!("p{n}"), &format!("10.1.0.{n}"), "a"));
        watched
            .until("the new pod is seen", |each| {
                each.has_pod(&format!("test/p{n}"))
            })
            .await;
    }
    assert_eq!(server.count("pods", "list"), 1, "nothing is listed twice");
    assert!(!watched.task.is_finished());
}

#[tokio::test]
async fn lists_anew_when_its_version_is_gone() {
    for plain in [false, true] {
        let server = seven_pods().await;
        server.world().plain_gone = plain;
        let mut watched = Watched::start(&server, Scope::Cluster);
        watched.listed().await;
        watched
            .until("pods are watched", |_| server.count("pods", "watch") == 1)
            .await;
        server.world().failing = Some(503);
        server.break_watches();
        watched
            .until("the server fails", |_| server.count("pods", "failed") > 0)
            .await;
        server.delete("pods", "test", "p3");
        server.apply_text(&pod("p9", "10.1.0.9", "a"));
        server.forget();
        server.world().failing = None;
        watched
            .until("the new list is in", |each| each.has_pod("test/p9"))
            .await;
        assert!(
            !watched.has_pod("test/p3"),
            "what is not listed any more is gone"
        );
        assert!(watched.has_pod("test/p1"));
    }
}

#[tokio::test]
async fn begins_a_list_again_whose_further_pages_are_gone() {
    let server = seven_pods().await;
    server.world().held = Some("pods".to_owned());
    let mut watched = Watched::start(&server, Scope::Cluster);
    watched
        .until("the second page is asked for", |_| {
            server.count("pods", "page") == 1
        })
        .await;
    server.delete("pods", "test", "p1");
    server.forget();
    server.world().held = None;
    server.announce();
    watched.listed().await;
    assert!(!watched.has_pod("test/p1") && watched.has_pod("test/p7"));
    assert_eq!(server.count("pods", "list"), 2);
}

#[tokio::test]
async fn survives_a_server_that_fails_from_the_start_and_for_long() {
    let server = seven_pods().await;
    server.world().failing = Some(500);
    let mut watched = Watched::start(&server, Scope::Cluster);
    watched
        .until("many requests have failed", |_| {
            server.count("pods", "failed") >= 75
        })
        .await;
    assert!(!*watched.ready.borrow());
    server.world().failing = None;
    watched.listed().await;
    assert!(watched.has_pod("test/p7"));
}

#[tokio::test]
async fn resumes_from_a_bookmark_without_a_list() {
    let server = seven_pods().await;
    let mut watched = Watched::start(&server, Scope::Cluster);
    watched.listed().await;
    watched
        .until("pods are watched", |_| server.count("pods", "watch") == 1)
        .await;
    // Other kinds move the version on; only a bookmark tells the watch of pods.
    server.apply_text("{apiVersion: v1, kind: Namespace, metadata: {name: other}}");
    server.bookmark("pods", ("v1", "Pod"));
    server.apply_text(&pod("p8", "10.1.0.8", "a"));
    watched
        .until("the bookmark has passed", |each| each.has_pod("test/p8"))
        .await;
    server.bookmark("pods", ("v1", "Pod"));
    watched
        .until("the bookmark is sent", |_| {
            server.count("pods", "bookmark") == 2
        })
        .await;
    server.forget();
    server.break_watches();
    watched
        .until("pods are watched again", |_| {
            server.count("pods", "watch") >= 2
        })
        .await;
    server.apply_text(&pod("p9", "10.1.0.9", "a"));
    watched
        .until("events come again", |each| each.has_pod("test/p9"))
        .await;
    assert_eq!(server.count("pods", "list"), 1);
}

#[tokio::test]
async fn skips_what_does_not_decode() {
    let server = seven_pods().await;
    let broken = pod("broken", "10.1.0.66", "a").replace("containers: []", "containers: nonsense");
    let wrong = pod("wrong", "not-an-address", "a");
    server.apply_text(&broken);
    server.apply_text(&wrong);
    let mut watched = Watched::start(&server, Scope::Cluster);
    watched.listed().await;
    assert!(
        watched.has_pod("test/p7")
            && !watched.has_pod("test/broken")
            && !watched.has_pod("test/wrong")
    );
    server.apply_text(&broken);
    server.apply_text(&pod("p8", "10.1.0.8", "a"));
    watched
        .until("the next pod is seen", |each| each.has_pod("test/p8"))
        .await;
    server.apply_text(&pod("broken", "10.1.0.66", "a"));
    watched
        .until("the mended pod is seen", |each| each.has_pod("test/broken"))
        .await;
    assert_eq!(server.count("pods", "list"), 1);
}

#[tokio::test]
async fn a_nodes_agent_asks_for_its_own_node_and_pods_only() {
    let server = ApiServer::start(cluster::OBJECTS).await;
    let mut watched = Watched::start(&server, Scope::Node("b".to_owned()));
    watched.listed().await;
    server.apply_text(&pod("elsewhere", "10.1.0.99", "a"));
    server.apply_text(&pod("here", "10.1.1.99", "b"));
    watched
        .until("the node's new pod is seen", |each| {
            each.has_pod("test/here")
        })
        .await;
    let index = watched.index.read().unwrap();
    let mut pods: Vec<&str> = index.pods().map(|pod| pod.name.name.as_str()).collect();
    pods.sort_unstable();
    assert_eq!(pods, ["db-0", "here"]);
    assert_eq!(
        index
            .nodes()
            .map(|node| node.name.as_str())
            .collect::<Vec<_>>(),
        ["b"]
    );
    drop(index);
    let world = server.world();
    let mut asked: Vec<&str> = world
        .requests
        .iter()
        .map(|request| request.plural.as_str())
        .collect();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(
        asked,
        ["nodes", "pods"],
        "nothing else may be read with a node's rights"
    );
}
