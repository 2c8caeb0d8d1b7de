//! The chart as a source: its name, values and templates, and the documents that they render to.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::template::Templates;

/// The release that the plain manifests are: what `helm template` would be told.
pub const RELEASE: &str = "netpol";
/// The namespace of that release.
pub const NAMESPACE: &str = "netpol-system";
/// The annotation by which Helm runs a document at a certain time instead of installing it.
const HOOK: &str = "helm.sh/hook";
/// The template of what Helm says after it has installed.
const NOTES: &str = "NOTES.txt";

/// A chart on disk.
#[derive(Clone, Debug)]
pub struct Chart {
    /// The sources of its templates by their path in the chart.
    templates: BTreeMap<String, String>,
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
    /// Reads the chart's description, its values and its templates.
    ///
    /// # Errors
    ///
    /// If one cannot be read, or description or values are no YAML.
    pub fn read(directory: &Path) -> Result<Self> {
        Ok(Self {
            templates: templates(directory)?,
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

    /// The same chart with another template in that place.
    #[must_use]
    pub fn with_template(mut self, path: &str, source: &str) -> Self {
        self.templates.insert(path.to_owned(), source.to_owned());
        self
    }

    /// What every template that holds a document renders to with those values, in the order of their names.
    ///
    /// # Errors
    ///
    /// If a template uses what it must not, or renders to something that is no YAML, or mixes hooks with other documents.
    pub fn render(&self, values: &Value) -> Result<Vec<Rendered>> {
        let mut templates = Templates::default();
        for (path, source) in &self.templates {
            templates.add(path, source)?;
        }
        let root = self.root(values);
        let mut rendered = Vec::new();
        for path in self.templates.keys() {
            let name = path.rsplit('/').next().unwrap_or(path);
            if name.starts_with('_') {
                continue;
            }
            let text = templates.render(path, &root)?;
            // What Helm says after it has installed is no manifest.
            if name != NOTES {
                rendered.extend(Rendered::new(name, &text)?);
            }
        }
        Ok(rendered)
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

/// The chart's templates by their path in it.
fn templates(chart: &Path) -> Result<BTreeMap<String, String>> {
    let directory = chart.join("templates");
    let entries = fs::read_dir(&directory)
        .with_context(|| format!("list the templates in {}", directory.display()))?;
    let mut templates = BTreeMap::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if [".yaml", ".tpl", ".txt"]
            .iter()
            .any(|end| name.ends_with(end))
        {
            let source = fs::read_to_string(&path)
                .with_context(|| format!("read the template {}", path.display()))?;
            templates.insert(format!("templates/{name}"), source);
        }
    }
    Ok(templates)
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
