//! What the index knows of the past, in the store.

use std::borrow::Cow;

use jiff::Timestamp;

use super::shared::SharedIndex;
use crate::identity::Index;
use crate::store::{Change, Store, StoreError};

/// Objects that are kept in one transaction.
const CHANGES: usize = 2_000;
/// Bytes above which an object is compressed: histories of many versions, which are much alike.
const LONG: usize = 4 << 10;
/// Bytes of an object at most, unpacked.
const MOST: usize = 64 << 20;
/// What compressed bytes begin with, as no JSON does.
const ZSTD: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();

/// Gives back to the index what the store holds of the past, and has it note what changes from now on.
pub(super) fn recall(store: &mut Store, index: &SharedIndex) -> Result<(), StoreError> {
    index.change_quietly(|index| {
        let gone = index.pods().next().is_some().then(Timestamp::now);
        let take = &mut |key: &str, body: &[u8]| index.recall(key, &unpack(body)?, gone);
        store.recall(take)?;
        index.remember(gone.is_none());
        Ok(())
    })
}

/// Keeps some of what has changed. Tells whether there is more.
pub(super) fn remember(store: &mut Store, index: &SharedIndex) -> Result<bool, StoreError> {
    let taken = index.change_quietly(|index: &mut Index| index.take_changes(CHANGES));
    let changes = taken.iter().map(|kept| Change {
        key: kept.key.clone(),
        body: kept.body.as_deref().map(pack),
    });
    let kept = store.remember(&changes.collect::<Vec<_>>());
    let count = taken.len();
    if kept.is_err() {
        let objects = taken.into_iter().map(|kept| kept.object);
        index.change_quietly(|index| index.change_again(objects));
    }
    kept.map(|()| count == CHANGES)
}

fn pack(body: &[u8]) -> Vec<u8> {
    let packed = || zstd::bulk::compress(body, 1).ok();
    let packed = (body.len() > LONG).then(packed).flatten();
    packed.unwrap_or_else(|| body.to_vec())
}

fn unpack(body: &[u8]) -> Option<Cow<'_, [u8]>> {
    match body.starts_with(&ZSTD) {
        true => Some(zstd::bulk::decompress(body, MOST).ok()?.into()),
        false => Some(body.into()),
    }
}
