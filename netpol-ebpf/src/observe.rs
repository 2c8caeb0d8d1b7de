//! One packet from its beginning to its fate.

use aya_ebpf::programs::TcContext;
use netpol_ebpf::packet;
use netpol_ebpf::{Side, Store as _};

use crate::maps::{Maps, counters};
use crate::parts;
use crate::source::Linear;

/// Observes a packet. It costs a plain TCP segment one look at its headers and one counter.
#[inline(always)]
pub(crate) fn observe(context: &TcContext, side: Side) {
    let linear = Linear::new(context);
    if packet::is_plain_segment(&linear) && !Maps.one_sided() {
        counters::end_as_data();
    } else {
        let fate = parts::look(context, side);
        #[cfg(feature = "log")]
        parts::tell(context, side, fate.into());
        counters::end(fate, context.len());
    }
}
