//! NetworkPolicies out of untyped documents, as the API server would keep them.

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use serde_json::{Map, Value, json};

use super::convert::{self, FieldError};
use super::decode::{self, Decoded};
use crate::policy::validate::validate;

/// Fields whose values are labels or annotations: there the API server takes `null` for an empty text.
const TEXTS: [&str; 3] = ["annotations", "labels", "matchLabels"];
/// Fields that are lists of rules: there the API server takes `null` for an empty rule.
const RULES: [&str; 2] = ["egress", "ingress"];

/// A policy, if the API server would take it. Under whatever name: no verdict depends on it, so a name that the API
/// server would not take is but remarked on.
///
/// # Errors
/// The first thing that is wrong with it.
pub(super) fn decode(mut value: Value) -> Result<Decoded, FieldError> {
    fill_nulls(&mut value);
    let stated = value.get("spec").cloned().unwrap_or_default();
    let mut policy: NetworkPolicy = decode::typed(value)?;
    policy.metadata.name = Some(convert::name(&policy.metadata)?);
    policy.metadata.namespace = Some(convert::namespace(&policy.metadata)?);
    let spec = policy.spec.get_or_insert_default();
    let mut remarks = Vec::new();
    unread("spec", &stated, &json!(spec), &mut remarks);
    let (misnamed, invalid): (Vec<_>, Vec<_>) = validate(&policy)
        .into_iter()
        .partition(|invalid| invalid.field == "metadata.name");
    remarks.extend(
        misnamed
            .iter()
            .map(|invalid| format!("{invalid}; the API server would not take it")),
    );
    let mut invalid = invalid.into_iter();
    let Some(first) = invalid.next() else {
        truncate_blocks(policy.spec.get_or_insert_default(), &mut remarks);
        return Ok(Decoded::Policy(Box::new(policy), remarks));
    };
    let more = match invalid.len() {
        0 => String::new(),
        count => format!(" (and {count} more that is wrong with it)"),
    };
    Err(FieldError {
        field: first.field,
        reason: first.problem + &more,
    })
}

/// Puts in place of `null` what the API server does.
fn fill_nulls(value: &mut Value) {
    let Value::Object(fields) = value else {
        let items = value.as_array_mut().into_iter().flatten();
        return items.for_each(fill_nulls);
    };
    for (key, field) in fields {
        match field {
            Value::Object(texts) if TEXTS.contains(&key.as_str()) => {
                let nulls = texts.values_mut().filter(|text| text.is_null());
                nulls.for_each(|text| *text = Value::from(""));
            }
            Value::Array(rules) if RULES.contains(&key.as_str()) => {
                let nulls = rules.iter_mut().filter(|rule| rule.is_null());
                nulls.for_each(|rule| *rule = Value::Object(Map::new()));
                rules.iter_mut().for_each(fill_nulls);
            }
            other => fill_nulls(other),
        }
    }
}

/// Fields that were stated and did not get into what was read, as a misspelt one does not.
fn unread(path: &str, stated: &Value, read: &Value, remarks: &mut Vec<String>) {
    match (stated, read) {
        (Value::Object(fields), Value::Object(read)) => {
            for (key, field) in fields.iter().filter(|(_, field)| !field.is_null()) {
                match read.get(key) {
                    Some(read) => unread(&format!("{path}.{key}"), field, read, remarks),
                    None => remarks.push(format!("{path}.{key} is unknown and left out")),
                }
            }
        }
        (Value::Array(items), Value::Array(read)) => {
            for (number, (item, read)) in items.iter().zip(read).enumerate() {
                unread(&format!("{path}[{number}]"), item, read, remarks);
            }
        }
        _ => {}
    }
}

/// Takes the bits beyond the prefix out of blocks. The API server took such blocks, so clusters hold them; from
/// Kubernetes 1.36 on it takes no new ones.
fn truncate_blocks(spec: &mut NetworkPolicySpec, remarks: &mut Vec<String>) {
    let ingress = spec.ingress.iter_mut().flatten().map(|rule| &mut rule.from);
    let egress = spec.egress.iter_mut().flatten().map(|rule| &mut rule.to);
    let peers = ingress.chain(egress).flatten().flatten();
    for block in peers.filter_map(|peer| peer.ip_block.as_mut()) {
        for text in std::iter::once(&mut block.cidr).chain(block.except.iter_mut().flatten()) {
            let Ok(net) = text.parse::<IpNet>() else {
                continue;
            };
            if net.trunc() != net {
                let kept = net.trunc().to_string();
                remarks.push(format!(
                    "block {text} has bits beyond its prefix and counts as {kept}; Kubernetes 1.36 takes no new ones of that kind"
                ));
                *text = kept;
            }
        }
    }
}
