//! Golden files of every format but Kubernetes' own: the same input as `golden/policy` has, and what each format makes
//! of it.
//!
//! A folder under `golden/formats` is named like the one under `golden/policy` that it takes `inventory.yaml`,
//! `flows.jsonl` and `arguments` from, unless its file `input` names another one, with more arguments.
//! `UPDATE_EXPECT=1 cargo test` writes what is found there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use expect_test::expect_file;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_agent::inventory;
use netpol_agent::policy::read::{calico, cilium};
use predicates::prelude::*;

/// The formats that are one text, and the names of their golden files.
const TEXTS: [(&str, &str); 4] = [
    ("cilium", "cilium.yaml"),
    ("calico", "calico.yaml"),
    ("terraform", "policies.tf"),
    ("ansible", "playbook.yaml"),
];

macro_rules! golden {
    ($($name:ident)*) => {
        $(#[test] fn $name() { check(stringify!($name)); })*

        #[test]
        fn every_folder_is_checked() {
            let checked: BTreeSet<String> = [$(stringify!($name)),*].map(folder_name).into();
            let found = fs::read_dir(golden("formats")).expect("golden files");
            let found: BTreeSet<String> =
                found.map(|entry| entry.expect("a folder").file_name().into_string().expect("UTF-8")).collect();
            assert_eq!(found, checked);
        }
    };
}

golden! {
    api_server default_deny dns_always everything_outside external_dual_stack host_network names no_evidence node_peer nothing_learned port_ranges
    two_namespaces whole_namespaces
}

fn folder_name(test: &str) -> String {
    test.replace('_', "-")
}

fn golden(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(kind)
}

/// The command on the input of one folder.
fn generate(folder: &str, format: &str) -> Command {
    let named = fs::read_to_string(golden("formats").join(folder).join("input"));
    let named = named.unwrap_or_else(|_| folder.to_owned());
    let mut words = named.split_whitespace();
    let input = golden("policy").join(words.next().expect("the name of a folder"));
    let arguments = fs::read_to_string(input.join("arguments")).unwrap_or_default();
    let mut command = Command::cargo_bin("kubectl-netpol").expect("the command is built");
    command.args(["generate", "-o", format, "--inventory"]);
    command.arg(input.join("inventory.yaml"));
    command.arg("--flows").arg(input.join("flows.jsonl"));
    command.args(arguments.split_whitespace()).args(words);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn check(test: &str) {
    let folder = folder_name(test);
    let expected = golden("formats").join(&folder);
    for (format, name) in TEXTS {
        let written = generate(&folder, format).assert().success();
        let written = text(&written.get_output().stdout);
        expect_file![expected.join(name)].assert_eq(&written);
        match format {
            "cilium" => drop(cilium::read(&written).expect("what was written")),
            "calico" => drop(calico::read(&written).expect("what was written")),
            "terraform" => drop(hcl::parse(&written).expect("what was written")),
            _ => drop(serde_saphyr::from_str::<serde_json::Value>(&written).expect("YAML")),
        }
    }
    let base = tempfile::tempdir().expect("a directory");
    let dir = base.path().join("policies");
    (generate(&folder, "kustomize").arg("--out-dir").arg(&dir))
        .assert()
        .success()
        .stdout("");
    let listing: String = files(&dir, &dir)
        .iter()
        .filter(|(name, _)| name.ends_with("kustomization.yaml"))
        .map(|(name, text)| format!("==> {name} <==\n{text}"))
        .collect();
    expect_file![expected.join("kustomize.txt")].assert_eq(&listing);
    read_back(&folder, &dir);
}

/// Kubernetes' own forms hold the same policies, as inventories are read.
fn read_back(folder: &str, kustomized: &Path) {
    let base = tempfile::tempdir().expect("a directory");
    let mut paths = vec![kustomized.to_owned()];
    for format in ["yaml", "json"] {
        let written = generate(folder, format).assert().success();
        let path = base.path().join(format!("policies.{format}"));
        fs::write(&path, &written.get_output().stdout).expect("a file");
        paths.push(path);
    }
    let dir = base.path().join("policies");
    generate(folder, "yaml")
        .arg("--out-dir")
        .arg(&dir)
        .assert()
        .success();
    paths.push(dir);
    let read = |path: PathBuf| -> Vec<NetworkPolicy> {
        let inventory = inventory::read_policies(&[path]).expect("what was written");
        let policies = inventory.policies.into_iter();
        policies.map(|sourced| sourced.policy).collect()
    };
    let all: Vec<Vec<NetworkPolicy>> = paths.into_iter().map(read).collect();
    for other in &all[1..] {
        assert_eq!(other, &all[0], "{folder}");
    }
    assert_eq!(all[0].is_empty(), folder == "nothing-learned");
}

/// Every file under a directory, as path and text, in order.
fn files(root: &Path, dir: &Path) -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> = (fs::read_dir(dir).expect("a directory"))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let found = paths.into_iter().flat_map(|path| {
        if path.is_dir() {
            return files(root, &path);
        }
        let name = path.strip_prefix(root).expect("a path under it");
        let text = fs::read_to_string(&path).expect("a file");
        vec![(name.display().to_string(), text)]
    });
    found.collect()
}

/// Everything that a Kustomization names, read as kustomize does.
fn kustomized(dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(dir.join("kustomization.yaml")).expect("a Kustomization");
    let value: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
    let resources = value["resources"].as_array().cloned().unwrap_or_default();
    let found = resources.into_iter().flat_map(|resource| {
        let path = dir.join(resource.as_str().expect("a path"));
        match path.is_dir() {
            true => kustomized(&path),
            false => vec![fs::read_to_string(path).expect("a file")],
        }
    });
    found.collect()
}

#[test]
fn a_kustomization_holds_what_stdout_would() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("policies");
    (generate("two-namespaces", "kustomize")
        .arg("--out-dir")
        .arg(&dir))
    .assert()
    .success();
    let stdout = generate("two-namespaces", "yaml").output().unwrap().stdout;
    assert_eq!(kustomized(&dir).join("---\n"), text(&stdout));
    let before = files(&dir, &dir);
    for format in ["yaml", "terraform", "kustomize"] {
        let mut command = generate("two-namespaces", format);
        command.arg("--out-dir").arg(&dir).assert().success();
    }
    assert_eq!(
        files(&dir, &dir),
        before,
        "the same input gives the same bytes"
    );
    fs::write(dir.join("kustomization.yaml"), "resources: [mine]\n").unwrap();
    let error = predicate::str::contains("kustomization.yaml was not written by this command");
    let mut command = generate("two-namespaces", "kustomize");
    command.arg("--out-dir").arg(&dir);
    command.assert().code(2).stderr(error);
}

#[test]
fn every_format_but_json_fills_a_directory() {
    for (format, extension) in [
        ("cilium", "yaml"),
        ("calico", "yaml"),
        ("terraform", "tf"),
        ("ansible", "yaml"),
    ] {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("policies");
        let mut command = generate("two-namespaces", format);
        command
            .arg("--out-dir")
            .arg(&dir)
            .assert()
            .success()
            .stdout("");
        let found = files(&dir, &dir);
        let names: Vec<&str> = found.iter().map(|(name, _)| &**name).collect();
        let expected = ["shop/api", "shop/web", "staging/job", "staging/web"]
            .map(|name| format!("{name}-deployment.{extension}"));
        assert_eq!(names, expected);
        if format != "ansible" {
            let between = if format == "terraform" { "\n" } else { "---\n" };
            let texts: Vec<&str> = found.iter().map(|(_, text)| &**text).collect();
            let stdout = generate("two-namespaces", format).output().unwrap().stdout;
            assert_eq!(texts.join(between), text(&stdout), "{format}");
        }
    }
}

#[test]
fn kustomize_needs_a_directory() {
    let mut command = generate("two-namespaces", "kustomize");
    let error = predicate::str::contains("error: -o kustomize writes a directory: add --out-dir");
    command.assert().code(2).stdout("").stderr(error);
}

#[test]
fn what_only_cilium_widens_is_a_finding() {
    let said = |format: &str| {
        let result = generate("node-peer", format).assert().success();
        text(&result.get_output().stderr)
    };
    let finding = "finding: Widening: shop/Deployment/api: ingress of nodes stands as every node";
    assert!(said("cilium").contains(finding));
    assert!(!said("yaml").contains("Cilium"));
}
