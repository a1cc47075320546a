//! `cargo xtask counts`: instructions of the hot paths, beside those that are on record. A slow-down is seen
//! without a clock, so it is seen on a busy machine too.

mod measure;
mod record;

use crate::backends;
use crate::run::{Failure, announce};

use measure::{Measured, Toolchain};
use record::{NARROW_PERCENT, Record, Verdict};

/// Counts, and compares with the record; fails when a path became slower, or a hostile caller costs too much.
pub(crate) fn compare() -> Result<(), Failure> {
    let (toolchain, measured) = measure()?;
    let record = Record::read()?;
    announce("instructions a call, beside the record");
    println!("{}", record.about(&toolchain));
    let mut problems = Vec::new();
    for line in record.compare(&measured, &toolchain) {
        println!("{line}");
        if line.verdict == Verdict::Slower {
            problems.push(line.to_string());
        }
    }
    problems.extend(record.not_the_same_paths(&measured));
    problems.extend(hostile(&measured));
    proof(&measured)?;
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure(format!(
        "{}\nMend what is slower; if it is worth its cost, `cargo xtask counts --record` and say why in the commit",
        problems.join("\n")
    )))
}

/// Counts, and writes the record anew.
pub(crate) fn write_record() -> Result<(), Failure> {
    let (toolchain, measured) = measure()?;
    proof(&measured)?;
    Record::of(&measured, toolchain).write()
}

fn measure() -> Result<(Toolchain, Measured), Failure> {
    backends::for_counts()?;
    Ok((Toolchain::here()?, measure::measure()?))
}

/// Says what hostile callers cost, and gives those that cost too much.
fn hostile(measured: &Measured) -> Vec<String> {
    println!("\nwhat a hostile caller chooses, beside what an honest one sends:");
    let mut problems = Vec::new();
    for path in &measured.hostile {
        let line = path.to_string();
        println!("{line}");
        if !path.holds() {
            problems.push(line);
        }
    }
    problems
}

/// A slow-down of some per cent that the counted program plants in itself must be found.
fn proof(measured: &Measured) -> Result<(), Failure> {
    let Some(planted) = measured.planted.iter().find_map(|(name, slowed)| {
        let whole = measured.hot.get(name)?;
        Some((name, record::verdict(*whole, *slowed, NARROW_PERCENT)))
    }) else {
        return Err(Failure(
            "no planted slow-down was counted; the comparison proves nothing".into(),
        ));
    };
    match planted {
        (name, Verdict::Slower) => {
            println!("\nok: a slow-down that was planted in {name} is found");
            Ok(())
        }
        (name, found) => Err(Failure(format!(
            "a slow-down that was planted in {name} was taken for {found:?}; the comparison proves nothing"
        ))),
    }
}
