//! Good agents: what they deliver is kept and acknowledged, and what they ask is answered.

use std::time::Duration;

use netpol_agent::aggregator::{Limits, TlsSource};
use serde_json::json;

use crate::double::fault::{Fault, Misbehaviour};
use crate::rig::{Rig, answer, batch, delivery, edge, good, pod};

#[tokio::test]
async fn what_is_delivered_is_kept_and_then_acknowledged() {
    let rig = Rig::start().await;
    let edges = vec![edge(&pod("web", "web-uid"), 5432)];
    let batches = vec![batch("n1", 1, edges.clone()), batch("n1", 2, edges)];
    let (status, answer) = rig.deliver("one", &delivery("n1", batches)).await;
    assert_eq!(status, 200, "{answer}");
    let epoch = json!({"boot_id": "boot-n1", "instance": 7, "abi_version": 1});
    let want = json!({"acknowledged": [{"epoch": epoch, "sequence": 2}]});
    assert_eq!(answer, want);
    assert_eq!(rig.kept.numbers("n1"), [1, 2]);
    assert_eq!(rig.metric("netpol_aggregator_batches_total").await, 2.0);
    assert_eq!(rig.metric("netpol_aggregator_batch_edges_total").await, 2.0);
}

#[tokio::test]
async fn an_agent_learns_what_is_durable_of_its_own_node_only() {
    let rig = Rig::start().await;
    rig.deliver("one", &good(7)).await;
    let ask = |token: &'static str, observer: &str| {
        let url = rig.url(&format!("/v1/batches/{observer}"));
        let request = rig.client.get(url).bearer_auth(token);
        answer(request.header("netpol-wire", "1"))
    };
    let (status, told) = ask("one", "n1").await;
    assert_eq!(
        (status, &told["acknowledged"][0]["sequence"]),
        (200, &json!(7))
    );
    let (status, told) = ask("two", "n2").await;
    assert_eq!((status, told), (200, json!({"acknowledged": []})));
    let (status, told) = ask("two", "n1").await;
    assert_eq!(
        (status, &told["type"]),
        (403, &json!("urn:netpol:problem:other-node"))
    );
}

#[tokio::test]
async fn the_node_comes_from_the_pod_where_the_token_does_not_tell_it() {
    let rig = Rig::start().await;
    let edges = vec![edge(&pod("db", "db-uid"), 9000)];
    let own = delivery("n2", vec![batch("n2", 1, edges)]);
    assert_eq!(rig.deliver("two", &own).await.0, 200);
}

#[tokio::test]
async fn a_token_is_reviewed_once_and_not_again_with_every_delivery() {
    let rig = Rig::start().await;
    for sequence in 1..=5 {
        assert_eq!(rig.deliver("one", &good(sequence)).await.0, 200);
    }
    assert_eq!(rig.api.count("tokenreviews", "create"), 1);
    let name = "netpol_aggregator_token_reviews_total{result=\"accepted\"}";
    assert_eq!(rig.metric(name).await, 1.0);
}

#[tokio::test]
async fn an_agent_whose_pod_is_gone_is_refused_although_its_token_is_still_believed() {
    let rig = Rig::start().await;
    assert_eq!(rig.deliver("one", &good(1)).await.0, 200);
    rig.api.delete("pods", "netpol-system", "agent-1");
    let mut status = 200;
    for sequence in 2..100 {
        status = rig.deliver("one", &good(sequence)).await.0;
        if status != 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(status, 503);
}

#[tokio::test]
async fn nothing_is_acknowledged_that_is_not_durable() {
    let rig = Rig::start().await;
    rig.kept.book().failing = true;
    let response = rig.post("one").body(serde_json::to_vec(&good(1)).unwrap());
    let response = response.send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(rig.refused("not-kept").await, 1.0);
    rig.kept.book().failing = false;
    assert_eq!(rig.deliver("one", &good(1)).await.0, 200);
}

#[tokio::test]
async fn nothing_is_taken_in_before_the_index_is_whole() {
    let held = Fault::of("list", "services", Misbehaviour::Status(500));
    let api = Rig::cluster().await;
    api.misbehave(held);
    let rig = Rig::on(api, Limits::default(), TlsSource::Secret).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(rig.probe("readyz").await.0, 503);
    assert_eq!(rig.probe("healthz").await.0, 200);
    let (status, problem) = rig.deliver("one", &good(1)).await;
    assert_eq!(
        (status, &problem["type"]),
        (503, &json!("urn:netpol:problem:not-ready"))
    );
    rig.api.world().faults.clear();
    rig.ready().await;
    assert_eq!(rig.deliver("one", &good(1)).await.0, 200);
}
