//! Values are documented, and the schema says what each may be.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use xtask::deploy::chart_directory;
use xtask::deploy::values::described;

use super::chart;

fn schema() -> Value {
    let text = fs::read_to_string(chart_directory().join("values.schema.json")).expect("a schema");
    serde_json::from_str(&text).expect("JSON")
}

/// Compares values with what the schema declares, and returns what is wrong.
fn compare(path: &str, value: &Value, schema: &Value, wrong: &mut Vec<String>) {
    let types = schema["type"].as_str();
    let fits = match types {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64(),
        Some("boolean") => value.is_boolean(),
        _ => schema.get("anyOf").is_some(),
    };
    if !fits {
        wrong.push(format!("{path} is {value}, not {schema}"));
    }
    let (Some(fields), Some(properties)) = (value.as_object(), schema["properties"].as_object())
    else {
        return;
    };
    if schema["additionalProperties"] != false {
        wrong.push(format!("{path} lets unknown values through"));
    }
    for (key, value) in fields {
        match properties.get(key) {
            Some(schema) => compare(&format!("{path}.{key}"), value, schema, wrong),
            None => wrong.push(format!("{path}.{key} is not in the schema")),
        }
    }
    // What only some choices need has no default; a chart above this one may set `global`.
    let optional = [
        "global",
        "localhostProfile",
        "claims",
        "kind",
        "name",
        "group",
    ];
    for key in properties.keys() {
        if !fields.contains_key(key) && !optional.contains(&key.as_str()) {
            wrong.push(format!("{path}.{key} has no default"));
        }
    }
}

#[test]
fn the_schema_has_exactly_the_values() {
    let mut wrong = Vec::new();
    compare("", chart().values(), &schema(), &mut wrong);
    assert!(wrong.is_empty(), "{wrong:#?}");
    let mut values = chart().values().clone();
    values["agent"]["perfmon"] = "yes".into();
    values["agents"] = true.into();
    compare("", &values, &schema(), &mut wrong);
    assert_eq!(wrong.len(), 2, "the test itself must notice: {wrong:?}");
}

#[test]
fn every_value_is_described() {
    let source = fs::read_to_string(chart_directory().join("values.yaml")).expect("values");
    let described: BTreeSet<String> = described(&source)
        .expect("descriptions")
        .into_iter()
        .map(|described| described.path)
        .collect();
    let mut silent = Vec::new();
    leaves("", chart().values(), &described, &mut silent);
    assert!(silent.is_empty(), "these have no description: {silent:?}");
}

/// Values below which nothing is described.
fn leaves(path: &str, value: &Value, described: &BTreeSet<String>, silent: &mut Vec<String>) {
    if described.contains(path) {
        return;
    }
    match value.as_object() {
        Some(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                leaves(&path, value, described, silent);
            }
        }
        _ => silent.push(path.to_owned()),
    }
}
