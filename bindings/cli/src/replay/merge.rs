//! Records of all logs in the order of their times.
//!
//! Servers write a line when a request ends, so a log is only nearly sorted. Of each log a window of lines is
//! held back and the earliest given first; among logs the earliest head is next, so that the logs of several
//! servers, or rotated parts in any order, become one. What comes later than the window can mend is left out:
//! deciding it at another time would blame limits for the log's disorder.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::log::{Log, LogFormat};
use super::record::{IdentityRule, Record};
use crate::exit::Failure;

/// How much memory the windows of all logs take together, about.
const WINDOW_BYTES: usize = 64 << 20;
/// What one log may take in any case.
const MIN_WINDOW_BYTES: usize = 1 << 20;
/// How many late lines are shown.
const LATE_SHOWN: usize = 5;

/// Where a record comes from: the log's number, and the line's.
pub(crate) type Place = (usize, u64);

struct Waiting {
    line: u64,
    record: Box<Record>,
}

impl Waiting {
    fn key(&self) -> (u64, u64) {
        (self.record.now_ms, self.line)
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// A log and the lines of it that are held back.
struct Window {
    log: Log,
    heap: BinaryHeap<Reverse<Waiting>>,
    bytes: usize,
    ended: bool,
}

/// All logs.
pub(crate) struct Merge {
    windows: Vec<Window>,
    format: LogFormat,
    identity: IdentityRule,
    window_lines: usize,
    window_bytes: usize,
    /// The time of the record given last: time does not run backwards.
    clock_ms: u64,
    pub(crate) late: u64,
    pub(crate) late_shown: Vec<Place>,
}

impl Merge {
    pub(crate) fn new(
        logs: Vec<Log>,
        format: LogFormat,
        identity: IdentityRule,
        window_lines: usize,
    ) -> Self {
        let share = WINDOW_BYTES.checked_div(logs.len()).unwrap_or(WINDOW_BYTES);
        let window = |log| Window { log, heap: BinaryHeap::new(), bytes: 0, ended: false };
        Merge {
            windows: logs.into_iter().map(window).collect(),
            format,
            identity,
            window_lines,
            window_bytes: share.max(MIN_WINDOW_BYTES),
            clock_ms: 0,
            late: 0,
            late_shown: Vec::new(),
        }
    }

    pub(crate) fn logs(&self) -> impl Iterator<Item = &Log> {
        self.windows.iter().map(|window| &window.log)
    }

    pub(crate) fn next_record(&mut self) -> Result<Option<(Place, Box<Record>)>, Failure> {
        loop {
            for window in &mut self.windows {
                while !window.ended
                    && window.heap.len() <= self.window_lines
                    && window.bytes <= self.window_bytes
                {
                    window.read(self.format, &self.identity)?;
                }
            }
            // Of several heads at one time the first log's.
            let heads = self.windows.iter().enumerate();
            let head = heads
                .filter_map(|(log, window)| Some((window.heap.peek()?.0.record.now_ms, log)))
                .min();
            let Some((now_ms, log)) = head else { return Ok(None) };
            let Some((line, record)) = self.windows.get_mut(log).and_then(Window::take) else {
                return Ok(None);
            };
            if now_ms >= self.clock_ms {
                self.clock_ms = now_ms;
                return Ok(Some(((log, line), record)));
            }
            self.late = self.late.saturating_add(1);
            if self.late_shown.len() < LATE_SHOWN {
                self.late_shown.push((log, line));
            }
        }
    }
}

impl Window {
    fn read(&mut self, format: LogFormat, identity: &IdentityRule) -> Result<(), Failure> {
        let Some((line, record)) = self.log.next_record(format, identity)? else {
            self.ended = true;
            return Ok(());
        };
        self.bytes = self.bytes.saturating_add(record.bytes());
        self.heap.push(Reverse(Waiting { line, record }));
        Ok(())
    }

    fn take(&mut self) -> Option<(u64, Box<Record>)> {
        let Reverse(Waiting { line, record }) = self.heap.pop()?;
        self.bytes = self.bytes.saturating_sub(record.bytes());
        Some((line, record))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::path::Path;

    use super::*;

    fn log(times: &[u64]) -> Log {
        let text: String = times
            .iter()
            .map(|time| format!("{{\"now_ms\":{time},\"method\":\"GET\",\"path\":\"/\"}}\n"))
            .collect();
        Log::new(Path::new("x"), Box::new(Cursor::new(text.into_bytes())))
    }

    fn merged(logs: Vec<Log>, window: usize) -> (Vec<(u64, Place)>, Vec<Place>, u64) {
        let mut merge = Merge::new(logs, LogFormat::Json, IdentityRule::First, window);
        let mut order = Vec::new();
        while let Some((place, record)) = merge.next_record().unwrap() {
            order.push((record.now_ms, place));
        }
        (order, merge.late_shown, merge.late)
    }

    #[test]
    fn lines_within_the_window_are_put_in_order_and_equal_times_stay() {
        let (order, _, late) = merged(vec![log(&[5, 3, 4, 4, 9, 8])], 3);
        let expected = [(3, 2), (4, 3), (4, 4), (5, 1), (8, 6), (9, 5)];
        assert_eq!(order, expected.map(|(time, line)| (time, (0, line))));
        assert_eq!(late, 0);
    }

    #[test]
    fn lines_of_one_time_stay_in_their_order() {
        let (order, ..) = merged(vec![log(&[7; 50])], 20);
        let lines: Vec<u64> = order.iter().map(|(_, (_, line))| *line).collect();
        assert!(lines.iter().copied().eq(1..=50), "{lines:?}");
    }

    #[test]
    fn what_comes_after_the_window_is_left_out_and_counted() {
        let (order, shown, late) = merged(vec![log(&[10, 20, 30, 40, 1, 50])], 2);
        let times: Vec<u64> = order.iter().map(|(time, _)| *time).collect();
        assert_eq!(times, [10, 20, 30, 40, 50]);
        assert_eq!((shown, late), (vec![(0, 5)], 1));
        // A time far ahead waits at the end, and makes nothing late.
        let (order, _, late) = merged(vec![log(&[10, 9_999_999_999_999, 20, 30, 40])], 2);
        assert_eq!((order.len(), late), (5, 0));
    }

    #[test]
    fn logs_are_merged_by_time_whatever_their_order() {
        let (order, _, late) = merged(vec![log(&[4, 5, 6]), log(&[1, 2, 3, 5])], 0);
        let expected = [
            (1, (1, 1)),
            (2, (1, 2)),
            (3, (1, 3)),
            (4, (0, 1)),
            (5, (0, 2)),
            (5, (1, 4)),
            (6, (0, 3)),
        ];
        assert_eq!((order, late), (expected.to_vec(), 0));
    }

    #[test]
    fn a_window_is_bounded_by_bytes_too() {
        let mut merge = Merge::new(vec![log(&[3, 2, 1])], LogFormat::Json, IdentityRule::First, 10);
        merge.window_bytes = 1;
        let first = merge.next_record().unwrap().unwrap();
        // One line is more than a byte, so it is given before the next is read.
        assert_eq!(first.1.now_ms, 3);
    }
}
