//! Kubernetes objects from files: the offline twin of the API server.
//!
//! Files, directories and stdin hold YAML or JSON, in several documents or in lists, as `kubectl get … -o yaml`
//! prints them. What they hold becomes the same objects that the watchers of the API server yield.

pub(crate) mod convert;
mod decode;
mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::NetworkPolicy;

use crate::identity::Index;
use crate::identity::objects::{Object, ObjectKey};
use decode::Decoded;
use files::Source;

/// What an inventory holds.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// The objects of the kinds that the index holds, each once.
    pub objects: Vec<Object>,
    /// The policies in it, each once.
    pub policies: Vec<NetworkPolicy>,
    /// What a person should know: one line each, for stderr.
    pub warnings: Vec<String>,
}

/// An inventory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// A file or directory cannot be read.
    #[error("inventory {path}: cannot be read")]
    Read {
        /// The file or directory; `-` is stdin.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A text is neither YAML nor JSON.
    #[error("inventory {path}: is neither YAML nor JSON: {reason}")]
    Syntax {
        /// The file.
        path: String,
        /// Where and why.
        reason: String,
    },
    /// An object of a kind that is read does not decode.
    #[error("inventory {path}, document {document}: {object}: {field}: {reason}")]
    Decode {
        /// The file.
        path: String,
        /// The number of the document in the file, counted from 1; empty ones are not counted.
        document: usize,
        /// Kind and name of the object.
        object: String,
        /// The path of the field in the document.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Inventory {
    /// An index of its objects, each valid for as long as its own times say.
    #[must_use]
    pub fn index(&self) -> Index {
        let mut index = Index::default();
        index.reset(self.objects.clone(), Timestamp::UNIX_EPOCH);
        index
    }
}

/// Reads files, directories (every `.yaml`, `.yml` and `.json` in them, at any depth) and `-`, stdin.
///
/// # Errors
/// A path that cannot be read, text that is neither YAML nor JSON, or an object of a kind that is read and does not
/// decode.
pub fn read(paths: &[PathBuf]) -> Result<Inventory, InventoryError> {
    let mut gathered = Gathered::default();
    for path in paths {
        for source in files::sources(path)? {
            gathered.add(&source)?;
        }
    }
    Ok(gathered.finish())
}

/// Reads one text, called `name` in messages.
///
/// # Errors
/// As [`read`].
pub fn parse(name: &str, text: &str) -> Result<Inventory, InventoryError> {
    let mut gathered = Gathered::default();
    gathered.add(&Source {
        name: name.to_owned(),
        text: text.to_owned(),
    })?;
    Ok(gathered.finish())
}

/// Objects by key, in the order in which they came.
#[derive(Default)]
struct Gathered {
    objects: Vec<Object>,
    at: BTreeMap<ObjectKey, usize>,
    policies: BTreeMap<(String, String), NetworkPolicy>,
    ignored: BTreeMap<String, usize>,
    differing: BTreeSet<String>,
}

impl Gathered {
    fn add(&mut self, source: &Source) -> Result<(), InventoryError> {
        for (number, value) in files::documents(source)? {
            let decoded = decode::document(value).map_err(|error| InventoryError::Decode {
                path: source.name.clone(),
                document: number,
                object: error.object,
                field: error.field,
                reason: error.reason,
            })?;
            decoded.into_iter().for_each(|each| self.keep(each));
        }
        Ok(())
    }

    fn keep(&mut self, decoded: Decoded) {
        match decoded {
            Decoded::Object(object) => self.keep_object(*object),
            Decoded::Policy(policy) => self.keep_policy(*policy),
            Decoded::Ignored(kind) => *self.ignored.entry(kind).or_default() += 1,
        }
    }

    fn keep_object(&mut self, object: Object) {
        let key = object.key();
        let Some(&at) = self.at.get(&key) else {
            self.at.insert(key, self.objects.len());
            self.objects.push(object);
            return;
        };
        let Some(earlier) = self.objects.get_mut(at) else {
            return;
        };
        if *earlier != object {
            self.differing.insert(key.to_string());
            *earlier = object;
        }
    }

    fn keep_policy(&mut self, policy: NetworkPolicy) {
        let metadata = &policy.metadata;
        let namespace = metadata.namespace.clone().unwrap_or_default();
        let name = metadata.name.clone().unwrap_or_default();
        let title = format!("NetworkPolicy {namespace}/{name}");
        let earlier = self.policies.insert((namespace, name), policy.clone());
        if earlier.is_some_and(|earlier| earlier != policy) {
            self.differing.insert(title);
        }
    }

    fn finish(self) -> Inventory {
        let mut warnings = Vec::new();
        if !self.ignored.is_empty() {
            let kinds = decode::count_kinds(&self.ignored);
            warnings.push(format!("inventory: kinds that are not read: {kinds}"));
        }
        if !self.differing.is_empty() {
            let names: Vec<String> = self.differing.into_iter().collect();
            let names = names.join(", ");
            warnings.push(format!(
                "inventory: given more than once, the last counts: {names}"
            ));
        }
        if self.objects.is_empty() {
            warnings.push("inventory: holds no object of a kind that is read".to_owned());
        }
        Inventory {
            objects: self.objects,
            policies: self.policies.into_values().collect(),
            warnings,
        }
    }
}
