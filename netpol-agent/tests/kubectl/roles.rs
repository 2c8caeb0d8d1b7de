//! The rights that the manifests add to Kubernetes' own roles `view`, `edit` and `admin`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::double::auth::Right;
use crate::double::rights::{of_cluster_role, unused};
use crate::support::{Cluster, condition, run};

const EDGE: &str = "shop/Deployment/web -> shop/Deployment/db 5432/TCP";

/// A workload with a violation that people are to judge, and policies in force.
fn cluster() -> Cluster {
    let cluster = Cluster::new();
    let violation = json!({
        "id": "aa11", "edge": EDGE, "direction": "egress", "state": "Open", "approveIn": [], "count": 3,
        "firstSeen": "2026-01-02T03:00:00Z", "lastSeen": "2026-01-02T03:04:05Z",
    });
    let status = json!({
        "workload": "Deployment/web", "mode": "enforce", "violations": [violation],
        "conditions": [condition("Applied", "True", "Applied", "")],
    });
    cluster.learned("shop", "web-deployment", Value::Null, status);
    cluster
}

/// Lets alice do only what some of the roles grant in `shop`, runs commands as her, and tells which of the rights none of
/// them needed.
fn unneeded(roles: &[&str], commands: &[(&[&str], i32)]) -> Vec<String> {
    let cluster = cluster();
    let granted: BTreeSet<Right> = roles
        .iter()
        .flat_map(|role| of_cluster_role(role, "alice", "shop"))
        .collect();
    cluster.grant_only(granted.clone());
    for (arguments, expected) in commands {
        let (code, out, problems) = run(&mut cluster.netpol(arguments));
        assert_eq!(code, Some(*expected), "{arguments:?}: {out}{problems}");
    }
    let asked = cluster.api.world().requests.clone();
    unused(&granted, &asked)
}

#[test]
fn whoever_may_edit_a_namespace_may_judge_violations_there() {
    let left = unneeded(
        &["netpol-view", "netpol-edit"],
        &[
            (&["violations", "-n", "shop"], 1),
            (&["reject", "aa11", "-n", "shop"], 0),
            (&["approve", "aa11", "-n", "shop"], 0),
            (&["rollback", "Deployment/web", "-n", "shop"], 0),
        ],
    );
    // Those that kubectl (`-w`, `edit`, `delete`) and tools that keep objects in git need: people own the `spec`, and may write
    // one before the controller has made the object.
    let for_others = ["create", "delete", "update", "watch"];
    let expected = for_others.map(|verb| format!("{verb} learnedpolicies.netpol.io shop/"));
    assert_eq!(left, expected);
}

#[test]
fn whoever_may_only_view_a_namespace_judges_nothing_there() {
    let left = unneeded(
        &["netpol-view"],
        &[
            (&["violations", "-n", "shop"], 1),
            (&["approve", "aa11", "-n", "shop"], 2),
            (&["rollback", "Deployment/web", "-n", "shop"], 2),
        ],
    );
    let for_others = ["get", "watch"].map(|verb| format!("{verb} learnedpolicies.netpol.io shop/"));
    assert_eq!(left, for_others);
}
