//! Emptying a spool: one delivery at a time, in order, until the aggregator has acknowledged it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::Link;
use super::answer::{Answer, Verdict};
use super::client::{Connection, Unanswered};
use super::pace::{Next, Pace, Pacing};
use super::parcel::{self, Limits, Lost};
use super::quarantine::{Entry, Quarantine, hexadecimal};
use super::spool::{Front, Record};
use super::status::Failure;
use crate::observe::{Batch, PodIdentity};
use crate::trouble::{Trouble, chain};
use crate::wire::{self, Acknowledgement, Agent, EncodeError, Packed};

/// How often pods are refused in a row until that is believed: the aggregator's index may only be late.
const PATIENCE: u32 = 3;
/// How long the last delivery of a process may take.
const PARTING: Duration = Duration::from_secs(3);

/// Empties one spool.
#[derive(Debug)]
pub struct Sender {
    link: Link,
    agent: Agent,
    connection: Connection,
    quarantine: Quarantine,
    pace: Pace,
    limits: Limits,
    chance: fastrand::Rng,
    began: Instant,
    /// How much of the first batch was delivered, if it goes in pieces: its place in the queue, and edges.
    delivered: (i64, usize),
    /// How often pods were refused in a row.
    forbidden: u32,
    spooling: Trouble,
    told: Option<Failure>,
}

/// What one delivery holds.
#[derive(Debug)]
enum Parcel {
    /// Whole batches.
    Whole(Vec<Record>),
    /// Some edges of one batch.
    Piece(Box<Piece>),
}

/// Edges of a batch that is delivered in pieces.
#[derive(Debug)]
struct Piece {
    record: Record,
    batch: Batch,
    /// How many edges of the whole batch are delivered with it.
    to: usize,
}

impl Sender {
    /// Delivers what is in `link` over `connection`. What is refused for good goes to `quarantine`.
    #[must_use]
    pub fn new(
        link: Link,
        agent: Agent,
        connection: Connection,
        quarantine: PathBuf,
        pacing: Pacing,
    ) -> Self {
        let mut chance = fastrand::Rng::new();
        Self {
            link,
            agent,
            connection,
            quarantine: Quarantine::new(quarantine),
            pace: Pace::new(pacing, chance.f64()),
            limits: Limits::default(),
            chance,
            began: Instant::now(),
            delivered: (0, 0),
            forbidden: 0,
            spooling: Trouble::new("reading the spool"),
            told: None,
        }
    }

    /// Delivers until `stop`, and then once more what is left, unless the aggregator was away.
    pub async fn run(mut self, stop: CancellationToken) {
        self.began = Instant::now();
        self.connection.allow_connecting(true);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep_until(self.began + self.pace.due()) => {}
            }
            tokio::select! {
                () = stop.cancelled() => break,
                sent = self.deliver_next() => if sent { continue },
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.link.news.notified() => {}
            }
        }
        if !self.pace.is_failing() {
            // Whatever does not arrive is delivered by the next process.
            let _sent = timeout(PARTING, self.deliver_next()).await;
        }
    }

    /// Delivers without pauses until nothing is left, or a delivery fails.
    pub async fn empty(&mut self) {
        self.connection.allow_connecting(true);
        while self.deliver_next().await && !self.pace.is_failing() {}
    }

    /// Delivers what is at the head of the queue, if there is anything. Returns whether there was.
    async fn deliver_next(&mut self) -> bool {
        let front = self.link.spool().front(&self.limits);
        let records = match self.spooling.note(front.map_err(|error| chain(&error))) {
            Some(Front::Empty) => return false,
            Some(Front::Records(records)) => records,
            Some(Front::Damaged { id, frame }) => {
                self.put_damaged_aside(id, &frame);
                return true;
            }
            None => {
                self.ended(self.began.elapsed(), Next::BackOff);
                return true;
            }
        };
        let began = self.began.elapsed();
        let next = match self.parcel(records) {
            Ok((parcel, body)) => self.deliver(parcel, body).await,
            Err(error) => {
                error!("cannot put a delivery together: {error}");
                Next::BackOff
            }
        };
        self.ended(began, next);
        true
    }

    fn ended(&mut self, began: Duration, next: Next) {
        let draw = self.chance.f64();
        self.pace.ended(began, self.began.elapsed(), next, draw);
        // After a pause that chance made, agents may connect; otherwise the connection should still be there.
        self.connection.allow_connecting(next != Next::Go);
    }

    fn parcel(&self, mut records: Vec<Record>) -> Result<(Parcel, Vec<u8>), EncodeError> {
        let first = &records[0];
        if first.edges > self.limits.edges {
            let record = records.swap_remove(0);
            return self.piece(record);
        }
        let frames = records.iter().map(|record| record.packed.frame.as_slice());
        let body = wire::assemble(&self.agent, frames)?;
        Ok((Parcel::Whole(records), body))
    }

    fn piece(&self, record: Record) -> Result<(Parcel, Vec<u8>), EncodeError> {
        let batch = unpack(&record)?;
        let from = match self.delivered {
            (id, edges) if id == record.id => edges,
            _ => 0,
        };
        let piece = parcel::piece(&batch, from, self.limits.edges);
        let body = wire::assemble(&self.agent, [Packed::new(&piece)?.frame.as_slice()])?;
        let to = from + piece.edges.len();
        let piece = Piece {
            record,
            batch: piece,
            to,
        };
        Ok((Parcel::Piece(Box::new(piece)), body))
    }

    async fn deliver(&mut self, parcel: Parcel, body: Vec<u8>) -> Next {
        let bytes = body.len();
        debug!(
            node = self.agent.node,
            batches = parcel.batches(),
            bytes,
            "sending"
        );
        match self.connection.deliver(body).await {
            Ok(answer) => self.answered(parcel, &answer, bytes),
            Err(Unanswered::Gone) => Next::Spread,
            Err(Unanswered::Failed { failure, told }) => {
                self.failed(failure, &told);
                Next::BackOff
            }
        }
    }

    fn answered(&mut self, parcel: Parcel, answer: &Answer, bytes: usize) -> Next {
        let verdict = answer.verdict(Timestamp::now());
        if !matches!(verdict, Verdict::Forbidden(_)) {
            self.forbidden = 0;
        }
        match verdict {
            Verdict::Durable(acknowledgement) => self.durable(parcel, &acknowledgement, bytes),
            Verdict::Again(failure, next) => {
                if failure == Failure::Upgrade {
                    self.link.status_mut().upgrade = answer.problem().upgrade;
                }
                self.failed(failure, &answer.describe());
                next
            }
            Verdict::Smaller => self.too_large(parcel, answer),
            Verdict::Malformed => self.malformed(parcel, answer),
            Verdict::Forbidden(refused) => self.forbidden(&parcel, refused, answer),
        }
    }

    fn durable(&mut self, parcel: Parcel, said: &Acknowledgement, bytes: usize) -> Next {
        if !parcel
            .records()
            .iter()
            .all(|record| said.covers(&record.epoch, record.sequence))
        {
            self.failed(
                Failure::Answer,
                "the aggregator did not acknowledge what it was sent",
            );
            return Next::BackOff;
        }
        let (last, batches, edges) = parcel.extent();
        match parcel {
            Parcel::Piece(piece) if piece.to < piece.record.edges => {
                self.delivered = (piece.record.id, piece.to);
            }
            _ => {
                let removed = self.link.spool().remove(last);
                if self
                    .spooling
                    .note(removed.map_err(|error| chain(&error)))
                    .is_none()
                {
                    return Next::BackOff;
                }
            }
        }
        self.limits.grow();
        self.worked();
        let held = self.link.spool().held();
        let mut status = self.link.status_mut();
        status.spool = held;
        status.acknowledged_batches += batches;
        status.acknowledged_edges += edges;
        status.acknowledged_bytes += bytes as u64;
        status.acknowledged = Some(Timestamp::now());
        Next::Go
    }

    fn too_large(&mut self, parcel: Parcel, answer: &Answer) -> Next {
        self.failed(Failure::TooLarge, &answer.describe());
        let edges = match &parcel {
            Parcel::Piece(piece) => piece.batch.edges.len(),
            Parcel::Whole(records) => records[0].edges,
        };
        if self.limits.halve(parcel.batches(), edges) {
            return Next::Go;
        }
        self.limits.edges = 1;
        self.put_aside(parcel, answer)
    }

    fn malformed(&mut self, parcel: Parcel, answer: &Answer) -> Next {
        self.failed(Failure::Malformed, &answer.describe());
        let batches = parcel.batches();
        if batches > 1 {
            self.limits.batches = batches / 2;
            return Next::Go;
        }
        self.put_aside(parcel, answer)
    }

    /// Puts the only batch of a delivery aside, as it will never be taken. Its losses are told in its stead.
    fn put_aside(&mut self, parcel: Parcel, answer: &Answer) -> Next {
        let record = match parcel {
            Parcel::Whole(mut records) => records.swap_remove(0),
            Parcel::Piece(piece) => piece.record,
        };
        let batch = match unpack(&record) {
            Ok(batch) => batch,
            Err(error) => {
                error!("{error}");
                return Next::BackOff;
            }
        };
        let lost = parcel::count(&batch);
        let left = (!lost.is_empty()).then(|| parcel::without_counts(&batch));
        self.replace(&record, &batch, left, &lost, &answer.describe())
    }

    /// Takes pods out of a delivery that the aggregator says are not of this node.
    fn forbidden(&mut self, parcel: &Parcel, refused: Vec<PodIdentity>, answer: &Answer) -> Next {
        self.failed(Failure::Forbidden, &answer.describe());
        self.forbidden += 1;
        if self.forbidden < PATIENCE {
            return Next::BackOff;
        }
        let refused = BTreeSet::from_iter(refused);
        let mut concerned = false;
        for record in parcel.records() {
            let Ok(batch) = unpack(record) else { continue };
            let (kept, taken) = parcel::divide(&batch, &refused);
            if parcel::is_about_pods(&taken) {
                concerned = true;
                let next =
                    self.replace(record, &taken, Some(kept), &Lost::new(), &answer.describe());
                if next != Next::Go {
                    return next;
                }
            }
        }
        // Refused is something that was not sent: only a person can help.
        if concerned { Next::Go } else { Next::Slowly }
    }

    /// Puts `taken` aside, and leaves `left` in its place.
    fn replace(
        &mut self,
        record: &Record,
        taken: &Batch,
        left: Option<Batch>,
        lost: &Lost,
        reason: &str,
    ) -> Next {
        let entry = Entry {
            time: Timestamp::now(),
            reason,
            batch: Some(taken),
            damaged: None,
        };
        if !self.quarantine(&entry) {
            return Next::BackOff;
        }
        let replaced = self.link.spool().give_up(record.id, left, lost);
        if self
            .spooling
            .note(replaced.map_err(|error| chain(&error)))
            .is_none()
        {
            return Next::BackOff;
        }
        let edges = taken.edges.len();
        error!(
            node = self.agent.node,
            sequence = record.sequence,
            edges,
            file = %self.quarantine.path().display(),
            "put aside what will never be taken: {reason}"
        );
        self.count_put_aside(edges as u64);
        Next::Go
    }

    fn put_damaged_aside(&mut self, id: i64, frame: &[u8]) {
        let reason = "the record in the spool is damaged";
        let entry = Entry {
            time: Timestamp::now(),
            reason,
            batch: None,
            damaged: Some(hexadecimal(frame)),
        };
        let mut next = Next::BackOff;
        if self.quarantine(&entry) {
            let removed = self.link.spool().forget_damaged(id);
            if self
                .spooling
                .note(removed.map_err(|error| chain(&error)))
                .is_some()
            {
                let file = self.quarantine.path().display();
                error!(node = self.agent.node, %file, "{reason}: put it aside");
                self.count_put_aside(0);
                next = Next::Go;
            }
        }
        self.ended(self.began.elapsed(), next);
    }

    fn quarantine(&mut self, entry: &Entry<'_>) -> bool {
        let put = self.quarantine.put(entry);
        if let Err(error) = &put {
            let file = self.quarantine.path().display();
            error!(%file, "cannot put aside what was refused, so that it stays in the spool: {error}");
        }
        put.is_ok()
    }

    fn count_put_aside(&mut self, edges: u64) {
        let held = self.link.spool().held();
        let mut status = self.link.status_mut();
        status.spool = held;
        status.quarantined_batches += 1;
        status.quarantined_edges += edges;
    }

    /// Counts a failure, and says so if it is another than the last.
    fn failed(&mut self, failure: Failure, told: &str) {
        *self.link.status_mut().failures.entry(failure).or_default() += 1;
        if self.told != Some(failure) {
            let held = self.link.spool().held();
            warn!(
                node = self.agent.node,
                batches = held.batches,
                bytes = held.bytes,
                "not delivered, and tried again: {told}"
            );
        }
        self.told = Some(failure);
    }

    fn worked(&mut self) {
        self.link.status_mut().upgrade = None;
        if self.told.take().is_some() {
            info!(
                node = self.agent.node,
                "the aggregator takes deliveries again"
            );
        }
    }
}

impl Parcel {
    fn records(&self) -> &[Record] {
        match self {
            Self::Whole(records) => records,
            Self::Piece(piece) => std::slice::from_ref(&piece.record),
        }
    }

    fn batches(&self) -> usize {
        self.records().len()
    }

    /// The last place in the queue, batches that are complete with it, and edges.
    fn extent(&self) -> (i64, u64, u64) {
        match self {
            Self::Whole(records) => {
                let edges = records.iter().map(|record| record.edges as u64);
                let last = records.last().map_or(0, |record| record.id);
                (last, records.len() as u64, edges.sum())
            }
            Self::Piece(piece) => {
                let batches = u64::from(piece.to >= piece.record.edges);
                (piece.record.id, batches, piece.batch.edges.len() as u64)
            }
        }
    }
}

/// The batch of a record, whose checksum was right when it was read.
fn unpack(record: &Record) -> Result<Batch, EncodeError> {
    wire::unpack(&record.packed.frame).map_err(|error| std::io::Error::other(error).into())
}
