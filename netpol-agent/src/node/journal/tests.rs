//! What the journal keeps, and what it makes of a file that it cannot read.

use super::*;
use netpol_common::abi::Direction;
use netpol_common::words::Protocol;

use crate::node::account::{Carries as _, Counts};
use crate::node::clock::Sample;
use crate::node::interfaces::kernel_key;
use crate::observe::Source;

fn epoch(instance: u64) -> Epoch {
    Epoch {
        boot_id: "b".to_owned(),
        instance,
        abi_version: 1,
    }
}

fn key(interface: u32) -> ObservedKey {
    ObservedKey {
        interface,
        source: Source::Conntrack,
        direction: Direction::Ingress,
        protocol: Protocol::Udp,
        port: 53,
        local: "10.1.0.4".parse().unwrap(),
        remote: "fd00::9".parse().unwrap(),
    }
}

fn cell(attempts: u64) -> Cell {
    Cell {
        before: Counts {
            attempts,
            answered: 2,
            refused: 3,
        },
        value: Counts {
            attempts: u64::MAX,
            answered: 5,
            refused: 6,
        },
        entry: 7,
        first_seen: 8,
        last_seen: 9,
    }
}

fn seed(count: u64) -> Seed {
    Seed {
        count,
        first_seen: 1,
        last_seen: 2,
    }
}

#[test]
fn everything_is_kept_within_an_epoch_and_nothing_beyond() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let mut clock = Clock::default();
    clock.sample(Sample {
        kernel: 5,
        wall: 50,
    });
    let interface = Interface::new(3, 9, "veth9");
    let seeds = [(key(3), seed(4))];
    {
        let (mut journal, kept) = Journal::open(&path, &epoch(1)).unwrap();
        assert_eq!(kept, Kept::default());
        journal.begin_batch(17, &clock).unwrap();
        let both = seeds.iter().map(|(key, seed)| (key, seed));
        journal.put_seeds(&interface, both).unwrap();
    }
    let (journal, kept) = Journal::open(&path, &epoch(1)).unwrap();
    let expected = Kept {
        sequence: 17,
        clock,
        interfaces: vec![interface],
        seeds: seeds.to_vec(),
    };
    assert_eq!(kept, expected);
    drop(journal);
    let (_, kept) = Journal::open(&path, &epoch(2)).unwrap();
    assert_eq!(kept, Kept::default());
}

#[test]
fn cells_come_back_as_they_were_until_their_interface_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let keys = [kernel_key(&key(1)), kernel_key(&key(2))];
    {
        let (mut journal, _) = Journal::open(&path, &epoch(1)).unwrap();
        assert_eq!(journal.carried(MapKind::Edges, &keys[0]).unwrap(), None);
        let first = keys.map(|key| (MapKind::Edges, key, cell(1)));
        journal.carry(&first).unwrap();
        journal
            .carry(&[(MapKind::Edges, keys[0], cell(4))])
            .unwrap();
    }
    let (mut journal, _) = Journal::open(&path, &epoch(1)).unwrap();
    assert_eq!(
        journal.carried(MapKind::Edges, &keys[0]).unwrap(),
        Some(cell(4))
    );
    assert_eq!(journal.carried(MapKind::Attempts, &keys[0]).unwrap(), None);
    journal.remove_interface(1).unwrap();
    assert_eq!(journal.carried(MapKind::Edges, &keys[0]).unwrap(), None);
    assert_eq!(
        journal.carried(MapKind::Edges, &keys[1]).unwrap(),
        Some(cell(1))
    );
}

#[test]
fn a_damaged_journal_is_put_aside_and_a_new_one_begun() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let garbage = "not a database, but long enough to be looked at as one".repeat(99);
    for file in ["journal.db", "journal.db-wal"] {
        std::fs::write(directory.path().join(file), &garbage).unwrap();
    }
    let (journal, kept) = Journal::open(&path, &epoch(1)).unwrap();
    assert_eq!(kept, Kept::default());
    drop(journal);
    let aside = directory.path().join("journal.db.damaged");
    assert_eq!(std::fs::read_to_string(aside).unwrap(), garbage);
    Journal::open(&path, &epoch(1)).unwrap();
}

#[test]
fn a_journal_that_cannot_be_opened_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let error = Journal::open(directory.path(), &epoch(1)).unwrap_err();
    let name = directory.path().display().to_string();
    assert!(error.to_string().contains(&name), "{error}");
}

/// Makes a journal with one of everything, and changes it by `sql`.
fn spoilt(path: &Path, sql: &str) {
    let (mut journal, _) = Journal::open(path, &epoch(1)).unwrap();
    journal.begin_batch(17, &Clock::default()).unwrap();
    for handle in [3, 4] {
        let interface = Interface {
            seeded: true,
            ..Interface::new(handle, 9, "veth9")
        };
        let (key, seed) = (key(handle), seed(4));
        journal.put_seeds(&interface, [(&key, &seed)]).unwrap();
        let carried = (MapKind::Edges, kernel_key(&key), cell(1));
        journal.carry(&[carried]).unwrap();
    }
    assert!(journal.connection.execute(sql, []).unwrap() > 0);
}

#[test]
fn a_record_that_cannot_be_read_leaves_a_gap_and_blocks_nothing() {
    for (sql, seeds, known) in [
        (
            "UPDATE interfaces SET record = '{' WHERE handle = 3",
            2,
            false,
        ),
        (
            "UPDATE interfaces SET record = x'ff' WHERE handle = 3",
            2,
            false,
        ),
        (
            "UPDATE seeds SET record = '[]' WHERE interface = 3",
            1,
            true,
        ),
        ("UPDATE seeds SET key = '' WHERE interface = 3", 1, true),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal.db");
        spoilt(&path, sql);
        for _ in 0..2 {
            let (_, kept) = Journal::open(&path, &epoch(1)).unwrap();
            assert_eq!(kept.sequence, 17, "{sql}");
            assert_eq!(kept.seeds.len(), seeds, "{sql}");
            let [bad, good] = &kept.interfaces[..] else {
                panic!("{sql}: {kept:?}")
            };
            assert_eq!((bad.handle, bad.ifindex == 9), (3, known), "{sql}");
            assert!(bad.gap, "{sql}");
            assert!(good.seeded && !good.gap && good.ifindex == 9, "{sql}");
        }
    }
}

#[test]
fn counts_that_cannot_be_read_begin_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    spoilt(&path, "UPDATE cells SET cell = x'00' WHERE interface = 3");
    let (journal, _) = Journal::open(&path, &epoch(1)).unwrap();
    for (handle, expected) in [(3, None), (4, Some(cell(1)))] {
        let carried = journal.carried(MapKind::Edges, &kernel_key(&key(handle)));
        assert_eq!(carried.unwrap(), expected);
    }
}

#[test]
fn a_journal_that_does_not_tell_its_epoch_is_put_aside() {
    for sql in [
        "UPDATE epoch SET epoch = ''",
        "UPDATE epoch SET clock = '7'",
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal.db");
        spoilt(&path, sql);
        let (_, kept) = Journal::open(&path, &epoch(1)).unwrap();
        assert_eq!(kept, Kept::default());
        assert!(directory.path().join("journal.db.damaged").exists());
    }
}
