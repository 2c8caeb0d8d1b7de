//! The rights that the manifests grant, given to tokens, and which of them were never used.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::ApiServer;
use super::auth::{Account, Right};
use super::world::Request;

/// The namespace of the manifests.
const NAMESPACE: &str = "netpol-system";

/// What the manifests grant to one of netpol's ServiceAccounts, hooks of the chart included.
pub(crate) fn of_account(account: &str) -> BTreeSet<Right> {
    let (user, mut granted) = (user(account), of_objects(&manifests()));
    granted.retain(|right| right.user == user);
    assert!(!granted.is_empty(), "nothing is granted to {account}");
    granted
}

/// What the bindings among objects grant to ServiceAccounts, by the roles among them.
pub(crate) fn of_objects(objects: &[Value]) -> BTreeSet<Right> {
    let mut granted = BTreeSet::new();
    for binding in objects {
        let subjects = binding["subjects"].as_array().into_iter().flatten();
        for subject in subjects.filter(|subject| subject["kind"] == "ServiceAccount") {
            let (namespace, name) = (text(&subject["namespace"]), text(&subject["name"]));
            let user = Account::of_service(&namespace, &name).user;
            granted.extend(of_binding(objects, binding, &user));
        }
    }
    granted
}

/// What a Role of the manifests grants to whom it is bound.
pub(crate) fn of_role(role: &str, user: &str) -> BTreeSet<Right> {
    bound(("Role", role), NAMESPACE, user)
}

/// What a ClusterRole of the manifests grants to whom it is bound in a namespace.
pub(crate) fn of_cluster_role(role: &str, user: &str, namespace: &str) -> BTreeSet<Right> {
    bound(("ClusterRole", role), namespace, user)
}

fn bound((kind, name): (&str, &str), namespace: &str, user: &str) -> BTreeSet<Right> {
    let binding = serde_json::json!({
        "metadata": {"namespace": namespace}, "roleRef": {"kind": kind, "name": name},
    });
    of_binding(&manifests(), &binding, user)
}

/// Those rights that no request needed, in words.
pub(crate) fn unused(rights: &BTreeSet<Right>, requests: &[Request]) -> Vec<String> {
    let unused = rights
        .iter()
        .filter(|right| !requests.iter().any(|request| right.covers(request)));
    unused.map(Right::to_string).collect()
}

impl ApiServer {
    /// From now on a token is that of one of netpol's ServiceAccounts, with the rights that the manifests grant to it, and
    /// whatever nobody was granted is refused.
    pub(crate) fn guard(&self, account: &str, token: &str) {
        let mut world = self.world();
        world.guarded = true;
        world
            .tokens
            .insert(token.to_owned(), Account::of_service(NAMESPACE, account));
        world.rights.extend(of_account(account));
    }

    /// A token of somebody who may do everything.
    pub(crate) fn trust(&self, token: &str) {
        let mut world = self.world();
        let account = Account {
            user: token.to_owned(),
            ..Account::default()
        };
        world.tokens.insert(token.to_owned(), account);
        world.rights.insert(Right {
            user: token.to_owned(),
            verb: "*".to_owned(),
            group: "*".to_owned(),
            resource: "*".to_owned(),
            ..Right::default()
        });
    }

    /// The requests so far of one of netpol's ServiceAccounts.
    pub(crate) fn asked_by(&self, account: &str) -> Vec<Request> {
        let user = user(account);
        let world = self.world();
        let own = world.requests.iter().filter(|request| request.user == user);
        own.cloned().collect()
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            verb,
            group,
            resource,
            namespace,
            name,
            ..
        } = self;
        write!(f, "{verb} {resource}.{group} {namespace}/{name}")
    }
}

fn user(account: &str) -> String {
    Account::of_service(NAMESPACE, account).user
}

/// Every object of the manifests.
fn manifests() -> Vec<Value> {
    ["manifests", "uninstall"]
        .into_iter()
        .flat_map(below_deploy)
        .collect()
}

/// Every object of a folder of manifests below `deploy`.
pub(crate) fn below_deploy(folder: &str) -> Vec<Value> {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let entries = fs::read_dir(deploy.join(folder)).expect("a folder of manifests");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort_unstable();
    let documents = |path: &PathBuf| -> Vec<Value> {
        let text = fs::read_to_string(path).expect("a manifest");
        serde_saphyr::from_multiple(&text).expect("YAML")
    };
    paths.iter().flat_map(documents).collect()
}

fn of_binding(objects: &[Value], binding: &Value, user: &str) -> BTreeSet<Right> {
    let wanted = &binding["roleRef"];
    let role = objects.iter().find(|object| {
        let (kind, metadata) = (&object["kind"], &object["metadata"]);
        let near =
            kind == "ClusterRole" || metadata["namespace"] == binding["metadata"]["namespace"];
        *kind == wanted["kind"] && metadata["name"] == wanted["name"] && near
    });
    let role = role.unwrap_or_else(|| panic!("no role for {binding}"));
    let namespace = text(&binding["metadata"]["namespace"]);
    let rules = role["rules"].as_array().into_iter().flatten();
    rules
        .flat_map(|rule| of_rule(rule, user, &namespace))
        .collect()
}

/// One right for each verb on each resource of each name, so that each has to be used.
fn of_rule(rule: &Value, user: &str, namespace: &str) -> Vec<Right> {
    let texts = |field: &str| -> Vec<String> {
        let texts = rule[field].as_array().into_iter().flatten();
        texts.map(text).collect()
    };
    let mut names = texts("resourceNames");
    if names.is_empty() {
        names.push(String::new());
    }
    let mut rights = Vec::new();
    for group in texts("apiGroups") {
        for resource in texts("resources") {
            for verb in texts("verbs") {
                rights.extend(names.iter().map(|name| Right {
                    user: user.to_owned(),
                    verb: verb.clone(),
                    group: group.clone(),
                    resource: resource.clone(),
                    namespace: namespace.to_owned(),
                    name: name.clone(),
                }));
            }
        }
    }
    rights
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
