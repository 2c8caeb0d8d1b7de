//! Helm itself, where there is one: it finds nothing to say about the chart, and renders what we render.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use xtask::command;
use xtask::deploy::chart::{NAMESPACE, RELEASE, documents as read};
use xtask::deploy::chart_directory;

use super::{documents, everything, rendered};

/// Helm: what `NETPOL_HELM` names, or what is on the path.
fn helm() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("NETPOL_HELM") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join("helm"))
        .find(|candidate| candidate.is_file())
}

/// Documents by kind and name, however they are ordered.
fn by_name(documents: Vec<Value>) -> BTreeMap<String, Value> {
    let named = documents.into_iter().map(|document| {
        let (kind, name) = (&document["kind"], &document["metadata"]["name"]);
        (format!("{kind} {name}"), document)
    });
    named.collect()
}

#[test]
fn helm_renders_what_we_render() {
    let Some(helm) = helm() else {
        // Not captured, as what a macro prints would be.
        let what = "no helm on this machine (NETPOL_HELM names one): comparing with it did not run";
        writeln!(std::io::stderr(), "{what}").expect("somebody listens");
        return;
    };
    let chart = chart_directory();
    command::run(Command::new(&helm).args(["lint", "--strict"]).arg(&chart)).expect("helm lint");
    let folder = tempfile::tempdir().expect("a folder");
    for (name, change) in [
        ("default", (|_| ()) as fn(&mut Value)),
        ("everything", everything),
    ] {
        let mut values = super::chart().values().clone();
        change(&mut values);
        let file = folder.path().join("values.json");
        std::fs::write(&file, values.to_string()).expect("values");
        let mut template = Command::new(&helm);
        template
            .args(["template", RELEASE])
            .arg(&chart)
            .args(["--namespace", NAMESPACE, "--values"])
            .arg(&file);
        let theirs = command::output(&mut template).expect("helm template");
        let theirs = by_name(read(&theirs).expect("YAML"));
        assert_eq!(theirs, by_name(documents(&rendered(change))), "{name}");
    }
}
