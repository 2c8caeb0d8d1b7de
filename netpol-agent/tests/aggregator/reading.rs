//! People who read: with rights, without, and with rights on one namespace.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use netpol_agent::inventory;
use netpol_common::record::FlowRecord;
use serde_json::{Value, json};

use crate::rig::{Rig, answer, batch, delivery, edge, good, pod};

/// The flow records of an answer that is not followed.
async fn flows(rig: &Rig, token: &str, path: &str) -> Vec<FlowRecord> {
    let response = rig.read(token, path).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/jsonl");
    let text = response.text().await.unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn a_person_without_rights_sees_nothing() {
    let rig = Rig::start().await;
    rig.deliver("one", &good(1)).await;
    for path in [
        "/v1/flows",
        "/v1/inventory",
        "/v1/status",
        "/v1/flows?follow=true",
    ] {
        for (token, status) in [("nobody", 403), ("tenant", 403), ("nonsense", 401)] {
            let (got, problem) = answer(rig.read(token, path)).await;
            assert_eq!(got, status, "{path} {token}: {problem}");
        }
        assert_eq!(answer(rig.client.get(rig.url(path))).await.0, 401);
    }
    let other = answer(rig.read("tenant", "/v1/flows?namespace=other")).await;
    assert_eq!(other.0, 403);
    assert_eq!(
        rig.read("tenant", "/v1/flows?namespace=shop")
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
}

#[tokio::test]
async fn flows_are_told_as_records_of_a_namespace_or_of_all() {
    let rig = Rig::start().await;
    rig.deliver("one", &good(1)).await;
    let mut other = edge(&pod("secretive", "other-uid"), 443);
    other.pod.name.namespace = "other".to_owned();
    other.key.remote = [198, 51, 100, 1].into();
    let others = delivery("n2", vec![batch("n2", 1, vec![other])]);
    assert_eq!(rig.deliver("two", &others).await.0, 200);
    let ports = |records: Vec<FlowRecord>| -> Vec<u16> { records.iter().map(|r| r.port).collect() };
    assert_eq!(ports(flows(&rig, "viewer", "/v1/flows").await), [5432, 443]);
    let shop = flows(&rig, "tenant", "/v1/flows?namespace=shop").await;
    assert_eq!(ports(shop), [5432]);
    assert_eq!(
        ports(flows(&rig, "viewer", "/v1/flows?namespace=other").await),
        [443]
    );
    assert!(
        flows(&rig, "viewer", "/v1/flows?namespace=nothing")
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn followed_flows_add_up() {
    let rig = Rig::start().await;
    rig.deliver("one", &good(1)).await;
    let mut response = rig
        .read("viewer", "/v1/flows?follow=true")
        .send()
        .await
        .unwrap();
    let mut text = String::new();
    let counts = |text: &str| -> Vec<u64> {
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.map(|record: FlowRecord| record.count).collect()
    };
    while counts(&text).is_empty() {
        text += std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap();
    }
    assert_eq!(counts(&text), [1]);
    let mut grown = good(2);
    Arc::make_mut(&mut grown.batches[0]).edges[0].attempts = 5;
    Arc::make_mut(&mut grown.batches[0]).edges[0].answered = 5;
    assert_eq!(rig.deliver("one", &grown).await.0, 200);
    while counts(&text).iter().sum::<u64>() < 5 {
        let chunk = tokio::time::timeout(Duration::from_secs(10), response.chunk()).await;
        text += std::str::from_utf8(&chunk.unwrap().unwrap().unwrap()).unwrap();
    }
    assert_eq!(counts(&text).iter().sum::<u64>(), 5, "{text}");
}

#[tokio::test]
async fn the_inventory_is_what_the_engine_reads() {
    let rig = Rig::start().await;
    let response = rig.read("viewer", "/v1/inventory").send().await.unwrap();
    assert_eq!(response.status(), 200);
    let text = response.text().await.unwrap();
    let read = inventory::parse("inventory", &text).unwrap();
    assert!(read.warnings.is_empty(), "{:?}", read.warnings);
    let pods = |text: &str| -> Vec<String> {
        let index = inventory::parse("inventory", text).unwrap().index();
        index.pods().map(|pod| pod.name.name.clone()).collect()
    };
    let all = ["agent-1", "agent-2", "secretive", "db", "web"];
    let mut got = pods(&text);
    got.sort();
    let mut want = all.map(str::to_owned);
    want.sort();
    assert_eq!(got, want);
    let response = rig
        .read("tenant", "/v1/inventory?namespace=shop")
        .send()
        .await
        .unwrap();
    let mut got = pods(&response.text().await.unwrap());
    got.sort();
    assert_eq!(got, ["db", "web"]);
}

#[tokio::test]
async fn the_status_tells_of_observers_and_refusals() {
    let rig = Rig::start().await;
    rig.deliver("one", &good(1)).await;
    rig.deliver("nonsense", &good(1)).await;
    let mut status = Value::Null;
    for _ in 0..100 {
        status = answer(rig.read("viewer", "/v1/status")).await.1;
        if status["edges"] == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(status["edges"], 1, "{status}");
    assert_eq!(status["leader"], true);
    assert_eq!(status["objects"]["Pod"], 5);
    assert_eq!(status["refused"]["bad-token"], 1);
    let observer = &status["observers"][0];
    assert_eq!(
        (&observer["name"], &observer["edges"]),
        (&json!("n1"), &json!(1))
    );
    assert!(status["now"].is_string(), "{status}");
}

#[tokio::test]
async fn an_agent_whose_node_was_removed_is_not_silent_and_one_whose_node_is_there_is() {
    let rig = Rig::start().await;
    let mut late = good(1);
    let long_ago = Timestamp::now() - SignedDuration::from_mins(10);
    let made = Arc::make_mut(&mut late.batches[0]);
    made.time = long_ago;
    (made.edges[0].first_seen, made.edges[0].last_seen) = (long_ago, long_ago);
    assert_eq!(rig.deliver("one", &late).await.0, 200);
    let silent = "netpol_aggregator_silent_observers";
    rig.until(silent, 1.0).await;
    let status = answer(rig.read("viewer", "/v1/status")).await.1;
    assert_eq!(status["observers"][0]["gone"], false, "{status}");
    rig.api.delete("nodes", "", "n1");
    rig.until(silent, 0.0).await;
    assert_eq!(rig.metric("netpol_aggregator_observers").await, 1.0);
    let status = answer(rig.read("viewer", "/v1/status")).await.1;
    assert_eq!(status["observers"][0]["gone"], true, "{status}");
    rig.api.delete("nodes", "", "n2");
    rig.until("netpol_aggregator_index_objects{kind=\"Node\"}", 0.0)
        .await;
    let of_none = rig.metric(silent).await;
    assert_eq!(of_none, 1.0, "without any node nothing tells");
}

#[tokio::test]
async fn what_is_asked_for_wrongly_is_refused() {
    let rig = Rig::start().await;
    for query in [
        "namespace=A",
        "namespace=",
        "namespace=a%2Fb",
        "follow=maybe",
        "what=ever",
    ] {
        let (status, problem) = answer(rig.read("viewer", &format!("/v1/flows?{query}"))).await;
        assert_eq!(status, 400, "{query}: {problem}");
    }
}
