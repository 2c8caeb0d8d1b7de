//! Where an instance keeps its maps and links in a BPF file system.
//!
//! `<bpffs>/netpol/<instance>/v<ABI_VERSION>/` holds the maps, and in `links/` one file for each TCX link, named
//! `<ifindex>-<interface handle>-<in|out>`.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::errno::Errno;
use sha2::{Digest as _, Sha256};

use super::error::AttachError;
use super::hook::Hook;

/// The name under which one observer keeps its maps and links: one for each network namespace that is observed.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Instance(String);

/// The directory of one instance in a BPF file system.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PinRoot {
    directory: PathBuf,
}

/// The name of a pinned link.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct LinkName {
    pub(super) ifindex: u32,
    pub(super) interface: u32,
    pub(super) hook: Hook,
}

impl Instance {
    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The instance of a node, given the agent's. What is too long for the names that it goes into is cut off, and a
    /// hash of the whole stands for it.
    ///
    /// # Errors
    ///
    /// [`AttachError::InvalidInstance`] if the node's name does not fit a file name.
    pub fn of_node(&self, node: &str) -> Result<Self, AttachError> {
        shorten(&format!("{self}.{node}"), LONGEST).parse()
    }

    /// Its name, in at most `longest` characters, of which there must be 17.
    pub(super) fn shortened(&self, longest: usize) -> String {
        shorten(&self.0, longest)
    }

    /// Its directory's name: bpffs reserves names with dots, and no instance has an underscore.
    fn directory(&self) -> String {
        self.0.replace('.', "_")
    }
}

impl PinRoot {
    /// The directory of `instance` below the mount point `bpffs`. Nothing is made yet.
    #[must_use]
    pub fn new(bpffs: &Path, instance: &Instance) -> Self {
        Self {
            directory: bpffs.join(TOP).join(instance.directory()),
        }
    }

    /// The directory itself.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The directory of the maps and links of one `ABI_VERSION`.
    #[must_use]
    pub fn version(&self, abi_version: u32) -> PathBuf {
        self.directory.join(format!("v{abi_version}"))
    }

    /// The versions that have a directory, in order.
    ///
    /// # Errors
    ///
    /// [`AttachError::Pin`] if the directory cannot be read.
    pub fn versions(&self) -> Result<Vec<u32>, AttachError> {
        let names = entries(&self.directory)?;
        let mut versions: Vec<u32> = names
            .iter()
            .filter_map(|name| number(name.strip_prefix('v')?))
            .collect();
        versions.sort_unstable();
        Ok(versions)
    }

    /// Unpins everything of one `ABI_VERSION`: what is not attached or open elsewhere ceases to exist. Returns the
    /// names of the maps.
    ///
    /// # Errors
    ///
    /// [`AttachError::Pin`] at the first file that cannot be removed.
    pub fn remove_version(&self, abi_version: u32) -> Result<Vec<String>, AttachError> {
        let directory = self.version(abi_version);
        remove_files(&links(&directory))?;
        remove_files(&directory)
    }

    /// Removes the directory of the instance, and the one above, if they are empty.
    pub(super) fn remove_if_empty(&self) {
        for directory in [Some(&*self.directory), self.directory.parent()] {
            // What is not empty stays: another version's or another instance's.
            let _kept = directory.map(fs::remove_dir);
        }
    }

    pub(super) fn links(&self, abi_version: u32) -> PathBuf {
        links(&self.version(abi_version))
    }
}

impl LinkName {
    fn parse(text: &str) -> Option<Self> {
        let [ifindex, interface, hook] = text.split('-').collect::<Vec<_>>().try_into().ok()?;
        Some(Self {
            ifindex: number(ifindex)?,
            interface: number(interface)?,
            hook: Hook::from_short(hook)?,
        })
    }
}

impl FromStr for Instance {
    type Err = AttachError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=LONGEST).contains(&text.len());
        let first = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let all = text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
        if fits && first && all {
            Ok(Self(text.to_owned()))
        } else {
            Err(AttachError::InvalidInstance {
                name: text.to_owned(),
            })
        }
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hook = self.hook.short();
        write!(f, "{}-{}-{hook}", self.ifindex, self.interface)
    }
}

/// The directory of all instances, below the mount point.
const TOP: &str = "netpol";
/// What the name of a link ends with until it takes another's place.
const NEXT: &str = "-next";
/// The longest name of an instance: with the rest it has to fit the 255 bytes of a filter's name.
pub(in crate::node) const LONGEST: usize = 180;

/// `text`, or if that is longer than `longest` bytes, its beginning and 16 hexadecimal digits of its SHA-256.
pub(in crate::node) fn shorten(text: &str, longest: usize) -> String {
    if text.len() <= longest {
        return text.to_owned();
    }
    let hash: String = Sha256::digest(text)
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut kept = longest.saturating_sub(hash.len() + 1);
    while !text.is_char_boundary(kept) {
        kept -= 1;
    }
    format!("{}-{hash}", &text[..kept])
}

/// The links pinned in `directory`, in order.
pub(super) fn link_names(directory: &Path) -> Result<Vec<LinkName>, AttachError> {
    let names = entries(directory)?;
    let mut names: Vec<_> = names
        .iter()
        .filter_map(|name| LinkName::parse(name))
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// Makes `directory` and those above it.
pub(super) fn make_directory(directory: &Path) -> Result<(), AttachError> {
    fs::create_dir_all(directory).map_err(failed("make the directory", directory))
}

/// Where a link is pinned until it takes the place of the one pinned at `path`. No link is named like that.
pub(super) fn next_to(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(NEXT);
    name.into()
}

/// The links in `directory` that a process did not come to put in another's place, by path.
pub(super) fn left_over(directory: &Path) -> Result<Vec<PathBuf>, AttachError> {
    let names = entries(directory)?.into_iter();
    let left = names.filter(|name| name.ends_with(NEXT));
    Ok(left.map(|name| directory.join(name)).collect())
}

/// Puts what is pinned at `from` in the place of what is pinned at `to`.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), AttachError> {
    fs::rename(from, to).map_err(failed("rename", from))
}

/// Removes a file; one that is not there counts as removed.
pub(super) fn remove_file(path: &Path) -> Result<(), AttachError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// A decimal number as we write it: no sign, no leading zero.
pub(super) fn number(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn links(version: &Path) -> PathBuf {
    version.join("links")
}

/// Removes the files in `directory` and then `directory` itself; none is as good as an empty one.
fn remove_files(directory: &Path) -> Result<Vec<String>, AttachError> {
    let names = entries(directory)?;
    for name in &names {
        remove_file(&directory.join(name))?;
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed("remove the directory", directory)(error))
        }
        _ => Ok(names),
    }
}

/// The names in `directory`, sorted; none if it does not exist.
fn entries(directory: &Path) -> Result<Vec<String>, AttachError> {
    let read = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result.map_err(failed("read the directory", directory)),
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AttachError {
    let path = path.to_owned();
    move |error| AttachError::Pin {
        action,
        path,
        errno: Errno::from_raw(error.raw_os_error().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_instance_is_a_node_name_or_the_like() {
        for good in ["n", "node-1", "ip-10-0-0-1.ec2.internal", "0", "A.b-c"] {
            assert_eq!(good.parse::<Instance>().unwrap().as_str(), good);
        }
        let long = "a".repeat(LONGEST + 1);
        for bad in [
            "",
            ".",
            "..",
            "-a",
            "a/b",
            "a_b",
            "a b",
            "ä",
            "a\n",
            long.as_str(),
        ] {
            assert!(bad.parse::<Instance>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_longest_names_of_nodes_are_told_apart() {
        let agent: Instance = "default".parse().unwrap();
        let label = "a".repeat(63);
        let long = [&*label, &label, &label, &"b".repeat(61)].join(".");
        assert_eq!(long.len(), 253);
        let instance = agent.of_node(&long).unwrap();
        assert_eq!(instance.as_str().len(), LONGEST);
        let other = long.replace('b', "c");
        assert_ne!(agent.of_node(&other).unwrap(), instance);
        assert_eq!(agent.of_node("node-1").unwrap().as_str(), "default.node-1");
        assert!(agent.of_node("a/b").is_err());
        assert_eq!(shorten(&"ä".repeat(20), 20), "ä-361499a9c53bd61d");
    }

    #[test]
    fn directories_have_no_dots_and_differ_between_instances() {
        let root = |name: &str| PinRoot::new(Path::new("/b"), &name.parse().unwrap());
        assert_eq!(root("a.b").version(3), Path::new("/b/netpol/a_b/v3"));
        assert_ne!(root("a.b"), root("a-b"));
    }

    #[test]
    fn versions_are_listed_in_order_and_strangers_are_not() {
        let bpffs = tempfile::tempdir().unwrap();
        let root = PinRoot::new(bpffs.path(), &"n".parse().unwrap());
        assert!(root.versions().unwrap().is_empty());
        for name in ["v10", "v2", "v02", "v", "w3", "v-1"] {
            fs::create_dir_all(root.directory().join(name)).unwrap();
        }
        assert_eq!(root.versions().unwrap(), [2, 10]);
    }

    #[test]
    fn removing_a_version_leaves_the_others() {
        let bpffs = tempfile::tempdir().unwrap();
        let root = PinRoot::new(bpffs.path(), &"n".parse().unwrap());
        for version in [1, 2] {
            make_directory(&root.links(version)).unwrap();
            fs::write(root.links(version).join("3-4-in"), "").unwrap();
            fs::write(root.version(version).join("EDGES"), "").unwrap();
        }
        assert_eq!(root.remove_version(1).unwrap(), ["EDGES"]);
        assert_eq!(root.versions().unwrap(), [2]);
        root.remove_if_empty();
        assert_eq!(root.versions().unwrap(), [2]);
        assert_eq!(root.remove_version(2).unwrap(), ["EDGES"]);
        root.remove_if_empty();
        assert!(entries(bpffs.path()).unwrap().is_empty());
        assert!(root.remove_version(2).unwrap().is_empty());
    }

    #[test]
    fn link_names_that_we_do_not_write_are_not_ours() {
        for text in [
            "",
            "3-4",
            "3-4-in-",
            "3-4-up",
            "03-4-in",
            "+3-4-in",
            "3--in",
            "4294967296-1-in",
        ] {
            assert_eq!(LinkName::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_link_name_is_read_back(ifindex: u32, interface: u32, egress: bool) {
            let hook = if egress { Hook::Egress } else { Hook::Ingress };
            let name = LinkName { ifindex, interface, hook };
            prop_assert_eq!(LinkName::parse(&name.to_string()), Some(name));
        }
    }
}
