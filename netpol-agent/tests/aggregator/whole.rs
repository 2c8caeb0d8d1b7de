//! The whole aggregator: watches, keeper, controller and server, started and stopped as a process does it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use netpol_agent::aggregator::{AggregatorError, Keeping, Limits, Options, TlsSource, run};
use netpol_agent::store::Database;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::double::ApiServer;
use crate::postgres::Server;
use crate::rig::{HOST, OWN_TOKEN, Rig, answer, client, good};

type Ended = JoinHandle<Result<(), AggregatorError>>;

fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

fn options(
    directory: &Path,
    keeping: Keeping,
    (listen, metrics_listen): (SocketAddr, SocketAddr),
) -> Options {
    Options {
        listen,
        metrics_listen,
        namespace: "netpol-system".to_owned(),
        kubeconfig: Some(directory.join("kubeconfig")),
        keeping,
        retention: Duration::from_secs(30 * 24 * 3600),
        tls: TlsSource::Secret,
        limits: Limits::default(),
    }
}

/// An aggregator that is ready, where it listens, and what stops it.
async fn start(
    api: &ApiServer,
    directory: &Path,
    keeping: Keeping,
) -> (Ended, SocketAddr, CancellationToken) {
    let _first = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = api.kubeconfig(OWN_TOKEN);
    std::fs::write(directory.join("kubeconfig"), kubeconfig).unwrap();
    let (listen, metrics) = (free(), free());
    let stop = CancellationToken::new();
    let options = options(directory, keeping, (listen, metrics));
    let ended = tokio::spawn(run(options, stop.clone()));
    let probe = reqwest::Client::builder().no_proxy().build().unwrap();
    for _ in 0..600 {
        let ready = probe.get(format!("http://{metrics}/readyz")).send().await;
        if ready.is_ok_and(|ready| ready.status() == 200) {
            return (ended, listen, stop);
        }
        assert!(!ended.is_finished(), "{:?}", ended.await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not ready after 30 s");
}

fn alone(directory: &TempDir) -> Keeping {
    Keeping::Directory(directory.path().join("state"))
}

async fn stops(ended: Ended) {
    let ended = tokio::time::timeout(Duration::from_secs(30), ended).await;
    ended
        .expect("it stops")
        .expect("no panic")
        .expect("no fault");
}

async fn deliver(api: &ApiServer, listen: SocketAddr, number: u64) {
    let url = format!("https://{HOST}:{}/v1/batches", listen.port());
    let request = client(api, listen).post(url).bearer_auth("one");
    let (status, told) = answer(request.header("netpol-wire", "1").json(&good(number))).await;
    assert_eq!(status, 200, "{told}");
}

async fn highest(api: &ApiServer, listen: SocketAddr) -> Value {
    let url = format!("https://{HOST}:{}/v1/batches/n1", listen.port());
    let request = client(api, listen).get(url).bearer_auth("one");
    let (status, told) = answer(request.header("netpol-wire", "1")).await;
    assert_eq!(status, 200, "{told}");
    told["acknowledged"][0]["sequence"].clone()
}

/// What a person reads.
async fn status(api: &ApiServer, listen: SocketAddr) -> Value {
    let url = format!("https://{HOST}:{}/v1/status", listen.port());
    let (status, told) = answer(client(api, listen).get(url).bearer_auth("viewer")).await;
    assert_eq!(status, 200, "{told}");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_where_it_stopped() {
    let api = Rig::cluster().await;
    let directory = tempfile::tempdir().unwrap();
    for round in 1..=2 {
        let (ended, listen, stop) = start(&api, directory.path(), alone(&directory)).await;
        if round == 2 {
            let status = status(&api, listen).await;
            assert_eq!(status["edges"], 1, "{status}");
            assert_eq!(highest(&api, listen).await, 1);
        }
        deliver(&api, listen, round).await;
        stop.cancel();
        stops(ended).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_one_is_kept_out_of_the_state_directory() {
    let api = Rig::cluster().await;
    let directory = tempfile::tempdir().unwrap();
    let (_first, _, stop) = start(&api, directory.path(), alone(&directory)).await;
    let second = options(directory.path(), alone(&directory), (free(), free()));
    let second = run(second, stop.clone()).await;
    assert!(
        matches!(second, Err(AggregatorError::Locked { .. })),
        "{second:?}"
    );
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_a_database_and_one_of_them_leads() {
    let server = Server::start();
    let api = Rig::cluster().await;
    let directory = tempfile::tempdir().unwrap();
    let replica = |name: &str| {
        let keeping = Keeping::Shared {
            database: Database::Url {
                url: server.url(),
                authorities: None,
            },
            replica: name.to_owned(),
        };
        start(&api, directory.path(), keeping)
    };
    let (one, other) = tokio::join!(replica("one"), replica("other"));
    let holder = || {
        let lease = api.get("leases", "netpol-system", "netpol-aggregator");
        lease["spec"]["holderIdentity"]
            .as_str()
            .map(|holder| holder.split('_').next().unwrap_or_default().to_owned())
    };
    until("somebody leads", async || holder().is_some()).await;
    deliver(&api, one.1, 1).await;
    until("the other has it", async || {
        highest(&api, other.1).await == 1
    })
    .await;
    deliver(&api, other.1, 2).await;
    until("the one has it", async || highest(&api, one.1).await == 2).await;
    let (leader, rest) = match holder().as_deref() {
        Some("one") => (one, other),
        _ => (other, one),
    };
    let before = holder();
    leader.2.cancel();
    stops(leader.0).await;
    until("the other leads", async || {
        holder().is_some() && holder() != before
    })
    .await;
    assert_eq!(highest(&api, rest.1).await, 2);
    rest.2.cancel();
    stops(rest.0).await;
    assert_eq!(holder(), None, "it is released");
}

async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if is().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not within 30 s: {what}");
}
