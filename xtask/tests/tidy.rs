//! Rules about the source tree that no compiler checks.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The longest file that one sitting reads.
const MOST_LINES: usize = 600;

/// Modules of `netpol-agent` that know no clock, no file, no socket, no kube client and no aya.
const PURE: &[&str] = &["control", "flows", "graph", "identity", "ledger", "policy"];

/// What a pure module must not name.
const IMPURE: &[&str] = &[
    "Timestamp::now",
    "SystemTime",
    "Instant::now",
    "std::fs",
    "std::env",
    "std::process",
    "TcpStream",
    "UdpSocket",
    "tokio::",
    "kube::",
    "aya::",
    "rusqlite",
];

#[test]
fn every_source_file_opens_with_its_purpose() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|path| !opens_with_purpose(path))
        .collect();
    assert!(silent.is_empty(), "these open without `//!`: {silent:#?}");
}

#[test]
fn every_module_is_reachable() {
    let orphans: Vec<_> = sources()
        .into_iter()
        .filter(|path| path.components().any(|part| part.as_os_str() == "src"))
        .filter(|path| !is_root(path) && !declared(path))
        .collect();
    assert!(orphans.is_empty(), "no `mod` declares these: {orphans:#?}");
}

#[test]
fn no_file_is_longer_than_one_sitting_reads() {
    let long: Vec<_> = sources()
        .into_iter()
        .map(|path| (read(&path).lines().count(), path))
        .filter(|(lines, _)| *lines > MOST_LINES)
        .collect();
    assert!(long.is_empty(), "longer than {MOST_LINES} lines: {long:#?}");
}

#[test]
fn the_pure_core_stays_pure() {
    let mut found = BTreeSet::new();
    for path in sources().into_iter().filter(|path| is_pure(path)) {
        for (number, line) in read(&path).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if let Some(word) = IMPURE.iter().find(|word| code.contains(**word)) {
                found.insert(format!("{}:{}: {word}", path.display(), number + 1));
            }
        }
    }
    assert!(
        found.is_empty(),
        "the pure core names the outside world: {found:#?}"
    );
}

#[test]
fn nothing_else_of_ours_stands_at_the_root() {
    let known = [
        "ARCHITECTURE.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "clippy.toml",
        "deploy",
        "netpol-agent",
        "netpol-common",
        "netpol-ebpf",
        "rust-toolchain.toml",
        "rustfmt.toml",
        "target",
        "xtask",
    ];
    let strange: Vec<_> = fs::read_dir(root())
        .expect("the root can be listed")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| !name.starts_with('.') && !known.contains(&name.as_str()))
        .collect();
    assert!(strange.is_empty(), "not part of the layout: {strange:?}");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .expect("the root exists")
}

/// Every Rust file of the workspace, build products left out.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for name in ["netpol-agent", "netpol-common", "netpol-ebpf", "xtask"] {
        collect(&root().join(name), &mut found);
    }
    assert!(found.len() > 10, "the sources are somewhere else");
    found
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder can be listed") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a source file is UTF-8")
}

fn opens_with_purpose(path: &Path) -> bool {
    read(path)
        .lines()
        .find(|line| !line.starts_with("#!"))
        .is_some_and(|line| line.starts_with("//!"))
}

/// Crate roots: found by cargo, by their place or by the manifest, not by a `mod`.
fn is_root(path: &Path) -> bool {
    let inside = path
        .strip_prefix(root())
        .expect("sources are below the root");
    let mut parts = inside.components();
    let member = root().join(parts.next().expect("a source is in a member"));
    let relative = parts.as_path();
    let by_place = relative == Path::new("src/lib.rs")
        || relative == Path::new("src/main.rs")
        || relative.starts_with("src/bin");
    by_place
        || read(&member.join("Cargo.toml")).contains(&format!("path = \"{}\"", relative.display()))
}

/// Whether a sibling or parent file declares the module of `path`.
fn declared(path: &Path) -> bool {
    let folder = path.parent().expect("a file has a folder");
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    let (module, folder) = match stem {
        "mod" => {
            let name = folder
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            (name, folder.parent().expect("a module folder has a parent"))
        }
        _ => (stem, folder),
    };
    let declaration = format!("mod {module};");
    [
        folder.join("mod.rs"),
        folder.join("lib.rs"),
        folder.join("main.rs"),
        folder.with_extension("rs"),
    ]
    .iter()
    .filter(|candidate| candidate.exists())
    .any(|candidate| {
        read(candidate)
            .lines()
            .any(|line| line.trim_end().ends_with(&declaration))
    })
}

fn is_pure(path: &Path) -> bool {
    let Ok(inside) = path.strip_prefix(root().join("netpol-agent/src")) else {
        return false;
    };
    inside
        .components()
        .next()
        .and_then(|part| Path::new(part.as_os_str()).file_stem())
        .is_some_and(|first| PURE.iter().any(|module| first == *module))
}
