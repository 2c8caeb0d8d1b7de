//! Packet captures: pcap and pcapng.
//!
//! TCP and SCTP are read as the kernel program reads them: whoever sent the SYN or the INIT is the client, and what
//! began before the capture makes no edge. Of UDP whoever is seen first is the client, unless the other way round is
//! known later. Attempts are waited for as long as a host repeats its SYN. Tunnels are not looked into.

use std::io::{self, Read};

use jiff::Timestamp;
use netpol_common::record::FlowRecord;
use pcap_parser::{Block, InterfaceDescriptionBlock, PcapBlockOwned, PcapError, create_reader};

use super::conversations::{Conversations, Passing, Sender};
use super::edge::Socket;
use super::frame::{Frame, Link};
use super::tally::Each;
use super::{ReplayError, Summary};
use crate::flows::BadLines;

/// Bytes of the input held at most: a packet or block has to fit.
const HELD: usize = 1 << 20;

/// Reads a capture and hands on flow records. With [`BadLines::Skip`] an input that breaks off within a packet, or
/// that goes on with garbage, ends there with a note in the summary. `input` is the name that errors give the input.
///
/// # Errors
///
/// [`ReplayError`]; records before the place were handed on.
pub fn read(
    input: &str,
    reader: impl Read + Send,
    bad: BadLines,
    mut each: impl FnMut(FlowRecord),
) -> Result<Summary, ReplayError> {
    let mut capture = Capture::new(input);
    let mut failure = None;
    let reader = Watched {
        reader,
        failure: &mut failure,
    };
    let result = capture.read(reader, &mut each);
    let conversations = std::mem::take(&mut capture.conversations);
    capture.summary.older = conversations.finish(&mut each);
    if let Some(source) = failure {
        return Err(ReplayError::Read {
            input: input.to_owned(),
            unit: "packet",
            number: capture.summary.read,
            source,
        });
    }
    match result {
        Err(ReplayError::BreaksOff { number, .. }) if bad == BadLines::Skip => {
            let problem = "the capture breaks off here".to_owned();
            capture.summary.skip(number, problem);
        }
        Err(ReplayError::Bad {
            number, problem, ..
        }) if bad == BadLines::Skip => capture.summary.skip(number, problem),
        result => result?,
    }
    capture.check_links()?;
    Ok(capture.summary)
}

/// A capture while it is read.
struct Capture<'a> {
    input: &'a str,
    interfaces: Vec<Interface>,
    /// Whether any interface's packets can be read.
    readable: bool,
    conversations: Conversations,
    summary: Summary,
}

/// What an interface's packets begin with, and how their times count.
#[derive(Clone, Copy)]
struct Interface {
    /// A type that is not read is told by its number.
    link: Result<Link, i32>,
    /// Units a second, from `if_tsresol`.
    resolution: u64,
    /// Seconds, from `if_tsoffset`.
    offset: i64,
}

impl<'a> Capture<'a> {
    fn new(input: &'a str) -> Self {
        Self {
            input,
            interfaces: Vec::new(),
            readable: false,
            conversations: Conversations::default(),
            summary: Summary::default(),
        }
    }

    fn read(&mut self, reader: impl Read + Send, each: Each<'_>) -> Result<(), ReplayError> {
        let mut reader = match create_reader(HELD, reader) {
            Ok(reader) => reader,
            Err(PcapError::HeaderNotRecognized | PcapError::Eof | PcapError::Incomplete(_)) => {
                return Err(ReplayError::NoCapture {
                    input: self.input.to_owned(),
                });
            }
            Err(error) => return Err(self.bad(&error)),
        };
        loop {
            match reader.next() {
                Ok((length, block)) => {
                    self.block(&block, each)?;
                    drop(block);
                    reader.consume(length);
                }
                Err(PcapError::Eof) => return Ok(()),
                Err(PcapError::Incomplete(_)) => {
                    let held = reader.data().len();
                    reader.refill().map_err(|error| self.bad(&error))?;
                    // A full buffer takes nothing more; the end of the input is told by the next block.
                    if reader.data().len() == held && !reader.reader_exhausted() {
                        return Err(self.bad(&PcapError::BufferTooSmall));
                    }
                }
                Err(error) => return Err(self.bad(&error)),
            }
        }
    }

    fn block(&mut self, block: &PcapBlockOwned<'_>, each: Each<'_>) -> Result<(), ReplayError> {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                let resolution = match header.is_nanosecond_precision() {
                    true => 1_000_000_000,
                    false => 1_000_000,
                };
                // The upper bits of the field hold other things than the link type.
                let link = Link::of(header.network.0 & 0x0fff_ffff);
                self.interface(Interface {
                    link,
                    resolution,
                    offset: 0,
                })?;
                self.check_links()
            }
            PcapBlockOwned::Legacy(packet) => {
                let at = self.interfaces.first().and_then(|interface| {
                    let units = u64::from(packet.ts_sec).checked_mul(interface.resolution)?;
                    interface.time(units.checked_add(u64::from(packet.ts_usec))?)
                });
                self.packet(0, at, packet.data, each)
            }
            PcapBlockOwned::NG(block) => self.section_block(block, each),
        }
    }

    fn section_block(&mut self, block: &Block<'_>, each: Each<'_>) -> Result<(), ReplayError> {
        match block {
            Block::SectionHeader(_) => {
                self.interfaces.clear();
                Ok(())
            }
            Block::InterfaceDescription(described) => self.interface(Interface::of(described)),
            Block::EnhancedPacket(packet) => {
                let units = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                let index = packet.if_id as usize;
                let at = self
                    .interfaces
                    .get(index)
                    .and_then(|interface| interface.time(units));
                let captured = packet.data.get(..packet.caplen as usize);
                self.packet(index, at, captured.unwrap_or(packet.data), each)
            }
            Block::SimplePacket(packet) => {
                let captured = packet.data.get(..packet.origlen as usize);
                self.packet(0, None, captured.unwrap_or(packet.data), each)
            }
            _ => Ok(()),
        }
    }

    fn interface(&mut self, interface: Interface) -> Result<(), ReplayError> {
        match interface.link {
            Ok(_) => self.readable = true,
            Err(number) => {
                self.summary.unread.entry(number).or_default();
            }
        }
        self.interfaces.push(interface);
        match self.interfaces.len() {
            0..=4096 => Ok(()),
            _ => Err(self.bad_for("describes more than 4096 interfaces")),
        }
    }

    fn packet(
        &mut self,
        interface: usize,
        at: Option<Timestamp>,
        bytes: &[u8],
        each: Each<'_>,
    ) -> Result<(), ReplayError> {
        let Some(interface) = self.interfaces.get(interface) else {
            return Err(self.bad_for("belongs to an interface that is not described before it"));
        };
        let link = interface.link;
        self.summary.read += 1;
        let frame = match link {
            Ok(link) => Frame::parse(link, bytes),
            Err(number) => {
                *self.summary.unread.entry(number).or_default() += 1;
                return Ok(());
            }
        };
        let passing = |from: Socket, to: Socket| Passing {
            at,
            from,
            to,
            sender: Sender::Unknown,
        };
        match frame {
            Frame::Signal(protocol, from, to, signal) => {
                self.conversations
                    .signal(protocol, &passing(from, to), signal, each);
            }
            Frame::Datagram(from, to) => self.conversations.datagram(&passing(from, to), each),
            Frame::Unreachable(protocol, from, to) => {
                self.conversations.refuse(protocol, (&from, &to), at, each);
            }
            Frame::Other => self.summary.other += 1,
        }
        Ok(())
    }

    /// Whether any packet of the interfaces that were described so far can be read.
    fn check_links(&self) -> Result<(), ReplayError> {
        if self.readable || self.summary.unread.is_empty() {
            return Ok(());
        }
        Err(ReplayError::Links {
            input: self.input.to_owned(),
            links: self.summary.unread_links(),
        })
    }

    fn bad(&self, error: &PcapError<&[u8]>) -> ReplayError {
        self.bad_for(match error {
            PcapError::UnexpectedEof | PcapError::Incomplete(_) => {
                return ReplayError::BreaksOff {
                    input: self.input.to_owned(),
                    number: self.summary.read + 1,
                };
            }
            PcapError::BufferTooSmall => "longer than a mebibyte: the capture is damaged here",
            PcapError::ReadError => "cannot be read",
            _ => "is damaged",
        })
    }

    fn bad_for(&self, problem: &str) -> ReplayError {
        ReplayError::Bad {
            input: self.input.to_owned(),
            unit: "packet",
            number: self.summary.read + 1,
            problem: problem.to_owned(),
        }
    }
}

impl Interface {
    fn of(described: &InterfaceDescriptionBlock<'_>) -> Self {
        let exponent = u32::from(described.if_tsresol & 0x7f);
        let base: u64 = match described.if_tsresol & 0x80 {
            0 => 10,
            _ => 2,
        };
        Self {
            link: Link::of(described.linktype.0),
            // A resolution that no clock has would make every time that of the epoch.
            resolution: base.checked_pow(exponent).unwrap_or(u64::MAX),
            offset: described.if_tsoffset,
        }
    }

    /// The time of a packet; nothing where it is none that can be.
    fn time(&self, units: u64) -> Option<Timestamp> {
        let seconds = i64::try_from(units / self.resolution).ok()?;
        let rest = u128::from(units % self.resolution) * 1_000_000_000;
        let nanoseconds = i32::try_from(rest / u128::from(self.resolution)).ok()?;
        Timestamp::new(seconds.checked_add(self.offset)?, nanoseconds).ok()
    }
}

/// A reader whose error is kept: the parser of captures tells only that there was one.
struct Watched<'a, R> {
    reader: R,
    failure: &'a mut Option<io::Error>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            return match self.reader.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let kind = error.kind();
                    *self.failure = Some(error);
                    Err(kind.into())
                }
                read => read,
            };
        }
    }
}
