//! From Kubernetes' own types to the objects of the index: the one place that reads their fields.

mod network;
mod pod;
mod workload;

pub(crate) use workload::owner_of_metadata;

use std::fmt::Display;
use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    ObjectMeta, OwnerReference as Reference, Time,
};
use netpol_common::words::Protocol;

use crate::identity::objects::{Labels, Object, OwnerReference};

/// The namespace of namespaced objects that name none, as `kubectl apply` has it.
const DEFAULT_NAMESPACE: &str = "default";

/// A field whose value its type allows but Kubernetes would not.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{field}: {reason}")]
pub(crate) struct FieldError {
    /// The path of the field, as in `spec.ports[0].port`.
    pub(crate) field: String,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// A Kubernetes type that the index holds.
pub(crate) trait ToObject {
    /// The object as the index holds it.
    ///
    /// # Errors
    /// A field with a value that Kubernetes would not have taken.
    fn to_object(&self) -> Result<Object, FieldError>;
}

impl FieldError {
    fn new(field: impl Into<String>, reason: impl Display) -> Self {
        Self {
            field: field.into(),
            reason: reason.to_string(),
        }
    }
}

/// `metadata.name`, which no object is without.
pub(super) fn name(metadata: &ObjectMeta) -> Result<String, FieldError> {
    let name = metadata.name.clone().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| FieldError::new("metadata.name", "is missing"))?;
    path_segment("metadata.name", name)
}

/// `metadata.namespace`, or the default one.
pub(super) fn namespace(metadata: &ObjectMeta) -> Result<String, FieldError> {
    let namespace = metadata.namespace.clone().filter(|name| !name.is_empty());
    let namespace = namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    path_segment("metadata.namespace", namespace)
}

/// Names become parts of `namespace/Kind/name` and of file names, so they must not hold a slash.
fn path_segment(field: &str, name: String) -> Result<String, FieldError> {
    if name.contains('/') {
        return Err(FieldError::new(field, format!("{name:?} holds a slash")));
    }
    Ok(name)
}

fn labels(metadata: &ObjectMeta) -> Labels {
    metadata.labels.clone().unwrap_or_default()
}

fn created(metadata: &ObjectMeta) -> Option<Timestamp> {
    time(metadata.creation_timestamp.as_ref())
}

fn time(time: Option<&Time>) -> Option<Timestamp> {
    time.map(|time| time.0)
}

/// The controlling owner; the first owner of an object that, written by hand, does not say which one controls it.
fn owner(metadata: &ObjectMeta) -> Option<OwnerReference> {
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    let controls = |owner: &&Reference| owner.controller == Some(true);
    let unsaid = owners.iter().all(|owner| owner.controller.is_none());
    let owner = owners.iter().find(controls);
    let owner = owner.or_else(|| owners.first().filter(|_| unsaid))?;
    Some(OwnerReference {
        api_version: owner.api_version.clone(),
        kind: owner.kind.clone(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
    })
}

fn address(field: &str, text: &str) -> Result<IpAddr, FieldError> {
    let address: Result<IpAddr, _> = text.parse();
    let wrong = |_| FieldError::new(field, format!("{text:?} is not an IP address"));
    address.map(|address| address.to_canonical()).map_err(wrong)
}

/// Addresses of a list; empty texts are left out.
fn addresses<'a>(
    field: &str,
    texts: impl IntoIterator<Item = &'a String>,
) -> Result<Vec<IpAddr>, FieldError> {
    let texts = texts.into_iter().filter(|text| !text.is_empty());
    texts.map(|text| address(field, text)).collect()
}

fn port(field: &str, number: i32) -> Result<u16, FieldError> {
    let port = u16::try_from(number).ok().filter(|port| *port > 0);
    port.ok_or_else(|| FieldError::new(field, format!("{number} is not a port (1 to 65535)")))
}

/// The protocol of that name; TCP if none is given.
fn protocol(field: &str, name: Option<&str>) -> Result<Protocol, FieldError> {
    let name = name.filter(|name| !name.is_empty()).unwrap_or("TCP");
    name.parse().map_err(|error| FieldError::new(field, error))
}
