//! What the index knows of the past, kept over a restart: who had which address when, and whose pods were whose.
//!
//! The index notes which objects have changed. Whoever keeps them takes the changes now and then, as text by key, and gives
//! everything back to the index of the next process before that learns what is there now.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::index::Index;
use super::objects::{Object, ObjectKey};

/// An object as it is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Kept {
    /// Which it is.
    pub object: ObjectKey,
    /// The same as text, to be recalled by.
    pub key: String,
    /// All that is known of it, as JSON; nothing any more if `None`.
    pub body: Option<Vec<u8>>,
}

impl Index {
    /// Notes from now on what has changed. What is there already counts as changed, unless all of it was recalled.
    pub fn remember(&mut self, recalled: bool) {
        let known = match recalled {
            true => BTreeSet::new(),
            false => self.known_keys(),
        };
        self.changed.get_or_insert(known);
    }

    /// At most so many of the objects that have changed since they were last taken.
    pub fn take_changes(&mut self, most: usize) -> Vec<Kept> {
        let Some(changed) = &mut self.changed else {
            return Vec::new();
        };
        let rest = changed.iter().nth(most).cloned();
        let rest = rest.map(|first| changed.split_off(&first));
        let taken = std::mem::replace(changed, rest.unwrap_or_default());
        let kept = taken.into_iter().map(|object| Kept {
            key: text(&object),
            body: self.kept(&object),
            object,
        });
        kept.collect()
    }

    /// Counts objects as changed that were taken but could not be kept.
    pub fn change_again(&mut self, objects: impl IntoIterator<Item = ObjectKey>) {
        if let Some(changed) = &mut self.changed {
            changed.extend(objects);
        }
    }

    /// Takes back an object that an earlier process kept. `gone` is when whatever is not there now was found to be gone;
    /// `None` before anything was learned of what is there now. Tells whether the text could be read.
    #[must_use]
    pub fn recall(&mut self, key: &str, body: &[u8], gone: Option<Timestamp>) -> Option<()> {
        let (kind, _) = key.split_once('/')?;
        match kind {
            "pod" => self.pods.restore(read(body)?, gone),
            "owner" => self.owners.restore(read(body)?, gone),
            "service" => self.services.restore(read(body)?, gone),
            "slice" => self.services.restore_slice(read(body)?, gone),
            "node" => self.nodes.restore(read(body)?, gone),
            _ => return None,
        }
        Some(())
    }

    /// Notes that an object is about to change, if it is.
    pub(super) fn note(&mut self, object: &Object) {
        if self.is_known(object) {
            return;
        }
        self.changes += 1;
        let Some(changed) = &mut self.changed else {
            return;
        };
        match object {
            Object::Namespace(_) => return,
            // One of the same name ends by this.
            Object::Pod(pod) => changed.extend(self.pods.keys_named(&(&pod.name).into())),
            _ => {}
        }
        changed.insert(object.key());
    }

    /// Whether an object is there just so.
    fn is_known(&self, object: &Object) -> bool {
        match object {
            Object::Namespace(it) => self.namespaces.get(&it.name) == Some(it),
            Object::Pod(it) => self.pods.present_named(&(&it.name).into()) == Some(it),
            Object::Owner(it) => self.owners.is_present(it),
            Object::Service(it) => self.services.get(&it.name) == Some(it),
            Object::EndpointSlice(it) => self.services.slice(&it.name) == Some(it),
            Object::Node(it) => self.nodes.present_named(&it.name) == Some(it),
        }
    }

    /// Notes that an object ends.
    pub(super) fn note_key(&mut self, key: &ObjectKey) {
        self.changes += 1;
        if let Some(changed) = &mut self.changed
            && !matches!(key, ObjectKey::Namespace(_))
        {
            changed.insert(key.clone());
        }
    }

    /// The key of everything that is kept, present or gone.
    fn known_keys(&self) -> BTreeSet<ObjectKey> {
        let keys = self.pods.keys().chain(self.owners.keys());
        keys.chain(self.services.keys())
            .chain(self.nodes.keys())
            .collect()
    }

    fn kept(&self, key: &ObjectKey) -> Option<Vec<u8>> {
        match key {
            ObjectKey::Namespace(_) => None,
            ObjectKey::Pod(name, uid) => write(self.pods.record(name, uid)?),
            ObjectKey::Owner(name) => write(self.owners.record(name)?),
            ObjectKey::Service(name) => write(self.services.history(name)?),
            ObjectKey::EndpointSlice(name) => write(self.services.slice_history(name)?),
            ObjectKey::Node(name) => write(self.nodes.history(name)?),
        }
    }
}

fn text(key: &ObjectKey) -> String {
    match key {
        ObjectKey::Namespace(name) => format!("namespace/{name}"),
        ObjectKey::Pod(name, uid) => format!("pod/{name}/{uid}"),
        ObjectKey::Owner(name) => format!("owner/{name}"),
        ObjectKey::Service(name) => format!("service/{name}"),
        ObjectKey::EndpointSlice(name) => format!("slice/{name}"),
        ObjectKey::Node(name) => format!("node/{name}"),
    }
}

fn write(value: &impl Serialize) -> Option<Vec<u8>> {
    serde_json::to_vec(value).ok()
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_slice(body).ok()
}
