//! What does not pass: it blocks nothing, and is not lost without a word.

use netpol_agent::observe::Batch;
use netpol_agent::uplink::status::Failure;
use netpol_agent::wire::Side;

use crate::batches::{batch, pod};
use crate::world::{World, lines};

fn of(arrived: &[Batch], sequence: u64) -> Vec<&Batch> {
    let of_it = arrived.iter().filter(|batch| batch.sequence == sequence);
    of_it.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_delivered_in_smaller_parts() {
    let mut world = World::new();
    world.server.with(|seen| {
        seen.rules.most_batches = Some(2);
        seen.rules.most_edges = Some(3);
    });
    world.push(5, 1);
    world.push(1, 10);
    world.push(2, 1);
    world.wait_until_empty().await;
    let arrived = world.server.with(|seen| seen.batches.clone());
    for sequence in [1, 2, 3, 4, 5, 7, 8] {
        assert_eq!(of(&arrived, sequence), [&batch(sequence, 1)]);
    }
    let pieces = of(&arrived, 6).into_iter();
    let edges: Vec<_> = pieces.flat_map(|piece| piece.edges.clone()).collect();
    assert_eq!(edges, batch(6, 10).edges);
    let numbers: Vec<u64> = arrived.iter().map(|batch| batch.sequence).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    assert_eq!(world.link.status().quarantined_batches, 0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_not_understood_is_put_aside_and_told_as_losses() {
    let mut world = World::new();
    world.server.with(|seen| seen.rules.malformed = Some(3));
    world.push(6, 6);
    world.wait_until_empty().await;
    let arrived = world.server.with(|seen| seen.batches.clone());
    for sequence in [1, 2, 4, 5, 6] {
        assert_eq!(of(&arrived, sequence)[0].edges, batch(sequence, 6).edges);
    }
    let [instead] = of(&arrived, 3)[..] else {
        panic!("{arrived:?}");
    };
    let lost = instead.losses.iter();
    let lost: Vec<_> = lost
        .map(|told| (told.pod.clone(), told.losses.edges_lost))
        .collect();
    assert_eq!(lost, [(pod(0), 2), (pod(1), 2), (pod(2), 2)]);
    let put_aside = lines(&world.files().refused());
    assert_eq!(put_aside.len(), 1);
    let read: Batch = serde_json::from_value(put_aside[0]["batch"].clone()).unwrap();
    assert_eq!(read, batch(3, 6));
    let reason = put_aside[0]["reason"].as_str().unwrap();
    assert!(reason.contains("is not to my taste"), "{reason}");
    let status = world.link.status();
    assert_eq!(
        (status.quarantined_batches, status.quarantined_edges),
        (1, 6)
    );
    // From now on, what the observer says of its losses bears them too.
    world.push(1, 1);
    world.wait_until_empty().await;
    let arrived = world.server.with(|seen| seen.batches.clone());
    assert_eq!(of(&arrived, 7)[0].losses[0].losses.edges_lost, 2);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_of_other_nodes_are_taken_out_of_their_batches() {
    let mut world = World::new();
    world.server.with(|seen| seen.rules.foreign = Some(pod(1)));
    world.push(3, 6);
    world.wait_until_empty().await;
    let arrived = world.server.with(|seen| seen.batches.clone());
    for sequence in 1..=3 {
        let [taken] = of(&arrived, sequence)[..] else {
            panic!("{arrived:?}");
        };
        let mut expected = batch(sequence, 6);
        expected.edges.retain(|edge| edge.pod != pod(1));
        assert_eq!(taken, &expected);
    }
    let status = world.link.status();
    assert_eq!(
        (status.quarantined_batches, status.quarantined_edges),
        (3, 6)
    );
    assert!(
        status.failures[&Failure::Forbidden] >= 3,
        "it is believed at once"
    );
    let put_aside = lines(&world.files().refused());
    assert_eq!(put_aside.len(), 3);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_side_is_told_and_waited_for() {
    let mut world = World::new();
    world
        .server
        .with(|seen| seen.rules.upgrade = Some(Side::Agent));
    world.push(2, 2);
    world.wait_for_failure(Failure::Upgrade).await;
    let status = world.link.status();
    assert_eq!(
        (status.upgrade, status.spool.batches),
        (Some(Side::Agent), 2)
    );
    world.server.with(|seen| seen.rules.upgrade = None);
    world.wait_until_empty().await;
    world.assert_all_arrived();
    assert_eq!(world.link.status().upgrade, None);
    world.end().await;
}
