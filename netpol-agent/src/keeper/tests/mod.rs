//! What the keeper keeps, and what it tells.

mod kill;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use netpol_common::abi::Direction;
use netpol_common::names::ObjectName;
use netpol_common::words::Protocol;

use super::{Handle, Keeper, Options, SharedIndex, Snapshot, start};
use crate::identity::Index;
use crate::identity::objects::{Object, Pod, PodName};
use crate::observe::{
    Batch, Epoch, Losses, ObservedEdge, ObservedKey, ObservedLosses, PodIdentity, Source,
};
use crate::store::Store;

fn at(text: &str) -> Timestamp {
    format!("2026-01-02T{text}Z").parse().unwrap()
}

fn pod(name: &str, address: &str) -> Pod {
    Pod {
        name: PodName {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        },
        uid: format!("uid-{name}"),
        ips: vec![address.parse().unwrap()],
        created: Some(at("09:00:00")),
        ..Pod::default()
    }
}

fn identity(name: &str) -> PodIdentity {
    PodIdentity {
        name: (&ObjectName::new("shop", name)).into(),
        uid: format!("uid-{name}"),
    }
}

/// One edge from the pod `web` to 10.0.0.9.
fn batch(sequence: u64, attempts: u64) -> Arc<Batch> {
    let edge = ObservedEdge {
        key: ObservedKey {
            interface: 7,
            source: Source::Kernel,
            direction: Direction::Egress,
            protocol: Protocol::Tcp,
            port: 8080,
            local: "10.0.0.4".parse().unwrap(),
            remote: "10.0.0.9".parse().unwrap(),
        },
        pod: identity("web"),
        attempts,
        answered: attempts,
        refused: 0,
        first_seen: at("10:00:00"),
        last_seen: at("10:01:00"),
        one_sided: false,
    };
    Arc::new(Batch {
        observer: "node-a".to_owned(),
        epoch: epoch(),
        sequence,
        time: at("10:02:00"),
        edges: vec![edge],
        losses: vec![ObservedLosses {
            interface: 7,
            pod: identity("web"),
            losses: Losses {
                edges_lost: 2,
                ..Losses::default()
            },
        }],
        node_addresses: Vec::new(),
    })
}

fn epoch() -> Epoch {
    Epoch {
        boot_id: "b".to_owned(),
        instance: 1,
        abi_version: 1,
    }
}

fn keeper(path: &Path, index: &SharedIndex) -> (Handle, Keeper) {
    let options = Options {
        snapshots: Some(Duration::from_millis(10)),
        ..Options::default()
    };
    start(Store::open(path).unwrap(), index.clone(), &options).unwrap()
}

async fn snapshot(handle: &Handle, is: impl FnMut(&Arc<Snapshot>) -> bool) -> Arc<Snapshot> {
    let mut snapshots = handle.snapshots();
    let found = tokio::time::timeout(Duration::from_secs(20), snapshots.wait_for(is)).await;
    found.unwrap().unwrap().clone()
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart_and_late_pods_are_resolved() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("graph.db");
    let index = SharedIndex::new(Index::default());
    index.change(|index| index.apply(Object::Pod(pod("web", "10.0.0.4")), at("09:00:00")));
    let (handle, keeper_of_first) = keeper(&path, &index);
    let commits = [batch(1, 3), batch(1, 3), batch(2, 5)].map(|batch| handle.commit(vec![batch]));
    for kept in futures::future::join_all(commits).await {
        kept.unwrap();
    }
    assert_eq!(handle.sequences("node-a"), [(epoch(), 2)].into());
    let first = snapshot(&handle, |snapshot| !snapshot.observers.is_empty()).await;
    assert_eq!(
        (first.graph.edges.len(), first.time),
        (0, Some(at("10:02:00")))
    );
    let told = first.graph.unresolved.flows.len();
    assert_eq!(told, 1);
    assert_eq!(first.losses[0].losses.edges_lost, 2);
    drop(handle);
    keeper_of_first.join().unwrap();

    let (handle, keeper_of_second) = keeper(&path, &index);
    index.change(|index| index.apply(Object::Pod(pod("db", "10.0.0.9")), at("11:00:00")));
    let second = snapshot(&handle, |snapshot| !snapshot.graph.edges.is_empty()).await;
    let evidence = second.graph.edges.values().next().unwrap();
    assert_eq!(evidence.client.as_ref().unwrap().counts.established, 5);
    assert_eq!(handle.records_of("node-a", at("10:02:00")).len(), 1);
    drop(handle);
    keeper_of_second.join().unwrap();
}

#[tokio::test]
async fn who_had_an_address_is_known_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("graph.db");
    let index = SharedIndex::new(Index::default());
    let (handle, first) = keeper(&path, &index);
    index.change(|index| {
        index.apply(Object::Pod(pod("web", "10.0.0.4")), at("09:00:00"));
        index.apply(Object::Pod(pod("db", "10.0.0.9")), at("09:00:00"));
        index.delete(&pod("db", "10.0.0.9").key(), at("10:30:00"));
    });
    handle.commit(vec![batch(1, 3)]).await.unwrap();
    drop(handle);
    first.join().unwrap();

    let mut newcomer = pod("other", "10.0.0.9");
    newcomer.created = Some(at("10:40:00"));
    let now = vec![Object::Pod(pod("web", "10.0.0.4")), Object::Pod(newcomer)];
    // What is there now may be learned after the past or before it.
    for learned_first in [false, true] {
        let index = SharedIndex::new(Index::default());
        let learn = || {
            let kind = crate::identity::objects::ObjectKind::Pod;
            index.change(|index| index.reset_kind(&kind, now.clone(), at("11:00:00")));
        };
        if learned_first {
            learn();
        }
        let (handle, keeper) = keeper(&path, &index);
        if !learned_first {
            learn();
        }
        let is_whole = |snapshot: &Arc<Snapshot>| !snapshot.graph.edges.is_empty();
        let snapshot = snapshot(&handle, is_whole).await;
        let edges = snapshot.graph.edges.keys();
        let servers: Vec<String> = edges.map(|id| format!("{:?}", id.server)).collect();
        assert_eq!(servers, ["Workload(\"shop/Pod/db\")"]);
        drop((snapshot, handle));
        keeper.join().unwrap();
    }
}
