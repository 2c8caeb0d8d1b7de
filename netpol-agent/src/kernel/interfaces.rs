//! `INTERFACES` and `INTERFACE_STATS`: which slot is whose.

use std::collections::BTreeMap;

use aya::maps::{Array, MapData};
use netpol_common::abi::{
    INTERFACE_PROBES, INTERFACE_SLOTS, InterfaceConfig, InterfaceStats, interface_slot,
};

use super::KernelError;

type Configs = Array<MapData, [u8; InterfaceConfig::SIZE]>;
type Stats = Array<MapData, [u8; InterfaceStats::SIZE]>;

/// The two maps, and what stands in the first.
pub(super) struct Interfaces {
    configs: Configs,
    stats: Stats,
    /// By ifindex.
    known: BTreeMap<u32, Slot>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    index: u32,
    config: InterfaceConfig,
}

impl Interfaces {
    /// Reads what an earlier process left.
    pub(super) fn new(configs: Configs, stats: Stats) -> Result<Self, KernelError> {
        let mut known = BTreeMap::new();
        for index in 0..INTERFACE_SLOTS {
            let config = InterfaceConfig::from_bytes(&configs.get(&index, 0)?);
            if config.ifindex != 0 {
                known.insert(config.ifindex, Slot { index, config });
            }
        }
        Ok(Self {
            configs,
            stats,
            known,
        })
    }

    pub(super) fn configure(
        &mut self,
        ifindex: u32,
        config: InterfaceConfig,
    ) -> Result<(), KernelError> {
        let before = self.known.get(&ifindex).copied();
        let index = match before {
            Some(slot) => slot.index,
            None => self.free_slot(ifindex)?,
        };
        let same = before.filter(|slot| slot.config.interface == config.interface);
        let config = InterfaceConfig {
            ifindex,
            freed: same.map_or(0, |slot| slot.config.freed),
            ..config
        };
        if same.is_none() {
            self.clear(index)?;
            // Everything but the ifindex first: the program must not find the slot half written.
            self.write(
                index,
                InterfaceConfig {
                    ifindex: 0,
                    ..config
                },
            )?;
        }
        self.write(index, config)?;
        self.known.insert(ifindex, Slot { index, config });
        Ok(())
    }

    pub(super) fn forget(&mut self, ifindex: u32) -> Result<(), KernelError> {
        if let Some(slot) = self.known.get(&ifindex) {
            let index = slot.index;
            self.write(index, InterfaceConfig::default())?;
            self.known.remove(&ifindex);
        }
        Ok(())
    }

    pub(super) fn all(&self) -> Vec<InterfaceConfig> {
        self.known.values().map(|slot| slot.config).collect()
    }

    /// How many interfaces are one-sided.
    pub(super) fn one_sided(&self) -> u64 {
        let one_sided = self.known.values().filter(|slot| slot.config.one_sided());
        u64::try_from(one_sided.count()).unwrap_or(u64::MAX)
    }

    pub(super) fn stats(&self, ifindex: u32) -> Result<InterfaceStats, KernelError> {
        let Some(slot) = self.known.get(&ifindex) else {
            return Ok(InterfaceStats::default());
        };
        Ok(InterfaceStats::from_bytes(&self.stats.get(&slot.index, 0)?))
    }

    /// Gives a place of `ATTEMPTS` back to the interface with this handle, if there still is one.
    pub(super) fn free(&mut self, interface: u32) -> Result<(), KernelError> {
        let found = self
            .known
            .values_mut()
            .find(|slot| slot.config.interface == interface);
        let Some(slot) = found else { return Ok(()) };
        slot.config.freed += 1;
        let Slot { index, config } = *slot;
        self.write(index, config)
    }

    /// The first free slot of those where the program looks for `ifindex`.
    fn free_slot(&self, ifindex: u32) -> Result<u32, KernelError> {
        (0..INTERFACE_PROBES)
            .map(|probe| interface_slot(ifindex, probe))
            .find(|index| self.known.values().all(|slot| slot.index != *index))
            .ok_or(KernelError::TooManyInterfaces { ifindex })
    }

    fn write(&mut self, index: u32, config: InterfaceConfig) -> Result<(), KernelError> {
        self.configs.set(index, config.to_bytes(), 0)?;
        Ok(())
    }

    fn clear(&mut self, index: u32) -> Result<(), KernelError> {
        self.configs
            .set(index, InterfaceConfig::default().to_bytes(), 0)?;
        self.stats.set(index, [0; InterfaceStats::SIZE], 0)?;
        Ok(())
    }
}
