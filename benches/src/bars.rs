//! The bars, as ratios of one run: see the design's chapter on speed.

use serde::Serialize;

use crate::estimates::{Estimates, speed_up};
use crate::footprint::Footprint;

/// One bar; its JSON is one line of `cargo xtask bench --json`.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Bar {
    pub(crate) name: &'static str,
    /// Rounded to three decimals.
    pub(crate) value: f64,
    pub(crate) bar: f64,
    pub(crate) holds: bool,
}

impl Bar {
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

    fn at_most(name: &'static str, value: f64, bar: f64) -> Bar {
        // A single allocation in many decisions is not rounded away.
        let value = if bar == 0.0 { value } else { rounded(value) };
        Bar { name, value, bar, holds: value <= bar }
    }

    fn at_least(name: &'static str, value: f64, bar: f64) -> Bar {
        let value = rounded(value);
        Bar { name, value, bar, holds: value >= bar }
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_one_line_of_json_and_is_judged_as_it_is_printed() {
        let bar = Bar::at_most("get_1k_vs_floor", 1.500_4, 1.5);
        let line = serde_json::to_string(&bar).unwrap();
        let expected = r#"{"name":"get_1k_vs_floor","value":1.5,"bar":1.5,"holds":true}"#;
        assert_eq!(line, expected);
    }

    #[test]
    fn bars_can_be_missed() {
        assert!(!Bar::at_most("b", 1.501, 1.5).holds);
        assert!(!Bar::at_least("b", 1.799, 1.8).holds);
        assert!(Bar::at_least("b", 1.8, 1.8).holds);
        assert!(!Bar::at_most("allocations_get", 0.000_01, 0.0).holds);
    }
}
