//! What is in `deploy`: the chart, what is made from it, and whether it says the same as the code.

mod helm;
mod image;
mod manifests;
mod metrics;
mod names;
mod objects;
mod pages;
mod uninstall;
mod values;

use serde_json::Value;
use xtask::deploy::chart::{Chart, Rendered};
use xtask::deploy::chart_directory;

fn chart() -> Chart {
    Chart::read(&chart_directory()).expect("the chart can be read")
}

/// What the chart renders to with its default values, changed by `change`.
fn rendered(change: impl FnOnce(&mut Value)) -> Vec<Rendered> {
    let chart = chart();
    let mut values = chart.values().clone();
    change(&mut values);
    chart.render(&values).expect("the chart renders")
}

/// Every document of those, in order.
fn documents(rendered: &[Rendered]) -> Vec<Value> {
    let documents = rendered.iter().map(|rendered| rendered.documents());
    documents
        .flat_map(|documents| documents.expect("YAML"))
        .collect()
}

/// The one document of that kind and name.
fn document(documents: &[Value], kind: &str, name: &str) -> Value {
    let mut found = documents
        .iter()
        .filter(|document| document["kind"] == kind && document["metadata"]["name"] == name);
    let document = found.next().unwrap_or_else(|| panic!("no {kind} {name}"));
    assert!(found.next().is_none(), "{kind} {name} is there twice");
    document.clone()
}

/// Turns everything on that is off by default.
fn everything(values: &mut Value) {
    for switch in [
        "/certManager/enabled",
        "/monitoring/serviceMonitor/enabled",
        "/monitoring/alerts/enabled",
        "/monitoring/dashboard/enabled",
    ] {
        *values.pointer_mut(switch).expect(switch) = true.into();
    }
    values["uninstall"]["leaveNodes"] = true.into();
    values["image"]["digest"] = format!("sha256:{}", "0".repeat(64)).into();
    values["imagePullSecrets"] = serde_json::json!([{"name": "registry"}]);
    values["aggregator"]["replicas"] = 2.into();
    values["aggregator"]["postgresql"]["secretName"] = "database".into();
    values["aggregator"]["postgresql"]["caSecretName"] = "authority".into();
    values["aggregator"]["podAnnotations"] = serde_json::json!({"example.org/a": "1"});
    values["aggregator"]["tolerations"] = serde_json::json!([{"operator": "Exists"}]);
    values["agent"]["podAnnotations"] = serde_json::json!({"example.org/a": "1"});
    values["networkPolicy"]["nodeBlocks"] = serde_json::json!(["10.0.0.0/8", "fd00::/8"]);
}
