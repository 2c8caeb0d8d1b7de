//! Kustomizations: one in each namespace's folder that lists its policies, and one at the top that lists the folders.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{File, HEADER, yaml};

/// The name that kustomize looks for.
pub const FILE_NAME: &str = "kustomization.yaml";

/// The Kustomizations that tie these files together.
#[must_use]
pub fn kustomizations(files: &[File]) -> Vec<File> {
    let mut folders: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for file in files {
        let folder = file.folder.as_deref().unwrap_or_default();
        folders.entry(folder).or_default().insert(&file.name);
    }
    let top = File {
        folder: None,
        name: FILE_NAME.to_owned(),
        text: text(&folders.keys().copied().collect()),
    };
    let of_folder = |(folder, resources): (&&str, &BTreeSet<&str>)| File {
        folder: Some((*folder).to_owned()),
        name: FILE_NAME.to_owned(),
        text: text(resources),
    };
    [top]
        .into_iter()
        .chain(folders.iter().map(of_folder))
        .collect()
}

fn text(resources: &BTreeSet<&str>) -> String {
    let value = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": resources,
    });
    format!(
        "{HEADER}\n{}",
        yaml::document(&value, &yaml::Comments::new())
    )
}
