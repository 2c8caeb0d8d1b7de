//! Who owns which fields: server-side apply, and what other writes do to it.

use serde_json::{Value, json};

use super::answer::Failure;
use super::fields::{self, Fields, Path};

/// Somebody who owns fields.
#[derive(Clone, Debug)]
struct Manager {
    name: String,
    operation: String,
    subresource: String,
    time: Value,
    api: Value,
    fields: Fields,
}

/// Who writes, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writer<'a> {
    pub(super) manager: &'a str,
    pub(super) subresource: &'a str,
    pub(super) time: &'a str,
}

/// An object after somebody applied a configuration to it.
pub(super) fn apply(
    live: &Value,
    config: &Value,
    writer: Writer<'_>,
    force: bool,
) -> Result<Value, Failure> {
    let mut managers = managers(live);
    let wanted = fields::leaves(config);
    let is_own = |known: &Manager| known.is(writer, "Apply");
    let mut causes = Vec::new();
    for known in managers.iter_mut().filter(|known| !is_own(known)) {
        let differs = |path: &&Path| {
            let value = fields::get(config, path);
            !path.ends_with(&[".".to_owned()]) && fields::get(live, path) != value
        };
        let taken: Vec<Path> = (known.fields.intersection(&wanted).filter(differs))
            .cloned()
            .collect();
        causes.extend(taken.iter().map(|path| cause(&known.name, path)));
        known.fields.retain(|path| !taken.contains(path));
    }
    if !causes.is_empty() && !force {
        return Err(conflict(causes));
    }
    let before = managers.iter().find(|known| is_own(known));
    let before = before.map(|known| known.fields.clone()).unwrap_or_default();
    let mut object = live.clone();
    for path in before.difference(&wanted) {
        let others = managers.iter().filter(|known| !is_own(known));
        if !others.into_iter().any(|known| known.fields.contains(path)) {
            fields::remove(&mut object, path);
        }
    }
    for path in &wanted {
        if let Some(value) = fields::get(config, path) {
            fields::set(&mut object, path, value);
        }
    }
    managers.retain(|known| !is_own(known));
    managers.push(Manager::new(writer, "Apply", config, wanted));
    tell(&mut object, managers);
    Ok(object)
}

/// An object after somebody wrote it in another way: what has changed is the writer's now, and nobody else's.
pub(super) fn written(live: &Value, mut object: Value, writer: Writer<'_>) -> Value {
    let mut managers = managers(live);
    let (before, after) = (fields::leaves(live), fields::leaves(&object));
    let changed = |path: &&Path| fields::get(live, path) != fields::get(&object, path);
    let changed: Fields = after.iter().filter(changed).cloned().collect();
    let gone: Fields = before.difference(&after).cloned().collect();
    let mut own = Fields::new();
    for known in &mut managers {
        known
            .fields
            .retain(|path| !changed.contains(path) && !gone.contains(path));
        if known.is(writer, "Update") {
            own.clone_from(&known.fields);
        }
    }
    own.extend(changed);
    managers.retain(|known| !known.is(writer, "Update"));
    managers.push(Manager::new(writer, "Update", &object, own));
    tell(&mut object, managers);
    object
}

impl Manager {
    fn new(writer: Writer<'_>, operation: &str, object: &Value, fields: Fields) -> Self {
        Self {
            name: writer.manager.to_owned(),
            operation: operation.to_owned(),
            subresource: writer.subresource.to_owned(),
            time: writer.time.into(),
            api: object["apiVersion"].clone(),
            fields,
        }
    }

    fn is(&self, writer: Writer<'_>, operation: &str) -> bool {
        self.name == writer.manager
            && self.operation == operation
            && self.subresource == writer.subresource
    }
}

fn managers(object: &Value) -> Vec<Manager> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let listed = object["metadata"]["managedFields"].as_array();
    let manager = |entry: &Value| Manager {
        name: text(&entry["manager"]),
        operation: text(&entry["operation"]),
        subresource: text(&entry["subresource"]),
        time: entry["time"].clone(),
        api: entry["apiVersion"].clone(),
        fields: fields::flat(&entry["fieldsV1"]),
    };
    listed.into_iter().flatten().map(manager).collect()
}

/// Writes down who owns what.
fn tell(object: &mut Value, managers: Vec<Manager>) {
    let entry = |manager: Manager| {
        let mut entry = json!({
            "manager": manager.name, "operation": manager.operation, "apiVersion": manager.api,
            "time": manager.time, "fieldsType": "FieldsV1", "fieldsV1": fields::nested(&manager.fields),
        });
        if !manager.subresource.is_empty() {
            entry["subresource"] = manager.subresource.into();
        }
        entry
    };
    let owning = managers
        .into_iter()
        .filter(|known| !known.fields.is_empty());
    object["metadata"]["managedFields"] = owning.map(entry).collect();
}

fn cause(manager: &str, path: &[String]) -> Value {
    json!({
        "reason": "FieldManagerConflict", "message": format!("conflict with {manager:?}"),
        "field": fields::named(path),
    })
}

fn conflict(causes: Vec<Value>) -> Failure {
    let number = causes.len();
    let (one, field) = (&causes[0]["message"], &causes[0]["field"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let message = format!(
        "Apply failed with {number} conflict(s): {}: {}",
        text(one),
        text(field)
    );
    Failure::conflict(message).with_causes(causes)
}
