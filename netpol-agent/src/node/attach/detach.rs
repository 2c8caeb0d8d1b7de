//! Removing every trace of an instance: links, filters, maps.

use std::path::Path;

use aya::maps::{HashMap, Map, MapData};
use netlink_sys::protocols::NETLINK_ROUTE;
use netpol_common::abi::{EdgeKey, EdgeValue};

use super::chain::clsact_filters;
use super::clsact::Clsact;
use super::error::AttachError;
use super::hook::Hook;
use super::pins::{self, Instance, PinRoot};
use super::tcx;
use crate::node::netlink::Requests;

/// What [`detach`] removed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Removed {
    /// TCX links that were attached.
    pub links: usize,
    /// Pinned links whose interface was gone.
    pub dead_links: usize,
    /// Filters, in order.
    pub filters: Vec<RemovedFilter>,
    /// Maps, as `v<ABI_VERSION>/<name>`, in order.
    pub maps: Vec<String>,
    /// How many edges and attempts those maps held at last, once nothing counted any more.
    pub entries: usize,
}

/// A filter that [`detach`] removed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RemovedFilter {
    /// The interface.
    pub ifindex: u32,
    /// Which of its hooks.
    pub hook: Hook,
}

impl Removed {
    /// Whether there was nothing to remove.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Removes whatever `instance` left behind: links and maps of every `ABI_VERSION` below the mount point `bpffs`, and
/// filters in the calling thread's network namespace. Clsact qdiscs stay, for others may use them. An agent that is
/// still running would attach again: stop it first.
///
/// # Errors
///
/// The first [`AttachError`]; what was removed until then stays removed, and a second call goes on from there.
pub fn detach(bpffs: &Path, instance: &Instance) -> Result<Removed, AttachError> {
    let mut removed = Removed::default();
    remove_filters(instance, &mut removed)?;
    remove_pins(&PinRoot::new(bpffs, instance), &mut removed)?;
    Ok(removed)
}

fn remove_pins(root: &PinRoot, removed: &mut Removed) -> Result<(), AttachError> {
    for version in root.versions()? {
        remove_links(&root.links(version), removed)?;
        removed.entries += entries_of(root, version);
        let maps = root.remove_version(version)?;
        removed
            .maps
            .extend(maps.iter().map(|map| format!("v{version}/{map}")));
    }
    root.remove_if_empty();
    Ok(())
}

/// How many edges and attempts the maps pinned below `root` hold, of every `ABI_VERSION`.
///
/// # Errors
///
/// [`AttachError::Pin`] if the directory cannot be read.
pub fn entries(root: &PinRoot) -> Result<usize, AttachError> {
    let versions = root.versions()?.into_iter();
    Ok(versions.map(|version| entries_of(root, version)).sum())
}

fn entries_of(root: &PinRoot, version: u32) -> usize {
    let directory = root.version(version);
    let held = ["EDGES", "ATTEMPTS"].map(|map| entries_in(&directory.join(map)));
    held.iter().flatten().sum()
}

/// How many entries a pinned map has; `None` if there is none that looks like one of ours.
fn entries_in(path: &Path) -> Option<usize> {
    let map = Map::HashMap(MapData::from_pin(path).ok()?);
    let map = HashMap::<_, [u8; EdgeKey::SIZE], [u8; EdgeValue::SIZE]>::try_from(map).ok()?;
    Some(map.keys().map_while(Result::ok).count())
}

fn remove_filters(instance: &Instance, removed: &mut Removed) -> Result<(), AttachError> {
    let requests = Requests::open(NETLINK_ROUTE).map_err(|source| AttachError::List {
        what: "interfaces",
        source,
    })?;
    let clsact = Clsact::new(requests);
    for (place, _) in clsact_filters(&clsact, |owner| owner.instance == *instance)? {
        clsact.remove(place)?;
        removed.filters.push(RemovedFilter {
            ifindex: place.ifindex,
            hook: place.hook,
        });
    }
    Ok(())
}

fn remove_links(directory: &Path, removed: &mut Removed) -> Result<(), AttachError> {
    for name in pins::link_names(directory)? {
        if tcx::remove_pinned(&directory.join(name.to_string()))? {
            removed.links += 1;
        } else {
            removed.dead_links += 1;
        }
    }
    Ok(())
}
