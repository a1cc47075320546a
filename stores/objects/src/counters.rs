//! The object's half of limits that span accounts: read, take, give back.

use tollgate::transition::{Changes, Records};
use tollgate::{
    Algorithm, Cell, Check, Counts, FixedCell, GIVEN_BACK_WITHIN_MS, GcraCell, SlidingCell, check,
    expires_ms, give_back as without,
};

use crate::message::{Counter, Taken};

type Before = (Option<Cell>, bool);

fn checked(counter: &Counter, cell: Option<&Cell>, now_ms: u64) -> Check {
    check(counter.algorithm, &counter.quota, cell, now_ms, counter.cost)
}

/// The cells, in none of which is counted.
pub(crate) fn read<R: Records>(
    records: &mut R,
    counters: &[Counter],
) -> Result<Vec<Before>, R::Error> {
    counters.iter().map(|counter| Ok((records.cell(&counter.key)?, false))).collect()
}

/// Counts in the limits that count requests and pass, unless one of those that are enforced refuses;
/// then the same with executions. Whoever refuses here refuses the request, or a check before it does:
/// what is not counted here is not let through.
pub(crate) fn take<R: Records>(
    records: &mut R,
    counters: &[Counter],
    now_ms: u64,
) -> Result<Vec<Before>, R::Error> {
    let mut cells = read(records, counters)?;
    let mut changes = Vec::new();
    for counts in [Counts::Requests, Counts::Executions] {
        let mut some = Vec::new();
        let mut refused = false;
        for (counter, (before, taken)) in counters.iter().zip(&mut cells) {
            if counter.counts != counts {
                continue;
            }
            match checked(counter, before.as_ref(), now_ms).verdict {
                Ok(after) => some.push((taken, counter, after)),
                Err(_) => refused |= counter.enforced,
            }
        }
        if refused {
            break;
        }
        for (taken, counter, after) in some {
            *taken = true;
            let expires_ms = expires_ms(counter.algorithm, &counter.quota, &after);
            changes.push((counter.key, after, expires_ms));
        }
    }
    if !changes.is_empty() {
        records.commit(Changes { cells: &changes, ..Changes::default() })?;
    }
    Ok(cells)
}

/// Takes back out what [`take`] counted at `now_ms`. Where others counted since, and it is `late`, nothing
/// is: some of it may have refilled by now, and would come twice.
pub(crate) fn give_back<R: Records>(
    records: &mut R,
    taken: &[Taken],
    late: bool,
    now_ms: u64,
) -> Result<(), R::Error> {
    let mut changes = Vec::new();
    for Taken { counter, before } in taken {
        let Ok(then) = checked(counter, before.as_ref(), now_ms).verdict else { continue };
        let Some(stored) = records.cell(&counter.key)? else { continue };
        let cell = if stored == then {
            // As if nothing had been: also where the clock runs back after this.
            before.unwrap_or_else(|| empty(counter.algorithm))
        } else if late {
            continue;
        } else {
            without(&counter.quota, &stored, &then, counter.cost, now_ms)
        };
        let expires_ms = expires_ms(counter.algorithm, &counter.quota, &cell);
        changes.push((counter.key, cell, expires_ms));
    }
    if changes.is_empty() {
        return Ok(());
    }
    records.commit(Changes { cells: &changes, ..Changes::default() })
}

/// Whether it is too late by an object's own clock to give back what it counted at `then_ms`.
pub(crate) fn is_late(then_ms: u64, now_ms: u64) -> bool {
    now_ms < then_ms || now_ms.saturating_sub(then_ms) >= GIVEN_BACK_WITHIN_MS
}

/// A cell that says the same as none.
fn empty(algorithm: Algorithm) -> Cell {
    match algorithm {
        Algorithm::Gcra => Cell::Gcra(GcraCell { tat_ns: 0 }),
        Algorithm::FixedWindow => Cell::FixedWindow(FixedCell { start_ms: 0, used: 0 }),
        Algorithm::SlidingWindow => {
            Cell::SlidingWindow(SlidingCell { part_ms: 0, newest: 0, counts: [0; 17] })
        }
    }
}
