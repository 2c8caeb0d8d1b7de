//! Taking every policy of ours away, before netpol itself goes.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::{Api, Client};
use netpol_common::names::ObjectName;

use super::follow::name_of;
use crate::control::is_ours;

/// Policies in one page of a list.
const PAGE: u32 = 500;

/// The NetworkPolicies that are ours, in every namespace.
///
/// # Errors
///
/// An API server that cannot be reached or refuses.
pub async fn ours(client: &Client) -> kube::Result<Vec<NetworkPolicy>> {
    let all: Api<NetworkPolicy> = Api::all(client.clone());
    let mut found = Vec::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = all.list(&params).await?;
        let next = page
            .metadata
            .continue_
            .clone()
            .filter(|token| !token.is_empty());
        let own = page
            .items
            .into_iter()
            .filter(|policy| is_ours(&policy.metadata));
        found.extend(own);
        match next {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(found),
        }
    }
}

/// Deletes the NetworkPolicies that are ours and nothing else, and tells which those were. The controller must have
/// stopped, or it makes them anew.
///
/// # Errors
///
/// An API server that cannot be reached or refuses. What was deleted until then stays deleted; called again, it goes on.
pub async fn remove_ours(client: &Client) -> kube::Result<Vec<ObjectName>> {
    let mut removed = Vec::new();
    for policy in ours(client).await? {
        let name = name_of(&policy);
        let api: Api<NetworkPolicy> = Api::namespaced(client.clone(), &name.namespace);
        let exactly = DeleteParams {
            preconditions: Some(Preconditions {
                uid: policy.metadata.uid.clone(),
                resource_version: policy.metadata.resource_version.clone(),
            }),
            ..DeleteParams::background()
        };
        match api.delete(&name.name, &exactly).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            other => drop(other?),
        }
        removed.push(name);
    }
    Ok(removed)
}
