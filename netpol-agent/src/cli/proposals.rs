//! The policies that netpol proposes, as the LearnedPolicies of a cluster hold them.

use anyhow::Context;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, ResourceExt};
use netpol_common::GROUP;
use netpol_common::names::cluster::{API_VERSION, KIND, PLURAL};
use serde_json::Value;

use crate::cluster::{ClusterError, Session};

/// How many are asked for at once.
const PAGE: u32 = 500;

/// The kind.
pub(super) fn resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, API_VERSION, KIND), PLURAL)
}

/// Every LearnedPolicy of a namespace, or of all.
pub(super) async fn list(
    session: &Session,
    namespace: Option<&str>,
) -> Result<Vec<DynamicObject>, ClusterError> {
    let cluster = session.cluster();
    let (client, resource) = (cluster.client.clone(), resource());
    let (api, place): (Api<DynamicObject>, _) = match namespace {
        Some(namespace) => (
            Api::namespaced_with(client, namespace, &resource),
            format!("in namespace {namespace:?}"),
        ),
        None => (
            Api::all_with(client, &resource),
            "in all namespaces (-n NAMESPACE asks for one)".to_owned(),
        ),
    };
    let mut parameters = ListParams::default().limit(PAGE);
    let mut all = Vec::new();
    loop {
        let action = format!("list {PLURAL}.{GROUP} {place}");
        let page = cluster.ask(action, api.list(&parameters)).await;
        let page = page.map_err(|error| match error.is_not_found() {
            true => ClusterError::NoDefinition,
            false => error,
        })?;
        let next = page.metadata.continue_.filter(|token| !token.is_empty());
        all.extend(page.items);
        match next {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(all),
        }
    }
}

/// The NetworkPolicies that are proposed for a namespace, or for all.
pub(super) fn proposals(
    session: &Session,
    namespace: Option<&str>,
) -> anyhow::Result<Vec<NetworkPolicy>> {
    let learned = session.wait(list(session, namespace))?;
    let proposed = learned.iter().filter_map(|learned| {
        let spec = learned.data.pointer("/status/proposal/spec")?;
        Some(policy(learned, spec))
    });
    proposed.collect()
}

fn policy(learned: &DynamicObject, spec: &Value) -> anyhow::Result<NetworkPolicy> {
    let name = || {
        let namespace = learned.namespace().unwrap_or_default();
        format!(
            "LearnedPolicy {namespace}/{}: status.proposal.spec",
            learned.name_any()
        )
    };
    let mut policy = NetworkPolicy {
        spec: serde_json::from_value(spec.clone()).with_context(name)?,
        ..NetworkPolicy::default()
    };
    policy.metadata.name.clone_from(&learned.metadata.name);
    policy
        .metadata
        .namespace
        .clone_from(&learned.metadata.namespace);
    Ok(policy)
}
