//! What objects say: conditions of proposals, and what policies allow.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cluster::{API, Cluster, FRONTEND, WEB, WORKER};
use crate::person::netpol;

/// Whether policies allow exactly the edges, by the evaluator: between the workloads that have policies and any other.
pub(crate) fn allow_exactly(cluster: &Cluster, policies: &str, late: bool) -> Result<(), String> {
    let (inventory, file) = (cluster.lab.inventory(), cluster.file(policies));
    let (inventory, file) = (inventory.to_str().unwrap(), file.to_str().unwrap());
    let said = netpol(
        cluster,
        &[
            "connectivity",
            "--inventory",
            inventory,
            "--policies",
            file,
            "-o",
            "json",
        ],
    );
    assert_eq!(said.code, Some(0), "{said:#?}");
    let all: Vec<Value> = serde_json::from_str(&said.out).unwrap();
    let mut allowed = BTreeSet::new();
    for entry in &all {
        let (from, to) = (
            entry["from"].as_str().unwrap(),
            entry["to"].as_str().unwrap(),
        );
        let ours = |end: &str| [FRONTEND, WEB, API].contains(&end);
        // Whoever is enforced may ask the cluster's DNS.
        let dns = to == "kube-system/Deployment/coredns" && late;
        if (ours(from) || ours(to)) && !dns {
            allowed.insert(format!("{from} -> {to} {}", entry["ports"]));
        }
    }
    let edge = |from: &str, to: &str, port: u16| {
        format!(
            "{from} -> {to} {}",
            json!([{"protocol": "TCP", "port": port}])
        )
    };
    let mut seen = BTreeSet::from([
        edge(FRONTEND, WEB, 8080),
        edge(FRONTEND, API, 9090),
        edge(WORKER, API, 9090),
    ]);
    seen.extend(late.then(|| edge(WEB, API, 9090)));
    match allowed == seen {
        true => Ok(()),
        false => Err(format!("{allowed:#?} instead of {seen:#?}")),
    }
}

/// Whether a condition of a proposal holds: `True`, `False`, or nothing.
pub(crate) fn condition(proposal: &Value, kind: &str) -> String {
    let found = find(&proposal["status"], kind);
    found["status"].as_str().unwrap_or_default().to_owned()
}

/// Whether a condition of a status holds.
pub(crate) fn holds(status: &Value, kind: &str) -> bool {
    find(status, kind)["status"] == "True"
}

/// What a condition of a status says.
pub(crate) fn why(status: &Value, kind: &str) -> String {
    find(status, kind)["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn find(status: &Value, kind: &str) -> Value {
    let all = status["conditions"].as_array().cloned().unwrap_or_default();
    all.into_iter()
        .find(|it| it["type"] == kind)
        .unwrap_or_default()
}
