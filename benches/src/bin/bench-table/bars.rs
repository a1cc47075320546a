//! The bars, as ratios of one run: see the design's chapter on speed.

use tollgate_bench::Bar;

use crate::estimates::{Estimates, speed_up};
use crate::footprint::Footprint;

/// All of them.
pub(crate) fn all([small, large]: &[Estimates; 2], footprint: &Footprint) -> [Bar; 6] {
    let threads = speed_up(small.threads).min(speed_up(large.threads));
    [
        Bar::at_most("get_1k_vs_floor", small.get.tollgate / small.get.floor, 1.5),
        Bar::at_most("get_1m_vs_composed", large.get.tollgate / large.get.composed, 0.45),
        Bar::at_most("post_1k_vs_composed", small.tollgate_cycle / small.composed_claim, 1.0),
        Bar::at_least("threads_2_vs_1", threads, 1.8),
        Bar::at_most("bytes_per_token_1m", footprint.tollgate_bytes, 256.0),
        Bar::at_most("allocations_get", footprint.tollgate_get, 0.0),
    ]
}
