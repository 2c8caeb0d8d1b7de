//! Tables, and how they came about. A migration that was ever released is never changed.

use rusqlite_migration::{M, Migrations};

/// `PRAGMA application_id`: tells our databases from others. The letters `nplg`.
pub(super) const APPLICATION_ID: i32 = 0x6e70_6c67;

/// The steps to the present schema. Of schema 2, times are microseconds of Unix time, and a `key` is that of `super::key`.
/// Schema 3 holds what `crate::ledger::Told` encodes: a row of the journal for each batch, and a page for each epoch.
const STEPS: &[M<'static>] = &[
    M::up(
        "
    CREATE TABLE epochs (
        id INTEGER PRIMARY KEY,
        observer TEXT NOT NULL,
        boot_id TEXT NOT NULL,
        instance INTEGER NOT NULL,
        abi_version INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        time INTEGER NOT NULL,
        UNIQUE (observer, boot_id, instance, abi_version)
    ) STRICT;
    CREATE TABLE node_addresses (
        observer TEXT NOT NULL,
        address TEXT NOT NULL,
        PRIMARY KEY (observer, address)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE interfaces (
        epoch INTEGER NOT NULL REFERENCES epochs (id),
        interface INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        uid TEXT NOT NULL,
        one_sided INTEGER NOT NULL,
        PRIMARY KEY (epoch, interface)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE points (
        epoch INTEGER NOT NULL REFERENCES epochs (id),
        key BLOB NOT NULL,
        second INTEGER NOT NULL,
        first_seen INTEGER NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        answered INTEGER NOT NULL,
        refused INTEGER NOT NULL,
        PRIMARY KEY (epoch, second, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE losses (
        epoch INTEGER NOT NULL REFERENCES epochs (id),
        interface INTEGER NOT NULL,
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        uid TEXT NOT NULL,
        edges_lost INTEGER NOT NULL,
        attempts_lost INTEGER NOT NULL,
        \"foreign\" INTEGER NOT NULL,
        not_for_pod INTEGER NOT NULL,
        observation_gap INTEGER NOT NULL,
        PRIMARY KEY (epoch, interface, namespace, name, uid)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE agent_state (
        area TEXT NOT NULL,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (area, key)
    ) STRICT, WITHOUT ROWID;
    ",
    ),
    M::up(
        "
    ALTER TABLE losses ADD COLUMN edges_recovered INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE losses ADD COLUMN attempts_recovered INTEGER NOT NULL DEFAULT 0;
    ",
    ),
    M::up(
        "
    DROP TABLE agent_state;
    CREATE TABLE journal (
        id INTEGER PRIMARY KEY,
        observer TEXT NOT NULL,
        boot_id TEXT NOT NULL,
        instance INTEGER NOT NULL,
        abi_version INTEGER NOT NULL,
        body BLOB NOT NULL
    ) STRICT;
    CREATE INDEX journal_place ON journal (observer, boot_id, instance, abi_version);
    CREATE TABLE pages (
        observer TEXT NOT NULL,
        boot_id TEXT NOT NULL,
        instance INTEGER NOT NULL,
        abi_version INTEGER NOT NULL,
        body BLOB NOT NULL,
        UNIQUE (observer, boot_id, instance, abi_version)
    ) STRICT;
    CREATE TABLE history (
        key TEXT PRIMARY KEY,
        body BLOB NOT NULL
    ) STRICT;
    ",
    ),
];

/// Every step in order.
pub(super) fn migrations() -> Migrations<'static> {
    Migrations::from_slice(STEPS)
}
