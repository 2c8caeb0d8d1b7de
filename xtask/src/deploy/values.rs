//! The table of values in the chart's README, made from `values.yaml` and the comments in it.
//!
//! A comment that begins with `# --` describes the value on the line after it; it may go on over several lines. A value
//! without one belongs to the description of a value around it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// Where the table begins and ends in the README.
const BEGIN: &str = "<!-- values: made by `cargo xtask deploy` -->\n";
const END: &str = "<!-- end of values -->";

/// A described value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Described {
    /// The path, with dots.
    pub path: String,
    /// What it is for.
    pub description: String,
}

/// The described values of `values.yaml`, in its order.
///
/// # Errors
///
/// If a description stands before something that is no value, or is empty.
pub fn described(source: &str) -> Result<Vec<Described>> {
    let mut found = Vec::new();
    let mut above: Vec<(usize, String)> = Vec::new();
    let mut description: Option<String> = None;
    for (number, line) in source.lines().enumerate() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if let Some(first) = text.strip_prefix("# -- ") {
            description = Some(first.trim().to_owned());
        } else if let Some(more) = text.strip_prefix("# ") {
            if let Some(description) = &mut description {
                let _ = write!(description, " {}", more.trim());
            }
        } else if let Some((key, _)) = key(text) {
            above.retain(|(outer, _)| *outer < indent);
            above.push((indent, key.to_owned()));
            if let Some(description) = description.take() {
                let path: Vec<&str> = above.iter().map(|(_, key)| key.as_str()).collect();
                found.push(Described {
                    path: path.join("."),
                    description,
                });
            }
        } else if description.is_some() {
            bail!(
                "line {}: a description must stand right above a value",
                number + 1
            );
        }
    }
    Ok(found)
}

/// The table, in Markdown.
///
/// # Errors
///
/// If the values cannot be read.
pub fn table(values: &Path) -> Result<String> {
    let source =
        fs::read_to_string(values).with_context(|| format!("read {}", values.display()))?;
    let root: Value = serde_saphyr::from_str(&source).context("read the values")?;
    let mut table = "| value | default | what it is for |\n|---|---|---|\n".to_owned();
    for Described { path, description } in described(&source)? {
        let value = path.split('.').fold(&root, |value, key| &value[key]);
        // Writing to a String cannot fail.
        let _ = writeln!(table, "| `{path}` | `{value}` | {description} |");
    }
    Ok(table)
}

/// The README with that table in place of the one in it.
///
/// # Errors
///
/// If the README does not say where the table goes.
pub fn with_table(readme: &str, table: &str) -> Result<String> {
    let places = readme
        .split_once(BEGIN)
        .and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let Some((before, after)) = places else {
        bail!(
            "it must hold the lines {BEGIN:?} and {END:?}, between which the table of values goes"
        );
    };
    Ok(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}

/// The key that a line gives a value to.
fn key(text: &str) -> Option<(&str, &str)> {
    let (key, rest) = text.split_once(':')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_key = !key.is_empty() && key.bytes().all(plain);
    (is_key && (rest.is_empty() || rest.starts_with(' '))).then_some((key, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_belong_to_the_value_below_them() {
        let source = "# A comment of no value's.\n\n# -- One.\n# More of it.\na: 1\nb:\n  # -- Two.\n  c: {}\n  d: 2\n\
                      # -- Three.\ne: []\n";
        let found: Vec<(String, String)> = described(source)
            .unwrap()
            .into_iter()
            .map(|described| (described.path, described.description))
            .collect();
        let expected = [("a", "One. More of it."), ("b.c", "Two."), ("e", "Three.")];
        assert_eq!(
            found,
            expected.map(|(path, text)| (path.to_owned(), text.to_owned()))
        );
        assert!(described("# -- Lost.\n- item\n").is_err());
    }

    #[test]
    fn the_table_takes_the_place_of_the_old_one() {
        let readme = format!("# Title\n{BEGIN}old\n{END}\nrest\n");
        let new = with_table(&readme, "new").unwrap();
        assert_eq!(new, format!("# Title\n{BEGIN}\nnew\n{END}\nrest\n"));
        assert_eq!(with_table(&new, "new").unwrap(), new);
        assert!(with_table("# Title\n", "new").is_err());
    }
}
