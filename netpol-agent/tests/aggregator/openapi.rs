//! The OpenAPI document: what is served is what the golden file says.

use expect_test::expect_file;
use netpol_agent::aggregator::document;
use serde_json::Value;

use crate::rig::Rig;

#[tokio::test]
async fn the_document_is_generated_and_served() {
    expect_file!["../golden/openapi.json"].assert_eq(&document());
    let rig = Rig::start().await;
    let response = rig.client.get(rig.url("/v1/openapi.json")).send().await;
    let response = response.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.text().await.unwrap(), document());
}

#[test]
fn every_reference_leads_somewhere() {
    let document: Value = serde_json::from_str(&document()).unwrap();
    let mut missing = Vec::new();
    walk(&document, &mut |reference| {
        let path = reference.strip_prefix('#').unwrap();
        if document.pointer(path).is_none() {
            missing.push(reference.to_owned());
        }
    });
    assert!(missing.is_empty(), "{missing:?}");
}

fn walk(value: &Value, found: &mut dyn FnMut(&str)) {
    match value {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                found(reference);
            }
            fields.values().for_each(|field| walk(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
        _ => {}
    }
}
