//! What was acknowledged outlives the process that did so.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Client;

use crate::double::ApiServer;
use crate::plaintext::without_tls;
use crate::rig::{self, HOST, Rig, good};

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have been killed already.
        let _killed = self.0.kill();
        let _status = self.0.wait();
    }
}

fn start(kubeconfig: &Path, state: &Path, ports: (u16, u16)) -> Process {
    let child = Command::new(env!("CARGO_BIN_EXE_netpol-agent"))
        .arg("aggregator")
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .arg("--state-dir")
        .arg(state)
        .args(["--listen", &format!("127.0.0.1:{}", ports.0)])
        .args(["--metrics-listen", &format!("127.0.0.1:{}", ports.1)])
        .stdout(Stdio::null())
        .spawn();
    Process(child.expect("the aggregator starts"))
}

/// Two ports that are free now.
fn ports() -> (u16, u16) {
    let free = || std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (one, other) = (free(), free());
    let port =
        |listener: &std::net::TcpListener| listener.local_addr().expect("a bound address").port();
    (port(&one), port(&other))
}

async fn ready(port: u16) {
    let begin = Instant::now();
    let client = Client::builder().no_proxy().build().expect("a client");
    while begin.elapsed() < Duration::from_secs(20) {
        let asked = client
            .get(format!("http://127.0.0.1:{port}/readyz"))
            .send()
            .await;
        if asked.is_ok_and(|answer| answer.status() == 200) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not ready after 20 s");
}

async fn request(api: &ApiServer, port: u16, sequence: Option<u64>) -> serde_json::Value {
    let client = rig::client(api, SocketAddr::from(([127, 0, 0, 1], port)));
    let url = format!("https://{HOST}:{port}/v1/batches");
    let request = match sequence {
        Some(sequence) => {
            let body = serde_json::to_vec(&good(sequence)).expect("JSON");
            client
                .post(url)
                .header("content-type", "application/json")
                .body(body)
        }
        None => client.get(format!("{url}/n1")),
    };
    let (status, answer) = rig::answer(request.bearer_auth("one").header("netpol-wire", "1")).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_kill_9() {
    let _first = rustls::crypto::ring::default_provider().install_default();
    let api = Rig::cluster().await;
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    std::fs::write(&kubeconfig, api.kubeconfig("aggregator")).unwrap();
    let state = directory.path().join("state");
    for round in 1..=5 {
        let ports = ports();
        let mut process = start(&kubeconfig, &state, ports);
        ready(ports.1).await;
        let known = request(&api, ports.0, None).await;
        let highest = known["acknowledged"][0]["sequence"]
            .as_u64()
            .unwrap_or_default();
        assert_eq!(highest, round - 1);
        request(&api, ports.0, Some(round)).await;
        process.0.kill().unwrap();
        process.0.wait().unwrap();
    }
}

#[tokio::test]
async fn it_stops_when_it_is_told_to() {
    let _first = rustls::crypto::ring::default_provider().install_default();
    let api = Rig::cluster().await;
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    std::fs::write(&kubeconfig, api.kubeconfig("aggregator")).unwrap();
    let ports = ports();
    let mut process = start(&kubeconfig, directory.path(), ports);
    ready(ports.1).await;
    request(&api, ports.0, Some(1)).await;
    let id = nix::unistd::Pid::from_raw(process.0.id().try_into().unwrap());
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = process.0.try_wait().unwrap() {
            break status;
        }
        assert!(begin.elapsed() < Duration::from_secs(25), "it goes on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(status.success(), "{status}");
}

#[test]
fn a_password_is_never_told() {
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    let text = "{apiVersion: v1, kind: Config, current-context: c, users: [], \
        clusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}], contexts: [{name: c, context: {cluster: c}}]}";
    std::fs::write(&kubeconfig, text).unwrap();
    for (url, said) in [
        ("mysql://me:s3cret@db/netpol", "postgresql://"),
        ("postgresql://me:s3cret?s3cret@db/netpol", "%3F"),
        ("postgresql://me:s3cret@db:s3cret/netpol", "port"),
        ("postgresql://me:s3cret@db/netpol?what=s3cret", "what"),
        ("host=db password=s3cret", "postgresql://"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_netpol-agent"));
        command.args(["--log", "trace", "aggregator", "--kubeconfig"]);
        command.arg(&kubeconfig).env("NETPOL_POSTGRES", url);
        let output = command.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(said) && !told.contains("s3cret"), "{told}");
        let help = command.arg("--help").output().unwrap();
        let help = String::from_utf8_lossy(&help.stdout).into_owned();
        assert!(help.contains("NETPOL_POSTGRES") && !help.contains("s3cret"));
    }
}

#[test]
fn a_database_that_is_not_believed_ends_it_with_what_to_do() {
    let files = tempfile::tempdir().unwrap();
    let (kubeconfig, authority) = (files.path().join("kubeconfig"), files.path().join("ca.crt"));
    let text = "{apiVersion: v1, kind: Config, current-context: c, users: [], \
        clusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}], contexts: [{name: c, context: {cluster: c}}]}";
    std::fs::write(&kubeconfig, text).unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["db".to_owned()]).unwrap();
    std::fs::write(&authority, made.cert.pem()).unwrap();
    let (port, served) = without_tls();
    let run = |authority: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_netpol-agent"));
        command.args(["--log", "trace", "aggregator", "--kubeconfig"]);
        command
            .arg(&kubeconfig)
            .env("NETPOL_POSTGRES_CA", authority);
        let url = format!("postgresql://me:s3cret@127.0.0.1:{port}/netpol");
        let output = command.env("NETPOL_POSTGRES", url).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(!told.contains("s3cret"), "{told}");
        told
    };
    let told = run(&files.path().join("none.crt"));
    assert!(told.contains("none.crt") && told.contains("PEM"), "{told}");
    let told = run(&authority);
    assert!(
        told.contains("does not speak TLS") && told.contains("sslmode=disable"),
        "{told}"
    );
    assert_eq!(served.join().unwrap(), b"");
}
