//! Bars: what is measured, how much it may be, and whether it is.

use serde::Serialize;

/// One bar; its JSON is one line of `cargo xtask bench --json`.
#[derive(Debug, PartialEq, Serialize)]
pub struct Bar {
    /// Its name, for ever.
    pub name: &'static str,
    /// Rounded to three decimals.
    pub value: f64,
    /// The bar.
    pub bar: f64,
    /// Whether the value holds it.
    pub holds: bool,
}

impl Bar {
    /// A value that may be as much as `bar`.
    #[must_use]
    pub fn at_most(name: &'static str, value: f64, bar: f64) -> Bar {
        // A single allocation in many decisions is not rounded away.
        let value = if bar == 0.0 { value } else { rounded(value) };
        Bar { name, value, bar, holds: value <= bar }
    }

    /// A value that must be as much as `bar`.
    #[must_use]
    pub fn at_least(name: &'static str, value: f64, bar: f64) -> Bar {
        let value = rounded(value);
        Bar { name, value, bar, holds: value >= bar }
    }

    /// Its line in a table.
    #[must_use]
    pub fn cells(&self) -> [String; 3] {
        let holds = if self.holds { "holds" } else { "MISSED" };
        [self.value.to_string(), self.bar.to_string(), holds.to_owned()]
    }
}

/// Prints a table of bars, and with `json` one line of JSON for each.
#[allow(clippy::print_stdout, reason = "for commands that print tables")]
pub fn print_bars(bars: &[Bar], json: bool) {
    println!("\nBars");
    for bar in bars {
        let [value, at, holds] = bar.cells();
        println!("  {:<36}{value:>11}{at:>11}{holds:>11}", bar.name);
    }
    println!();
    for bar in bars.iter().filter(|_| json) {
        println!("{}", serde_json::to_string(bar).unwrap_or_default());
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
