//! How far something long is: a bar, or what is waited for, on stderr, if that is a terminal.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressBarIter, ProgressStyle};

/// Shorter files are read before anybody has looked.
const LONG: u64 = 16 << 20;

/// A file whose bar goes away with it.
pub(super) struct Followed {
    reader: Reader,
}

enum Reader {
    Short(File),
    Long(ProgressBarIter<File>),
}

/// Shows how much of the file was read, if it is long.
pub(super) fn follow(path: &Path, file: File) -> Followed {
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let reader = match length < LONG {
        true => Reader::Short(file),
        false => Reader::Long(bar(path, length).wrap_read(file)),
    };
    Followed { reader }
}

fn bar(path: &Path, length: u64) -> ProgressBar {
    let template = "{prefix} [{bar:30}] {bytes}/{total_bytes}, {eta} left";
    let style = ProgressStyle::with_template(template);
    let bar = ProgressBar::new(length).with_prefix(path.display().to_string());
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

impl Read for Followed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.reader {
            Reader::Short(file) => file.read(buffer),
            Reader::Long(file) => file.read(buffer),
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        if let Reader::Long(file) = &self.reader {
            file.progress.finish_and_clear();
        }
    }
}

/// What is waited for; it goes away with this.
pub(super) struct Waiting {
    bar: ProgressBar,
}

impl Waiting {
    /// Shows what is waited for.
    pub(super) fn new(what: &str) -> Self {
        let bar = ProgressBar::new_spinner();
        let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar }
    }

    /// Shows something else instead.
    pub(super) fn now(&self, what: String) {
        self.bar.set_message(what);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
