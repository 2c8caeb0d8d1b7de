//! Kubernetes objects from files: the offline twin of the API server.
//!
//! Files, directories and stdin hold YAML or JSON, in several documents or in lists, as `kubectl get … -o yaml`
//! prints them. What they hold becomes the same objects that the watchers of the API server yield.

pub(crate) mod convert;
mod decode;
mod document;
pub mod export;
mod files;
mod other;
mod policy;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::NetworkPolicy;

use crate::identity::Index;
use crate::identity::objects::{Object, ObjectKey};
use decode::Decoded;
use files::Source;

pub use other::OtherPolicy;

/// How many remarks about policies are given one by one.
const SHOWN: usize = 20;

/// What an inventory holds.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// The objects of the kinds that the index holds, each once.
    pub objects: Vec<Object>,
    /// The NetworkPolicies in it, each once, in the order of their names; every one is [valid](crate::policy::validate).
    pub policies: Vec<SourcedPolicy>,
    /// The objects of other policy APIs in it, which no verdict looks at.
    pub other_policies: BTreeSet<OtherPolicy>,
    /// What a person should know: one line each, for stderr.
    pub warnings: Vec<String>,
}

/// A NetworkPolicy and where it was read.
///
/// Its namespace is always stated (`default` where the file names none, as `kubectl apply` has it), and so is its
/// `spec`: to the API server an absent one is empty.
#[derive(Clone, Debug, PartialEq)]
pub struct SourcedPolicy {
    /// The file; `stdin` for `-`.
    pub file: String,
    /// The number of the document in the file, counted from 1; empty ones are not counted.
    pub document: usize,
    /// The policy.
    pub policy: NetworkPolicy,
}

/// What a file is read for, as messages call it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Purpose {
    /// The objects of a cluster.
    #[default]
    Inventory,
    /// Its policies.
    Policies,
}

/// An inventory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// A file or directory cannot be read.
    #[error("{purpose} {path}: cannot be read")]
    Read {
        /// What it is read for.
        purpose: Purpose,
        /// The file or directory; `-` is stdin.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A text is neither YAML nor JSON.
    #[error("{purpose} {path}: cannot be read as YAML or JSON: {reason}")]
    Syntax {
        /// What it is read for.
        purpose: Purpose,
        /// The file.
        path: String,
        /// Where and why.
        reason: String,
    },
    /// An object of a kind that is read does not decode, or the API server would not take it.
    #[error("{purpose} {path}, document {document}: {object}: {field}: {reason}")]
    Decode {
        /// What it is read for.
        purpose: Purpose,
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

    /// As [`index`](Self::index), and lets go of the objects.
    pub fn take_index(&mut self) -> Index {
        let mut index = Index::default();
        let objects = std::mem::take(&mut self.objects);
        index.reset(objects, Timestamp::UNIX_EPOCH);
        index
    }
}

/// Reads files, directories (every `.yaml`, `.yml` and `.json` in them, at any depth) and `-`, stdin.
///
/// # Errors
/// A path that cannot be read, text that is neither YAML nor JSON, or an object of a kind that is read and does not
/// decode.
pub fn read(paths: &[PathBuf]) -> Result<Inventory, InventoryError> {
    read_for(Purpose::Inventory, paths)
}

/// Reads files of which only the policies are wanted. Other objects in them are passed over without a word.
///
/// # Errors
/// As [`read`].
pub fn read_policies(paths: &[PathBuf]) -> Result<Inventory, InventoryError> {
    read_for(Purpose::Policies, paths)
}

fn read_for(purpose: Purpose, paths: &[PathBuf]) -> Result<Inventory, InventoryError> {
    let mut gathered = Gathered::default();
    for path in paths {
        for file in files::listed(purpose, path)? {
            gathered.add(&files::read(purpose, &file)?)?;
        }
    }
    Ok(gathered.finish(purpose))
}

/// Reads one text, called `name` in messages.
///
/// # Errors
/// As [`read`].
pub fn parse(name: &str, text: &str) -> Result<Inventory, InventoryError> {
    parse_for(Purpose::Inventory, name, text)
}

/// Reads one text of which only the policies are wanted.
///
/// # Errors
/// As [`read`].
pub fn parse_policies(name: &str, text: &str) -> Result<Inventory, InventoryError> {
    parse_for(Purpose::Policies, name, text)
}

fn parse_for(purpose: Purpose, name: &str, text: &str) -> Result<Inventory, InventoryError> {
    let mut gathered = Gathered::default();
    gathered.add(&Source {
        purpose,
        name: name.to_owned(),
        text: text.to_owned(),
    })?;
    Ok(gathered.finish(purpose))
}

/// Objects by key, in the order in which they came.
#[derive(Default)]
struct Gathered {
    objects: Vec<Object>,
    at: BTreeMap<ObjectKey, usize>,
    policies: BTreeMap<(String, String), SourcedPolicy>,
    other_policies: BTreeSet<OtherPolicy>,
    ignored: BTreeMap<String, usize>,
    differing: BTreeSet<String>,
    remarks: Vec<String>,
}

impl Gathered {
    fn add(&mut self, source: &Source) -> Result<(), InventoryError> {
        let documents = files::documents(source)?;
        if let Some((document, error)) = documents.error {
            return Err(InventoryError::Decode {
                purpose: source.purpose,
                path: source.name.clone(),
                document,
                object: error.object,
                field: error.field,
                reason: error.reason,
            });
        }
        let decoded = documents.decoded.into_iter();
        decoded.for_each(|(document, each)| self.keep(source, document, each));
        Ok(())
    }

    fn keep(&mut self, source: &Source, document: usize, decoded: Decoded) {
        match decoded {
            Decoded::Object(object) => self.keep_object(*object),
            Decoded::Policy(policy, remarks) => {
                let place = format!("{}, document {document}", source.name);
                let remarks = remarks.into_iter();
                let said = remarks.map(|remark| format!("{place}: {}: {remark}", title(&policy)));
                self.remarks.extend(said);
                self.keep_policy(SourcedPolicy {
                    file: source.name.clone(),
                    document,
                    policy: *policy,
                });
            }
            Decoded::OtherPolicy(policy) => drop(self.other_policies.insert(policy)),
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

    fn keep_policy(&mut self, sourced: SourcedPolicy) {
        let title = title(&sourced.policy);
        let metadata = &sourced.policy.metadata;
        let namespace = metadata.namespace.clone().unwrap_or_default();
        let name = metadata.name.clone().unwrap_or_default();
        let policy = sourced.policy.clone();
        let earlier = self.policies.insert((namespace, name), sourced);
        if earlier.is_some_and(|earlier| earlier.policy != policy) {
            self.differing.insert(title);
        }
    }

    fn finish(self, purpose: Purpose) -> Inventory {
        let mut warnings = Vec::new();
        if !self.ignored.is_empty() && purpose == Purpose::Inventory {
            let kinds = decode::count_kinds(&self.ignored);
            warnings.push(format!("inventory: kinds that are not read: {kinds}"));
        }
        if !self.differing.is_empty() {
            let names: Vec<String> = self.differing.into_iter().collect();
            let names = names.join(", ");
            warnings.push(format!(
                "{purpose}: given more than once, the last counts: {names}"
            ));
        }
        let shown = self.remarks.iter().take(SHOWN);
        warnings.extend(shown.map(|remark| format!("{purpose} {remark}")));
        if let Some(more @ 1..) = self.remarks.len().checked_sub(SHOWN) {
            warnings.push(format!("{purpose}: {more} more remarks of that kind"));
        }
        if self.objects.is_empty() && purpose == Purpose::Inventory {
            warnings.push("inventory: holds no object of a kind that is read".to_owned());
        }
        Inventory {
            objects: self.objects,
            policies: self.policies.into_values().collect(),
            other_policies: self.other_policies,
            warnings,
        }
    }
}

fn title(policy: &NetworkPolicy) -> String {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let metadata = &policy.metadata;
    let (namespace, name) = (text(&metadata.namespace), text(&metadata.name));
    format!("NetworkPolicy {namespace}/{name}")
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inventory => "inventory",
            Self::Policies => "policies",
        })
    }
}
