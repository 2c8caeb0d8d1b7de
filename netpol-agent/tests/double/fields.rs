//! Sets of fields, as `managedFields` has them: which leaves of an object somebody owns.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// The way to a field: `f:name`, `k:{"uid":"1"}` for an entry of a list by its key, `v:"text"` for one of a set.
pub(super) type Path = Vec<String>;
/// Leaves, each by the way to it.
pub(super) type Fields = BTreeSet<Path>;

/// Lists whose entries are told apart by a field.
const KEYED: &[(&str, &str)] = &[
    ("ownerReferences", "uid"),
    ("conditions", "type"),
    ("violations", "id"),
    ("containers", "name"),
    ("env", "name"),
];
/// Lists that are sets of texts.
const SETS: &[&str] = &["finalizers", "approved", "rejected"];
/// Maps that belong to one manager as a whole: label selectors.
const ATOMIC: &[&str] = &["podSelector", "namespaceSelector", "selector"];
/// What nobody owns.
const IDENTITY: &[&str] = &["apiVersion", "kind"];
/// The part of the metadata that somebody may own.
const METADATA: &[&str] = &["annotations", "labels", "finalizers", "ownerReferences"];

/// The leaves of what somebody sends.
pub(super) fn leaves(object: &Value) -> Fields {
    let mut fields = Fields::new();
    let top = object.as_object().into_iter().flatten();
    for (name, value) in top.filter(|(name, _)| !IDENTITY.contains(&name.as_str())) {
        if name != "metadata" {
            gather(name, value, &mut vec![field(name)], &mut fields);
            continue;
        }
        let metadata = value.as_object().into_iter().flatten();
        for (inner, value) in metadata.filter(|(inner, _)| METADATA.contains(&inner.as_str())) {
            let path = &mut vec![field(name), field(inner)];
            gather(inner, value, path, &mut fields);
        }
    }
    fields
}

fn gather(name: &str, value: &Value, path: &mut Path, fields: &mut Fields) {
    let key = KEYED.iter().find(|(list, _)| *list == name);
    match (value, key) {
        (Value::Object(inner), _) if !inner.is_empty() && !ATOMIC.contains(&name) => {
            for (name, value) in inner {
                path.push(field(name));
                gather(name, value, path, fields);
                path.pop();
            }
        }
        (Value::Array(items), Some((_, key))) => {
            for item in items {
                path.push(format!("k:{}", json!({*key: item[*key]})));
                fields.insert([path.clone(), vec![".".to_owned()]].concat());
                gather("", item, path, fields);
                path.pop();
            }
        }
        (Value::Array(items), _) if SETS.contains(&name) => {
            let entry = |item: &Value| [path.clone(), vec![format!("v:{item}")]].concat();
            fields.extend(items.iter().map(entry));
        }
        _ => drop(fields.insert(path.clone())),
    }
}

fn field(name: &str) -> String {
    format!("f:{name}")
}

/// The value at a field, if it is there.
pub(super) fn get<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    let Some((first, rest)) = path.split_first() else {
        return Some(object);
    };
    let inner = match split(first) {
        ('.', _) => Some(object),
        ('f', name) => object.get(name),
        _ => {
            let at = position(object, first)?;
            object.get(at)
        }
    };
    get(inner?, rest)
}

/// Puts a value at a field, with all that leads to it.
pub(super) fn set(object: &mut Value, path: &[String], value: &Value) {
    let Some((first, rest)) = path.split_first() else {
        *object = value.clone();
        return;
    };
    match split(first) {
        ('.', _) => {}
        ('f', name) => {
            if !object.is_object() {
                *object = json!({});
            }
            let inner = object.as_object_mut().expect("made one just now");
            set(inner.entry(name).or_insert(Value::Null), rest, value);
        }
        (sort, text) => {
            if !object.is_array() {
                *object = json!([]);
            }
            let at = position(object, first);
            let items = object.as_array_mut().expect("made one just now");
            let at = at.unwrap_or_else(|| {
                items.push(serde_json::from_str(text).expect("a key is JSON"));
                items.len() - 1
            });
            if sort == 'k' {
                set(&mut items[at], rest, value);
            }
        }
    }
}

/// Takes a field away, and what holds nothing else.
pub(super) fn remove(object: &mut Value, path: &[String]) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    match split(first) {
        ('f', name) => {
            let Some(fields) = object.as_object_mut() else {
                return;
            };
            let gone = match fields.get_mut(name) {
                Some(inner) if !rest.is_empty() => {
                    remove(inner, rest);
                    is_empty(inner)
                }
                _ => true,
            };
            if gone {
                fields.shift_remove(name);
            }
        }
        ('k' | 'v', _) => {
            let at = position(object, first);
            let (Some(at), Some(items)) = (at, object.as_array_mut()) else {
                return;
            };
            if rest.is_empty() || rest == ["."] {
                items.remove(at);
            } else {
                remove(&mut items[at], rest);
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn split(segment: &str) -> (char, &str) {
    let sort = segment.chars().next().unwrap_or('.');
    (sort, segment.get(2..).unwrap_or_default())
}

/// Where in a list an entry is.
fn position(list: &Value, segment: &str) -> Option<usize> {
    let (sort, text) = split(segment);
    let wanted: Value = serde_json::from_str(text).ok()?;
    let mut items = list.as_array()?.iter();
    match sort {
        'v' => items.position(|item| *item == wanted),
        _ => {
            let (key, value) = wanted.as_object()?.iter().next()?;
            items.position(|item| item.get(key) == Some(value))
        }
    }
}

/// A set as `fieldsV1`.
pub(super) fn nested(fields: &Fields) -> Value {
    let mut all = Value::Object(Map::new());
    for path in fields {
        let mut at = &mut all;
        for segment in path {
            let inner = at.as_object_mut().expect("every level is a map");
            at = inner.entry(segment.clone()).or_insert_with(|| json!({}));
        }
    }
    all
}

/// The set that `fieldsV1` tells.
pub(super) fn flat(nested: &Value) -> Fields {
    let mut fields = Fields::new();
    flatten(nested, &mut Vec::new(), &mut fields);
    fields
}

fn flatten(nested: &Value, path: &mut Path, fields: &mut Fields) {
    let inner = nested.as_object();
    if inner.is_none_or(Map::is_empty) {
        if !path.is_empty() {
            fields.insert(path.clone());
        }
        return;
    }
    for (segment, nested) in inner.into_iter().flatten() {
        path.push(segment.clone());
        flatten(nested, path, fields);
        path.pop();
    }
}

/// A field as messages name it: `.spec.podSelector`.
pub(super) fn named(path: &[String]) -> String {
    let segment = |segment: &String| match split(segment) {
        ('f', name) => format!(".{name}"),
        ('.', _) => String::new(),
        (_, text) => format!("[{text}]"),
    };
    path.iter().map(segment).collect()
}
