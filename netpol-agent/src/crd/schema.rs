//! Schemas that are not derived: lists with bounds, times, and the spec of a NetworkPolicy.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::status::{Condition, Violation};

/// How much a `LearnedPolicy` may hold. An object that is stored must stay under 1.5 MiB.
pub mod limits {
    /// Characters of an id, a hash or a word.
    pub const ID: u32 = 64;
    /// Characters of a name.
    pub const NAME: u32 = 317;
    /// Characters of a message.
    pub const MESSAGE: u32 = 2_048;
    /// Characters of an edge: two names of namespace, kind and name, and a port.
    pub const EDGE: u32 = 1_024;
    /// Edges that people approve or reject.
    pub const DECISIONS: u32 = 1_000;
    /// Frozen edges of a direction.
    pub const FROZEN: u32 = 4_000;
    /// Violations that are listed.
    pub const VIOLATIONS: u32 = 100;
    /// Reasons, names and the like.
    pub const TEXTS: u32 = 50;
    /// Rules of a direction.
    pub const RULES: u32 = 4_000;
    /// Peers or ports of a rule.
    pub const ENTRIES: u32 = 10_000;
    /// Blocks of addresses in an option.
    pub const BLOCKS: u32 = 1_000;
    /// Characters of a block of addresses.
    pub const BLOCK: u32 = 49;
    /// Bytes of a proposed policy and of frozen edges together, as JSON.
    pub const BYTES: usize = 1 << 20;
}

/// The form of an edge: `CLIENT -> SERVER PORT/PROTOCOL`, or with `PROTOCOL PORT` as findings have it.
const EDGE: &str = r"^[^>]+ -> [^>]+ ([0-9]{1,5}/[A-Za-z]+|[A-Za-z]+ [0-9]{1,5})$";

/// A point in time.
pub(super) fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time"})
}

/// Edges that people decided on. A set, so that several managers may each own some.
pub(super) fn edge_list(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": limits::DECISIONS,
        "x-kubernetes-list-type": "set",
        "items": {"type": "string", "maxLength": limits::EDGE, "pattern": EDGE},
    })
}

/// Frozen edges.
pub(super) fn frozen_list(_: &mut SchemaGenerator) -> Schema {
    texts(limits::FROZEN, limits::EDGE)
}

/// Reasons, names and the like.
pub(super) fn text_list(_: &mut SchemaGenerator) -> Schema {
    texts(limits::TEXTS, limits::MESSAGE)
}

/// Blocks of addresses.
pub(super) fn block_list(_: &mut SchemaGenerator) -> Schema {
    texts(limits::BLOCKS, limits::BLOCK)
}

/// Blocks of addresses by name.
pub(super) fn block_groups(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": limits::TEXTS,
        "additionalProperties": list(limits::BLOCKS, text(limits::BLOCK)),
    })
}

/// Violations, each named once.
pub(super) fn violations(generator: &mut SchemaGenerator) -> Schema {
    keyed::<Violation>(generator, limits::VIOLATIONS, "id")
}

/// Conditions, each named once.
pub(super) fn conditions(generator: &mut SchemaGenerator) -> Schema {
    keyed::<Condition>(generator, limits::TEXTS, "type")
}

/// The spec of a NetworkPolicy (`networking.k8s.io/v1`).
pub(super) fn policy_spec(_: &mut SchemaGenerator) -> Schema {
    let rules = |peers: &str| {
        let rule = object(json!({
            peers: list(limits::ENTRIES, peer()),
            "ports": list(limits::ENTRIES, port()),
        }));
        list(limits::RULES, rule)
    };
    json_schema!({
        "type": "object",
        "properties": {
            "podSelector": selector(),
            "policyTypes": list(2, json!({"type": "string", "enum": ["Ingress", "Egress"]})),
            "ingress": rules("from"),
            "egress": rules("to"),
        },
    })
}

fn peer() -> Value {
    object(json!({
        "podSelector": selector(),
        "namespaceSelector": selector(),
        "ipBlock": object(json!({
            "cidr": text(limits::BLOCK),
            "except": list(limits::BLOCKS, text(limits::BLOCK)),
        })),
    }))
}

fn port() -> Value {
    object(json!({
        "protocol": text(limits::ID),
        "port": {"x-kubernetes-int-or-string": true},
        "endPort": {"type": "integer", "format": "int32"},
    }))
}

fn selector() -> Value {
    let expression = object(json!({
        "key": text(limits::NAME),
        "operator": text(limits::ID),
        "values": list(limits::ENTRIES, text(limits::ID)),
    }));
    object(json!({
        "matchLabels": {"type": "object", "additionalProperties": text(limits::ID)},
        "matchExpressions": list(limits::ENTRIES, expression),
    }))
}

fn object(properties: Value) -> Value {
    json!({"type": "object", "properties": properties})
}

fn list(most: u32, items: Value) -> Value {
    json!({"type": "array", "maxItems": most, "items": items})
}

fn text(longest: u32) -> Value {
    json!({"type": "string", "maxLength": longest})
}

fn texts(most: u32, longest: u32) -> Schema {
    json_schema!({"type": "array", "maxItems": most, "items": text(longest)})
}

/// A list in which every entry has another value of the field `key`.
fn keyed<T: JsonSchema>(generator: &mut SchemaGenerator, most: u32, key: &str) -> Schema {
    let items = generator.subschema_for::<T>();
    json_schema!({
        "type": "array",
        "maxItems": most,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": [key],
        "items": items,
    })
}
