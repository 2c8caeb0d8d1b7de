//! A cluster for code that waits: commands do one thing after another.

use std::io::{self, Read};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::runtime::Runtime;

use super::connect::{Cluster, Target};
use super::error::ClusterError;
use super::read::{self, Question, Reply};
use super::tunnel::Tunnel;

/// The longest inventory or status that is read: as with files, more than 100,000 pods come to.
const LONGEST: usize = 1 << 30;

/// A cluster, and what it takes to wait for it.
pub struct Session {
    runtime: Runtime,
    cluster: Cluster,
}

/// An answer as something to read from.
pub struct Reader<'a> {
    runtime: &'a Runtime,
    reply: Reply,
    piece: Bytes,
}

impl Session {
    /// Connects to a target.
    ///
    /// # Errors
    ///
    /// As [`Cluster::connect`].
    pub fn open(target: &Target) -> Result<Self, ClusterError> {
        // One thread besides this one moves bytes through the tunnel.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| ClusterError::Kubeconfig(error.to_string()))?;
        let cluster = runtime.block_on(Cluster::connect(target))?;
        Ok(Self { runtime, cluster })
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Waits for something.
    pub fn wait<F: Future>(&self, what: F) -> F::Output {
        self.runtime.block_on(what)
    }

    /// Waits for some time.
    pub fn sleep(&self, time: Duration) {
        self.wait(async move { tokio::time::sleep(time).await });
    }

    /// A connection to the aggregator.
    ///
    /// # Errors
    ///
    /// As [`Tunnel::open`].
    pub fn tunnel(&self) -> Result<Tunnel, ClusterError> {
        self.wait(Tunnel::open(&self.cluster))
    }

    /// Asks the aggregator for something to be read piece by piece.
    ///
    /// # Errors
    ///
    /// A broken connection, or a refusal with its reason.
    pub fn ask(
        &self,
        tunnel: &mut Tunnel,
        question: &Question,
    ) -> Result<Reader<'_>, ClusterError> {
        let reply = read::ask(tunnel, question, self.cluster.patience);
        Ok(Reader {
            runtime: &self.runtime,
            reply: self.wait(reply)?,
            piece: Bytes::new(),
        })
    }

    /// Asks the aggregator for a whole text.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask), and what is too long or no text.
    pub fn text(&self, tunnel: &mut Tunnel, question: &Question) -> Result<String, ClusterError> {
        let mut reader = self.ask(tunnel, question)?;
        let bytes = self.wait(reader.reply.whole(LONGEST))?;
        String::from_utf8(bytes).map_err(|_| ClusterError::Aggregator {
            path: question.path(),
            message: "the answer is no UTF-8 text".to_owned(),
            code: None,
        })
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let next = self.runtime.block_on(self.reply.next());
            match next.map_err(io::Error::other)? {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
