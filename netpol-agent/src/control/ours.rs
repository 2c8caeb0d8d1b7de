//! Which NetworkPolicies are ours, and what ours look like.
//!
//! Ours is what our field manager applied *and* what a proposal owns. Nothing else is ever changed or deleted.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use netpol_common::names::ObjectName;
use netpol_common::names::cluster::{API_VERSION, KIND};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::facts::Live;

/// Under this name the API server knows the fields that we own.
pub const FIELD_MANAGER: &str = "netpol";
/// Says who made an object, by the convention of Kubernetes.
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "netpol");
/// Tells which proposal it is.
const HASH: &str = "netpol.io/proposal-hash";

/// Whether our field manager owns a part of an object, by what the API server says of its fields.
#[must_use]
pub fn applied_by_us(metadata: &ObjectMeta) -> bool {
    let mut entries = metadata.managed_fields.iter().flatten();
    entries.any(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER))
}

/// Whether a policy is ours, whichever proposal it belongs to.
#[must_use]
pub fn is_ours(metadata: &ObjectMeta) -> bool {
    applied_by_us(metadata) && owner(metadata).is_some()
}

/// The proposal that owns an object.
#[must_use]
pub(super) fn owner(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    let owners = metadata.owner_references.iter().flatten();
    let mut of_kind = owners.filter(|owner| {
        let group = owner.api_version.split('/').next();
        owner.kind == KIND && group == Some(netpol_common::GROUP)
    });
    of_kind.next()
}

impl Live {
    /// Whether it is ours and belongs to the proposal of that uid.
    #[must_use]
    pub fn is_of(&self, uid: &str) -> bool {
        self.applied_by_us && owner(&self.policy.metadata).is_some_and(|owner| owner.uid == uid)
    }

    /// Whether it is ours and belongs to some proposal.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.applied_by_us && owner(&self.policy.metadata).is_some()
    }
}

/// The object that puts a proposal into force.
#[must_use]
pub(super) fn object(name: &ObjectName, uid: &str, spec: &NetworkPolicySpec) -> NetworkPolicy {
    let label = (MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    let owner = OwnerReference {
        api_version: format!("{}/{API_VERSION}", netpol_common::GROUP),
        kind: KIND.to_owned(),
        name: name.name.clone(),
        uid: uid.to_owned(),
        ..OwnerReference::default()
    };
    NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(name.name.clone()),
            namespace: Some(name.namespace.clone()),
            labels: Some(BTreeMap::from([label])),
            annotations: Some(BTreeMap::from([(HASH.to_owned(), hash(spec))])),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(spec.clone()),
    }
}

/// A hash of what a policy says: 16 hexadecimal digits.
#[must_use]
pub(super) fn hash(spec: &NetworkPolicySpec) -> String {
    short_hash(&canonical(spec).to_string(), 16)
}

/// The first digits of the SHA-256 of a text.
pub(super) fn short_hash(text: &str, digits: usize) -> String {
    let digest = Sha256::digest(text);
    let all: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    all.chars().take(digits).collect()
}

/// Whether two policies say the same, written as the API server stores them.
#[must_use]
pub(super) fn same(one: Option<&NetworkPolicySpec>, other: Option<&NetworkPolicySpec>) -> bool {
    one.map(canonical) == other.map(canonical)
}

/// What the API server stores: lists without entries are left out.
fn canonical(spec: &NetworkPolicySpec) -> Value {
    let mut value = json!(spec);
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, field| field.as_array().is_none_or(|list| !list.is_empty()));
    }
    value
}
