//! The whole aggregator: watches, keeper, controller and server, started and stopped as a process does it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use netpol_agent::aggregator::{AggregatorError, Limits, Options, TlsSource, run};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::double::ApiServer;
use crate::rig::{HOST, OWN_TOKEN, Rig, answer, client, good};

type Ended = JoinHandle<Result<(), AggregatorError>>;

fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

fn options(directory: &Path, listen: SocketAddr, metrics_listen: SocketAddr) -> Options {
    Options {
        listen,
        metrics_listen,
        namespace: "netpol-system".to_owned(),
        kubeconfig: Some(directory.join("kubeconfig")),
        state_dir: directory.join("state"),
        retention: Duration::from_secs(30 * 24 * 3600),
        tls: TlsSource::Secret,
        limits: Limits::default(),
    }
}

/// An aggregator that is ready, where it listens, and what stops it.
async fn start(api: &ApiServer, directory: &Path) -> (Ended, SocketAddr, CancellationToken) {
    let _first = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = api.kubeconfig(OWN_TOKEN);
    std::fs::write(directory.join("kubeconfig"), kubeconfig).unwrap();
    let (listen, metrics) = (free(), free());
    let stop = CancellationToken::new();
    let ended = tokio::spawn(run(options(directory, listen, metrics), stop.clone()));
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

async fn highest(api: &ApiServer, listen: SocketAddr) -> Value {
    let url = format!("https://{HOST}:{}/v1/batches/n1", listen.port());
    let request = client(api, listen).get(url).bearer_auth("one");
    let (status, told) = answer(request.header("netpol-wire", "1")).await;
    assert_eq!(status, 200, "{told}");
    told["acknowledged"][0]["sequence"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_where_it_stopped() {
    let api = Rig::cluster().await;
    let directory = tempfile::tempdir().unwrap();
    for round in 1..=2 {
        let (ended, listen, stop) = start(&api, directory.path()).await;
        if round == 2 {
            assert_eq!(highest(&api, listen).await, 1);
        }
        let url = format!("https://{HOST}:{}/v1/batches", listen.port());
        let request = client(&api, listen).post(url).bearer_auth("one");
        let (status, told) = answer(request.header("netpol-wire", "1").json(&good(round))).await;
        assert_eq!(status, 200, "{told}");
        stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(30), ended).await;
        ended
            .expect("it stops")
            .expect("no panic")
            .expect("no fault");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_one_is_kept_out_of_the_state_directory() {
    let api = Rig::cluster().await;
    let directory = tempfile::tempdir().unwrap();
    let (_first, _, stop) = start(&api, directory.path()).await;
    let second = run(options(directory.path(), free(), free()), stop.clone()).await;
    assert!(
        matches!(second, Err(AggregatorError::Locked { .. })),
        "{second:?}"
    );
    stop.cancel();
}
