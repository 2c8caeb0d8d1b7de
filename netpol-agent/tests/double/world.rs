//! What the server holds, what went over its wires, and how it is to misbehave.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::auth::{Account, Right};
use super::fault::Fault;
use super::kinds;

/// Plural, namespace and name: no two kinds that are asked for share a plural.
pub(crate) type Key = (String, String, String);

/// The state of the server. Tests may read and change what is visible to them.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub(super) version: u64,
    uids: u64,
    pub(super) names: u64,
    objects: BTreeMap<Key, Value>,
    pub(super) events: Vec<(u64, String, Value)>,
    pub(super) snapshots: BTreeMap<(String, u64), Vec<Value>>,
    /// Events of this version and older are forgotten: who asks for them gets 410.
    pub(super) forgotten: u64,
    /// Grows whenever all open watches are to break in the middle of a line.
    pub(super) breaks: u64,
    /// Every request is answered by this status.
    pub(crate) failing: Option<u16>,
    /// Expired watches get 410 as the answer and not within the watch.
    pub(crate) plain_gone: bool,
    /// Further pages of this plural are not answered while it is set.
    pub(crate) held: Option<String>,
    /// What else goes wrong.
    pub(crate) faults: Vec<Fault>,
    /// Requests so far, and bookmarks sent.
    pub(crate) requests: Vec<Request>,
    /// Whose token is whose.
    pub(crate) tokens: BTreeMap<String, Account>,
    /// What users may do, as SubjectAccessReview tells it, and as is enforced if [`guarded`](Self::guarded).
    pub(crate) rights: BTreeSet<Right>,
    /// Whether requests without a known token or the right to them are refused.
    pub(crate) guarded: bool,
    /// The time that new objects and tokens get, in seconds since 1970.
    pub(crate) now: i64,
}

/// A request that came.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Request {
    /// `list`, `page`, `watch`, `failed`, `bookmark` (which was sent, not asked for), `get`, `create`, `update`, `patch`,
    /// `apply` (a patch too), `delete`.
    pub(crate) sort: &'static str,
    /// The verb as rights name it.
    pub(crate) verb: &'static str,
    /// The API group; empty for the core's.
    pub(crate) group: String,
    /// What it was about.
    pub(crate) plural: String,
    /// Which part of it.
    pub(crate) subresource: String,
    /// Where; empty for all namespaces, and for what is in none.
    pub(crate) namespace: String,
    /// Its name; empty for a list, and where the server was to make one up.
    pub(crate) name: String,
    /// Who, by its token.
    pub(crate) user: String,
    /// The field manager.
    pub(crate) manager: String,
    /// What was sent.
    pub(crate) body: Value,
}

impl Request {
    /// Whether it was meant to change something. Reviews are not.
    pub(crate) fn is_write(&self) -> bool {
        let reads = ["get", "list", "watch", ""].contains(&self.verb);
        !reads && !kinds::is_review(&self.plural) && self.subresource != "token"
    }

    /// What it did, in a few words: `apply shop/networkpolicies/web` or `patch shop/learnedpolicies/web/status`.
    pub(crate) fn brief(&self) -> String {
        let parts = [&self.namespace, &self.plural, &self.name, &self.subresource];
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        let path: Vec<&str> = parts.map(String::as_str).collect();
        format!("{} {}", self.sort, path.join("/"))
    }
}

impl World {
    /// Stores an object as a new version, with what every object bears.
    pub(super) fn put(&mut self, mut object: Value) -> Value {
        let key = key(&object);
        let known = self.objects.get(&key);
        let kind = if known.is_some() { "MODIFIED" } else { "ADDED" };
        let inherited = known.map(|known| known["metadata"].clone());
        let metadata = &mut object["metadata"];
        for (field, new) in [
            ("uid", json!(format!("uid-{}", self.uids + 1))),
            ("creationTimestamp", json!(self.time())),
        ] {
            if metadata[field].is_null() {
                let old = inherited.as_ref().map(|old| old[field].clone());
                metadata[field] = old.filter(|old| !old.is_null()).unwrap_or(new);
            }
        }
        self.uids += 1;
        let object = self.emit(kind, &key.0, object);
        self.objects.insert(key, object.clone());
        object
    }

    /// Takes an object away.
    pub(super) fn take(&mut self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
        let object = self.objects.remove(&key)?;
        Some(self.emit("DELETED", plural, object))
    }

    pub(super) fn emit(&mut self, kind: &str, plural: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let event = json!({"type": kind, "object": object});
        self.events.push((self.version, plural.to_owned(), event));
        object
    }

    pub(super) fn forget(&mut self) {
        self.forgotten = self.version;
        self.events.clear();
        self.snapshots.clear();
    }

    /// The object of that name.
    pub(crate) fn get(&self, plural: &str, namespace: &str, name: &str) -> Option<&Value> {
        let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
        self.objects.get(&key)
    }

    /// Everything of that plural.
    pub(crate) fn all(&self, plural: &str) -> Vec<Value> {
        self.of(plural).cloned().collect()
    }

    pub(super) fn of(&self, plural: &str) -> impl Iterator<Item = &Value> {
        let of = self
            .objects
            .iter()
            .filter(move |((own, ..), _)| own == plural);
        of.map(|(_, object)| object)
    }

    /// Everything that there is.
    pub(super) fn everything(&self) -> impl Iterator<Item = (&Key, &Value)> {
        self.objects.iter()
    }

    /// The present time, as objects have it.
    pub(super) fn time(&self) -> String {
        let time = jiff::Timestamp::from_second(self.now.max(1_767_322_800));
        time.expect("a time that there is").to_string()
    }
}

/// What identifies an object.
pub(crate) fn key(object: &Value) -> Key {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    (
        kinds::plural_of(&text(&object["kind"])),
        text(&metadata["namespace"]),
        text(&metadata["name"]),
    )
}
