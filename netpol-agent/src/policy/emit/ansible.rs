//! A playbook for Ansible that applies Kubernetes NetworkPolicies by the module `kubernetes.core.k8s`, one task each.
//!
//! Ansible takes text with `{{`, `{%` or `{#` for a template, unless the text has the tag `!unsafe`.

use serde_json::json;

use super::yaml::{self, Comments};
use super::{HEADER, evidence, kubernetes};
use crate::policy::model::Policy;

/// A playbook of one play, which begins with [`HEADER`].
#[must_use]
pub fn playbook(policies: &[Policy], with_evidence: bool) -> String {
    let mut comments = Comments::new();
    let mut tasks = Vec::new();
    for (number, policy) in policies.iter().enumerate() {
        let task = format!("/0/tasks/{number}");
        comments.insert(
            task.clone(),
            vec![format!("For {}.", evidence::subject(policy))],
        );
        if with_evidence {
            let definition = format!("{task}/kubernetes.core.k8s/definition");
            comments.extend(kubernetes::comments(policy, &definition));
        }
        tasks.push(json!({
            "name": format!("NetworkPolicy {}/{}", policy.workload.namespace, policy.name),
            "kubernetes.core.k8s": {"state": "present", "definition": kubernetes::value(policy)},
        }));
    }
    let play = json!([{
        "name": "NetworkPolicies",
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": false,
        "tasks": tasks,
    }]);
    format!("{HEADER}\n{}", yaml::untemplated(&play, &comments))
}
