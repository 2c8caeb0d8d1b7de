//! What is committed is what the chart makes.

use std::fs;
use std::path::Path;

use netpol_common::GROUP;
use netpol_common::names::cluster::PLURAL;
use xtask::deploy::{chart_directory, made, stale};
use xtask::workspace;

use super::{document, documents, rendered};

#[test]
fn what_is_committed_is_what_the_chart_makes() {
    let deploy = workspace().join("deploy");
    let made = made(&chart_directory()).expect("everything can be made");
    let different: Vec<_> = made
        .iter()
        .filter(|(path, text)| fs::read_to_string(deploy.join(path)).ok().as_ref() != Some(text))
        .map(|(path, _)| path)
        .collect();
    let stale = stale(&deploy, &made).expect("folders can be listed");
    assert!(
        different.is_empty() && stale.is_empty(),
        "run `cargo xtask deploy`: {different:?} differ, nothing makes {stale:?}"
    );
}

#[test]
fn a_manifest_that_nothing_makes_is_found() {
    let deploy = tempfile::tempdir().expect("a directory");
    let folder = deploy.path().join("manifests");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("old.yaml"), "kind: Old\n").expect("a file");
    let found = stale(deploy.path(), &Default::default()).expect("a listing");
    assert_eq!(found, [folder.join("old.yaml")]);
}

#[test]
fn the_definition_of_the_custom_resource_is_kept_and_upgraded() {
    let objects = documents(&rendered(|_| ()));
    let name = format!("{PLURAL}.{GROUP}");
    let object = document(&objects, "CustomResourceDefinition", &name);
    assert_eq!(
        object["metadata"]["annotations"]["helm.sh/resource-policy"],
        "keep"
    );
    let made = serde_json::to_value(netpol_agent::crd::definition()).expect("JSON");
    assert_eq!(object["spec"], made["spec"]);
    let without = documents(&rendered(|values| values["crd"]["install"] = false.into()));
    assert_eq!(without.len() + 1, objects.len());
}

#[test]
fn whoever_applies_the_manifests_with_all_below_them_uninstalls_nothing() {
    let deploy = workspace().join("deploy");
    let below = fs::read_dir(deploy.join("manifests")).expect("the folder of manifests");
    let folders = below.filter(|entry| entry.as_ref().is_ok_and(|entry| entry.path().is_dir()));
    assert_eq!(folders.count(), 0, "kubectl apply -R goes into folders");
    let made = made(&chart_directory()).expect("everything can be made");
    let hooks = made
        .iter()
        .filter(|(_, text)| text.contains("helm.sh/hook:"));
    let hooks: Vec<_> = hooks.map(|(path, _)| path.as_path()).collect();
    assert_eq!(hooks, [Path::new("uninstall/90-uninstall.yaml")]);
}
