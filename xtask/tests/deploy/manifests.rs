//! What is committed is what the chart makes.

use std::fs;

use xtask::deploy::{chart_directory, made, stale};
use xtask::workspace;

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
