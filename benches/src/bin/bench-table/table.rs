//! The table for people.

use std::fmt::Write;

use tollgate_bench::Bar;

use crate::estimates::{Contenders, Estimates, speed_up};
use crate::footprint::Footprint;

/// All facts, and whether each bar holds.
pub(crate) fn text(times: &[Estimates; 2], footprint: &Footprint, bars: &[Bar]) -> String {
    let mut text = String::new();
    write(&mut text, times, footprint, bars).unwrap(); // a String takes everything
    text
}

fn write(
    out: &mut String,
    times: &[Estimates; 2],
    footprint: &Footprint,
    bars: &[Bar],
) -> std::fmt::Result {
    writeln!(out, "\nNanoseconds per decision (medians)")?;
    row(out, "", ["floor", "composed", "tollgate", "/ floor", "/ composed"])?;
    for (size, times) in ["1k", "1M"].iter().zip(times) {
        contenders(out, &format!("GET, {size} tokens"), &times.get)?;
        contenders(out, &format!("GET, {size} tokens, text in cache"), &times.get_hot)?;
        let (claim, cycle) = (times.composed_claim, times.tollgate_cycle);
        let ratio = ratio(cycle / claim);
        let label = format!("POST, {size} tokens: cycle, claim");
        row(out, &label, ["", &whole(claim), &whole(cycle), "", &ratio])?;
    }

    writeln!(out, "\nMillion GETs per second")?;
    row(out, "", ["1 thread", "2 threads", "ratio", "", ""])?;
    for (size, times) in ["1k", "1M"].iter().zip(times) {
        threads(out, &format!("tollgate, {size} tokens"), times.threads)?;
        threads(out, &format!("composed, {size} tokens"), times.threads_composed)?;
    }

    writeln!(out, "\nMemory")?;
    row(out, "", ["", "composed", "tollgate", "", ""])?;
    let Footprint { composed_bytes, tollgate_bytes, .. } = *footprint;
    let bytes = [whole(composed_bytes), whole(tollgate_bytes)];
    row(out, "bytes per token, 1M tokens", ["", &bytes[0], &bytes[1], "", ""])?;
    let get = [count(footprint.composed_get), count(footprint.tollgate_get)];
    row(out, "allocations per GET", ["", &get[0], &get[1], "", ""])?;
    let post = [count(footprint.composed_post), count(footprint.tollgate_post)];
    row(out, "allocations per POST: cycle, claim", ["", &post[0], &post[1], "", ""])?;

    writeln!(out, "\nBars")?;
    row(out, "", ["value", "bar", "", "", ""])?;
    for bar in bars {
        let [value, at, holds] = bar.cells();
        row(out, bar.name, [&value, &at, &holds, "", ""])?;
    }
    Ok(())
}

fn contenders(out: &mut String, label: &str, times: &Contenders) -> std::fmt::Result {
    let Contenders { floor, composed, tollgate } = *times;
    let ratios = [ratio(tollgate / floor), ratio(tollgate / composed)];
    let times = [whole(floor), whole(composed), whole(tollgate)];
    row(out, label, [&times[0], &times[1], &times[2], &ratios[0], &ratios[1]])
}

fn threads(out: &mut String, label: &str, times: [f64; 2]) -> std::fmt::Result {
    let [one, two] = times;
    let [one, two] = [ratio(1_000.0 / one), ratio(2_000.0 / two)];
    row(out, label, [&one, &two, &ratio(speed_up(times)), "", ""])
}

fn whole(value: f64) -> String {
    format!("{value:.0}")
}

fn ratio(value: f64) -> String {
    format!("{value:.2}")
}

/// Rare ones, such as those of a map that grows, are to be seen.
fn count(value: f64) -> String {
    format!("{value:.4}")
}

fn row(out: &mut String, label: &str, cells: [&str; 5]) -> std::fmt::Result {
    let mut line = format!("  {label:<36}");
    for cell in cells {
        write!(line, "{cell:>11}")?;
    }
    writeln!(out, "{}", line.trim_end())
}
