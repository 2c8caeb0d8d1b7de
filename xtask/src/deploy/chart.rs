//! The chart as a source: its name, values and templates, and the documents that they render to.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::template::Templates;

/// The release that the plain manifests are: what `helm template` would be told.
pub const RELEASE: &str = "netpol";
/// The namespace of that release.
pub const NAMESPACE: &str = "netpol-system";
/// The annotation by which Helm runs a document at a certain time instead of installing it.
const HOOK: &str = "helm.sh/hook";

/// A chart on disk.
#[derive(Clone, Debug)]
pub struct Chart {
    directory: PathBuf,
    about: Value,
    values: Value,
}

/// What a template rendered to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rendered {
    /// The file's name without its folder.
    pub name: String,
    /// The text of all its documents.
    pub text: String,
    /// Whether Helm runs it as a hook.
    pub hook: bool,
}

impl Chart {
    /// Reads the chart's description and its values.
    ///
    /// # Errors
    ///
    /// If one is absent or no YAML.
    pub fn read(directory: &Path) -> Result<Self> {
        Ok(Self {
            directory: directory.to_owned(),
            about: document(&directory.join("Chart.yaml"))?,
            values: document(&directory.join("values.yaml"))?,
        })
    }

    /// The default values.
    #[must_use]
    pub fn values(&self) -> &Value {
        &self.values
    }

    /// The version of the application, which is the image's tag.
    ///
    /// # Errors
    ///
    /// If the chart does not say.
    pub fn app_version(&self) -> Result<&str> {
        self.about["appVersion"]
            .as_str()
            .context("Chart.yaml has no appVersion: give it one, in quotes")
    }

    /// What every template that holds a document renders to with those values, in the order of their names.
    ///
    /// # Errors
    ///
    /// If a template uses what it must not, or renders to something that is no YAML, or mixes hooks with other documents.
    pub fn render(&self, values: &Value) -> Result<Vec<Rendered>> {
        let mut templates = Templates::default();
        let names = self.template_names()?;
        for name in &names {
            let path = self.directory.join("templates").join(name);
            let source = fs::read_to_string(&path)
                .with_context(|| format!("read the template {}", path.display()))?;
            templates.add(&format!("templates/{name}"), &source)?;
        }
        let root = self.root(values);
        let mut rendered = Vec::new();
        for name in names.iter().filter(|name| !name.starts_with('_')) {
            let text = templates.render(&format!("templates/{name}"), &root)?;
            rendered.extend(Rendered::new(name, &text)?);
        }
        Ok(rendered)
    }

    /// The templates' names in order.
    fn template_names(&self) -> Result<Vec<String>> {
        let directory = self.directory.join("templates");
        let entries = fs::read_dir(&directory)
            .with_context(|| format!("list the templates in {}", directory.display()))?;
        let mut names = Vec::new();
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if [".yaml", ".tpl"].iter().any(|end| name.ends_with(end)) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// What templates see as `.` and `$`.
    fn root(&self, values: &Value) -> Value {
        json!({
            "Values": values,
            "Release": {"Name": RELEASE, "Namespace": NAMESPACE},
            "Chart": {
                "Name": self.about["name"],
                "Version": self.about["version"],
                "AppVersion": self.about["appVersion"],
            },
        })
    }
}

impl Rendered {
    /// None if there is no document in it.
    fn new(name: &str, text: &str) -> Result<Option<Self>> {
        let documents = documents(text).with_context(|| format!("read what {name} renders to"))?;
        if documents.is_empty() {
            return Ok(None);
        }
        let hooks = documents
            .iter()
            .filter(|document| is_hook(document))
            .count();
        if hooks != 0 && hooks != documents.len() {
            bail!("{name} holds hooks and other documents: put them into files of their own");
        }
        Ok(Some(Self {
            name: name.to_owned(),
            text: format!("{}\n", text.trim()),
            hook: hooks != 0,
        }))
    }

    /// Its documents as values.
    ///
    /// # Errors
    ///
    /// If the text is no YAML.
    pub fn documents(&self) -> Result<Vec<Value>> {
        documents(&self.text)
    }
}

fn is_hook(document: &Value) -> bool {
    document["metadata"]["annotations"].get(HOOK).is_some()
}

/// The documents of a text, without empty ones.
///
/// # Errors
///
/// If one is no YAML.
pub fn documents(text: &str) -> Result<Vec<Value>> {
    let read: Vec<Value> = serde_saphyr::from_multiple(text)?;
    Ok(read.into_iter().filter(|value| !value.is_null()).collect())
}

fn document(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("read {}", path.display()))
}
