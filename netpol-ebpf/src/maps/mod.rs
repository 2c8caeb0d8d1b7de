//! The maps, each private to its file.

pub(crate) mod attempts;
pub(crate) mod counters;
pub(crate) mod edges;
pub(crate) mod interface_stats;
pub(crate) mod interfaces;
pub(crate) mod meta;
pub(crate) mod pending;
pub(crate) mod sights;

use aya_ebpf::programs::TcContext;
use netpol_common::abi::{EdgeKey, FirstSight};

#[inline(always)]
pub(crate) fn skeleton(context: &TcContext) {
    let key = EdgeKey {
        interface: 0,
        port: 0,
        protocol: 0,
        direction: 0,
        local: [0; 16],
        remote: [0; 16],
    };
    let i = context.len() & 0xff;
    if meta::touch()
        && pending::touch(i)
        && edges::touch(&key)
        && attempts::touch(&key)
        && interfaces::touch(i)
        && interface_stats::touch(i)
    {
        sights::touch(FirstSight { key, time: 0 });
    }
}
