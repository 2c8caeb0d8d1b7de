//! Lists in pages, of whole objects or of their metadata.

use std::collections::BTreeMap;

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::answer::Failure;
use super::world::World;

pub(super) type Query = BTreeMap<String, String>;

/// What a list or a watch is of.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) api: String,
    pub(super) plural: String,
    /// Empty for all.
    pub(super) namespace: String,
    pub(super) query: Query,
    /// Metadata only.
    pub(super) metadata: bool,
}

impl Wanted {
    /// Whether an object is one of those.
    pub(super) fn holds(&self, object: &Value) -> bool {
        let namespace = &self.namespace;
        (namespace.is_empty() || object["metadata"]["namespace"] == namespace.as_str())
            && self.fields(object)
            && self.labels(object)
    }

    /// Field selectors: equality, with any field.
    fn fields(&self, object: &Value) -> bool {
        self.terms("fieldSelector").all(|term| {
            let Some((field, value)) = term.split_once('=') else {
                return true;
            };
            let path = format!("/{}", field.trim_end_matches('!').replace('.', "/"));
            let own = object.pointer(&path).and_then(Value::as_str);
            let same = own.unwrap_or_default() == value.trim_start_matches('=');
            same != field.ends_with('!')
        })
    }

    /// Label selectors: equality, and whether there is one.
    fn labels(&self, object: &Value) -> bool {
        self.terms("labelSelector").all(|term| {
            let own = |key: &str| object["metadata"]["labels"].get(key);
            match (term.split_once('='), term.strip_prefix('!')) {
                (Some((key, value)), _) => {
                    let same = own(key.trim_end_matches('!')).and_then(Value::as_str)
                        == Some(value.trim_start_matches('='));
                    same != key.ends_with('!')
                }
                (None, Some(key)) => own(key).is_none(),
                (None, None) => own(term).is_some(),
            }
        })
    }

    fn terms(&self, which: &str) -> impl Iterator<Item = &str> {
        let text = self.query.get(which).map_or("", String::as_str);
        text.split(',').filter(|term| !term.is_empty())
    }

    /// An object as it was asked for.
    pub(super) fn shown(&self, object: &Value) -> Value {
        if !self.metadata {
            return object.clone();
        }
        json!({
            "apiVersion": "meta.k8s.io/v1",
            "kind": "PartialObjectMetadata",
            "metadata": object["metadata"],
        })
    }
}

/// A page of a list, or all of it.
pub(super) fn list(world: &mut World, wanted: &Wanted) -> Result<Response, Failure> {
    let number = |name: &str| wanted.query.get(name).and_then(|text| text.parse().ok());
    let limit = number("limit")
        .filter(|limit| *limit > 0)
        .unwrap_or(usize::MAX);
    let token = wanted.query.get("continue");
    let token = token.and_then(|token| token.split_once(':'));
    let (snapshot, from) = match token {
        Some((snapshot, from)) => (snapshot.parse().unwrap_or(0), from.parse().unwrap_or(0)),
        None => {
            let objects = world
                .of(&wanted.plural)
                .filter(|object| wanted.holds(object));
            let objects: Vec<Value> = objects.cloned().collect();
            let at = (wanted.plural.clone(), world.version);
            world.snapshots.insert(at, objects);
            (world.version, 0)
        }
    };
    let objects = world.snapshots.get(&(wanted.plural.clone(), snapshot));
    let expired = || Failure::new(410, "Expired", "the continue token is too old");
    let objects = objects.ok_or_else(expired)?;
    let page = objects.iter().skip(from).take(limit);
    let page: Vec<Value> = page.map(|object| wanted.shown(object)).collect();
    let next = from + page.len();
    let mut about = json!({"resourceVersion": snapshot.to_string()});
    if next < objects.len() {
        about["continue"] = format!("{snapshot}:{next}").into();
    }
    let (version, kind) = match wanted.metadata {
        true => ("meta.k8s.io/v1", "PartialObjectMetadataList"),
        false => (wanted.api.as_str(), "List"),
    };
    let body = json!({"apiVersion": version, "kind": kind, "metadata": about, "items": page});
    Ok(Json(body).into_response())
}
