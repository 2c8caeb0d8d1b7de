//! Lines of bounded length.

use std::io::{self, BufRead};

/// One line of the input.
pub(crate) enum Line<'a> {
    /// A line, without its end.
    Whole(&'a [u8]),
    /// A line that was longer than the bound; it has been passed over.
    TooLong,
}

/// Reads lines and holds no more than `bound` bytes of one.
pub(crate) struct Lines<R> {
    reader: R,
    bound: usize,
    buffer: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(reader: R, bound: usize) -> Self {
        let buffer = Vec::new();
        Self {
            reader,
            bound,
            buffer,
        }
    }

    /// The next line, or nothing at the end of the input.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.buffer.clear();
        let mut length = 0_usize;
        loop {
            let chunk = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                chunk => chunk?,
            };
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            let last = end.is_some() || chunk.is_empty();
            if last && end.is_none() && length == 0 {
                return Ok(None);
            }
            length += part.len();
            if length <= self.bound {
                self.buffer.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if last {
                return Ok(Some(self.line(length)));
            }
        }
    }

    fn line(&self, length: usize) -> Line<'_> {
        if length > self.bound {
            return Line::TooLong;
        }
        Line::Whole(self.buffer.strip_suffix(b"\r").unwrap_or(&self.buffer))
    }
}
