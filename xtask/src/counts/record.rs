//! The counts that are on record, and how they are compared.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;

use serde_json::{Value, json};

use crate::counts::measure::{Measured, Toolchain};
use crate::run::{Failure, root};

/// Where they are.
const FILE: &str = "benches/counts/counts.json";

/// With the record's toolchain: runs differ by less than a hundredth of this.
pub(crate) const NARROW_PERCENT: u64 = 3;
/// With another compiler, which inlines otherwise.
const WIDE_PERCENT: u64 = 15;

/// Counts on record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    toolchain: Toolchain,
    instructions: BTreeMap<String, u64>,
}

/// How a count stands beside its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Above it by more than the threshold.
    Slower,
    /// Within the threshold.
    Same,
    /// Below it by more than the threshold: the record is to be written anew, or it would hide a slow-down.
    Faster,
    /// Of another kind of machine: there is nothing to compare with.
    Incomparable,
}

/// One path beside its record.
pub(crate) struct Line<'a> {
    name: &'a str,
    measured: u64,
    recorded: u64,
    pub(crate) verdict: Verdict,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { name, measured, recorded, verdict } = self;
        let sign = if measured >= recorded { '+' } else { '-' };
        let differs = measured.abs_diff(*recorded);
        let tenths = differs.saturating_mul(1_000).checked_div(*recorded).unwrap_or(0);
        let (whole, part) = (tenths / 10, tenths % 10);
        let says = match verdict {
            Verdict::Slower => "  SLOWER",
            Verdict::Same => "",
            Verdict::Faster => "  faster: note it with `cargo xtask counts --record`",
            Verdict::Incomparable => "  not compared",
        };
        write!(f, "  {name:<28}{measured:>9}{recorded:>9}  {sign}{whole}.{part} %{says}")
    }
}

/// Compares two counts.
pub(crate) fn verdict(recorded: u64, measured: u64, percent: u64) -> Verdict {
    let scaled = |count: u64, percent: u64| count.saturating_mul(percent);
    if scaled(measured, 100) > scaled(recorded, 100_u64.saturating_add(percent)) {
        Verdict::Slower
    } else if scaled(measured, 100) < scaled(recorded, 100_u64.saturating_sub(percent)) {
        Verdict::Faster
    } else {
        Verdict::Same
    }
}

impl Record {
    /// What was measured, to be written.
    pub(crate) fn of(measured: &Measured, toolchain: Toolchain) -> Self {
        Record { toolchain, instructions: measured.hot.clone() }
    }

    /// Reads the file.
    pub(crate) fn read() -> Result<Self, Failure> {
        let text = fs::read_to_string(root().join(FILE))
            .map_err(|error| Failure(format!("{FILE}: {error}; `cargo xtask counts --record`")))?;
        Record::parse(&text)
            .ok_or_else(|| Failure(format!("{FILE} is no record; `cargo xtask counts --record`")))
    }

    /// Writes the file.
    pub(crate) fn write(&self) -> Result<(), Failure> {
        fs::write(root().join(FILE), self.text())
            .map_err(|error| Failure(format!("{FILE}: {error}")))?;
        println!("\nwrote {FILE}");
        Ok(())
    }

    fn text(&self) -> String {
        let Toolchain { rustc, target } = &self.toolchain;
        let record = json!({
            "rustc": rustc,
            "target": target,
            "instructions": self.instructions,
        });
        format!("{record:#}\n")
    }

    fn parse(text: &str) -> Option<Self> {
        let record: Value = serde_json::from_str(text).ok()?;
        let word = |name: &str| Some(record.get(name)?.as_str()?.to_string());
        let toolchain = Toolchain { rustc: word("rustc")?, target: word("target")? };
        let counts = record.get("instructions")?.as_object()?.iter();
        let counts = counts.map(|(name, count)| Some((name.clone(), count.as_u64()?)));
        Some(Record { toolchain, instructions: counts.collect::<Option<_>>()? })
    }

    /// How much a count may differ; none for another kind of machine.
    fn percent(&self, here: &Toolchain) -> Option<u64> {
        if self.toolchain.target != here.target {
            None
        } else if self.toolchain.rustc != here.rustc {
            Some(WIDE_PERCENT)
        } else {
            Some(NARROW_PERCENT)
        }
    }

    /// With what is compared, and how strictly.
    pub(crate) fn about(&self, here: &Toolchain) -> String {
        let Toolchain { rustc, target } = &self.toolchain;
        match self.percent(here) {
            None => format!(
                "the record is of {target}, and this is {}: shown, and not compared",
                here.target
            ),
            Some(WIDE_PERCENT) => format!(
                "the record is of {rustc}, and this is {}: {WIDE_PERCENT} % more are let pass",
                here.rustc
            ),
            Some(percent) => format!("{rustc}, {target}: {percent} % more are let pass"),
        }
    }

    /// Each path that is on record and was measured.
    pub(crate) fn compare<'a>(
        &self,
        measured: &'a Measured,
        here: &Toolchain,
    ) -> impl Iterator<Item = Line<'a>> {
        let percent = self.percent(here);
        measured.hot.iter().filter_map(move |(name, measured)| {
            let recorded = *self.instructions.get(name)?;
            let verdict = percent
                .map_or(Verdict::Incomparable, |percent| verdict(recorded, *measured, percent));
            Some(Line { name, measured: *measured, recorded, verdict })
        })
    }

    /// Paths that only one of the two has: a path that was left out would be slow unseen.
    pub(crate) fn not_the_same_paths(&self, measured: &Measured) -> Vec<String> {
        let fresh = measured.hot.keys().filter(|name| !self.instructions.contains_key(*name));
        let gone = self.instructions.keys().filter(|name| !measured.hot.contains_key(*name));
        let fresh = fresh.map(|name| format!("  {name} is not on record"));
        fresh.chain(gone.map(|name| format!("  {name} is on record and was not counted"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(counts: &[(&str, u64)]) -> Measured {
        let hot = counts.iter().map(|(name, count)| ((*name).to_string(), *count)).collect();
        Measured { hot, ..Measured::default() }
    }

    fn toolchain(rustc: &str, target: &str) -> Toolchain {
        Toolchain { rustc: rustc.into(), target: target.into() }
    }

    /// How counts stand beside those of the record, with this toolchain.
    fn verdicts(counts: &[(&str, u64)], here: &Toolchain) -> Vec<Verdict> {
        let recorded = measured(&[("get", 1_000), ("post", 20_000)]);
        let record = Record::of(&recorded, toolchain("rustc 1", "x86"));
        record.compare(&measured(counts), here).map(|line| line.verdict).collect()
    }

    #[test]
    fn a_slow_down_is_found_and_a_gain_is_noted() {
        use Verdict::{Faster, Same, Slower};
        let same = toolchain("rustc 1", "x86");
        assert_eq!(verdicts(&[("get", 1_000), ("post", 20_000)], &same), [Same, Same]);
        // As against a record that is a tenth lower.
        assert_eq!(verdicts(&[("get", 1_100), ("post", 22_000)], &same), [Slower, Slower]);
        assert_eq!(verdicts(&[("get", 1_030), ("post", 20_601)], &same), [Same, Slower]);
        assert_eq!(verdicts(&[("get", 970), ("post", 19_399)], &same), [Same, Faster]);
    }

    #[test]
    fn another_compiler_has_a_wider_threshold_and_another_machine_none() {
        use Verdict::{Incomparable, Same, Slower};
        let compiler = toolchain("rustc 2", "x86");
        assert_eq!(verdicts(&[("get", 1_150), ("post", 23_001)], &compiler), [Same, Slower]);
        let machine = toolchain("rustc 1", "arm");
        assert_eq!(verdicts(&[("get", 9_000)], &machine), [Incomparable]);
        let record = Record::of(&measured(&[]), toolchain("rustc 1", "x86"));
        assert!(record.about(&compiler).contains("15 %"));
        assert!(record.about(&machine).contains("not compared"));
    }

    #[test]
    fn paths_come_and_go_with_their_record() {
        let record = Record::of(&measured(&[("get", 1), ("gone", 1)]), toolchain("r", "t"));
        let problems = record.not_the_same_paths(&measured(&[("get", 1), ("new", 1)]));
        assert_eq!(problems, ["  new is not on record", "  gone is on record and was not counted"]);
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = Record::of(&measured(&[("get", 1_234)]), toolchain("rustc 1", "x86"));
        assert_eq!(Record::parse(&record.text()).unwrap(), record);
        assert_eq!(Record::parse("{}"), None);
        assert!(!Record::read().unwrap().instructions.is_empty());
    }

    #[test]
    fn a_line_says_by_how_much() {
        let line = Line { name: "get", measured: 1_101, recorded: 1_000, verdict: Verdict::Slower };
        assert_eq!(
            line.to_string(),
            "  get                              1101     1000  +10.1 %  SLOWER"
        );
    }
}
