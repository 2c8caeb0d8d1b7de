//! Names of Kubernetes objects as netpol writes them: `namespace/name` and `namespace/Kind/name`.

pub mod cluster;

use std::cmp::Ordering;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A namespaced object of a kind that the context tells: `namespace/name`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectName {
    /// The namespace.
    pub namespace: String,
    /// The name within it.
    pub name: String,
}

/// A workload: `namespace/Kind/name`. A pod without an owner is its own workload, of kind `Pod`.
///
/// Both ends of every edge of the flow graph are mostly such names, so a clone shares the text.
#[derive(Clone, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkloadName(Arc<WorkloadParts>);

/// The parts of a [`WorkloadName`].
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct WorkloadParts {
    /// The namespace.
    pub namespace: String,
    /// The kind of the topmost owner that is kept: `Deployment`, `CronJob`, `Pod` …
    pub kind: String,
    /// The name within namespace and kind.
    pub name: String,
}

/// Text that is not the name of an object.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text:?} is not of the form {form}")]
pub struct InvalidName {
    text: String,
    form: &'static str,
}

impl ObjectName {
    /// The name `namespace/name`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl WorkloadName {
    /// The name `namespace/kind/name`.
    pub fn new(
        namespace: impl Into<String>,
        kind: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        Self(Arc::new(WorkloadParts {
            namespace: namespace.into(),
            kind: kind.into(),
            name: name.into(),
        }))
    }

    /// Whether both share their text. Names that do not may be equal all the same.
    #[must_use]
    pub fn shares(&self, other: &Self) -> bool {
        self.address() == other.address()
    }

    /// Where its text is: for as long as both live, names with the same address are equal.
    #[must_use]
    pub fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }
}

impl Deref for WorkloadName {
    type Target = WorkloadParts;

    fn deref(&self) -> &WorkloadParts {
        &self.0
    }
}

impl Ord for WorkloadName {
    fn cmp(&self, other: &Self) -> Ordering {
        match self.shares(other) {
            true => Ordering::Equal,
            false => self.0.cmp(&other.0),
        }
    }
}

impl PartialOrd for WorkloadName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for WorkloadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for WorkloadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.kind, self.name)
    }
}

impl FromStr for ObjectName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let [namespace, name] = parts(text, "namespace/name")?;
        Ok(Self { namespace, name })
    }
}

impl FromStr for WorkloadName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let [namespace, kind, name] = parts(text, "namespace/Kind/name")?;
        Ok(Self::new(namespace, kind, name))
    }
}

impl TryFrom<String> for ObjectName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl TryFrom<String> for WorkloadName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ObjectName> for String {
    fn from(name: ObjectName) -> Self {
        name.to_string()
    }
}

impl From<WorkloadName> for String {
    fn from(name: WorkloadName) -> Self {
        name.to_string()
    }
}

/// Exactly `N` parts between slashes, none of them empty.
fn parts<const N: usize>(text: &str, form: &'static str) -> Result<[String; N], InvalidName> {
    let invalid = || InvalidName {
        text: text.to_owned(),
        form,
    };
    let parts: Vec<String> = text.split('/').map(str::to_owned).collect();
    if parts.iter().any(String::is_empty) {
        return Err(invalid());
    }
    parts.try_into().map_err(|_| invalid())
}
