//! Hostile clients: refused, bounded and counted, while a good agent goes on.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::Frame;
use jiff::{SignedDuration, Timestamp};
use netpol_agent::aggregator::Limits;
use netpol_agent::observe::{Batch, Losses, ObservedLosses};
use netpol_agent::wire::encode;
use reqwest::Body;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use crate::double::auth::Account;
use crate::rig::{Rig, answer, batch, delivery, edge, good, jwt, pod};

/// The body of a request that never ends: blanks, so many at a time, after a pause each.
struct Blanks {
    chunk: Bytes,
    pause: Duration,
    due: Pin<Box<Sleep>>,
}

impl Blanks {
    fn new(count: usize, pause: Duration) -> Self {
        Self {
            chunk: Bytes::from(vec![b' '; count]),
            pause,
            due: Box::pin(sleep(pause)),
        }
    }
}

impl http_body::Body for Blanks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        ready!(self.due.as_mut().poll(cx));
        let next = Instant::now() + self.pause;
        self.due.as_mut().reset(next.into());
        Poll::Ready(Some(Ok(Frame::data(self.chunk.clone()))))
    }
}

/// The kind of a problem.
fn kind(answer: &Value) -> &str {
    let kind = answer["type"].as_str().unwrap_or_default();
    kind.strip_prefix("urn:netpol:problem:").unwrap_or_default()
}

#[tokio::test]
async fn tokens_that_are_no_good_are_refused() {
    let rig = Rig::start().await;
    let cases = [
        ("nonsense", 401, "bad-token"),
        ("other-audience", 401, "bad-token"),
        ("unbound", 403, "forbidden"),
        ("aggregator", 403, "forbidden"),
        ("viewer", 403, "forbidden"),
        ("replaced", 403, "forbidden"),
        ("moved", 403, "other-node"),
        ("two", 403, "other-node"),
    ];
    for (token, status, reason) in cases {
        let before = rig.refused(reason).await;
        let (got, problem) = rig.deliver(token, &good(1)).await;
        assert_eq!(
            (got, kind(&problem)),
            (status, reason),
            "{token}: {problem}"
        );
        assert_eq!(rig.refused(reason).await, before + 1.0, "{token}");
    }
    let bare = rig
        .client
        .post(rig.url("/v1/batches"))
        .header("netpol-wire", "1");
    let bare = bare.header("content-type", "application/json").body("{}");
    let response = bare.send().await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    assert!(rig.kept.book().batches.is_empty());
}

#[tokio::test]
async fn a_token_is_not_believed_past_its_end() {
    let rig = Rig::start().await;
    let ends = Timestamp::now() + SignedDuration::from_secs(3);
    let token = jwt("agent", ends, "netpol-aggregator");
    let account = rig.api.world().tokens["one"].clone();
    rig.api.world().tokens.insert(token.clone(), account);
    assert_eq!(rig.deliver(&token, &good(1)).await.0, 200);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let (status, problem) = rig.deliver(&token, &good(2)).await;
    assert_eq!((status, kind(&problem)), (401, "bad-token"));
    assert_eq!(rig.api.count("tokenreviews", "create"), 1);
}

#[tokio::test]
async fn many_bad_tokens_of_one_address_are_not_all_asked_about() {
    let rig = Rig::with(Limits {
        failures: (5.0, 0.001),
        ..Limits::default()
    })
    .await;
    assert_eq!(rig.deliver("one", &good(1)).await.0, 200);
    let mut statuses = Vec::new();
    for number in 0..10 {
        statuses.push(rig.deliver(&format!("guess-{number}"), &good(1)).await.0);
    }
    assert_eq!(statuses, [vec![401; 5], vec![429; 5]].concat());
    assert_eq!(rig.api.count("tokenreviews", "create"), 6);
    assert_eq!(rig.deliver("one", &good(2)).await.0, 200);
}

#[tokio::test]
async fn pods_of_others_cannot_be_spoken_of() {
    let rig = Rig::start().await;
    let own = edge(&pod("web", "web-uid"), 5432);
    for forged in [pod("db", "db-uid"), pod("web", "db-uid")] {
        let mut other = edge(&forged, 80);
        if forged.name.name == "web" {
            // A pod that nobody knows is only refused once the index must have heard of it.
            other.first_seen = Timestamp::now() - SignedDuration::from_mins(90);
            other.last_seen = other.first_seen;
        }
        let batches = vec![batch("n1", 1, vec![own.clone(), other])];
        let (status, problem) = rig.deliver("one", &delivery("n1", batches)).await;
        assert_eq!((status, kind(&problem)), (403, "forged"), "{problem}");
        let named = serde_json::to_value(&forged).unwrap();
        assert_eq!(problem["refused"], json!([named]));
    }
    let stranger = delivery("n1", vec![batch("n2", 1, Vec::new())]);
    let (status, problem) = rig.deliver("one", &stranger).await;
    assert_eq!((status, kind(&problem)), (403, "other-node"));
    assert!(rig.kept.book().batches.is_empty());
    assert_eq!(rig.refused("forged").await, 2.0);
}

#[tokio::test]
async fn a_batch_from_the_future_is_asked_for_again() {
    let rig = Rig::start().await;
    let mut early = batch("n1", 1, Vec::new());
    Arc::get_mut(&mut early).unwrap().time = Timestamp::now() + SignedDuration::from_hours(1);
    let (status, problem) = rig.deliver("one", &delivery("n1", vec![early])).await;
    assert_eq!((status, kind(&problem)), (503, "ahead"), "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("set the clock of node \"n1\""), "{detail}");
    assert!(rig.kept.book().batches.is_empty());
}

#[tokio::test]
async fn a_pod_that_may_be_new_is_asked_for_again_and_then_taken() {
    let rig = Rig::start().await;
    let new = pod("new", "new-uid");
    let delivered = delivery("n1", vec![batch("n1", 1, vec![edge(&new, 80)])]);
    let (status, problem) = rig.deliver("one", &delivered).await;
    assert_eq!((status, kind(&problem)), (503, "unknown-pod"), "{problem}");
    rig.api.apply(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "new", "namespace": "shop", "uid": "new-uid"},
        "spec": {"nodeName": "n1"},
    }));
    for _ in 0..100 {
        if rig.deliver("one", &delivered).await.0 == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the pod is not known after 5 s");
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_cut_off() {
    let rig = Rig::start().await;
    let request = rig.post("one").header("content-length", "1073741824");
    let endless = || Body::wrap(Blanks::new(1 << 20, Duration::ZERO));
    // The answer may be lost when the connection is cut off: what counts is that it is, and soon.
    let begin = Instant::now();
    let declared = request.body(endless()).send().await;
    assert!(declared.map_or(true, |response| response.status() == 413));
    let undeclared = rig.post("one").body(endless()).send().await;
    assert!(undeclared.map_or(true, |response| response.status() == 413));
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert_eq!(rig.refused("too-large").await, 2.0);
    assert_eq!(rig.deliver("one", &good(1)).await.0, 200);
}

#[tokio::test]
async fn a_body_that_grows_when_it_is_decompressed_is_cut_off() {
    let rig = Rig::start().await;
    let mut bomb = zstd::Encoder::new(Vec::new(), 1).unwrap();
    for _ in 0..1024 {
        std::io::Write::write_all(&mut bomb, &vec![b' '; 1 << 20]).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 1 << 20);
    let request = rig
        .post("one")
        .header("content-encoding", "zstd")
        .body(bomb);
    let (status, problem) = answer(request).await;
    assert_eq!((status, kind(&problem)), (413, "too-large"));
}

#[tokio::test]
async fn a_slow_body_is_given_up_while_others_go_on() {
    let rig = Rig::with(Limits {
        body: Duration::from_secs(2),
        ..Limits::default()
    })
    .await;
    let dripping = Body::wrap(Blanks::new(1, Duration::from_millis(100)));
    let slow = rig.post("one").body(dripping).send();
    let begin = Instant::now();
    let others = async {
        let edges = vec![edge(&pod("db", "db-uid"), 9000)];
        let own = delivery("n2", vec![batch("n2", 1, edges)]);
        rig.deliver("two", &own).await.0
    };
    let (slow, others) = tokio::join!(slow, others);
    assert_eq!(others, 200);
    assert!(slow.map_or(true, |response| response.status() == 408));
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert_eq!(rig.refused("slow").await, 1.0);
}

#[tokio::test]
async fn what_does_not_decode_is_refused_with_its_place() {
    let rig = Rig::start().await;
    let send = |encoding: &'static str, media: &'static str, body: Vec<u8>| {
        let request = rig.client.post(rig.url("/v1/batches")).bearer_auth("one");
        let request = request
            .header("netpol-wire", "1")
            .header("content-type", media);
        answer(request.header("content-encoding", encoding).body(body))
    };
    let json = "application/json";
    let (status, problem) = send("identity", json, b"{\"agent\":\n7}".to_vec()).await;
    assert_eq!((status, kind(&problem)), (400, "malformed"));
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("line 2 column 1"), "{detail}");
    let deep = vec![b'['; 1 << 20];
    let cases = [
        ("identity", json, deep, 400),
        ("zstd", json, b"no zstd".to_vec(), 400),
        ("zstd", json, encode(&good(1)).unwrap()[..40].to_vec(), 400),
        ("gzip", json, Vec::new(), 415),
        ("identity", "text/plain", Vec::new(), 415),
    ];
    for (encoding, media, body, want) in cases {
        let (status, problem) = send(encoding, media, body).await;
        assert_eq!(status, want, "{problem}");
    }
    let mut named = good(1);
    std::sync::Arc::make_mut(&mut named.batches[0]).edges[0]
        .pod
        .name
        .name = "a/b".to_owned();
    assert_eq!(rig.deliver("one", &named).await.0, 400);
}

#[tokio::test]
async fn another_version_is_told_which_side_is_behind() {
    let rig = Rig::start().await;
    for (version, upgrade) in [("2", "aggregator"), ("0", "agent")] {
        let request = rig.client.post(rig.url("/v1/batches"));
        let (status, problem) = answer(request.header("netpol-wire", version)).await;
        assert_eq!((status, &problem["upgrade"]), (426, &json!(upgrade)));
    }
    let (status, problem) = answer(rig.client.get(rig.url("/v1/nothing"))).await;
    assert_eq!((status, kind(&problem)), (404, "not-found"));
    let (status, problem) = answer(rig.client.delete(rig.url("/v1/batches"))).await;
    assert_eq!((status, kind(&problem)), (405, "method"));
}

#[tokio::test]
async fn a_flood_is_slowed_down_and_does_not_slow_others() {
    let rig = Rig::start().await;
    let mut refused = 0;
    for sequence in 1..200 {
        refused += u32::from(rig.deliver("one", &good(sequence)).await.0 == 429);
    }
    assert!(refused > 150, "{refused}");
    let edges = vec![edge(&pod("db", "db-uid"), 9000)];
    let own = delivery("n2", vec![batch("n2", 1, edges)]);
    assert_eq!(rig.deliver("two", &own).await.0, 200);
    assert_eq!(rig.refused("too-many").await, f64::from(refused));
}

#[tokio::test]
async fn what_is_kept_of_one_node_has_an_end() {
    let bounds = |change: fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        limits
    };
    for (limits, said) in [
        (bounds(|limits| limits.edges_per_node = 0), "distinct edges"),
        (bounds(|limits| limits.epochs_per_node = 0), "epochs"),
        (bounds(|limits| limits.losses_per_node = 0), "losses"),
    ] {
        let rig = Rig::with(limits).await;
        let told = |sequence| {
            let mut batch = Batch::clone(&batch(
                "n1",
                sequence,
                vec![edge(&pod("web", "web-uid"), 80)],
            ));
            batch.losses.push(ObservedLosses {
                interface: 1,
                pod: pod("web", "web-uid"),
                losses: Losses {
                    edges_lost: 1,
                    ..Losses::default()
                },
            });
            delivery("n1", vec![Arc::new(batch)])
        };
        assert_eq!(rig.deliver("one", &told(1)).await.0, 200);
        // What is kept is looked at in the snapshot, which is made a moment later.
        let begin = Instant::now();
        let mut sequence = 1;
        loop {
            sequence += 1;
            let (status, problem) = rig.deliver("one", &told(sequence)).await;
            if status == 429 && problem["detail"].as_str().unwrap().contains(said) {
                break;
            }
            assert!(
                begin.elapsed() < Duration::from_secs(30),
                "{said}: {status} {problem}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let others = delivery("n2", vec![batch("n2", 1, vec![])]);
        assert_eq!(rig.deliver("two", &others).await.0, 200);
    }
}

#[tokio::test]
async fn one_delivery_of_a_node_is_taken_in_at_a_time() {
    let rig = Rig::start().await;
    rig.kept.book().slow = Duration::from_millis(500);
    let (first, second) = (good(1), good(2));
    let (first, second) = tokio::join!(rig.deliver("one", &first), rig.deliver("one", &second));
    let mut statuses = [first.0, second.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 429]);
}

#[tokio::test]
async fn connections_are_bounded_by_address() {
    let rig = Rig::with(Limits {
        connections_per_peer: 3,
        handshake: Duration::from_secs(1),
        ..Limits::default()
    })
    .await;
    let mut idle = Vec::new();
    for _ in 0..6 {
        idle.push(TcpStream::connect(rig.running.address()).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(rig.refused("connection").await >= 3.0);
    // Who says nothing is sent away.
    for mut silent in idle {
        let mut byte = [0; 1];
        let read = tokio::time::timeout(Duration::from_secs(3), silent.read(&mut byte)).await;
        assert!(matches!(read, Ok(Ok(0) | Err(_))));
    }
    assert_eq!(rig.deliver("one", &good(1)).await.0, 200);
}

#[tokio::test]
async fn who_speaks_no_tls_is_sent_away() {
    let rig = Rig::start().await;
    let mut plain = TcpStream::connect(rig.running.address()).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(3), plain.read_to_end(&mut answer)).await;
    assert!(read.is_ok());
    assert!(!answer.starts_with(b"HTTP"));
    assert_eq!(rig.refused("connection").await, 1.0);
}

#[tokio::test]
async fn an_api_server_that_does_not_answer_is_no_reason_to_believe_anybody() {
    let rig = Rig::start().await;
    rig.api.world().failing = Some(500);
    let (status, problem) = rig.deliver("one", &good(1)).await;
    assert_eq!((status, kind(&problem)), (503, "unasked"));
    rig.api.world().failing = None;
    assert_eq!(rig.deliver("one", &good(1)).await.0, 200);
    let unknown = Account::default();
    rig.api.world().tokens.insert("nobody".to_owned(), unknown);
    assert_eq!(rig.deliver("nobody", &good(1)).await.0, 401);
}
