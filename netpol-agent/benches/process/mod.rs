//! What a process has used, as Linux tells it.

use std::time::Duration;

use anyhow::{Context, Result};

/// Ticks of a second in `/proc/PID/stat`: what every Linux has.
const TICKS: f64 = 100.0;

/// Another process, or this one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// The most that it has had resident since the peak was last forgotten, in MiB.
    pub(crate) fn peak(self) -> Result<f64> {
        self.status("VmHWM:")
    }

    /// What it has resident, in MiB.
    pub(crate) fn resident(self) -> Result<f64> {
        self.status("VmRSS:")
    }

    /// Makes the peak what is resident now.
    pub(crate) fn forget_peak(self) -> Result<()> {
        let path = format!("/proc/{}/clear_refs", self.0);
        std::fs::write(&path, "5").with_context(|| path)
    }

    /// The processor time of all its threads, ended ones included.
    pub(crate) fn processor(self) -> Result<Duration> {
        let path = format!("/proc/{}/stat", self.0);
        let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        let (_, rest) = text.rsplit_once(')').with_context(|| path.clone())?;
        let fields = rest.split_whitespace().skip(11).take(2);
        let ticks: f64 = fields.filter_map(|field| field.parse::<f64>().ok()).sum();
        Ok(Duration::from_secs_f64(ticks / TICKS))
    }

    /// What the kernel tells of its memory by that key, in MiB.
    pub(crate) fn status(self, key: &str) -> Result<f64> {
        let path = format!("/proc/{}/status", self.0);
        let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        Ok(kib.with_context(|| format!("no {key} in {path}"))? / 1024.0)
    }
}
