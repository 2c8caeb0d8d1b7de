//! Requests to the kernel over netlink, answered in full before they return.
//!
//! A socket stays in the network namespace that its thread was in when it was opened, whoever uses it later.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use netlink_packet_core::{
    DecodeError, NLM_F_DUMP_INTR, NLM_F_MULTIPART, NLM_F_REQUEST, NLMSG_ALIGNTO, NetlinkBuffer,
    NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;
use tracing::warn;

/// How long the kernel may take for one message of an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a dump that changed while it was read is begun anew.
const DUMP_ATTEMPTS: usize = 8;

/// Why the kernel did not answer a netlink request.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// No socket.
    #[error("cannot open a netlink socket of protocol {protocol}: {source}")]
    Open {
        /// The netlink protocol.
        protocol: isize,
        /// The cause.
        source: io::Error,
    },
    /// The request could not be sent or its answer not be read.
    #[error("cannot talk to the kernel over netlink: {0}")]
    Io(#[from] io::Error),
    /// The kernel refused the request.
    #[error("the kernel refused a netlink request: {0}")]
    Refused(io::Error),
    /// The kernel sent what cannot be read.
    #[error("cannot read a netlink message of the kernel: {0}")]
    Decode(#[from] DecodeError),
    /// Every attempt at a dump was overtaken by changes.
    #[error("a netlink dump changed {DUMP_ATTEMPTS} times while it was read")]
    Unsteady,
}

/// A netlink socket for requests.
#[derive(Debug)]
pub struct Requests {
    socket: Socket,
    sequence: AtomicU32,
}

impl Requests {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// [`NetlinkError::Open`] if there is no such protocol, or no right to use it.
    pub fn open(protocol: isize) -> Result<Self, NetlinkError> {
        let open = || {
            let mut socket = Socket::new(protocol)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            let patience = TimeVal::new(PATIENCE.as_secs().cast_signed(), 0);
            setsockopt(&socket, sockopt::ReceiveTimeout, &patience)?;
            Ok(socket)
        };
        let socket = open().map_err(|source| NetlinkError::Open { protocol, source })?;
        Ok(Self {
            socket,
            sequence: AtomicU32::new(1),
        })
    }

    /// Lets the kernel check requests strictly, which filters of dumps need (Linux 4.20).
    ///
    /// # Errors
    ///
    /// [`NetlinkError::Io`] on an older kernel.
    pub fn strict(self) -> Result<Self, NetlinkError> {
        self.socket.set_netlink_get_strict_chk(true)?;
        Ok(self)
    }

    /// Sends `request` with `flags` and gathers every message of the answer.
    ///
    /// # Errors
    ///
    /// Any [`NetlinkError`].
    pub fn ask<I>(&self, request: &I, flags: u16) -> Result<Vec<I>, NetlinkError>
    where
        I: NetlinkSerializable + NetlinkDeserializable + Clone,
    {
        self.pick(request, flags, Some)
    }

    /// Sends `request` with `flags` and gathers what `pick` makes of the messages of the answer, so that no more of
    /// a long answer is held than what is wanted.
    ///
    /// # Errors
    ///
    /// Any [`NetlinkError`].
    pub fn pick<I, T>(
        &self,
        request: &I,
        flags: u16,
        pick: impl Fn(I) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError>
    where
        I: NetlinkSerializable + NetlinkDeserializable + Clone,
    {
        for _ in 0..DUMP_ATTEMPTS {
            let sequence = self.send(request.clone(), flags)?;
            let mut answer = Answer::new(sequence, &pick);
            self.receive(&mut answer)?;
            if !answer.interrupted {
                return Ok(answer.picked);
            }
        }
        Err(NetlinkError::Unsteady)
    }

    fn send<I: NetlinkSerializable>(&self, request: I, flags: u16) -> Result<u32, NetlinkError> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence.fetch_add(1, Ordering::Relaxed);
        let sequence = header.sequence_number;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        Ok(sequence)
    }

    fn receive<I, T, P>(&self, answer: &mut Answer<T, P>) -> Result<(), NetlinkError>
    where
        I: NetlinkDeserializable,
        P: Fn(I) -> Option<T>,
    {
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            for message in split(&bytes) {
                if answer.take(message?)? {
                    return Ok(());
                }
            }
        }
    }
}

/// What has come of an answer so far.
struct Answer<T, P> {
    sequence: u32,
    pick: P,
    picked: Vec<T>,
    interrupted: bool,
}

impl<T, P> Answer<T, P> {
    fn new(sequence: u32, pick: P) -> Self {
        Self {
            sequence,
            pick,
            picked: Vec::new(),
            interrupted: false,
        }
    }

    /// Takes a message; whether it was the last one. One message of another layout than is known here must not hide
    /// all others: it is logged and left out.
    fn take<I>(&mut self, bytes: &[u8]) -> Result<bool, NetlinkError>
    where
        I: NetlinkDeserializable,
        P: Fn(I) -> Option<T>,
    {
        let header = NetlinkBuffer::new_checked(bytes)?;
        if header.sequence_number() != self.sequence {
            return Ok(false);
        }
        self.interrupted |= header.flags() & NLM_F_DUMP_INTR != 0;
        let last = header.flags() & NLM_F_MULTIPART == 0;
        match NetlinkMessage::<I>::deserialize(bytes).map(|message| message.payload) {
            Ok(NetlinkPayload::InnerMessage(message)) => self.picked.extend((self.pick)(message)),
            Ok(NetlinkPayload::Error(error)) if error.code.is_some() => {
                return Err(NetlinkError::Refused(error.to_io()));
            }
            Ok(NetlinkPayload::Done(done)) if done.code < 0 => {
                let error = io::Error::from_raw_os_error(-done.code);
                return Err(NetlinkError::Refused(error));
            }
            Ok(NetlinkPayload::Error(_) | NetlinkPayload::Done(_)) => return Ok(true),
            Ok(_) => return Ok(false),
            Err(error) => warn!(%error, "a netlink message of unknown layout was left out"),
        }
        Ok(last)
    }
}

/// The messages of a datagram, each with its header. Ends at the first that is not whole.
pub(super) fn split(mut bytes: &[u8]) -> impl Iterator<Item = Result<&[u8], DecodeError>> {
    std::iter::from_fn(move || {
        let length = bytes.first_chunk().copied().map(u32::from_ne_bytes)? as usize;
        if length < HEADER || length > bytes.len() {
            let error = DecodeError::buffer_too_small(bytes.len(), length.max(HEADER));
            bytes = &[];
            return Some(Err(error));
        }
        let message = &bytes[..length];
        let align = usize::from(NLMSG_ALIGNTO);
        bytes = bytes.get(length.next_multiple_of(align)..).unwrap_or(&[]);
        Some(Ok(message))
    })
}

/// The size of a netlink header.
const HEADER: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lengths(bytes: &[u8]) -> Vec<Option<usize>> {
        split(bytes)
            .map(|message| message.ok().map(<[u8]>::len))
            .collect()
    }

    fn message(length: u32, padded: usize) -> Vec<u8> {
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.resize(padded, 0);
        bytes
    }

    #[test]
    fn datagrams_are_split_at_aligned_lengths() {
        let two = [message(17, 20), message(16, 16)].concat();
        assert_eq!(lengths(&two), [Some(17), Some(16)]);
        assert_eq!(lengths(&message(18, 18)), [Some(18)]);
    }

    #[test]
    fn a_message_that_is_not_whole_ends_the_datagram() {
        assert_eq!(lengths(&message(40, 20)), [None]);
        assert_eq!(lengths(&message(3, 20)), [None]);
        assert_eq!(lengths(&[1, 2, 3]), []);
    }

    proptest! {
        #[test]
        fn any_datagram_is_split_without_running_over(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let total: usize = lengths(&bytes).into_iter().flatten().sum();
            prop_assert!(total <= bytes.len());
        }
    }
}
