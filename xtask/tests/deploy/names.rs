//! The chart calls things what the code calls them.

use netpol_common::names::cluster as names;
use serde_json::{Value, json};

use super::{document, documents, rendered};

fn objects() -> Vec<Value> {
    documents(&rendered(|_| ()))
}

#[test]
fn objects_bear_the_names_that_the_code_looks_for() {
    let objects = objects();
    let expected = [
        ("Namespace", names::NAMESPACE),
        ("ServiceAccount", names::AGENT_ACCOUNT),
        ("ServiceAccount", names::AGGREGATOR_ACCOUNT),
        ("ServiceAccount", names::VIEWER_ACCOUNT),
        ("DaemonSet", names::AGENT_DAEMON_SET),
        ("Deployment", names::AGGREGATOR_DEPLOYMENT),
        ("Service", names::AGGREGATOR_SERVICE),
    ];
    for (kind, name) in expected {
        document(&objects, kind, name);
    }
    for object in &objects {
        let namespace = &object["metadata"]["namespace"];
        assert!(
            namespace.is_null() || namespace == names::NAMESPACE,
            "{object}"
        );
    }
}

#[test]
fn ports_are_those_of_the_code() {
    let service = document(&objects(), "Service", names::AGGREGATOR_SERVICE);
    let ports = service["spec"]["ports"].as_array().expect("ports");
    let numbers: Vec<&Value> = ports.iter().map(|port| &port["port"]).collect();
    assert_eq!(
        numbers,
        [
            &json!(names::AGGREGATOR_PORT),
            &json!(names::AGGREGATOR_METRICS_PORT)
        ]
    );
    let agent = document(&objects(), "DaemonSet", names::AGENT_DAEMON_SET);
    let port = &agent["spec"]["template"]["spec"]["containers"][0]["ports"][0];
    assert_eq!(port["hostPort"], names::AGENT_METRICS_PORT);
}

#[test]
fn agents_get_the_aggregators_authority_and_a_token_for_it_only() {
    let agent = document(&objects(), "DaemonSet", names::AGENT_DAEMON_SET);
    let volumes = agent["spec"]["template"]["spec"]["volumes"].as_array();
    let volumes = volumes.expect("volumes");
    let volume = |name: &str| {
        let mut found = volumes.iter().filter(|volume| volume["name"] == name);
        found.next().expect("the volume").clone()
    };
    assert_eq!(
        volume("aggregator-ca")["configMap"]["name"],
        names::CA_CONFIG_MAP
    );
    let token = &volume("aggregator-token")["projected"]["sources"][0]["serviceAccountToken"];
    assert_eq!(token["audience"], names::AUDIENCE);
    let certificate = documents(&rendered(super::everything));
    let certificate = document(&certificate, "Certificate", names::AGGREGATOR_SERVICE);
    assert_eq!(certificate["spec"]["secretName"], names::TLS_SECRET);
}
