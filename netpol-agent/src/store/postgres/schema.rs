//! Tables, and how they came about. A migration that was ever released is never changed.

use refinery::{Migration, Runner};

/// Held while a replica migrates, so that two that start at once do it one after the other. The letters `netpol` as a number.
pub(super) const LOCK: i64 = 0x6e65_7470_6f6c;

/// The steps to the present schema. A `body` is what `crate::ledger::Told` encodes.
const STEPS: &[(&str, &str)] = &[(
    "V1__journal_pages_and_history",
    "
    CREATE TABLE clock (now BIGINT NOT NULL);
    INSERT INTO clock VALUES (0);
    CREATE TABLE journal (
        change BIGINT PRIMARY KEY,
        writer BIGINT NOT NULL,
        observer TEXT NOT NULL,
        boot_id TEXT NOT NULL,
        instance BIGINT NOT NULL,
        abi_version BIGINT NOT NULL,
        body BYTEA NOT NULL
    );
    CREATE INDEX journal_place ON journal (observer, boot_id, instance, abi_version);
    CREATE TABLE pages (
        observer TEXT NOT NULL,
        boot_id TEXT NOT NULL,
        instance BIGINT NOT NULL,
        abi_version BIGINT NOT NULL,
        change BIGINT NOT NULL,
        writer BIGINT NOT NULL,
        body BYTEA NOT NULL,
        PRIMARY KEY (observer, boot_id, instance, abi_version)
    );
    CREATE INDEX pages_change ON pages (change);
    CREATE TABLE history (
        key TEXT PRIMARY KEY,
        body BYTEA NOT NULL
    );
    ",
)];

/// Brings a database up to date.
pub(super) fn runner() -> Result<Runner, refinery::Error> {
    let steps = STEPS
        .iter()
        .map(|(name, sql)| Migration::unapplied(name, sql));
    let steps: Vec<Migration> = steps.collect::<Result<_, _>>()?;
    let mut runner = Runner::new(&steps).set_abort_missing(true);
    runner.set_migration_table_name("netpol_migrations");
    Ok(runner)
}
