//! Clock, memory and output.

use std::time::Instant;

/// Prints one figure.
#[expect(clippy::print_stdout, reason = "the figures are this program's output")]
pub(crate) fn print(name: &str, value: f64, unit: &str) {
    println!(r#"{{"name":"policy.{name}","value":{value:.4},"unit":"{unit}"}}"#);
}

/// Says something about a figure.
#[expect(clippy::print_stderr, reason = "for whoever watches")]
pub(crate) fn say(what: &str) {
    eprintln!("{what}");
}

/// The result, and how many seconds it took to make.
pub(crate) fn timed<T>(make: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let made = make();
    (made, start.elapsed().as_secs_f64())
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The value below which this share of all lies.
pub(crate) fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = (values.len() as f64 * share) as usize;
    values.get(place).copied().unwrap_or(f64::NAN)
}

/// The result, and how far the process's resident memory rose above what it was, at most, in MiB. Linux only.
pub(crate) fn peak<T>(make: impl FnOnce() -> T) -> (T, Option<f64>) {
    // Sets the peak back to what is resident now (proc_pid_clear_refs(5)).
    let reset = std::fs::write("/proc/self/clear_refs", "5").is_ok();
    let before = status("VmRSS:");
    let made = make();
    let peak = status("VmHWM:");
    let risen = before.zip(peak).filter(|_| reset);
    (made, risen.map(|(before, peak)| (peak - before) / 1024.0))
}

/// A line of `/proc/self/status`, in KiB.
fn status(field: &str) -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
