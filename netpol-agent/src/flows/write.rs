//! Writing flow records.

use std::io::{self, Write};

use netpol_common::record::FlowRecord;

/// Writes one line of JSON for each record.
///
/// # Errors
///
/// Whatever `to` fails with.
pub fn write(to: &mut impl Write, records: impl IntoIterator<Item = FlowRecord>) -> io::Result<()> {
    for record in records {
        serde_json::to_writer(&mut *to, &record)?;
        to.write_all(b"\n")?;
    }
    Ok(())
}
