//! The LearnedPolicies of a cluster: listing them, and changing what people may change of them.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use netpol_common::GROUP;
use netpol_common::names::ObjectName;
use netpol_common::names::cluster::PLURAL;
use serde_json::{Value, json};

use crate::cluster::access::Right;
use crate::cluster::{Cluster, ClusterError};
use crate::crd::{LearnedPolicy, LearnedPolicySpec};

/// By this name the API server knows what was changed with this command.
pub(super) const FIELD_MANAGER: &str = netpol_common::COMMAND;

/// How many are asked for at once.
const PAGE: u32 = 500;

/// How often a change is tried when somebody else changes the object at the same time.
const TRIES: usize = 5;

/// Every LearnedPolicy of a namespace, or of all.
pub(super) async fn list(
    cluster: &Cluster,
    namespace: Option<&str>,
) -> Result<Vec<LearnedPolicy>, ClusterError> {
    let place = match namespace {
        Some(namespace) => format!("in namespace {namespace:?}"),
        None => "in all namespaces (-n NAMESPACE asks for one)".to_owned(),
    };
    let action = format!("list {PLURAL}.{GROUP} {place}");
    let listed = pages(cluster, &api(cluster, namespace), &action).await;
    listed.map_err(|error| match error.is_not_found() {
        true => ClusterError::NoDefinition,
        false => error,
    })
}

/// Every object of a kind, a page at a time.
async fn pages<K>(cluster: &Cluster, api: &Api<K>, action: &str) -> Result<Vec<K>, ClusterError>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let mut parameters = ListParams::default().limit(PAGE);
    let mut all = Vec::new();
    loop {
        let page = cluster.ask(action, api.list(&parameters)).await?;
        let next = page.metadata.continue_.filter(|token| !token.is_empty());
        all.extend(page.items);
        match next {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(all),
        }
    }
}

fn api(cluster: &Cluster, namespace: Option<&str>) -> Api<LearnedPolicy> {
    let client = cluster.client.clone();
    match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    }
}

/// The namespace of that name, or all.
pub(super) async fn namespaces(
    cluster: &Cluster,
    name: Option<&str>,
) -> Result<Vec<Namespace>, ClusterError> {
    let Some(name) = name else {
        let api: Api<Namespace> = Api::all(cluster.client.clone());
        return pages(cluster, &api, "list namespaces").await;
    };
    Ok(vec![namespace(cluster, name).await?])
}

/// The namespace of that name.
pub(super) async fn namespace(cluster: &Cluster, name: &str) -> Result<Namespace, ClusterError> {
    let api: Api<Namespace> = Api::all(cluster.client.clone());
    cluster
        .ask(format!("get namespaces {name:?}"), api.get(name))
        .await
}

/// The LearnedPolicy of that name.
pub(super) async fn get(
    cluster: &Cluster,
    name: &ObjectName,
) -> Result<LearnedPolicy, ClusterError> {
    let api = api(cluster, Some(&name.namespace));
    let action = format!("get {}", place(name));
    cluster.ask(action, api.get(&name.name)).await
}

fn place(name: &ObjectName) -> String {
    format!(
        "{PLURAL}.{GROUP} {:?} in namespace {:?}",
        name.name, name.namespace
    )
}

/// The right to change what people want of a LearnedPolicy.
pub(super) fn right(name: &ObjectName) -> Right<'_> {
    Right {
        verb: "patch",
        group: GROUP,
        resource: PLURAL,
        namespace: Some(&name.namespace),
        name: Some(&name.name),
    }
}

/// Changes what people want of a LearnedPolicy; whatever somebody else changes meanwhile stays. Returns whether there
/// was anything to change.
pub(super) async fn change(
    cluster: &Cluster,
    name: &ObjectName,
    dry_run: bool,
    change: impl Fn(&mut LearnedPolicySpec, &LearnedPolicy),
) -> Result<bool, ClusterError> {
    let api = api(cluster, Some(&name.namespace));
    let place = place(name);
    let parameters = PatchParams {
        dry_run,
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let mut tries = 0;
    loop {
        let known = get(cluster, name).await?;
        let Some(patch) = changed(&known, |spec| change(spec, &known)) else {
            return Ok(false);
        };
        let patch = Patch::Merge(patch);
        let patched = api.patch(&name.name, &parameters, &patch);
        tries += 1;
        match cluster.ask(format!("patch {place}"), patched).await {
            Ok(_) => return Ok(true),
            Err(error) if error.is_conflict() && tries < TRIES => {}
            Err(error) => return Err(error),
        }
    }
}

/// The merge patch that changes what people want of a LearnedPolicy; nothing, if there is nothing to change.
pub(super) fn changed(
    known: &LearnedPolicy,
    change: impl FnOnce(&mut LearnedPolicySpec),
) -> Option<Value> {
    let (old, mut new) = (known.wanted(), known.wanted());
    change(&mut new);
    (old != new).then(|| patch(known, &old, &new))
}

/// A merge patch (RFC 7396) of the fields that differ, good for the version that was read and no other.
fn patch(known: &LearnedPolicy, old: &LearnedPolicySpec, new: &LearnedPolicySpec) -> Value {
    let (old, new) = (json!(old), json!(new));
    let field = |value: &Value, name: &str| value.get(name).cloned().unwrap_or_default();
    let names: BTreeSet<&String> = [&old, &new]
        .into_iter()
        .filter_map(Value::as_object)
        .flat_map(|fields| fields.keys())
        .collect();
    let changed = names
        .into_iter()
        .filter(|name| field(&old, name) != field(&new, name));
    let spec: serde_json::Map<String, Value> = changed
        .map(|name| (name.clone(), field(&new, name)))
        .collect();
    json!({
        "metadata": {"resourceVersion": known.resource_version()},
        "spec": spec,
    })
}

/// Namespace and name of a LearnedPolicy.
pub(super) fn name_of(learned: &LearnedPolicy) -> ObjectName {
    ObjectName::new(learned.namespace().unwrap_or_default(), learned.name_any())
}

/// The workload that it is about, as `Kind/name`.
pub(super) fn workload_of(learned: &LearnedPolicy) -> String {
    let workload = learned.status.as_ref();
    let workload = workload.and_then(|status| status.workload.clone());
    workload.unwrap_or_else(|| "-".to_owned())
}

/// The NetworkPolicies that are proposed.
pub(super) fn proposals(learned: &[LearnedPolicy]) -> Vec<NetworkPolicy> {
    let proposed = learned.iter().filter_map(|learned| {
        let proposal = learned.status.as_ref()?.proposal.as_ref()?;
        let mut policy = NetworkPolicy {
            spec: Some(proposal.spec.clone()),
            ..NetworkPolicy::default()
        };
        policy.metadata.name.clone_from(&learned.metadata.name);
        policy
            .metadata
            .namespace
            .clone_from(&learned.metadata.namespace);
        Some(policy)
    });
    proposed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_names_what_changes_and_the_version_it_is_for() {
        let mut known = LearnedPolicy::named("shop", "web-deployment");
        known.metadata.resource_version = Some("7".to_owned());
        let old = LearnedPolicySpec {
            approved: vec!["a".to_owned()],
            roll_back: Some(true),
            ..LearnedPolicySpec::default()
        };
        let new = LearnedPolicySpec {
            approved: vec!["a".to_owned(), "b".to_owned()],
            ..LearnedPolicySpec::default()
        };
        let expected = json!({
            "metadata": {"resourceVersion": "7"},
            "spec": {"approved": ["a", "b"], "rollBack": null},
        });
        assert_eq!(patch(&known, &old, &new), expected);
    }
}
