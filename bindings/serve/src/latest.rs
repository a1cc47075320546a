//! The latest decisions, for the settings page: the last few hundred, and as many traces a second as the server was told.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tollgate::TraceStep;

use crate::record::DecisionRecord;

/// How many decisions are kept.
const KEPT: usize = 500;

/// A kept decision.
#[derive(Clone)]
pub(crate) struct Kept {
    pub number: u64,
    pub record: DecisionRecord,
    pub trace: Option<Vec<TraceStep>>,
}

/// The latest decisions.
pub(crate) struct Latest {
    traces_per_second: u32,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    kept: VecDeque<Kept>,
    next: u64,
    /// The second in which traces are counted, and how many it has.
    second: u64,
    traced: u32,
}

impl Latest {
    pub(crate) fn new(traces_per_second: u32) -> Self {
        Latest { traces_per_second, inner: Mutex::default() }
    }

    /// Whether this decision's trace is to be kept: a trace costs more than a decision.
    pub(crate) fn wants_trace(&self, now_ms: u64) -> bool {
        if self.traces_per_second == 0 {
            return false;
        }
        let second = now_ms / 1000;
        let mut inner = self.inner.lock();
        if inner.second != second {
            inner.second = second;
            inner.traced = 0;
        }
        let wanted = inner.traced < self.traces_per_second;
        inner.traced = inner.traced.saturating_add(u32::from(wanted));
        wanted
    }

    pub(crate) fn keep(&self, record: DecisionRecord, trace: Option<Vec<TraceStep>>) {
        let mut inner = self.inner.lock();
        let number = inner.next;
        inner.next = number.wrapping_add(1);
        if inner.kept.len() >= KEPT {
            inner.kept.pop_front();
        }
        inner.kept.push_back(Kept { number, record, trace });
    }

    /// The latest first, as far as `wanted` says, at most `at_most`.
    pub(crate) fn list(&self, at_most: usize, wanted: impl Fn(&Kept) -> bool) -> Vec<Kept> {
        let inner = self.inner.lock();
        inner.kept.iter().rev().filter(|kept| wanted(kept)).take(at_most).cloned().collect()
    }
}
