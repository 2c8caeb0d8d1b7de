//! Log lines of the program, which a debug build has.
#![cfg(debug_assertions)]

use std::sync::Mutex;

use crate::golden::small;
use crate::kernel_common::*;
use crate::traffic::{connect, quota};

/// Keeps the lines of every kernel program of this process.
struct Lines(Mutex<Vec<String>>);

static LINES: Lines = Lines(Mutex::new(Vec::new()));

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

#[test]
fn a_debug_build_says_what_became_of_each_packet() {
    log::set_logger(&LINES).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let mut kernel = open(&small());
    configure(&mut kernel, LOOPBACK, quota(100));
    connect(&mut kernel, LOOPBACK, 80);
    kernel.flush_log();
    let lines = LINES.0.lock().unwrap();
    let about = |line: &&String| line.contains("on interface 1, from the pod: ");
    assert_eq!(lines.iter().filter(about).count(), 2, "{lines:?}");
}
