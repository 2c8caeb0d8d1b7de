//! `kubectl-netpol generate` as a command: what it writes where, and what it says of bad input.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use predicates::prelude::*;

/// A folder of golden input that gives two policies in two namespaces.
fn input() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/policy/dns-pair")
}

/// The command with the inventory and the flows of [`input`].
fn generate() -> Command {
    let mut command = bare();
    command
        .arg("--inventory")
        .arg(input().join("inventory.yaml"));
    command.arg("--flows").arg(input().join("flows.jsonl"));
    command
}

fn bare() -> Command {
    let mut command = Command::cargo_bin("kubectl-netpol").expect("the command is built");
    command.arg("generate");
    command
}

/// Every file under a directory, as path and text.
fn files(dir: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for namespace in fs::read_dir(dir).expect("a directory") {
        for file in fs::read_dir(namespace.expect("an entry").path()).expect("a folder") {
            let path = file.expect("an entry").path();
            let name = path
                .strip_prefix(dir)
                .expect("a path under it")
                .display()
                .to_string();
            found.push((name, fs::read_to_string(&path).expect("a file")));
        }
    }
    found.sort();
    found
}

#[test]
fn a_directory_holds_what_stdout_would() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("policies");
    generate()
        .arg("--out-dir")
        .arg(&dir)
        .assert()
        .success()
        .stdout("");
    let written = files(&dir);
    let names: Vec<&str> = written.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "kube-system/coredns-deployment.yaml",
        "shop/api-deployment.yaml",
        "shop/web-deployment.yaml",
    ];
    assert_eq!(names, expected);
    let stdout = generate().output().unwrap().stdout;
    let texts: Vec<&str> = written.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(String::from_utf8(stdout).unwrap(), texts.join("---\n"));

    generate().arg("--out-dir").arg(&dir).assert().success();
    assert_eq!(files(&dir), written, "the same input gives the same bytes");
}

#[test]
fn a_directory_that_holds_anything_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    let error =
        predicate::str::is_match("^error: .*notes.txt was not written by this command: .*\n$")
            .unwrap();
    generate()
        .arg("--out-dir")
        .arg(dir.path())
        .assert()
        .code(2)
        .stdout("")
        .stderr(error);
    assert_eq!(
        fs::read_to_string(dir.path().join("notes.txt")).unwrap(),
        "mine"
    );
}

#[test]
fn bad_flows_leave_the_directory_as_it_was() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("policies");
    generate().arg("--out-dir").arg(&dir).assert().success();
    let before = files(&dir);
    let run = |skip: &[&str]| {
        let mut command = bare();
        command
            .arg("--inventory")
            .arg(input().join("inventory.yaml"))
            .args(["--flows", "-"]);
        command
            .arg("--out-dir")
            .arg(&dir)
            .args(skip)
            .write_stdin("not a record\n")
            .assert()
    };
    run(&[])
        .code(2)
        .stderr(predicate::str::starts_with("error: stdin, line 1: "));
    assert_eq!(files(&dir), before);
    run(&["--skip-bad-lines"])
        .success()
        .stderr(predicate::str::contains("1 bad lines skipped"));
    assert!(files(&dir).is_empty());
    assert_eq!(
        fs::read_dir(base.path()).unwrap().count(),
        1,
        "nothing else is left behind"
    );
}

#[test]
fn a_directory_takes_no_json() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("policies");
    let error = predicate::str::starts_with("error: --out-dir writes no JSON");
    generate()
        .arg("--out-dir")
        .arg(&dir)
        .args(["-o", "json"])
        .assert()
        .code(2)
        .stderr(error);
    assert!(!dir.exists());
}

#[test]
fn missing_input_is_named() {
    let named = |what: &str| {
        predicate::str::starts_with("error: ").and(predicate::str::contains(what.to_owned()))
    };
    bare()
        .args(["-i", "/nowhere.yaml", "-f", "-"])
        .assert()
        .code(2)
        .stderr(named("/nowhere.yaml"));
    let inventory = input().join("inventory.yaml");
    bare()
        .arg("-i")
        .arg(inventory)
        .args(["-f", "/nowhere.jsonl"])
        .assert()
        .code(2)
        .stderr(named("/nowhere.jsonl"));
}

#[test]
fn bad_choices_are_named_with_what_to_write() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let groups = file("groups", "# mail\nmail=203.0.113.0/24\nmail 1\n");
    let edges = file("edges", "\nshop/Deployment/web -> shop/web 80/TCP\n");
    let cases: [(&[&str], &str); 13] = [
        (
            &["--cidr-group", "=203.0.113.0/24"],
            "--cidr-group: \"\" is no name of a group",
        ),
        (
            &["--cidr-group", "a=203.0.113.1/24"],
            "203.0.113.1/24 has bits set behind its prefix: write 203.0.113.0/24",
        ),
        (
            &["--cidr-group", "a=203.0.113.0"],
            "\"203.0.113.0\" is no block of addresses: write ADDRESS/LENGTH",
        ),
        (
            &["--cidr-group", &groups],
            "groups, line 3: \"mail 1\" is no group",
        ),
        (
            &["--cidr-group", "/nowhere"],
            "--cidr-group /nowhere is no value, and cannot be read as a file",
        ),
        (
            &["--reject", "a -> b"],
            "--reject: \"a -> b\" is no edge: write CLIENT -> SERVER",
        ),
        (
            &["--reject", &edges],
            "edges, line 2: \"shop/web\" is no end of an edge",
        ),
        (
            &["--node-cidr", "all"],
            "--node-cidr: \"all\" is no block of addresses",
        ),
        (
            &["--cluster-cidr", "10.0.0.0/99"],
            "is no block of addresses",
        ),
        (
            &["--cni", "weave"],
            "\"weave\" is no network plugin: write generic",
        ),
        (
            &["--cni", "cilium=new"],
            "\"cilium=new\" is no network plugin",
        ),
        (
            &["--external", "all"],
            "possible values: seen, aggregate, any",
        ),
        (&["--external-blocks", "-1"], "unexpected argument"),
    ];
    for (arguments, said) in cases {
        let error = predicate::str::contains(said);
        generate()
            .args(arguments)
            .assert()
            .code(2)
            .stdout("")
            .stderr(error);
    }
}

#[test]
fn without_flows_there_are_no_policies() {
    let run = |output: &str| {
        let mut command = bare();
        command
            .arg("-i")
            .arg(input().join("inventory.yaml"))
            .args(["-f", "-", "-o", output]);
        command.write_stdin("").assert().success()
    };
    run("yaml").stdout("");
    run("json").stdout(predicate::str::contains("\"items\": []"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_stdout_is_an_error() {
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let result = std::process::Command::new(assert_cmd::cargo::cargo_bin("kubectl-netpol"))
        .arg("generate")
        .arg("--inventory")
        .arg(input().join("inventory.yaml"))
        .arg("--flows")
        .arg(input().join("flows.jsonl"))
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(result.status.code(), Some(2));
    let stderr = String::from_utf8(result.stderr).unwrap();
    assert!(
        stderr.contains("\nerror: stdout cannot be written to: No space left"),
        "{stderr}"
    );
}

#[test]
fn what_cilium_does_not_enforce_of_kubernetes_form_is_not_said_of_its_own() {
    let input = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/policy/cni-cilium");
    let told = |format: &str| {
        let mut command = bare();
        command
            .args(["--cni", "cilium", "-o", format, "--inventory"])
            .arg(input.join("inventory.yaml"))
            .arg("--flows")
            .arg(input.join("flows.jsonl"));
        let output = command.assert().success();
        let told = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        told.contains("Unenforceable")
    };
    assert!(told("yaml"));
    assert!(!told("cilium"));
}
