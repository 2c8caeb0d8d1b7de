//! The chart's template of the custom resource definition, made from the Rust types.

use anyhow::{Context as _, Result};
use netpol_agent::crd::definition;
use serde_json::{Value, json};

use super::template::yaml;

/// Where the template is, below the chart.
pub const TEMPLATE: &str = "templates/20-crd.yaml";

/// The template. Helm upgrades what is a template, unlike what is in a chart's folder `crds`, and keeps what is so annotated.
///
/// # Errors
///
/// If the definition is no object.
pub fn template() -> Result<String> {
    let Value::Object(definition) = serde_json::to_value(definition())? else {
        return Err(anyhow::anyhow!("the definition is no object"));
    };
    let mut object = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
    });
    for (field, value) in definition {
        object[field] = value;
    }
    let annotations = &mut object["metadata"]["annotations"];
    annotations["helm.sh/resource-policy"] = "keep".into();
    let fields = object.as_object_mut().context("an object was made")?;
    fields.retain(|_, value| !value.is_null());
    Ok(format!(
        "{{{{- /* Made by `cargo xtask deploy` from the Rust types: change those instead. */ -}}}}\n\
         {{{{- if .Values.crd.install }}}}\n{}\n{{{{- end }}}}\n",
        yaml::block(&object)
    ))
}
