//! Objects out of untyped documents: which kinds are read, and where exactly one does not decode.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::{
    apps::v1 as apps, batch::v1 as batch, core::v1, discovery::v1 as discovery,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::convert::{FieldError, ToObject};
use super::{OtherPolicy, policy};
use crate::identity::objects::Object;

/// An object of a document, or what became of it.
#[derive(Debug)]
pub(super) enum Decoded {
    /// One that the index holds.
    Object(Box<Object>),
    /// A valid policy, and the fields of it that its API does not know.
    Policy(Box<NetworkPolicy>, Vec<String>),
    /// A policy of another API.
    OtherPolicy(OtherPolicy),
    /// Of a kind that is not read.
    Ignored(String),
}

/// What does not decode, and where in its document.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Undecodable {
    /// Kind and name, as far as they are known.
    pub(super) object: String,
    /// The path of the field.
    pub(super) field: String,
    /// What is wrong with it.
    pub(super) reason: String,
}

type Decoder = fn(Value) -> Result<Decoded, FieldError>;

/// The kinds that are read, by `apiVersion` and `kind`.
const KINDS: [(&str, &str, Decoder); 13] = [
    ("v1", "Namespace", object::<v1::Namespace>),
    ("v1", "Node", object::<v1::Node>),
    ("v1", "Pod", object::<v1::Pod>),
    (
        "v1",
        "ReplicationController",
        object::<v1::ReplicationController>,
    ),
    ("v1", "Service", object::<v1::Service>),
    ("apps/v1", "DaemonSet", object::<apps::DaemonSet>),
    ("apps/v1", "Deployment", object::<apps::Deployment>),
    ("apps/v1", "ReplicaSet", object::<apps::ReplicaSet>),
    ("apps/v1", "StatefulSet", object::<apps::StatefulSet>),
    ("batch/v1", "CronJob", object::<batch::CronJob>),
    ("batch/v1", "Job", object::<batch::Job>),
    (
        "discovery.k8s.io/v1",
        "EndpointSlice",
        object::<discovery::EndpointSlice>,
    ),
    ("networking.k8s.io/v1", "NetworkPolicy", policy::decode),
];

/// How deep lists may hold lists.
pub(super) const LISTS: usize = 4;

/// Kinds and how many of each there were: `3 ConfigMap, 1 Secret`.
pub(super) fn count_kinds(kinds: &BTreeMap<String, usize>) -> String {
    let each = kinds.iter().map(|(kind, count)| format!("{count} {kind}"));
    each.collect::<Vec<_>>().join(", ")
}

/// Decodes the object at a path of its document, or every object of the list that it is.
pub(super) fn take(
    value: Value,
    at: &str,
    lists: usize,
    to: &mut Vec<Decoded>,
) -> Result<(), Undecodable> {
    let Value::Object(mut fields) = value else {
        return Err(not_an_object(at));
    };
    let (version, kind) = api(&fields, at)?;
    let Some(item_kind) = kind
        .strip_suffix("List")
        .filter(|_| fields.contains_key("items"))
    else {
        to.push(one(&version, &kind, fields, at)?);
        return Ok(());
    };
    let items = match fields.remove("items") {
        Some(Value::Array(items)) if lists > 0 => items,
        Some(Value::Null) | None => Vec::new(),
        Some(_) => return Err(wrong(join(at, "items"), NO_LIST)),
    };
    for (number, mut item) in items.into_iter().enumerate() {
        if let Value::Object(fields) = &mut item {
            complete(fields, &version, item_kind);
        }
        take(item, &join(at, &format!("items[{number}]")), lists - 1, to)?;
    }
    Ok(())
}

const MISSING: &str = "is missing or not a text";
const NO_LIST: &str = "is not a list of objects";

/// `apiVersion` and `kind` of the object at a path.
pub(super) fn api(fields: &Map<String, Value>, at: &str) -> Result<(String, String), Undecodable> {
    let field = |key| text(fields, key).ok_or_else(|| wrong(join(at, key), MISSING));
    Ok((field("apiVersion")?, field("kind")?))
}

/// What stands at a path is no object.
pub(super) fn not_an_object(at: &str) -> Undecodable {
    let field = if at.is_empty() { "." } else { at };
    wrong(field.to_owned(), "is not a Kubernetes object")
}

/// What `items` of a list holds is no list.
pub(super) fn not_a_list() -> Undecodable {
    wrong("items".to_owned(), NO_LIST)
}

fn wrong(field: String, reason: &str) -> Undecodable {
    Undecodable {
        object: "the object".to_owned(),
        field,
        reason: reason.to_owned(),
    }
}

/// Items of a typed list come without their kind, which the list's tells.
pub(super) fn complete(item: &mut Map<String, Value>, version: &str, kind: &str) {
    if !kind.is_empty() {
        item.entry("apiVersion").or_insert_with(|| version.into());
        item.entry("kind").or_insert_with(|| kind.into());
    }
}

/// Decodes one object of an API version and kind.
pub(super) fn one(
    version: &str,
    kind: &str,
    mut fields: Map<String, Value>,
    at: &str,
) -> Result<Decoded, Undecodable> {
    let same = |(of, name, _): &&(&str, &str, Decoder)| *of == version && *name == kind;
    let Some((.., decode)) = KINDS.iter().find(same) else {
        let other = OtherPolicy::of(version, kind, fields.get("metadata"));
        return Ok(match other {
            Some(policy) => Decoded::OtherPolicy(policy),
            None => Decoded::Ignored(kind.to_owned()),
        });
    };
    let object = title(kind, &fields);
    if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
        metadata.remove("managedFields");
    }
    decode(Value::Object(fields)).map_err(|error| Undecodable {
        object,
        field: join(at, &error.field),
        reason: error.reason,
    })
}

fn object<T: DeserializeOwned + ToObject>(value: Value) -> Result<Decoded, FieldError> {
    let object = typed::<T>(value)?.to_object()?;
    Ok(Decoded::Object(Box::new(object)))
}

pub(super) fn typed<T: DeserializeOwned>(value: Value) -> Result<T, FieldError> {
    serde_path_to_error::deserialize(value).map_err(|error| FieldError {
        field: error.path().to_string(),
        reason: error.inner().to_string(),
    })
}

fn text(fields: &Map<String, Value>, key: &str) -> Option<String> {
    fields.get(key)?.as_str().map(str::to_owned)
}

/// `Pod "namespace/name"`, as far as it is known.
fn title(kind: &str, fields: &Map<String, Value>) -> String {
    let metadata = fields.get("metadata").and_then(Value::as_object);
    let part = |key| metadata.and_then(|metadata| text(metadata, key));
    match (part("namespace"), part("name")) {
        (Some(namespace), Some(name)) => format!("{kind} {namespace}/{name}"),
        (None, Some(name)) => format!("{kind} {name}"),
        _ => format!("{kind} without a name"),
    }
}

fn join(at: &str, field: &str) -> String {
    match (at, field) {
        ("", field) => field.to_owned(),
        (at, "" | ".") => at.to_owned(),
        (at, field) => format!("{at}.{field}"),
    }
}
