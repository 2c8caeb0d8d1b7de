//! What passes: everything arrives in the end, in order.

use std::fs;
use std::time::Duration;

use netpol_agent::uplink::status::Failure;

use crate::server::{Authority, Fault};
use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_arrives_in_order_and_at_intervals() {
    let mut world = World::new();
    for _ in 0..10 {
        world.push(3, 4);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.wait_until_empty().await;
    world.assert_all_arrived();
    let requests = world.server.with(|seen| seen.requests.clone());
    assert!(
        requests.len() >= 3 && requests.len() < 30,
        "{}",
        requests.len()
    );
    for pair in requests.windows(2) {
        // 5 s, hurried; what the network adds to the first of two makes them look closer.
        let apart = pair[1] - pair[0];
        assert!(apart >= Duration::from_millis(25), "{apart:?}");
    }
    let status = world.link.status();
    assert_eq!(
        (status.acknowledged_batches, status.acknowledged_edges),
        (30, 120)
    );
    assert!(status.failures.is_empty() && status.acknowledged.is_some());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_once_is_delivered_again() {
    for (fault, failure) in [
        (Fault::Status(503, Some("1")), Some(Failure::Unavailable)),
        (Fault::Status(429, Some("0")), Some(Failure::TooMany)),
        (Fault::Status(500, None), Some(Failure::Server)),
        (Fault::Status(302, None), Some(Failure::Status)),
        (Fault::Status(401, None), Some(Failure::Token)),
        (Fault::Cut, Some(Failure::Interrupted)),
        (Fault::Silent, Some(Failure::Answer)),
        (Fault::Late(Duration::from_millis(700)), None),
    ] {
        let mut world = World::new();
        world
            .server
            .with(|seen| seen.faults.push_back(fault.clone()));
        world.push(3, 2);
        match failure {
            Some(failure) => world.wait_for_failure(failure).await,
            None => world.wait_until_empty().await,
        }
        world.push(3, 2);
        world.wait_until_empty().await;
        world.assert_all_arrived();
        let failures = world.link.status().failures;
        let expected = failure.map(|failure| (failure, 1));
        assert_eq!(failures.into_iter().next(), expected, "{fault:?}");
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_wait_while_the_aggregator_is_away() {
    let mut world = World::new();
    world.push(2, 2);
    world.wait_until_empty().await;
    world.server.stop();
    world.push(2, 2);
    world.wait_for_failure(Failure::Connect).await;
    world.push(2, 2);
    assert_eq!(world.link.status().spool.batches, 4);
    world.server.again(&world.authority);
    world.wait_until_empty().await;
    world.assert_all_arrived();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_that_nobody_noticed_is_no_failure() {
    let mut world = World::new();
    world.push(1, 2);
    world.wait_until_empty().await;
    world.server.stop();
    world.server.again(&world.authority);
    tokio::time::sleep(Duration::from_millis(200)).await;
    world.push(2, 2);
    world.wait_until_empty().await;
    world.assert_all_arrived();
    let failures = world.link.status().failures;
    assert!(failures.is_empty(), "{failures:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_token_and_a_new_authority_are_read() {
    let mut world = World::new();
    world.push(1, 1);
    world.wait_until_empty().await;
    world.server.with(|seen| seen.rules.token = Some("second"));
    world.push(1, 1);
    world.wait_for_failure(Failure::Token).await;
    fs::write(world.files().token(), "second\n").unwrap();
    world.wait_until_empty().await;
    let other = Authority::new();
    world.server.stop();
    world.server.again(&other);
    world.push(1, 1);
    world.wait_for_failure(Failure::Tls).await;
    fs::write(world.files().authority(), other.pem()).unwrap();
    world.wait_until_empty().await;
    fs::remove_file(world.files().token()).unwrap();
    world.push(1, 1);
    world.wait_for_failure(Failure::Credentials).await;
    fs::write(world.files().token(), "second").unwrap();
    world.wait_until_empty().await;
    world.assert_all_arrived();
    world.end().await;
}
