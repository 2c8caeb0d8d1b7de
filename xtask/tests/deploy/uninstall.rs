//! What the chart has done before Helm uninstalls.

use netpol_common::names::cluster::UNINSTALL_JOB;
use serde_json::{Value, json};
use xtask::deploy::chart::Rendered;

use super::{document, documents, rendered};

fn hooks(change: impl FnOnce(&mut Value)) -> Vec<Rendered> {
    let all = rendered(change).into_iter();
    all.filter(|rendered| rendered.hook).collect()
}

#[test]
fn everything_of_the_hook_goes_with_it() {
    let objects = documents(&hooks(|_| ()));
    assert_eq!(objects.len(), 6);
    for object in &objects {
        let annotations = &object["metadata"]["annotations"];
        assert_eq!(annotations["helm.sh/hook"], "pre-delete", "{object}");
        let policy = annotations["helm.sh/hook-delete-policy"].as_str();
        let policy = policy.expect("a policy");
        assert!(
            policy.starts_with("before-hook-creation,hook-succeeded"),
            "{policy}"
        );
    }
    let weight = |kind: &str| -> i32 {
        let object = document(&objects, kind, "netpol-uninstall");
        let weight = object["metadata"]["annotations"]["helm.sh/hook-weight"].clone();
        weight
            .as_str()
            .and_then(|weight| weight.parse().ok())
            .expect("a weight")
    };
    for kind in ["ServiceAccount", "ClusterRole", "Role"] {
        for binding in ["ClusterRoleBinding", "RoleBinding"] {
            assert!(
                weight(kind) < weight(binding) && weight(binding) < weight("Job"),
                "{kind}"
            );
        }
    }
}

#[test]
fn the_hook_has_no_rights_on_its_node() {
    let job = document(&documents(&hooks(|_| ())), "Job", UNINSTALL_JOB);
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let container = &pod["containers"][0]["securityContext"];
    assert_eq!(container["capabilities"], json!({"drop": ["ALL"]}));
    assert!(pod.get("hostNetwork").is_none() && pod.get("volumes").is_none());
}

#[test]
fn people_may_do_without_the_hook_and_say_what_it_does() {
    assert!(hooks(|values| values["uninstall"]["hook"] = false.into()).is_empty());
    let changed = hooks(|values| {
        values["uninstall"]["leaveNodes"] = true.into();
        values["uninstall"]["timeout"] = "20m".into();
    });
    let job = document(&documents(&changed), "Job", UNINSTALL_JOB);
    let variables = &job["spec"]["template"]["spec"]["containers"][0]["env"];
    let value = |name: &str| {
        let all = variables.as_array().expect("an environment").iter();
        let mut found = all.filter(|variable| variable["name"] == name);
        found.next().expect(name)["value"].clone()
    };
    assert_eq!(value("NETPOL_LEAVE_NODES"), "true");
    assert_eq!(value("NETPOL_TIMEOUT"), "20m");
}
