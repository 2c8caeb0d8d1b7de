//! An image in the OCI layout (image-spec 1.1) within one tar archive: one layer, not compressed.

use std::collections::HashMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use oci_spec::image::{
    ANNOTATION_REF_NAME, Arch, ConfigBuilder, Descriptor, ImageConfigurationBuilder,
    ImageIndexBuilder, ImageManifestBuilder, MediaType, OciLayoutBuilder, Os, PlatformBuilder,
    RootFsBuilder, SCHEMA_VERSION, Sha256Digest,
};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{ENTRYPOINT, USER};

/// By this containerd names an imported image; others go by [`ANNOTATION_REF_NAME`].
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// The layout's version.
const LAYOUT: &str = "1.0.0";

/// A file or folder of the image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Where it is, without a slash in front.
    pub path: String,
    /// Its permissions.
    pub mode: u32,
    /// None for a folder.
    pub content: Option<Vec<u8>>,
}

/// An image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Image {
    /// The archive.
    pub bytes: Vec<u8>,
    /// The digest of its manifest, by which it can be pinned.
    pub digest: String,
}

impl Entry {
    /// A folder that anyone may enter.
    #[must_use]
    pub fn directory(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            mode: 0o755,
            content: None,
        }
    }

    /// A file.
    #[must_use]
    pub fn file(path: &str, mode: u32, content: Vec<u8>) -> Self {
        Self {
            path: path.to_owned(),
            mode,
            content: Some(content),
        }
    }
}

/// Something that is kept by its digest.
struct Blob {
    bytes: Vec<u8>,
    digest: String,
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        let mut digest = String::with_capacity(64);
        for byte in Sha256::digest(&bytes) {
            // Writing to a String cannot fail.
            let _ = write!(digest, "{byte:02x}");
        }
        Self { bytes, digest }
    }

    fn json(value: &impl Serialize) -> Result<Self> {
        canonical(value).map(Self::new)
    }

    fn descriptor(&self, kind: MediaType) -> Result<Descriptor> {
        let digest: Sha256Digest = self.digest.parse()?;
        Ok(Descriptor::new(kind, self.bytes.len().try_into()?, digest))
    }

    fn entry(self) -> Entry {
        let path = format!("blobs/sha256/{}", self.digest);
        Entry::file(&path, 0o644, self.bytes)
    }
}

/// The image with that name and those files.
///
/// # Errors
///
/// If a path is too long for tar.
pub fn image(reference: &str, files: &[Entry]) -> Result<Image> {
    let layer = Blob::new(tar(files)?);
    let config = Blob::json(&configuration(&layer)?)?;
    let manifest = ImageManifestBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageManifest)
        .config(config.descriptor(MediaType::ImageConfig)?)
        .layers(vec![layer.descriptor(MediaType::ImageLayer)?])
        .build()?;
    let manifest = Blob::json(&manifest)?;
    let index = canonical(&index(reference, &manifest)?)?;
    let layout = OciLayoutBuilder::default()
        .image_layout_version(LAYOUT)
        .build()?;
    let digest = format!("sha256:{}", manifest.digest);
    let mut entries = vec![
        Entry::directory("blobs"),
        Entry::directory("blobs/sha256"),
        config.entry(),
        layer.entry(),
        manifest.entry(),
        Entry::file("index.json", 0o644, index),
        Entry::file("oci-layout", 0o644, canonical(&layout)?),
    ];
    entries.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(Image {
        bytes: tar(&entries)?,
        digest,
    })
}

fn configuration(layer: &Blob) -> Result<oci_spec::image::ImageConfiguration> {
    let run = ConfigBuilder::default()
        .user(USER)
        .entrypoint(vec![ENTRYPOINT.to_owned()])
        .working_dir("/")
        .build()?;
    let rootfs = RootFsBuilder::default()
        .typ("layers")
        .diff_ids(vec![format!("sha256:{}", layer.digest)])
        .build()?;
    Ok(ImageConfigurationBuilder::default()
        .architecture(Arch::Amd64)
        .os(Os::Linux)
        .config(run)
        .rootfs(rootfs)
        .build()?)
}

fn index(reference: &str, manifest: &Blob) -> Result<oci_spec::image::ImageIndex> {
    let platform = PlatformBuilder::default()
        .architecture(Arch::Amd64)
        .os(Os::Linux)
        .build()?;
    let names = [ANNOTATION_REF_NAME, CONTAINERD_NAME]
        .map(|annotation| (annotation.to_owned(), reference.to_owned()));
    let mut descriptor = manifest.descriptor(MediaType::ImageManifest)?;
    descriptor.set_platform(Some(platform));
    descriptor.set_annotations(Some(HashMap::from(names)));
    Ok(ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageIndex)
        .manifests(vec![descriptor])
        .build()?)
}

/// JSON whose keys are in order: the maps of the types above have none.
fn canonical(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut value = serde_json::to_value(value).context("write JSON")?;
    sort(&mut value);
    Ok(serde_json::to_vec(&value)?)
}

fn sort(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.sort_keys();
            fields.values_mut().for_each(sort);
        }
        Value::Array(items) => items.iter_mut().for_each(sort),
        _ => {}
    }
}

/// A tar archive (POSIX ustar) of the entries in the given order, all of them root's and without a time.
fn tar(entries: &[Entry]) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for entry in entries {
        let content = entry.content.as_deref().unwrap_or_default();
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(match entry.content {
            Some(_) => tar::EntryType::Regular,
            None => tar::EntryType::Directory,
        });
        header.set_mode(entry.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len().try_into()?);
        archive
            .append_data(&mut header, &entry.path, content)
            .with_context(|| format!("put {} into an archive", entry.path))?;
    }
    Ok(archive.into_inner()?)
}
