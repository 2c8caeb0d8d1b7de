//! What people ask for: options, approvals, rejections, and taking a policy off.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::options::OptionsSpec;
use super::schema::{edge_list, limits};
use super::status::LearnedPolicyStatus;

/// A `LearnedPolicy` without its metadata and status: what was learned of one workload, and what people want of it.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "netpol.io",
    version = "v1alpha1",
    kind = "LearnedPolicy",
    plural = "learnedpolicies",
    shortname = "lp",
    namespaced,
    no_spec,
    status = "LearnedPolicyStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "What was learned of one workload: the policy that is proposed for it, and what became of it.",
    printcolumn = r#"{"name": "Workload", "type": "string", "jsonPath": ".status.workload", "description": "The workload that it is about."}"#,
    printcolumn = r#"{"name": "Mode", "type": "string", "jsonPath": ".status.mode", "description": "off, learn, audit or enforce."}"#,
    printcolumn = r#"{"name": "Complete", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Complete\")].status", "description": "Whether enough was seen to enforce it."}"#,
    printcolumn = r#"{"name": "Coverage", "type": "string", "jsonPath": ".status.coverage.estimate", "description": "The estimated share of the traffic that belongs to edges which were seen."}"#,
    printcolumn = r#"{"name": "Rules", "type": "integer", "jsonPath": ".status.counts.rules", "description": "Rules of the proposed policy."}"#,
    printcolumn = r#"{"name": "Violations", "type": "integer", "jsonPath": ".status.counts.openViolations", "description": "Violations that nobody has decided on."}"#,
    printcolumn = r#"{"name": "Applied", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Applied\")].status", "description": "Whether the policy is in force."}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "Since when it is there."}"#
)]
#[serde(rename_all = "camelCase")]
pub struct LearnedPolicyRoot {
    /// What people want. It belongs to them and to git: the controller writes nothing here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<LearnedPolicySpec>,
}

/// What people want of a workload's policy.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LearnedPolicySpec {
    /// How the policy is written. What is not given here is as the namespace's annotation netpol.io/options says, or
    /// else the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<OptionsSpec>,
    /// Edges that are allowed besides those that were learned, as in "shop/Deployment/web -> shop/Deployment/api
    /// 8080/TCP". An edge has to be approved at each end whose policy denies it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "edge_list")]
    pub approved: Vec<String>,
    /// Edges that are not allowed although they were learned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "edge_list")]
    pub rejected: Vec<String>,
    /// Takes the policy off and keeps it off, whatever the mode, until this is false or absent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roll_back: Option<bool>,
    /// The id of an automatic rollback (status.rollback.id) after which the policy may be applied again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::ID))]
    pub acknowledged_rollback: Option<String>,
}

impl LearnedPolicy {
    /// One of that name and namespace that nobody asks anything of.
    #[must_use]
    pub fn named(namespace: &str, name: &str) -> Self {
        let mut policy = Self::default();
        policy.metadata.namespace = Some(namespace.to_owned());
        policy.metadata.name = Some(name.to_owned());
        policy
    }

    /// What people want; nothing, where there is no `spec`.
    #[must_use]
    pub fn wanted(&self) -> LearnedPolicySpec {
        self.spec.spec.clone().unwrap_or_default()
    }
}
