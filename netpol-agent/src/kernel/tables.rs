//! `EDGES` and `ATTEMPTS`: walking in batches, inserting, deleting.

use std::os::fd::AsFd as _;

use aya::maps::MapData;
use netpol_common::abi::{EdgeKey, EdgeValue};

use super::KernelError;
use super::syscall::{self, Filled};

/// How many entries a batched look-up fetches: 80 KiB of keys and values.
const BATCH: usize = 1024;

/// A hash map from [`EdgeKey`] to [`EdgeValue`].
#[derive(Debug)]
pub(super) struct Table {
    map: MapData,
}

impl Table {
    /// The map must have keys of [`EdgeKey::SIZE`] and values of [`EdgeValue::SIZE`] bytes: those of the embedded
    /// object have, and pinned ones were checked.
    pub(super) fn new(map: MapData) -> Self {
        Self { map }
    }

    pub(super) fn walk(
        &self,
        mut visit: impl FnMut(EdgeKey, EdgeValue),
    ) -> Result<(), KernelError> {
        let mut keys = vec![[0; EdgeKey::SIZE]; BATCH];
        let mut values = vec![[0; EdgeValue::SIZE]; BATCH];
        let mut cursor = None;
        loop {
            let map = self.map.fd().as_fd();
            let filled = match syscall::lookup_batch(map, &mut cursor, &mut keys, &mut values) {
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                    keys.resize(keys.len() * 2, [0; EdgeKey::SIZE]);
                    values.resize(values.len() * 2, [0; EdgeValue::SIZE]);
                    continue;
                }
                other => other.map_err(KernelError::Batch)?,
            };
            let Filled { count, last } = filled;
            for (key, value) in keys.iter().zip(&values).take(count) {
                visit(EdgeKey::from_bytes(key), EdgeValue::from_bytes(value));
            }
            if last {
                return Ok(());
            }
        }
    }

    pub(super) fn insert(&self, key: &EdgeKey, value: &EdgeValue) -> Result<bool, KernelError> {
        let map = self.map.fd().as_fd();
        syscall::insert(map, &key.to_bytes(), &value.to_bytes()).map_err(KernelError::Insert)
    }

    pub(super) fn delete(&self, key: &EdgeKey) -> Result<Option<EdgeValue>, KernelError> {
        let value = syscall::take(self.map.fd().as_fd(), &key.to_bytes());
        Ok(value
            .map_err(KernelError::Delete)?
            .as_ref()
            .map(EdgeValue::from_bytes))
    }
}
