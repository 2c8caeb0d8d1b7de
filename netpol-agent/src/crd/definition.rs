//! The CustomResourceDefinition, as the API server wants it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::spec::LearnedPolicy;
use crate::policy::emit;

/// The definition of the kind `LearnedPolicy`.
///
/// Nothing in it has a default: one would make the API server write a `spec` into objects whose `spec` nobody wants.
#[must_use]
pub fn definition() -> CustomResourceDefinition {
    let derived = LearnedPolicy::crd();
    let mut value = json!(derived);
    tidy(&mut value);
    serde_json::from_value(value).unwrap_or(derived)
}

/// The definition as a YAML document.
#[must_use]
pub fn yaml() -> String {
    let mut value = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
    });
    if let (Value::Object(all), Value::Object(rest)) = (&mut value, json!(definition())) {
        for (field, content) in rest {
            all.entry(field).or_insert(content);
        }
    }
    emit::fragment(&value)
}

/// Takes away defaults, nulls, and formats that the API server does not know; puts each description on one line.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if fields.get("type").is_some_and(Value::is_string) {
                fields.shift_remove("default");
                fields.retain(|name, field| name != "format" || is_known(field));
                if let Some(Value::String(text)) = fields.get_mut("description") {
                    *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
                }
            }
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// Formats of integers without a sign are Rust's own.
fn is_known(format: &Value) -> bool {
    !format.as_str().is_some_and(|name| name.starts_with("uint"))
}
