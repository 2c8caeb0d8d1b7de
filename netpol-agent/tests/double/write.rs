//! Reading one object, creating, changing and deleting.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::answer::{self, Failure};
use super::apply::{self, Writer};
use super::list::Wanted;
use super::route::Target;
use super::world::{Request, World};
use super::{auth, kinds};

/// Answers whatever is not a list or a watch.
///
/// A dry run, which a query or the options of a deletion ask for, happens in a copy of the world.
pub(super) fn answer(
    world: &mut World,
    target: &Target,
    wanted: &Wanted,
    request: &Request,
) -> Result<Response, Failure> {
    let asked = wanted.query.get("dryRun").is_some_and(|run| run == "All");
    match asked || request.body["dryRun"] == json!(["All"]) {
        true => answer_in(&mut world.clone(), target, wanted, request),
        false => answer_in(world, target, wanted, request),
    }
}

fn answer_in(
    world: &mut World,
    target: &Target,
    wanted: &Wanted,
    request: &Request,
) -> Result<Response, Failure> {
    if kinds::is_review(&target.plural) {
        let review = auth::review(world, &target.plural, request);
        return Ok(answer::object(StatusCode::CREATED, review));
    }
    if target.subresource == "token" {
        let token = auth::token(world, target, &request.body)?;
        return Ok(answer::object(StatusCode::CREATED, token));
    }
    let (code, object) = match request.sort {
        "get" => (StatusCode::OK, find(world, target)?),
        "create" => (StatusCode::CREATED, create(world, target, request)?),
        "update" => (StatusCode::OK, update(world, target, request)?),
        "patch" => (StatusCode::OK, patch(world, target, request)?),
        "apply" => applied(world, target, wanted, request)?,
        "delete" => (StatusCode::OK, delete(world, target, &request.body)?),
        "deletecollection" => (StatusCode::OK, delete_all(world, target, wanted)?),
        _ => return Err(Failure::new(405, "MethodNotAllowed", "no such verb")),
    };
    Ok(answer::object(code, wanted.shown(&object)))
}

fn find(world: &World, target: &Target) -> Result<Value, Failure> {
    let found = world.get(&target.plural, &target.namespace, &target.name);
    let absent = || Failure::not_found(&target.plural, &target.name);
    found.cloned().ok_or_else(absent)
}

fn writer<'a>(request: &'a Request, time: &'a str) -> Writer<'a> {
    Writer {
        manager: &request.manager,
        subresource: &request.subresource,
        time,
    }
}

/// An object of the body, in its namespace and with its type.
fn sent(target: &Target, body: &Value) -> Result<Value, Failure> {
    if !body.is_object() {
        return Err(Failure::new(400, "BadRequest", "the body is no object"));
    }
    let mut object = body.clone();
    if object["kind"].is_null()
        && let Some(kind) = kinds::kind_of(&target.api, &target.plural)
    {
        object["kind"] = kind.into();
    }
    object["apiVersion"] = target.api.clone().into();
    let own = object["metadata"]["namespace"].as_str().unwrap_or_default();
    if !own.is_empty() && own != target.namespace {
        return Err(Failure::new(400, "BadRequest", "the namespaces differ"));
    }
    if !target.namespace.is_empty() {
        object["metadata"]["namespace"] = target.namespace.clone().into();
    }
    Ok(object)
}

/// Refuses to put anything new into a namespace that is not there or is going.
fn check_namespace(world: &World, namespace: &str) -> Result<(), Failure> {
    if namespace.is_empty() {
        return Ok(());
    }
    let known = world.get("namespaces", "", namespace);
    let known = known.ok_or_else(|| Failure::not_found("namespaces", namespace))?;
    if known["metadata"]["deletionTimestamp"].is_null() {
        return Ok(());
    }
    let message = format!(
        "unable to create new content in namespace {namespace} because it is being terminated"
    );
    let cause = json!({"reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace"});
    Err(Failure::new(403, "Forbidden", message).with_causes(vec![cause]))
}

fn create(world: &mut World, target: &Target, request: &Request) -> Result<Value, Failure> {
    let mut object = sent(target, &request.body)?;
    check_namespace(world, &target.namespace)?;
    let metadata = &mut object["metadata"];
    if metadata["name"].as_str().unwrap_or_default().is_empty() {
        let Some(prefix) = metadata["generateName"].as_str() else {
            return Err(Failure::invalid("metadata.name: Required value"));
        };
        world.names += 1;
        metadata["name"] = format!("{prefix}{:05}", world.names).into();
    }
    if !metadata["resourceVersion"].is_null() {
        let message = "resourceVersion should not be set on objects to be created";
        return Err(Failure::new(400, "BadRequest", message));
    }
    let name = metadata["name"].as_str().unwrap_or_default().to_owned();
    if world
        .get(&target.plural, &target.namespace, &name)
        .is_some()
    {
        let message = format!("{} {name:?} already exists", target.plural);
        return Err(Failure::new(409, "AlreadyExists", message));
    }
    without_status(&mut object, target);
    let time = world.time();
    let object = apply::written(&json!({}), object, writer(request, &time));
    Ok(stored(world, &json!({}), object))
}

fn update(world: &mut World, target: &Target, request: &Request) -> Result<Value, Failure> {
    let live = find(world, target)?;
    let object = sent(target, &request.body)?;
    check_version(&live, &object)?;
    changed(world, target, request, &live, object)
}

fn patch(world: &mut World, target: &Target, request: &Request) -> Result<Value, Failure> {
    let live = find(world, target)?;
    if !request.body.is_object() {
        let message = "only merge patches and server-side apply are understood";
        return Err(Failure::new(415, "UnsupportedMediaType", message));
    }
    check_version(&live, &request.body)?;
    let mut object = live.clone();
    merge(&mut object, &request.body);
    changed(world, target, request, &live, object)
}

/// Takes over what this write may change, and no more.
fn changed(
    world: &mut World,
    target: &Target,
    request: &Request,
    live: &Value,
    mut object: Value,
) -> Result<Value, Failure> {
    only_the_part(&mut object, live, target);
    let time = world.time();
    let object = apply::written(live, object, writer(request, &time));
    Ok(stored(world, live, object))
}

fn applied(
    world: &mut World,
    target: &Target,
    wanted: &Wanted,
    request: &Request,
) -> Result<(StatusCode, Value), Failure> {
    if !wanted.query.contains_key("fieldManager") {
        return Err(Failure::new(400, "BadRequest", "fieldManager is required"));
    }
    let mut config = sent(target, &request.body)?;
    let live = world.get(&target.plural, &target.namespace, &target.name);
    let live = live.cloned();
    if live.is_none() {
        if !target.subresource.is_empty() {
            return Err(Failure::not_found(&target.plural, &target.name));
        }
        check_namespace(world, &target.namespace)?;
    }
    if let Some(live) = &live {
        check_version(live, &config)?;
    }
    match target.subresource.as_str() {
        "" => without_status(&mut config, target),
        part => {
            let fields = config.as_object_mut().expect("an object was sent");
            fields.retain(|name, _| ["apiVersion", "kind", part].contains(&name.as_str()));
        }
    }
    let code = if live.is_some() {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let live = live.unwrap_or_else(|| {
        let mut new = json!({"apiVersion": target.api, "kind": config["kind"], "metadata": {"name": target.name}});
        if !target.namespace.is_empty() {
            new["metadata"]["namespace"] = target.namespace.clone().into();
        }
        new
    });
    let force = wanted
        .query
        .get("force")
        .is_some_and(|force| force == "true");
    let time = world.time();
    let object = apply::apply(&live, &config, writer(request, &time), force)?;
    Ok((code, stored(world, &live, object)))
}

/// Stores an object, unless nothing has changed.
fn stored(world: &mut World, live: &Value, mut object: Value) -> Value {
    let same = bare(live) == bare(&object);
    if same && live["metadata"]["resourceVersion"].is_string() {
        return live.clone();
    }
    if content(live) != content(&object) {
        let generation = live["metadata"]["generation"].as_i64().unwrap_or(0);
        object["metadata"]["generation"] = (generation + 1).into();
    }
    let metadata = &object["metadata"];
    let going = !metadata["deletionTimestamp"].is_null();
    let held = metadata["finalizers"]
        .as_array()
        .is_some_and(|held| !held.is_empty());
    let object = world.put(object);
    if going && !held && object["kind"] != "Namespace" {
        remove(world, &object, "Background");
    }
    object
}

/// An object without what changes at every write.
fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(entries) = object["metadata"]["managedFields"].as_array_mut() {
        for entry in entries.iter_mut() {
            entry["time"] = Value::Null;
        }
        entries.sort_by_key(|entry| entry.to_string());
    }
    object
}

/// What an object says besides its metadata and status.
fn content(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|name, _| name != "metadata" && name != "status");
    }
    object
}

fn without_status(object: &mut Value, target: &Target) {
    if kinds::has_status(&target.plural) {
        let fields = object.as_object_mut().expect("an object was sent");
        fields.shift_remove("status");
    }
}

/// Puts back what this write may not change: the status, or all but the status.
fn only_the_part(object: &mut Value, live: &Value, target: &Target) {
    if !target.subresource.is_empty() {
        let part = object[&target.subresource].take();
        *object = live.clone();
        object[&target.subresource] = part;
    } else if kinds::has_status(&target.plural) {
        let fields = object.as_object_mut().expect("an object was sent");
        match live.get("status") {
            Some(status) => drop(fields.insert("status".to_owned(), status.clone())),
            None => drop(fields.shift_remove("status")),
        }
    }
    for field in [
        "uid",
        "creationTimestamp",
        "generation",
        "managedFields",
        "deletionTimestamp",
    ] {
        let kept = live["metadata"].get(field).cloned();
        let metadata = object["metadata"].as_object_mut();
        let metadata = metadata.expect("every object has metadata");
        match kept {
            Some(kept) => drop(metadata.insert(field.to_owned(), kept)),
            None => drop(metadata.shift_remove(field)),
        }
    }
    object["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
}

/// Whether the writer knew the newest version, if it says which one it knew.
fn check_version(live: &Value, sent: &Value) -> Result<(), Failure> {
    for field in ["resourceVersion", "uid"] {
        let stated = sent["metadata"][field].as_str().unwrap_or_default();
        if !stated.is_empty() && live["metadata"][field] != stated {
            let message = "the object has been modified; please apply your changes to the latest version and try again";
            return Err(Failure::conflict(message));
        }
    }
    Ok(())
}

/// RFC 7386.
fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    let fields = object.as_object_mut().expect("made one just now");
    for (name, change) in changes {
        match change {
            Value::Null => drop(fields.shift_remove(name)),
            change => merge(fields.entry(name.clone()).or_insert(Value::Null), change),
        }
    }
}

fn delete(world: &mut World, target: &Target, options: &Value) -> Result<Value, Failure> {
    let live = find(world, target)?;
    let asked = json!({"metadata": options["preconditions"]});
    check_version(&live, &asked)?;
    let held = live["metadata"]["finalizers"].as_array();
    if target.plural == "namespaces" || held.is_some_and(|held| !held.is_empty()) {
        let mut going = live;
        if going["metadata"]["deletionTimestamp"].is_null() {
            going["metadata"]["deletionTimestamp"] = world.time().into();
            if target.plural == "namespaces" {
                going["status"]["phase"] = "Terminating".into();
            }
            going = world.put(going);
        }
        return Ok(going);
    }
    let policy = options["propagationPolicy"]
        .as_str()
        .unwrap_or("Background");
    remove(world, &live, policy);
    Ok(json!({"apiVersion": "v1", "kind": "Status", "status": "Success", "metadata": {}}))
}

fn delete_all(world: &mut World, target: &Target, wanted: &Wanted) -> Result<Value, Failure> {
    let all = world.all(&target.plural);
    for object in all.iter().filter(|object| wanted.holds(object)) {
        remove(world, object, "Background");
    }
    Ok(json!({"apiVersion": "v1", "kind": "Status", "status": "Success", "metadata": {}}))
}

/// Takes an object away, and what it alone owns; or only frees what it owns.
fn remove(world: &mut World, object: &Value, policy: &str) {
    let (plural, namespace, name) = super::world::key(object);
    if world.take(&plural, &namespace, &name).is_none() {
        return;
    }
    let uid = &object["metadata"]["uid"];
    let owned = world.everything().map(|(_, each)| each).filter(|each| {
        let owners = each["metadata"]["ownerReferences"].as_array();
        owners.is_some_and(|owners| owners.iter().any(|owner| owner["uid"] == *uid))
    });
    let owned: Vec<Value> = owned.cloned().collect();
    for mut dependent in owned {
        let owners = dependent["metadata"]["ownerReferences"].as_array_mut();
        let owners = owners.expect("it has some");
        owners.retain(|owner| owner["uid"] != *uid);
        if owners.is_empty() && policy != "Orphan" {
            remove(world, &dependent, policy);
        } else {
            world.put(dependent);
        }
    }
}
