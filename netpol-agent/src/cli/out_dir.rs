//! A directory of policies that is written whole or not at all.
//!
//! The new directory is made beside the old one and renamed into its place. Only what this command wrote is ever
//! replaced: files in folders of one level, and a Kustomization at the top, each of which begins with the line that all
//! generated files begin with.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail, ensure};

use crate::policy::emit::{File as PolicyFile, HEADER, kustomize};

/// The extensions of files that this command writes.
const EXTENSIONS: [&str; 2] = ["yaml", "tf"];

/// Whether `dir` may be written: absent, empty, or nothing in it that this command did not write.
///
/// # Errors
///
/// Anything else, named by its path.
pub(super) fn check(dir: &Path) -> anyhow::Result<()> {
    let Some(place) = existing(dir)? else {
        return Ok(());
    };
    for folder in entries(&place)? {
        if folder.ends_with(kustomize::FILE_NAME) && folder.is_file() {
            ensure_ours(&folder, is_ours(&folder)?)?;
            continue;
        }
        ensure_ours(&folder, folder.is_dir() && !folder.is_symlink())?;
        let files = entries(&folder)?;
        ensure_ours(&folder, !files.is_empty())?;
        for file in files {
            ensure_ours(&file, is_ours(&file)?)?;
        }
    }
    Ok(())
}

/// Puts exactly these files into `dir`.
///
/// # Errors
///
/// Whatever [`check`] finds, a namespace or name that is no name of a file, and whatever the file system refuses;
/// `dir` is then as it was before.
pub(super) fn write(dir: &Path, files: &[PolicyFile]) -> anyhow::Result<()> {
    check(dir)?;
    let old = existing(dir)?;
    let place = match &old {
        Some(place) => place.clone(),
        None => absent(dir)?,
    };
    let parent = place
        .parent()
        .with_context(|| format!("{} cannot be replaced", place.display()))?;
    let beside = tempfile::Builder::new()
        .prefix(".netpol-")
        .tempdir_in(parent)
        .with_context(|| format!("no directory can be made in {}", parent.display()))?;
    let new = beside.path().join("new");
    fill(&new, files)?;
    let aside = old.as_ref().map(|_| beside.path().join("old"));
    swap(&new, &place, aside.as_deref())
        .with_context(|| format!("{} cannot be replaced", place.display()))
}

/// The directory, with symbolic links followed, if there is one.
fn existing(dir: &Path) -> anyhow::Result<Option<PathBuf>> {
    if fs::symlink_metadata(dir).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let place = dir
        .canonicalize()
        .with_context(|| format!("{} cannot be followed", dir.display()))?;
    ensure!(place.is_dir(), "{} is not a directory", dir.display());
    Ok(Some(place))
}

/// The path of a directory that does not exist, in a directory that does.
fn absent(dir: &Path) -> anyhow::Result<PathBuf> {
    let (Some(name), Some(parent)) = (dir.file_name(), dir.parent()) else {
        bail!("{} is no name of a directory", dir.display());
    };
    let parent = if parent == Path::new("") {
        Path::new(".")
    } else {
        parent
    };
    let parent = parent
        .canonicalize()
        .with_context(|| format!("{}: make this directory first", parent.display()))?;
    Ok(parent.join(name))
}

fn entries(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let listed = || -> std::io::Result<Vec<PathBuf>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect()
    };
    let mut entries = listed().with_context(|| format!("{} cannot be listed", dir.display()))?;
    entries.sort();
    Ok(entries)
}

fn ensure_ours(path: &Path, ours: bool) -> anyhow::Result<()> {
    ensure!(
        ours,
        "{} was not written by this command: choose a directory that is absent or empty",
        path.display()
    );
    Ok(())
}

/// Whether a file begins as all generated files do.
fn is_ours(path: &Path) -> anyhow::Result<bool> {
    let regular = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    let known = |extension| EXTENSIONS.iter().any(|known| extension == *known);
    if !regular || !path.extension().is_some_and(known) {
        return Ok(false);
    }
    let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut first = Vec::new();
    let limit = HEADER.len() as u64 + 2;
    BufReader::new(file.take(limit))
        .read_until(b'\n', &mut first)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(first.trim_ascii_end() == HEADER.as_bytes())
}

fn fill(new: &Path, files: &[PolicyFile]) -> anyhow::Result<()> {
    fs::create_dir(new).with_context(|| format!("{} cannot be made", new.display()))?;
    for file in files {
        for part in file.folder.iter().chain([&file.name]) {
            ensure!(
                is_file_name(part),
                "{part:?} is no name of a file: mend it in the inventory"
            );
        }
        let folder = match &file.folder {
            Some(folder) => new.join(folder),
            None => new.to_owned(),
        };
        let path = folder.join(&file.name);
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(&path, &file.text))
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}

/// Renames `new` to `place`; what is there goes to `aside` first, and comes back if `new` cannot take its place.
fn swap(new: &Path, place: &Path, aside: Option<&Path>) -> std::io::Result<()> {
    let Some(aside) = aside else {
        return fs::rename(new, place);
    };
    fs::rename(place, aside)?;
    fs::rename(new, place).inspect_err(|_| {
        // The first error is the one to tell.
        let _ = fs::rename(aside, place);
    })
}

/// Whether a text is one plain component of a path.
fn is_file_name(text: &str) -> bool {
    let mut components = Path::new(text).components();
    let plain = matches!(components.next(), Some(Component::Normal(name)) if name == text);
    plain && components.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(namespace: &str, name: &str) -> PolicyFile {
        PolicyFile {
            folder: Some(namespace.to_owned()),
            name: format!("{name}.yaml"),
            text: format!("{HEADER}\nkind: {name}\n"),
        }
    }

    /// Every path under a directory, sorted, with its text if it is a file.
    fn listing(dir: &Path) -> Vec<String> {
        let mut all = Vec::new();
        for path in entries(dir).unwrap() {
            if path.is_dir() {
                all.push(path.display().to_string());
                all.extend(listing(&path));
            } else {
                all.push(format!(
                    "{}: {}",
                    path.display(),
                    fs::read_to_string(&path).unwrap()
                ));
            }
        }
        all
    }

    fn holds(dir: &Path, files: &[(&str, &str)]) -> bool {
        let read = |(namespace, name): &(&str, &str)| {
            fs::read_to_string(dir.join(namespace).join(format!("{name}.yaml"))).ok()
                == Some(file(namespace, name).text)
        };
        files.iter().all(read)
            && listing(dir)
                .iter()
                .filter(|line| line.contains(": "))
                .count()
                == files.len()
    }

    #[test]
    fn an_absent_directory_is_made_and_its_own_work_replaced() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("policies");
        write(&dir, &[file("a", "x"), file("b", "y")]).unwrap();
        assert!(holds(&dir, &[("a", "x"), ("b", "y")]));
        write(&dir, &[file("b", "z")]).unwrap();
        assert!(holds(&dir, &[("b", "z")]));
        assert_eq!(entries(base.path()).unwrap().len(), 1);
        write(&dir, &[]).unwrap();
        assert!(entries(&dir).unwrap().is_empty());
        write(&dir, &[file("a", "x")]).unwrap();
        assert!(holds(&dir, &[("a", "x")]));
    }

    #[test]
    fn formats_replace_each_other() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("policies");
        let top = PolicyFile {
            folder: None,
            name: kustomize::FILE_NAME.to_owned(),
            text: format!("{HEADER}\nkind: Kustomization\n"),
        };
        let terraform = PolicyFile {
            name: "x.tf".to_owned(),
            ..file("a", "x")
        };
        write(&dir, &[file("a", "x"), top]).unwrap();
        assert_eq!(entries(&dir).unwrap().len(), 2);
        write(&dir, &[terraform]).unwrap();
        assert_eq!(entries(&dir).unwrap(), [dir.join("a")]);
        assert_eq!(entries(&dir.join("a")).unwrap(), [dir.join("a/x.tf")]);
        write(&dir, &[file("a", "x")]).unwrap();
        assert!(holds(&dir, &[("a", "x")]));
    }

    #[test]
    fn what_others_wrote_stays() {
        type Spoil = fn(&Path);
        let spoils: [Spoil; 8] = [
            |dir| fs::write(dir.join("kustomization.yaml"), "kind: Kustomization\n").unwrap(),
            |dir| fs::write(dir.join("policies.yaml"), format!("{HEADER}\n")).unwrap(),
            |dir| fs::write(dir.join("notes.txt"), "mine").unwrap(),
            |dir| fs::write(dir.join("a/x.yaml"), "kind: Secret\n").unwrap(),
            |dir| fs::write(dir.join("a/more.txt"), HEADER).unwrap(),
            |dir| fs::write(dir.join("a/y.yaml"), "").unwrap(),
            |dir| fs::create_dir(dir.join("a/deeper")).unwrap(),
            |dir| fs::create_dir(dir.join("empty")).unwrap(),
        ];
        for (number, spoil) in spoils.into_iter().enumerate() {
            let base = tempfile::tempdir().unwrap();
            let dir = base.path().join("policies");
            write(&dir, &[file("a", "x")]).unwrap();
            spoil(&dir);
            let before = listing(base.path());
            let error = write(&dir, &[file("b", "y")]).unwrap_err().to_string();
            assert!(
                error.contains("was not written by this command"),
                "{number}: {error}"
            );
            assert_eq!(listing(base.path()), before, "{number}");
        }
    }

    #[test]
    fn a_bad_name_or_place_leaves_nothing_behind() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("policies");
        for namespace in ["..", "a/b", "", "/etc", "."] {
            assert!(
                write(&dir, &[file("good", "x"), file(namespace, "x")]).is_err(),
                "{namespace}"
            );
            assert!(entries(base.path()).unwrap().is_empty(), "{namespace}");
        }
        assert!(write(&base.path().join("no/such"), &[]).is_err());
        let taken = base.path().join("file");
        fs::write(&taken, HEADER).unwrap();
        assert!(
            write(&taken, &[])
                .unwrap_err()
                .to_string()
                .contains("is not a directory")
        );
    }

    #[cfg(unix)]
    #[test]
    fn links_inside_are_not_followed() {
        let base = tempfile::tempdir().unwrap();
        let (dir, other) = (base.path().join("policies"), base.path().join("other"));
        write(&other, &[file("a", "x")]).unwrap();
        fs::create_dir(&dir).unwrap();
        std::os::unix::fs::symlink(other.join("a"), dir.join("a")).unwrap();
        assert!(write(&dir, &[]).is_err());
        assert!(holds(&other, &[("a", "x")]));
    }
}
