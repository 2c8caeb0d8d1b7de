//! The maps that the program and user space share: names, kinds and sizes.

use std::path::Path;

use aya::maps::{MapInfo, MapType};
use netpol_common::abi::{
    Counters, EdgeKey, EdgeValue, INTERFACE_SLOTS, InterfaceConfig, InterfaceStats, Meta,
};

use super::{KernelError, KernelOptions};

/// A map of the program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum MapName {
    Edges,
    Attempts,
    Interfaces,
    InterfaceStats,
    Meta,
    Counters,
    Pending,
    Sights,
}

/// What a map looks like.
#[derive(Clone, Copy, Debug)]
struct Layout {
    kind: MapType,
    key: usize,
    value: usize,
    /// `None`: whatever the program says.
    entries: Option<u32>,
}

impl MapName {
    pub(super) const ALL: [Self; 8] = [
        Self::Edges,
        Self::Attempts,
        Self::Interfaces,
        Self::InterfaceStats,
        Self::Meta,
        Self::Counters,
        Self::Pending,
        Self::Sights,
    ];

    /// Its name in the object and in the pin directory.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Edges => "EDGES",
            Self::Attempts => "ATTEMPTS",
            Self::Interfaces => "INTERFACES",
            Self::InterfaceStats => "INTERFACE_STATS",
            Self::Meta => "META",
            Self::Counters => "COUNTERS",
            Self::Pending => "PENDING",
            Self::Sights => "SIGHTS",
        }
    }

    fn layout(self, options: &KernelOptions) -> Layout {
        let array = |value, entries| Layout {
            kind: MapType::Array,
            key: 4,
            value,
            entries,
        };
        let hash = |entries| Layout {
            kind: MapType::Hash,
            key: EdgeKey::SIZE,
            value: EdgeValue::SIZE,
            entries: Some(entries),
        };
        match self {
            Self::Edges => hash(options.edges),
            Self::Attempts => hash(options.attempts),
            Self::Interfaces => array(InterfaceConfig::SIZE, Some(INTERFACE_SLOTS)),
            Self::InterfaceStats => array(InterfaceStats::SIZE, Some(INTERFACE_SLOTS)),
            Self::Meta => array(size_of::<u64>(), u32::try_from(Meta::ENTRIES).ok()),
            Self::Counters => Layout {
                kind: MapType::PerCpuArray,
                ..array(Counters::SIZE, Some(1))
            },
            Self::Pending => array(64, None),
            Self::Sights => Layout {
                kind: MapType::RingBuf,
                key: 0,
                value: 0,
                entries: Some(ring_bytes(options.ring_bytes)),
            },
        }
    }

    /// Checks a map that is pinned in `directory`; one that is not there passes.
    pub(super) fn check(
        self,
        directory: &Path,
        options: &KernelOptions,
    ) -> Result<(), KernelError> {
        let path = directory.join(self.name());
        if !path.exists() {
            return Ok(());
        }
        let info = MapInfo::from_pin(&path)?;
        let layout = self.layout(options);
        let size = |bytes| u32::try_from(bytes).unwrap_or(u32::MAX);
        let properties = [
            ("its type", info.map_type()? as u32, layout.kind as u32),
            ("its key size", info.key_size(), size(layout.key)),
            ("its value size", info.value_size(), size(layout.value)),
            (
                "its number of entries",
                info.max_entries(),
                layout.entries.unwrap_or(info.max_entries()),
            ),
        ];
        match properties
            .into_iter()
            .find(|(_, found, needed)| found != needed)
        {
            None => Ok(()),
            Some((what, found, needed)) => Err(KernelError::PinnedMapMismatch {
                path,
                what,
                found,
                needed,
            }),
        }
    }
}

impl KernelOptions {
    /// The same with the sizes of the maps that are pinned, so that they can be adopted.
    #[must_use]
    pub fn sized_as_pinned(self, directory: &Path) -> Self {
        let pinned = |map: MapName, otherwise| {
            let info = MapInfo::from_pin(directory.join(map.name()));
            info.map_or(otherwise, |info| info.max_entries())
        };
        Self {
            edges: pinned(MapName::Edges, self.edges),
            attempts: pinned(MapName::Attempts, self.attempts),
            ring_bytes: pinned(MapName::Sights, self.ring_bytes),
            ..self
        }
    }
}

/// The size that a ring gets when `wanted` bytes are asked for.
pub(super) fn ring_bytes(wanted: u32) -> u32 {
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|page| u32::try_from(page).ok())
        .unwrap_or(4096);
    wanted
        .clamp(page, 1 << 30)
        .checked_next_power_of_two()
        .unwrap_or(1 << 30)
}
