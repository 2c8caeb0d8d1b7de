//! The cases as files hold them: policies, and which connections they allow and deny.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use netpol_agent::policy::evaluate::Reading;
use netpol_common::words::Protocol;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

/// The files of cases, each by what it is about.
const FILES: [(&str, &str); 9] = [
    ("spec", include_str!("cases/spec.yaml")),
    ("rules", include_str!("cases/rules.yaml")),
    ("peer", include_str!("cases/peer.yaml")),
    ("port", include_str!("cases/port.yaml")),
    ("kep_2079", include_str!("cases/kep_2079.yaml")),
    ("ip_block", include_str!("cases/ip_block.yaml")),
    ("label_selector", include_str!("cases/label_selector.yaml")),
    ("concept", include_str!("cases/concept.yaml")),
    (PUBLISHED, include_str!("cases/published.yaml")),
];

/// The cases that others published.
const PUBLISHED: &str = "published";

/// A sentence of the reference, as connections.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// The sentence, in few words.
    case: String,
    /// Whose case it is, of those that others published: the project, and what it is about there.
    source: Option<String>,
    /// The policy `p` of the namespace `shop`; instead of `policies`.
    #[serde(default, deserialize_with = "stated")]
    spec: Option<Value>,
    #[serde(default)]
    policies: Vec<Policy>,
    #[serde(default)]
    reading: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) allowed: Vec<Asked>,
    #[serde(default)]
    pub(crate) denied: Vec<Asked>,
    /// The field for which the API server rejects it.
    pub(crate) rejected: Option<String>,
    #[serde(skip)]
    about: &'static str,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    namespace: Option<String>,
    name: String,
    spec: Value,
}

/// A connection: `shop/web -> shop/db TCP/80`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Asked {
    pub(crate) client: Who,
    pub(crate) server: Who,
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
    text: String,
}

/// An end: a pod or a node at its address of one family, or an address outside the cluster.
#[derive(Clone, Debug)]
pub(crate) enum Who {
    Pod {
        namespace: String,
        name: String,
        v6: bool,
    },
    Node {
        name: String,
        v6: bool,
    },
    Outside(IpAddr),
}

/// A value that is there, even if it is null.
fn stated<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Every case of every file.
pub(crate) fn all() -> Vec<Case> {
    let mut all = Vec::new();
    for (about, text) in FILES {
        let cases: Vec<Case> = serde_saphyr::from_str(text).expect(about);
        all.extend(cases.into_iter().map(|case| Case { about, ..case }));
    }
    all
}

impl Case {
    /// The name: what it is about, and the sentence.
    pub(crate) fn name(&self) -> String {
        let source = self.source.iter().map(|source| format!(" ({source})"));
        format!(
            "{}: {}{}",
            self.about,
            self.case,
            source.collect::<String>()
        )
    }

    /// The name and the text of the cluster that it is about.
    pub(crate) fn cluster(&self) -> (&'static str, &'static str) {
        match self.about {
            PUBLISHED => (
                "published_cluster.yaml",
                include_str!("published_cluster.yaml"),
            ),
            _ => ("cluster.yaml", include_str!("cluster.yaml")),
        }
    }

    /// Whether it says whose it is, if others published it.
    pub(crate) fn is_attributed(&self) -> bool {
        (self.about == PUBLISHED) == self.source.is_some()
    }

    /// Its policies as a `v1` `List`.
    pub(crate) fn manifest(&self) -> String {
        let object = |namespace: &str, name: &str, spec: &Value| {
            json!({
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"namespace": namespace, "name": name},
                "spec": spec,
            })
        };
        let mut items: Vec<Value> = Vec::new();
        for policy in &self.policies {
            let namespace = policy.namespace.as_deref().unwrap_or("shop");
            items.push(object(namespace, &policy.name, &policy.spec));
        }
        if let Some(spec) = &self.spec {
            items.push(object("shop", "p", spec));
        }
        json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
    }

    /// How what Kubernetes leaves open is to be read.
    pub(crate) fn reading(&self) -> Reading {
        let is = |key: &str, value: &str| self.reading.get(key).is_some_and(|v| v == value);
        Reading {
            host_network_is_node: !is("hostNetwork", "pod"),
            blocks_match_pods: !is("blocks", "no-pods"),
            own_node_both_ways: is("ownNode", "both"),
        }
    }

    /// Every connection with the verdict on it.
    pub(crate) fn asked(&self) -> impl Iterator<Item = (&Asked, bool)> {
        let allowed = self.allowed.iter().map(|asked| (asked, true));
        allowed.chain(self.denied.iter().map(|asked| (asked, false)))
    }
}

impl Asked {
    /// As the file has it.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl TryFrom<String> for Asked {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no connection");
        let words: Vec<&str> = text.split(' ').collect();
        let [client, "->", server, traffic] = words[..] else {
            return Err(wrong());
        };
        let (protocol, port) = traffic.split_once('/').ok_or_else(wrong)?;
        Ok(Self {
            client: client.parse()?,
            server: server.parse()?,
            protocol: protocol.parse().map_err(|_| wrong())?,
            port: port.parse().map_err(|_| wrong())?,
            text,
        })
    }
}

impl FromStr for Who {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Outside(address));
        }
        let (rest, v6) = match text.strip_suffix("[6]") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        match rest.split_once('/') {
            Some(("node", name)) => Ok(Self::Node {
                name: name.to_owned(),
                v6,
            }),
            Some((namespace, name)) => Ok(Self::Pod {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                v6,
            }),
            None => Err(format!("{text:?} is no end")),
        }
    }
}
