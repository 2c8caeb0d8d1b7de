//! The image: a whole OCI layout, the same bytes from the same programs, and programs that need nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;

use oci_spec::image::{ImageConfiguration, ImageIndex, ImageManifest, MediaType, OciLayout};
use sha2::{Digest as _, Sha256};
use xtask::build::{Profile, static_programs};
use xtask::image::archive::{Entry, image};
use xtask::image::{ENTRYPOINT, USER, elf, entries, reference};
use xtask::workspace;

/// The regular files of a tar archive.
fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(archive);
    let mut files = BTreeMap::new();
    for entry in archive.entries().expect("entries") {
        let mut entry = entry.expect("an entry");
        assert_eq!(entry.header().mtime().expect("a time"), 0);
        assert_eq!(entry.header().uid().expect("an owner"), 0);
        if entry.header().entry_type().is_file() {
            let path = entry.path().expect("a path").display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("content");
            files.insert(path, content);
        }
    }
    files
}

/// The blob that a descriptor names; its size and digest must be right.
fn blob<'a>(
    files: &'a BTreeMap<String, Vec<u8>>,
    descriptor: &oci_spec::image::Descriptor,
) -> &'a [u8] {
    let digest = descriptor.as_digest_sha256().expect("sha256");
    let bytes = &files[&format!("blobs/sha256/{digest}")];
    assert_eq!(descriptor.size(), bytes.len() as u64);
    assert_eq!(hex(bytes), digest);
    bytes
}

fn hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[test]
fn the_archive_is_a_whole_image() {
    let entries = [
        Entry::directory("etc"),
        Entry::file("etc/a", 0o644, b"one".to_vec()),
        Entry::file("b", 0o755, b"two".to_vec()),
    ];
    let made = image("docker.io/netpol/a:1", &entries).expect("an image");
    assert_eq!(
        made,
        image("docker.io/netpol/a:1", &entries).expect("again")
    );
    let files = files(&made.bytes);

    let layout = OciLayout::from_reader(&files["oci-layout"][..]).expect("a layout");
    assert_eq!(layout.image_layout_version(), "1.0.0");
    let index = ImageIndex::from_reader(&files["index.json"][..]).expect("an index");
    let [descriptor] = &index.manifests()[..] else {
        panic!("{index:?}")
    };
    assert_eq!(made.digest, descriptor.digest().to_string());
    let names = descriptor.annotations().as_ref().expect("names");
    assert!(names.values().all(|name| name == "docker.io/netpol/a:1") && names.len() == 2);

    let manifest = ImageManifest::from_reader(blob(&files, descriptor)).expect("a manifest");
    let config = blob(&files, manifest.config());
    let config = ImageConfiguration::from_reader(config).expect("a configuration");
    let run = config.config().as_ref().expect("how to run");
    assert_eq!(
        run.entrypoint().as_deref(),
        Some(&[ENTRYPOINT.to_owned()][..])
    );
    assert_eq!(run.user().as_deref(), Some(USER));

    let [layer] = &manifest.layers()[..] else {
        panic!("{manifest:?}")
    };
    assert_eq!(*layer.media_type(), MediaType::ImageLayer);
    assert_eq!(config.rootfs().diff_ids(), &[layer.digest().to_string()]);
    let expected = [("b", "two"), ("etc/a", "one")];
    let inside = self::files(blob(&files, layer));
    assert_eq!(
        inside,
        expected
            .map(|(path, text)| (path.to_owned(), text.into()))
            .into()
    );
}

#[test]
fn the_programs_of_the_image_are_static() {
    let programs = static_programs(Profile::Debug).expect("the programs can be built");
    let entries = entries(&programs).expect("the programs are static");
    let program = |name: &str| {
        let entry = entries.iter().find(|entry| entry.path == name);
        entry.and_then(|entry| entry.content.clone()).expect(name)
    };
    for name in ["netpol-agent", "kubectl-netpol"] {
        assert_eq!(
            elf::needs(&program(name)).expect("a program"),
            None,
            "{name}"
        );
    }
    // It runs where there is nothing else.
    let root = tempfile::tempdir().expect("a folder");
    fs::copy(&programs.agent, root.path().join("netpol-agent")).expect("a copy");
    let output = std::process::Command::new("chroot")
        .arg(root.path())
        .args([ENTRYPOINT, "--version"])
        .output()
        .expect("chroot");
    let version = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(version.starts_with("netpol-agent "), "{output:?}");
}

#[test]
fn the_dockerfile_makes_the_same_image() {
    let dockerfile = fs::read_to_string(workspace().join("deploy/Dockerfile")).expect("it");
    let words: Vec<Vec<&str>> = dockerfile
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split_whitespace().collect())
        .collect();
    let entrypoint = format!("[\"{ENTRYPOINT}\"]");
    let expected = [
        vec!["FROM", "scratch"],
        vec!["COPY", "target/image/root/", "/"],
        vec!["WORKDIR", "/"],
        vec!["USER", USER],
        vec!["ENTRYPOINT", &entrypoint],
    ];
    assert_eq!(words, expected);
}

#[test]
fn the_images_name_is_the_charts() {
    let name = reference().expect("a name");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(name, format!("docker.io/netpol/netpol-agent:{version}"));
}
