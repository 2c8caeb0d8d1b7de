//! First sights: the ring that tells of a new edge before the next walk would.

use std::os::fd::AsRawFd as _;

use aya::maps::{Map, MapData, RingBuf};
use netpol_common::abi::FirstSight;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::KernelError;

/// The reader of the ring. What it misses, a walk of `EDGES` brings.
#[derive(Debug)]
pub struct Sights {
    ring: AsyncFd<Ring>,
}

/// The ring, whose `Debug` says nothing of its memory.
struct Ring(RingBuf<MapData>);

impl Sights {
    pub(super) fn new(map: Map) -> Result<Self, KernelError> {
        let ring = Ring(RingBuf::try_from(map)?);
        // SAFETY: the ring owns its file descriptor and keeps it open until it is dropped, after deregistration.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .map_err(|error| KernelError::Sights(error.into()))?;
        Ok(Self { ring })
    }

    /// Waits until there is at least one sight, and appends all there are to `sights`. Dropping the future loses
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`KernelError::Sights`] if the runtime is shutting down.
    pub async fn read(&mut self, sights: &mut Vec<FirstSight>) -> Result<(), KernelError> {
        let before = sights.len();
        loop {
            let mut guard = self
                .ring
                .readable_mut()
                .await
                .map_err(KernelError::Sights)?;
            guard.get_inner_mut().drain(sights);
            guard.clear_ready();
            if sights.len() > before {
                return Ok(());
            }
        }
    }

    /// Appends what is there now to `sights`, without waiting.
    pub fn drain(&mut self, sights: &mut Vec<FirstSight>) {
        self.ring.get_mut().drain(sights);
    }
}

impl Ring {
    fn drain(&mut self, sights: &mut Vec<FirstSight>) {
        while let Some(record) = self.0.next() {
            if let Some(bytes) = record.first_chunk() {
                sights.push(FirstSight::from_bytes(bytes));
            }
        }
    }
}

impl std::os::fd::AsRawFd for Ring {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.as_raw_fd()
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Ring").field(&self.as_raw_fd()).finish()
    }
}
