//! What the roles and bindings in the API server allow, as rights that it enforces.

use serde_json::Value;

use crate::double::ApiServer;
use crate::double::auth::Right;

/// Lets everybody do what roles say, and nothing else. Names of single objects, by which roles narrow further, are not
/// looked at.
pub(crate) fn enforce(api: &ApiServer) {
    let mut all = Vec::new();
    for binding in api.all("clusterrolebindings") {
        let role = api.get("clusterroles", "", text(&binding["roleRef"]["name"]));
        grant(&binding, &role, "", &mut all);
    }
    for binding in api.all("rolebindings") {
        let namespace = text(&binding["metadata"]["namespace"]);
        let name = text(&binding["roleRef"]["name"]);
        let role = match text(&binding["roleRef"]["kind"]) {
            "ClusterRole" => api.get("clusterroles", "", name),
            _ => api.get("roles", namespace, name),
        };
        grant(&binding, &role, namespace, &mut all);
    }
    let mut world = api.world();
    world.rights.extend(all);
    world.guarded = true;
}

fn grant(binding: &Value, role: &Value, namespace: &str, all: &mut Vec<Right>) {
    let users = list(&binding["subjects"]).iter().map(|subject| {
        let (namespace, name) = (text(&subject["namespace"]), text(&subject["name"]));
        format!("system:serviceaccount:{namespace}:{name}")
    });
    for user in users {
        for rule in list(&role["rules"]) {
            for group in list(&rule["apiGroups"]) {
                for resource in list(&rule["resources"]) {
                    all.extend(list(&rule["verbs"]).iter().map(|verb| Right {
                        user: user.clone(),
                        verb: text(verb).to_owned(),
                        group: text(group).to_owned(),
                        resource: text(resource).to_owned(),
                        namespace: namespace.to_owned(),
                    }));
                }
            }
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
