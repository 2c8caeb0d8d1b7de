//! The certificate: made once by whoever is first, kept, and renewed without dropping connections.

use std::fs;

use netpol_agent::aggregator::{Limits, TlsSource};

use crate::rig::{Rig, client, good};

const NAMESPACE: &str = "netpol-system";

#[tokio::test]
async fn the_certificate_is_kept_in_a_secret_and_its_authority_published() {
    let rig = Rig::start().await;
    assert_eq!(rig.deliver("one", &good(1)).await.0, 200);
    let secret = rig.api.get("secrets", NAMESPACE, "netpol-aggregator-tls");
    assert_eq!(secret["type"], "kubernetes.io/tls");
    for key in ["ca.crt", "ca.key", "tls.crt", "tls.key"] {
        assert!(secret["data"][key].is_string(), "{key}");
    }
    let map = rig.api.get("configmaps", NAMESPACE, "netpol-ca");
    assert!(!map.to_string().contains("PRIVATE KEY"));
    let expires = rig
        .metric("netpol_aggregator_certificate_expiry_timestamp_seconds")
        .await;
    assert!(expires > 1e9);
}

#[tokio::test]
async fn replicas_share_one_certificate() {
    let rig = Rig::start().await;
    let secret = rig.api.get("secrets", NAMESPACE, "netpol-aggregator-tls");
    let version = secret["metadata"]["resourceVersion"].clone();
    let writes = rig.api.writes().len();
    let second = Rig::beside(&rig).await;
    let after = rig.api.get("secrets", NAMESPACE, "netpol-aggregator-tls");
    assert_eq!(after["metadata"]["resourceVersion"], version);
    assert_eq!(rig.api.writes().len(), writes);
    let client = client(&rig.api, second.address());
    let url = format!(
        "https://{}:{}/v1/x",
        crate::rig::HOST,
        second.address().port()
    );
    assert_eq!(client.get(url).send().await.unwrap().status(), 404);
    second.stop().await;
}

#[tokio::test]
async fn certificates_from_files_are_reloaded_while_connections_stay_open() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let write = || {
        let names = vec![crate::rig::HOST.to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        fs::write(path("tls.key"), made.signing_key.serialize_pem()).unwrap();
        fs::write(path("tls.crt"), made.cert.pem()).unwrap();
        made.cert.pem()
    };
    let first = write();
    let tls = TlsSource::Files {
        certificate: path("tls.crt"),
        key: path("tls.key"),
        authority: Some(path("tls.crt")),
    };
    let rig = Rig::unready(Limits::default(), tls).await;
    rig.ready().await;
    assert_eq!(rig.deliver("one", &good(1)).await.0, 200);
    let published = || rig.api.get("configmaps", NAMESPACE, "netpol-ca")["data"]["ca.crt"].clone();
    assert_eq!(published(), first);
    let second = write();
    for _ in 0..150 {
        if published() == second {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(published(), second);
    // The open connection goes on; a new client that trusts the first certificate only does not get one.
    assert_eq!(rig.deliver("one", &good(2)).await.0, 200);
    let fresh = client(&rig.api, rig.running.address());
    assert_eq!(
        fresh.get(rig.url("/v1/x")).send().await.unwrap().status(),
        404
    );
    fs::write(path("tls.crt"), "nonsense").unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(11)).await;
    assert_eq!(
        fresh.get(rig.url("/v1/x")).send().await.unwrap().status(),
        404
    );
}
