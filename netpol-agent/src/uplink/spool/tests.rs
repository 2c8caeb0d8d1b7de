//! A spool keeps what it took, in order, within its bound, whatever becomes of its file.

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;

use super::examples::{NODE, batch, epoch, pod};
use super::*;
use crate::uplink::parcel;
use crate::wire;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("spool.db")
    }

    fn open(&self) -> Spool {
        Spool::open(&self.path(), NODE, DEFAULT_LIMIT).unwrap()
    }
}

fn records(spool: &mut Spool, limits: &Limits) -> Vec<Record> {
    match spool.front(limits).unwrap() {
        Front::Empty => Vec::new(),
        Front::Records(records) => records,
        damaged @ Front::Damaged { .. } => panic!("{damaged:?}"),
    }
}

fn batches(spool: &mut Spool) -> Vec<Batch> {
    let records = records(spool, &Limits::default());
    let unpacked = records
        .iter()
        .map(|record| wire::unpack(&record.packed.frame));
    unpacked.collect::<Result<_, _>>().unwrap()
}

fn numbers(spool: &mut Spool, limits: &Limits) -> Vec<u64> {
    let records = records(spool, limits);
    records.iter().map(|record| record.sequence).collect()
}

#[test]
fn what_was_pushed_is_there_in_order_also_after_a_restart() {
    let place = Place::new();
    let mut spool = place.open();
    assert!(spool.is_new());
    let pushed = [batch(1, 4), batch(2, 0), batch(5, 9)];
    for batch in &pushed {
        spool.push(batch).unwrap();
    }
    let held = spool.held();
    drop(spool);
    let mut spool = place.open();
    assert_eq!(batches(&mut spool), pushed);
    assert_eq!(spool.held(), held);
    assert_eq!(held.oldest, Some(pushed[0].time));
    assert!(!spool.is_new());
    assert_eq!(spool.sequences().unwrap(), BTreeMap::from([(epoch(), 5)]));
}

#[test]
fn what_was_removed_is_gone_and_its_number_is_remembered() {
    let place = Place::new();
    let mut spool = place.open();
    for sequence in 1..=3 {
        spool.push(&batch(sequence, 1)).unwrap();
    }
    let ids: Vec<i64> = records(&mut spool, &Limits::default())
        .iter()
        .map(|record| record.id)
        .collect();
    spool.remove(ids[1]).unwrap();
    assert_eq!(numbers(&mut spool, &Limits::default()), [3]);
    spool.remove(ids[2]).unwrap();
    assert_eq!((spool.held().batches, spool.held().bytes), (0, 0));
    assert_eq!(spool.held().oldest, None);
    drop(spool);
    assert_eq!(place.open().sequences().unwrap()[&epoch()], 3);
}

#[test]
fn a_full_spool_takes_nothing_more_until_something_is_removed() {
    let place = Place::new();
    let mut spool = Spool::open(&place.path(), NODE, 6_000).unwrap();
    let mut pushed = 0;
    let refused = loop {
        match spool.push(&batch(pushed + 1, 50)) {
            Ok(()) => pushed += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(refused, SpoolError::Full { limit: 6_000, .. }),
        "{refused}"
    );
    assert!(pushed > 1 && spool.held().bytes <= 6_000);
    let first = records(&mut spool, &Limits::default())[0].id;
    spool.remove(first).unwrap();
    spool.push(&batch(pushed + 1, 50)).unwrap();
    let expected: Vec<u64> = (2..=pushed + 1).collect();
    assert_eq!(numbers(&mut spool, &Limits::default()), expected);
}

#[test]
fn a_delivery_holds_as_much_as_it_may_and_at_least_one() {
    let place = Place::new();
    let mut spool = place.open();
    for sequence in 1..=6 {
        spool.push(&batch(sequence, 20)).unwrap();
    }
    let all = records(&mut spool, &Limits::default());
    let (frame, plain) = (all[0].packed.frame.len(), all[0].packed.plain);
    let usual = Limits::default();
    for (limits, count) in [
        (
            Limits {
                batches: 2,
                ..usual
            },
            2,
        ),
        (
            Limits {
                transferred: frame * 3 + frame / 2,
                ..usual
            },
            3,
        ),
        (
            Limits {
                plain: plain * 4 + plain / 2,
                ..usual
            },
            4,
        ),
        (Limits { plain: 1, ..usual }, 1),
        (usual, 6),
    ] {
        assert_eq!(records(&mut spool, &limits).len(), count, "{limits:?}");
    }
}

#[test]
fn numbers_that_begin_anew_go_with_the_next_delivery() {
    let place = Place::new();
    let mut spool = place.open();
    for sequence in [4, 5, 1, 2] {
        spool.push(&batch(sequence, 1)).unwrap();
    }
    assert_eq!(numbers(&mut spool, &Limits::default()), [4, 5]);
    let second = records(&mut spool, &Limits::default())[1].id;
    spool.remove(second).unwrap();
    assert_eq!(numbers(&mut spool, &Limits::default()), [1, 2]);
    assert_eq!(spool.sequences().unwrap()[&epoch()], 5);
}

#[test]
fn what_is_given_up_is_told_as_losses_from_then_on() {
    let place = Place::new();
    let mut spool = place.open();
    spool.push(&batch(10, 6)).unwrap();
    let id = records(&mut spool, &Limits::default())[0].id;
    let lost = parcel::count(&batch(10, 6));
    let left = parcel::without_counts(&batch(10, 6));
    spool.give_up(id, Some(left), &lost).unwrap();
    let told = |batch: &Batch| -> Vec<(u32, u64)> {
        let losses = batch.losses.iter();
        losses
            .map(|told| (told.interface, told.losses.edges_lost))
            .collect()
    };
    let left = batches(&mut spool);
    assert_eq!(left[0].sequence, 10);
    assert!(left[0].edges.is_empty());
    // The observer had said that the first pod lost ten; two edges of each pod were given up.
    assert_eq!(told(&left[0]), [(0, 12), (1, 2), (2, 2)]);
    drop(spool);
    let mut spool = place.open();
    spool.push(&batch(11, 1)).unwrap();
    assert_eq!(told(&batches(&mut spool)[1]), [(0, 13)]);
}

#[test]
fn an_epoch_that_is_over_is_forgotten_once_nothing_of_it_waits() {
    let place = Place::new();
    let mut spool = place.open();
    spool.push(&batch(1, 1)).unwrap();
    let later = Epoch {
        instance: 8,
        ..epoch()
    };
    let next = |sequence| Batch {
        epoch: later.clone(),
        ..batch(sequence, 1)
    };
    spool.push(&next(1)).unwrap();
    assert_eq!(spool.sequences().unwrap().len(), 2);
    let id = records(&mut spool, &Limits::default())[0].id;
    spool.remove(id).unwrap();
    spool.push(&next(2)).unwrap();
    assert_eq!(spool.sequences().unwrap(), BTreeMap::from([(later, 2)]));
}

#[test]
fn a_damaged_record_is_found_out_and_its_pods_are_told_of() {
    let place = Place::new();
    let mut spool = place.open();
    for sequence in 1..=3 {
        spool.push(&batch(sequence, 3)).unwrap();
    }
    let sql = "UPDATE batches SET frame = substr(frame, 1, length(frame) - 3) WHERE sequence = 2";
    spool.connection.execute(sql, []).unwrap();
    assert_eq!(numbers(&mut spool, &Limits::default()), [1]);
    let first = records(&mut spool, &Limits::default())[0].id;
    spool.remove(first).unwrap();
    let Front::Damaged { id, .. } = spool.front(&Limits::default()).unwrap() else {
        panic!("the damage was not found");
    };
    spool.forget_damaged(id).unwrap();
    let left = batches(&mut spool);
    assert_eq!(left.len(), 2);
    assert_eq!((left[0].sequence, left[1].clone()), (2, batch(3, 3)));
    assert_eq!(left[0].losses[0].pod, pod(0));
    assert_eq!(left[0].losses[0].losses.edges_lost, 4);
}

/// A spool whose file has several pages of batches, closed.
fn filled(place: &Place) -> u64 {
    let mut spool = place.open();
    for sequence in 1..=40 {
        spool.push(&batch(sequence, 60)).unwrap();
    }
    fs::metadata(place.path()).unwrap().len()
}

#[test]
fn a_file_cut_short_or_of_something_else_is_put_aside() {
    for cut in [0, 100, 5_000, 20_000] {
        let place = Place::new();
        filled(&place);
        let file = fs::OpenOptions::new()
            .write(true)
            .open(place.path())
            .unwrap();
        file.set_len(cut).unwrap();
        let mut spool = place.open();
        spool.push(&batch(41, 1)).unwrap();
        assert_eq!(numbers(&mut spool, &Limits::default()).last(), Some(&41));
    }
    let place = Place::new();
    fs::write(place.path(), "no database".repeat(1000)).unwrap();
    let mut spool = place.open();
    spool.push(&batch(1, 1)).unwrap();
    assert!(place.0.path().join("spool.db.damaged").exists());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn a_file_with_overwritten_bytes_gives_only_batches_that_were_pushed(
        places in proptest::collection::vec(any::<prop::sample::Index>(), 1..4),
        with in any::<u8>(),
    ) {
        let place = Place::new();
        filled(&place);
        let mut bytes = fs::read(place.path()).unwrap();
        for at in places {
            let at = at.index(bytes.len() / 64) * 64;
            bytes[at..at + 64].fill(with);
        }
        fs::write(place.path(), bytes).unwrap();
        let Ok(mut spool) = Spool::open(&place.path(), NODE, DEFAULT_LIMIT) else {
            return Ok(());
        };
        loop {
            match spool.front(&Limits::default()) {
                Ok(Front::Empty) => break,
                Ok(Front::Damaged { id, .. }) => spool.forget_damaged(id).unwrap(),
                Ok(Front::Records(records)) => {
                    // A row's place in the queue may be what was overwritten: only one delivery has to be in order.
                    let mut last = BTreeMap::new();
                    for record in &records {
                        let read = wire::unpack(&record.packed.frame).unwrap();
                        let before = last.insert(record.epoch.clone(), record.sequence);
                        prop_assert!(before.is_none_or(|before| before < record.sequence));
                        let told = read.edges.is_empty() || read == batch(read.sequence, 60);
                        prop_assert!(told, "{:?}", read);
                    }
                    spool.remove(records.last().unwrap().id).unwrap();
                }
                Err(error) => return Err(TestCaseError::fail(error.to_string())),
            }
        }
        prop_assert_eq!(spool.held().batches, 0);
    }
}
