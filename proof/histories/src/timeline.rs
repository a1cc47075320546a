//! A history as a person reads it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::call::Call;

/// Columns between one stamp and the next.
const WIDTH: usize = 3;

/// Draws calls: a line for each thread, on which every call is from its invocation to its return, and a legend.
/// Between two columns time passed, how much is not to be seen.
///
/// ```text
/// thread 0  |1----|  |3-------|
/// thread 1      |2-----|
/// ```
#[must_use]
pub fn timeline(calls: &[&Call]) -> String {
    let mut by_start = calls.to_vec();
    by_start.sort_by_key(|call| (call.invoked, call.returned));
    let mut stamps: Vec<u64> =
        by_start.iter().flat_map(|call| [call.invoked, call.returned]).collect();
    stamps.sort_unstable();
    stamps.dedup();
    let column = |stamp: u64| stamps.partition_point(|earlier| *earlier < stamp) * WIDTH;
    let mut lines: BTreeMap<u8, String> = BTreeMap::new();
    for (number, call) in by_start.iter().enumerate() {
        let line = lines.entry(call.thread).or_default();
        let (from, to) = (column(call.invoked), column(call.returned));
        // A thread may be answered and ask again at one stamp.
        while line.len() < from {
            line.push(' ');
        }
        let _ = write!(line, "|{}", number + 1);
        while line.len() < to {
            line.push('-');
        }
        line.push('|');
    }
    let mut text = String::new();
    for (thread, line) in lines {
        let _ = writeln!(text, "thread {thread}  {line}");
    }
    for (number, call) in by_start.iter().enumerate() {
        let Call { thread, op, answer, .. } = call;
        let _ = writeln!(text, "{:>4}  thread {thread}: {op} -> {answer}", number + 1);
    }
    text
}
