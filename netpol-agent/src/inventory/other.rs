//! Objects of policy APIs other than `networking.k8s.io/v1`: known by name, so that a verdict that does not look at them
//! can say so.

use std::fmt;

use serde_json::Value;

/// An object of another policy API.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct OtherPolicy {
    /// `apiVersion`, such as `cilium.io/v2`.
    pub api_version: String,
    /// `kind`.
    pub kind: String,
    /// `namespace/name`, or the name alone of an object of the whole cluster.
    pub name: String,
}

/// API groups and the kinds in them that decide what traffic passes.
const APIS: [(&str, &[&str]); 11] = [
    (
        "cilium.io",
        &["CiliumClusterwideNetworkPolicy", "CiliumNetworkPolicy"],
    ),
    ("consul.hashicorp.com", &["ServiceIntentions"]),
    ("crd.antrea.io", &["ClusterNetworkPolicy", "NetworkPolicy"]),
    (
        "crd.projectcalico.org",
        &["GlobalNetworkPolicy", "NetworkPolicy"],
    ),
    ("extensions", &["NetworkPolicy"]),
    ("k8s.ovn.org", &["EgressFirewall"]),
    ("network.openshift.io", &["EgressNetworkPolicy"]),
    (
        "networking.k8s.aws",
        &["ApplicationNetworkPolicy", "ClusterNetworkPolicy"],
    ),
    (
        "policy.networking.k8s.io",
        &[
            "AdminNetworkPolicy",
            "BaselineAdminNetworkPolicy",
            "ClusterNetworkPolicy",
        ],
    ),
    (
        "projectcalico.org",
        &["GlobalNetworkPolicy", "NetworkPolicy"],
    ),
    ("security.istio.io", &["AuthorizationPolicy"]),
];

impl OtherPolicy {
    /// The policy that an object is, if it is one of another API.
    pub(super) fn of(api_version: &str, kind: &str, metadata: Option<&Value>) -> Option<Self> {
        let group = api_version.split_once('/')?.0;
        let kinds = APIS.iter().find(|(name, _)| *name == group)?.1;
        let text = |key| metadata?.get(key)?.as_str();
        let name = text("name").unwrap_or("without a name");
        kinds.contains(&kind).then(|| Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            name: match text("namespace") {
                Some(namespace) => format!("{namespace}/{name}"),
                None => name.to_owned(),
            },
        })
    }
}

impl fmt::Display for OtherPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = self.api_version.split('/').next().unwrap_or_default();
        write!(f, "{}.{group} {}", self.kind, self.name)
    }
}
