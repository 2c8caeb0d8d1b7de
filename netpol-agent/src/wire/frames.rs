//! A delivery as bytes: JSON in one or several zstd frames.
//!
//! RFC 8878 lets frames follow each other, and their contents are one text then. So a batch is compressed once, when it is
//! spooled, and a delivery is put together out of frames without touching them again.

use std::io::{self, BufReader, BufWriter, Read, Write};

use serde::Serialize;

use super::{Agent, Delivery, Disorder, MOST_PLAIN, MOST_TRANSFERRED};
use crate::observe::Batch;

/// How hard zstd tries. More than this costs an agent more than it saves.
const LEVEL: i32 = 1;
/// The window that we compress with: 512 KiB.
const WINDOW_LOG: u32 = 19;
/// The largest window that is accepted: 8 MiB, which RFC 9659 sets for HTTP.
const MOST_WINDOW_LOG: u32 = 23;
/// How much JSON is collected until it is compressed.
const PIECE: usize = 16 << 10;
/// How much is reserved for what is decompressed, before any of it is.
const FIRST: usize = 64 << 10;

/// How the body of a request is encoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// `Content-Encoding: zstd`.
    Zstd,
}

/// A batch as one frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Packed {
    /// The frame, which bears a checksum of its content.
    pub frame: Vec<u8>,
    /// Bytes of its JSON.
    pub plain: usize,
}

/// Something that cannot be written as JSON and compressed. Nothing that agents deliver is such.
#[derive(Debug, thiserror::Error)]
#[error("cannot encode: {0}")]
pub struct EncodeError(#[from] io::Error);

/// A body that is no delivery.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Too many bytes.
    #[error("the body has more than {most} bytes{}: send fewer batches at a time", if *.compressed { "" } else { " of JSON" })]
    TooLarge {
        /// How many there may be.
        most: usize,
        /// Whether that is before it was decompressed.
        compressed: bool,
    },
    /// Not zstd, or damaged.
    #[error("the body cannot be decompressed: {0}")]
    Compression(io::Error),
    /// Not the JSON that it should be.
    #[error("the body is no delivery: {0}")]
    Json(#[from] serde_json::Error),
    /// Batches that do not belong together.
    #[error(transparent)]
    Disorder(#[from] Disorder),
}

impl Encoding {
    /// What a `Content-Encoding` header says; `None` if it is none that is spoken here.
    #[must_use]
    pub fn of(header: Option<&str>) -> Option<Self> {
        match header.map(str::trim) {
            None | Some("" | "identity") => Some(Self::Identity),
            Some(name) if name.eq_ignore_ascii_case("zstd") => Some(Self::Zstd),
            Some(_) => None,
        }
    }
}

impl Packed {
    /// Packs a batch.
    ///
    /// # Errors
    ///
    /// [`EncodeError`].
    pub fn new(batch: &Batch) -> Result<Self, EncodeError> {
        let (frame, plain) = frame(batch)?;
        Ok(Self { frame, plain })
    }
}

/// A delivery as the body of a request.
///
/// # Errors
///
/// [`EncodeError`].
pub fn encode(delivery: &Delivery) -> Result<Vec<u8>, EncodeError> {
    Ok(frame(delivery)?.0)
}

/// A delivery of batches that were packed before, as the body of a request.
///
/// # Errors
///
/// [`EncodeError`].
pub fn assemble<'a>(
    agent: &Agent,
    frames: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, EncodeError> {
    let agent = serde_json::to_string(agent).map_err(io::Error::from)?;
    let mut body = raw_frame(format!(r#"{{"agent":{agent},"batches":["#).as_bytes())?;
    for (number, frame) in frames.into_iter().enumerate() {
        if number > 0 {
            body.extend(raw_frame(b",")?);
        }
        body.extend_from_slice(frame);
    }
    body.extend(raw_frame(b"]}")?);
    Ok(body)
}

/// Reads the body of a request. What it reserves is bounded by what was decompressed so far, and by [`MOST_PLAIN`].
///
/// # Errors
///
/// [`DecodeError`].
pub fn decode(body: &[u8], encoding: Encoding) -> Result<Delivery, DecodeError> {
    if body.len() > MOST_TRANSFERRED {
        return Err(DecodeError::TooLarge {
            most: MOST_TRANSFERRED,
            compressed: encoding == Encoding::Zstd,
        });
    }
    let delivery: Delivery = match encoding {
        Encoding::Identity => serde_json::from_slice(body)?,
        Encoding::Zstd => serde_json::from_slice(&decompress(body, MOST_PLAIN)?)?,
    };
    delivery.check()?;
    Ok(delivery)
}

/// Reads a batch that was packed.
///
/// # Errors
///
/// [`DecodeError`] if it is damaged.
pub fn unpack(frame: &[u8]) -> Result<Batch, DecodeError> {
    Ok(serde_json::from_slice(&decompress(frame, MOST_PLAIN)?)?)
}

/// How many bytes of JSON a frame holds, after a look at all of them.
///
/// # Errors
///
/// [`DecodeError::Compression`] if it is damaged.
pub fn length(frame: &[u8]) -> Result<usize, DecodeError> {
    let mut plain = Counting {
        inner: io::sink(),
        count: 0,
    };
    let limit = u64::try_from(MOST_PLAIN).unwrap_or(u64::MAX);
    io::copy(&mut decoder(frame)?.take(limit), &mut plain).map_err(DecodeError::Compression)?;
    Ok(plain.count)
}

fn decoder(compressed: &[u8]) -> Result<zstd::Decoder<'static, BufReader<&[u8]>>, DecodeError> {
    let reader = BufReader::with_capacity(FIRST, compressed);
    let mut decoder = zstd::Decoder::with_buffer(reader).map_err(DecodeError::Compression)?;
    decoder
        .window_log_max(MOST_WINDOW_LOG)
        .map_err(DecodeError::Compression)?;
    Ok(decoder)
}

fn decompress(compressed: &[u8], most: usize) -> Result<Vec<u8>, DecodeError> {
    let mut plain = Vec::with_capacity(FIRST);
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    decoder(compressed)?
        .take(limit)
        .read_to_end(&mut plain)
        .map_err(DecodeError::Compression)?;
    if plain.len() > most {
        let compressed = false;
        return Err(DecodeError::TooLarge { most, compressed });
    }
    Ok(plain)
}

/// A value's JSON as one frame, and how long the JSON is.
fn frame(value: &impl Serialize) -> Result<(Vec<u8>, usize), EncodeError> {
    let mut counting = Counting {
        inner: encoder()?,
        count: 0,
    };
    // JSON comes in pieces of a few bytes, and each call of the encoder has its price.
    let mut pieces = BufWriter::with_capacity(PIECE, &mut counting);
    serde_json::to_writer(&mut pieces, value).map_err(io::Error::from)?;
    pieces.flush()?;
    drop(pieces);
    Ok((counting.inner.finish()?, counting.count))
}

fn raw_frame(plain: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let mut encoder = encoder()?;
    encoder.write_all(plain)?;
    Ok(encoder.finish()?)
}

fn encoder() -> io::Result<zstd::Encoder<'static, Vec<u8>>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
    encoder.window_log(WINDOW_LOG)?;
    encoder.include_checksum(true)?;
    Ok(encoder)
}

/// Counts what goes through it.
struct Counting<W> {
    inner: W,
    count: usize,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.count += written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
