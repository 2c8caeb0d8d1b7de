//! A property-based run of the API's own OpenAPI document: whatever is sent, there is no fault of the server.
//!
//! It needs the package `schemathesis` of PyPI, which `cargo xtask setup` installs.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use netpol_agent::aggregator::Limits;

use crate::rig::{Rig, good};

/// Bounds that do not get into the way of somebody who tries everything.
fn generous() -> Limits {
    Limits {
        requests: (1e9, 1e9),
        failures: (1e9, 1e9),
        connections_per_peer: 8_192,
        handshake: Duration::from_secs(60),
        // An answer that does not end would be waited for.
        followers: 0,
        read: Duration::from_secs(5),
        ..Limits::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_sent_there_is_no_fault_of_the_server() {
    let program =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/schemathesis/bin/schemathesis");
    assert!(
        program.is_file(),
        "`cargo xtask setup` installs schemathesis"
    );
    let rig = Rig::with(generous()).await;
    assert_eq!(rig.deliver("one", &good(1)).await.0, 200);
    let directory = tempfile::tempdir().expect("a directory");
    let authority = directory.path().join("ca.crt");
    let map = rig.api.get("configmaps", "netpol-system", "netpol-ca");
    let text = map["data"]["ca.crt"].as_str().expect("a certificate");
    std::fs::write(&authority, text).expect("a file");
    let port = rig.running.address().port();
    for (token, tag) in [("one", "agents"), ("viewer", "read"), ("nobody", "read")] {
        let mut run = Command::new(&program);
        run.arg("run")
            .arg(format!("https://localhost:{port}/v1/openapi.json"))
            .args(["--include-tag", tag])
            .args(["--checks", "not_a_server_error,response_schema_conformance"])
            .args(["--phases", "examples,coverage,fuzzing"])
            .args(["--max-examples", "60", "--seed", "1"])
            .args(["--request-timeout", "20", "--workers", "1"])
            .arg("--tls-verify")
            .arg(&authority)
            .args(["--header", &format!("Authorization: Bearer {token}")])
            .current_dir(directory.path());
        if tag == "agents" {
            run.args(["--header", "netpol-wire: 1"]);
        }
        let ran = tokio::task::spawn_blocking(move || run.output()).await;
        let output = ran.expect("a thread").expect("the program runs");
        let said = String::from_utf8_lossy(&output.stdout);
        println!("{said}");
        assert!(output.status.success(), "{tag} as {token}:\n{said}");
    }
    let fault = rig.running.fault();
    assert!(fault.is_none(), "{fault:?}");
    assert_eq!(rig.deliver("one", &good(2)).await.0, 200);
}
