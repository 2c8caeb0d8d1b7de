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

    fn status(self, key: &str) -> Result<f64> {
        let path = format!("/proc/{}/status", self.0);
        let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        Ok(kib.with_context(|| format!("no {key} in {path}"))? / 1024.0)
    }
}

/// The value below which that share of the values lies.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place within the values"
    )]
    let place = ((values.len() as f64 * share).ceil() as usize).clamp(1, values.len().max(1));
    values.get(place - 1).copied().unwrap_or(f64::NAN)
}
