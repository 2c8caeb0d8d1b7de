//! The network plugin that is to enforce the policies, and the version from which it can what it could not before.
//!
//! Where the versions come from: Cilium's release notes of 1.16.0-rc.1 name port ranges as new (cilium#32807; before,
//! `endPort` was ignored or the policy refused, cilium#28684 and #28704); libcalico-go took them in with
//! v3.20.0-0.dev (libcalico-go#1357).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A network plugin, and its version if it is known. Without one it is taken to be of today.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cni {
    /// Which one.
    pub plugin: Plugin,
    /// Its version.
    pub version: Option<Version>,
}

/// The network plugins of which differences from the specification are known.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Plugin {
    /// One that enforces what the specification says.
    #[default]
    Generic,
    /// Cilium.
    Cilium,
    /// Calico.
    Calico,
    /// The network policy agent of Amazon's VPC CNI.
    Aws,
}

/// A version: major and minor.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Version(pub u16, pub u16);

/// A text that is no network plugin.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{0:?} is no network plugin: write generic, cilium, calico or aws, each also with a version, as in cilium=1.15"
)]
pub struct InvalidCni(String);

impl Plugin {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Generic, Self::Cilium, Self::Calico, Self::Aws];

    /// Its name in options.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::Cilium => "cilium",
            Self::Calico => "calico",
            Self::Aws => "aws",
        }
    }

    /// The version from which on it enforces ranges of ports; `None` if every version does.
    #[must_use]
    pub fn port_ranges_since(self) -> Option<Version> {
        match self {
            Self::Cilium => Some(Version(1, 16)),
            Self::Calico => Some(Version(3, 20)),
            Self::Generic | Self::Aws => None,
        }
    }
}

impl Cni {
    /// Whether it enforces ranges of ports.
    #[must_use]
    pub fn has_port_ranges(self) -> bool {
        match (self.version, self.plugin.port_ranges_since()) {
            (Some(version), Some(since)) => version >= since,
            _ => true,
        }
    }
}

impl FromStr for Cni {
    type Err = InvalidCni;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidCni(text.to_owned());
        let (name, version) = match text.split_once('=') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        let mut plugins = Plugin::ALL.into_iter();
        let plugin = plugins
            .find(|plugin| plugin.name() == name)
            .ok_or_else(invalid)?;
        let version = version.map(|text| version_of(text).ok_or_else(invalid));
        Ok(Self {
            plugin,
            version: version.transpose()?,
        })
    }
}

/// `1.15`, `v1.15` or `1.15.3`, of which the last number does not matter.
fn version_of(text: &str) -> Option<Version> {
    let mut numbers = text.strip_prefix('v').unwrap_or(text).split('.');
    let mut number = || numbers.next()?.parse().ok();
    let version = Version(number()?, number()?);
    let patch: Vec<&str> = numbers.collect();
    let is_number = |text: &&str| text.parse::<u16>().is_ok();
    (patch.len() <= 1 && patch.iter().all(is_number)).then_some(version)
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl fmt::Display for Cni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.plugin.name())?;
        self.version
            .map_or(Ok(()), |version| write!(f, "={version}"))
    }
}

impl TryFrom<String> for Cni {
    type Error = InvalidCni;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Cni> for String {
    fn from(cni: Cni) -> Self {
        cni.to_string()
    }
}
