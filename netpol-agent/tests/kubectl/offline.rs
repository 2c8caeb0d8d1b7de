//! What needs no cluster: completions, manual pages, help.

use std::fs;

use crate::support::{bare, run};

#[test]
fn every_shell_gets_its_script() {
    for (shell, sign) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef kubectl-netpol"),
        ("fish", "complete -c kubectl-netpol"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion"),
    ] {
        let (code, out, problems) = run(&mut bare(&["completion", shell]));
        assert_eq!(code, Some(0), "{problems}");
        assert!(out.contains(sign) && out.contains("violations"), "{shell}");
    }
}

#[test]
fn kubectl_is_told_what_could_come_next() {
    let dir = tempfile::tempdir().expect("a directory");
    let name = dir.path().join("kubectl_complete-netpol");
    let program = assert_cmd::cargo::cargo_bin("kubectl-netpol");
    std::os::unix::fs::symlink(program, &name).expect("a second name");
    let after = |words: &[&str]| run(assert_cmd::Command::new(&name).args(words));
    let (code, out, problems) = after(&["enf"]);
    assert_eq!(code, Some(0), "{problems}");
    assert!(
        out.starts_with("enforce\tPut a namespace's policies into force"),
        "{out}"
    );
    assert!(out.ends_with("\n:4\n"), "{out}");
    let (_, out, _) = after(&["generate", "-o", "k"]);
    assert!(out.starts_with("kustomize"), "{out}");
    let (_, out, _) = after(&["generate", "--inventory", ""]);
    assert_eq!(out, ":0\n");
}

#[test]
fn every_command_has_a_manual_page() {
    let dir = tempfile::tempdir().expect("a directory");
    let (code, _, problems) = run(bare(&["man", "--out-dir"]).arg(dir.path()));
    assert_eq!(code, Some(0), "{problems}");
    let names = fs::read_dir(dir.path()).expect("a directory");
    let mut names: Vec<String> = names
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    assert!(names.contains(&"kubectl-netpol.1".to_owned()), "{names:?}");
    assert!(
        names.contains(&"kubectl-netpol-enforce.1".to_owned()),
        "{names:?}"
    );
    let page = fs::read_to_string(dir.path().join("kubectl-netpol-enforce.1")).expect("a file");
    assert!(
        page.contains(".TH") && page.contains("NETPOL_TIMEOUT"),
        "{page}"
    );
}

#[test]
fn help_shows_how_commands_are_used() {
    let (code, out, _) = run(&mut bare(&["enforce", "--help"]));
    assert_eq!(code, Some(0));
    assert!(out.contains("Usage: kubectl netpol enforce"), "{out}");
    assert!(
        out.contains("Examples:") && out.contains("--wait --timeout 30m"),
        "{out}"
    );
    assert!(!out.contains('\u{1b}'), "no colours where nobody looks");
}
