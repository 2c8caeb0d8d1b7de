//! What the README shows of commands on files is what they print.
//!
//! Each command `kubectl-netpol` in a `console` block is run in a copy of a directory that holds its inputs, and the
//! commands after it in the same copy. A line `…` stands for any number of lines.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// What a command says that tells it from the others, and where below `tests` its inputs are.
const INPUTS: [(&str, &str); 20] = [
    ("--pcap", "readme/replay"),
    ("--dns always", "golden/policy/dns-always"),
    ("--one-way repeated", "golden/policy/one-way"),
    ("--external aggregate", "golden/policy/external-aggregate"),
    ("--external any", "golden/policy/external-any"),
    ("--cidr-group", "golden/policy/cidr-groups"),
    ("--peers namespace", "golden/policy/peers-namespace"),
    ("--node-cidr auto", "golden/policy/node-cidr-auto"),
    ("--ranges infer", "golden/policy/ranges-known"),
    ("--default-deny", "golden/policy/default-deny"),
    ("--reject", "golden/policy/reject"),
    ("--cni aws", "golden/policy/cni-aws"),
    ("-o cilium", "golden/policy/api-server"),
    ("-o calico", "golden/policy/api-server"),
    ("--against", "readme/shop"),
    ("--policies policies.yaml", "readme/shop"),
    ("--policies bad.yaml", "readme/shop"),
    ("kubectl-netpol check", "readme/verdicts"),
    ("kubectl-netpol connectivity", "readme/verdicts"),
    ("kubectl-netpol diff", "readme/verdicts"),
];

/// A command of ours, those after it, and what is shown below each.
type Example = Vec<(String, Vec<String>)>;

/// The examples that need no cluster: there the plugin of kubectl is called by its own name.
fn examples(readme: &str) -> Vec<Example> {
    let mut all: Vec<Example> = Vec::new();
    for block in readme.split("```console\n").skip(1) {
        let (block, _) = block.split_once("\n```").expect("a block that ends");
        let mut is_ours = false;
        for line in block.lines() {
            let Some(command) = line.strip_prefix("$ ") else {
                if let Some((_, shown)) = all
                    .last_mut()
                    .filter(|_| is_ours)
                    .and_then(|one| one.last_mut())
                {
                    shown.push(line.to_owned());
                }
                continue;
            };
            if command.starts_with("kubectl-netpol ") {
                is_ours = true;
                all.push(Example::new());
            }
            if let Some(example) = all.last_mut().filter(|_| is_ours) {
                example.push((command.to_owned(), Vec::new()));
            }
        }
    }
    all
}

/// What a shell prints that runs the commands of an example, each for itself.
fn run(example: &Example, directory: &Path) -> Vec<String> {
    const END: char = '\u{1e}';
    let commands = example.iter();
    let commands =
        commands.map(|(command, _)| format!("{command}\ncode=$?; printf '\\036'; (exit $code)\n"));
    let ours = Path::new(env!("CARGO_BIN_EXE_kubectl-netpol"));
    let ours = ours.parent().expect("a directory");
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!("exec 2>&1\n{}", commands.collect::<String>()))
        .env("PATH", format!("{}:/usr/bin:/bin", ours.display()))
        .current_dir(directory)
        .output()
        .expect("a shell");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.trim_end_matches(END)
        .split(END)
        .map(str::to_owned)
        .collect()
}

/// Whether lines are those that are shown.
fn is_shown(found: &[&str], shown: &[String]) -> bool {
    match shown.split_first() {
        None => found.is_empty(),
        Some((one, rest)) if one == "…" => {
            (0..=found.len()).any(|left_out| is_shown(&found[left_out..], rest))
        }
        Some((one, rest)) => found
            .split_first()
            .is_some_and(|(line, found)| line == one && is_shown(found, rest)),
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("inputs") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).expect("a copy")),
        }
    }
}

#[test]
fn every_example_prints_what_is_shown() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(here.join("../README.md")).expect("the README");
    let mut used = BTreeSet::new();
    for example in examples(&readme) {
        let (command, _) = &example[0];
        let inputs = INPUTS.iter().find(|(words, _)| command.contains(words));
        let (words, inputs) =
            inputs.unwrap_or_else(|| panic!("no inputs are known for `{command}`"));
        used.insert(*words);
        let directory = TempDir::new().expect("a directory");
        copy(&here.join("tests").join(inputs), directory.path());
        let found = run(&example, directory.path());
        assert_eq!(found.len(), example.len(), "{found:#?}");
        for (found, (command, shown)) in found.iter().zip(&example) {
            let lines: Vec<&str> = found.lines().collect();
            assert!(
                is_shown(&lines, shown),
                "`{command}` prints\n{found}\nand the README shows\n{}",
                shown.join("\n")
            );
        }
    }
    let all: BTreeSet<&str> = INPUTS.iter().map(|(words, _)| *words).collect();
    assert_eq!(used, all, "inputs of no example");
}

#[test]
fn what_is_left_out_stands_for_any_number_of_lines() {
    let shown = |lines: &[&str]| {
        lines
            .iter()
            .map(|line| (*line).to_owned())
            .collect::<Vec<_>>()
    };
    assert!(is_shown(&["a", "b", "c"], &shown(&["a", "…"])));
    assert!(is_shown(&["a", "b", "c"], &shown(&["…", "c"])));
    assert!(is_shown(&["a"], &shown(&["a", "…"])));
    assert!(!is_shown(&["a", "b"], &shown(&["a"])));
    assert!(!is_shown(&["a", "b"], &shown(&["…", "c"])));
}
