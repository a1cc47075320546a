//! Limits, counted the obvious way: a bucket that leaks, a window that starts anew, a list of what was taken.

use tollgate::{Algorithm, Left};

use crate::catalogue::Definition;

const MS: i128 = 1_000_000;

/// What was counted.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    /// A leaking bucket: nanoseconds' worth of units at a time.
    Bucket { level_ns: i128, at_ns: i128 },
    /// Units in the window that begins at `start_ms`.
    Window { start_ms: u64, used: u64 },
    /// Units by number of their sixteenth of a window.
    Log { newest: u64, log: Vec<(u64, u64)> },
}

/// What a limit says to one request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) before: Left,
    pub(crate) after: Left,
    /// The first millisecond at which it passes.
    pub(crate) refused: Option<u64>,
    pub(crate) next: Cell,
}

/// `cost` is at most what the limit holds, so a refused request passes some time.
pub(crate) fn look(limit: &Definition, cell: Option<&Cell>, now_ms: u64, cost: u64) -> Answer {
    match limit.algorithm {
        Algorithm::Gcra => bucket(limit, cell, now_ms, cost),
        Algorithm::FixedWindow => window(limit, cell, now_ms, cost),
        Algorithm::SlidingWindow => log(limit, cell, now_ms, cost),
    }
}

fn bucket(limit: &Definition, cell: Option<&Cell>, now_ms: u64, cost: u64) -> Answer {
    let now_ns = i128::from(now_ms) * MS;
    let per_unit = (i128::from(limit.window_ms) * MS).div_ceil_by(i128::from(limit.units));
    let size = i128::from(limit.burst) * per_unit;
    let level = match cell {
        Some(Cell::Bucket { level_ns, at_ns }) => level_ns - (now_ns - at_ns),
        _ => 0,
    };
    let told = |level: i128| {
        let level = level.max(0);
        Left {
            remaining: ((size - level).max(0) / per_unit) as u64,
            reset_ms: (now_ns + level).div_ceil_by(MS) as u64,
        }
    };
    let need = i128::from(cost) * per_unit;
    let full = level.max(0) + need;
    // It passes when the level has sunk to what leaves room for the cost.
    let refused = (full > size).then(|| (now_ns + level - (size - need)).div_ceil_by(MS) as u64);
    let after = if refused.is_some() { told(level) } else { told(full) };
    let next = Cell::Bucket { level_ns: full, at_ns: now_ns };
    Answer { before: told(level), after, refused, next }
}

trait DivCeil {
    fn div_ceil_by(self, by: i128) -> i128;
}

impl DivCeil for i128 {
    fn div_ceil_by(self, by: i128) -> i128 {
        (self + by - 1) / by
    }
}

fn window(limit: &Definition, cell: Option<&Cell>, now_ms: u64, cost: u64) -> Answer {
    let present = now_ms - now_ms % limit.window_ms;
    let (start_ms, used) = match cell {
        // A clock that runs backwards stays in the later window.
        Some(Cell::Window { start_ms, used }) if *start_ms >= present => (*start_ms, *used),
        _ => (present, 0),
    };
    let end_ms = start_ms + limit.window_ms;
    let told = |used: u64| Left {
        remaining: limit.units.saturating_sub(used),
        reset_ms: if used == 0 { now_ms } else { end_ms },
    };
    let refused = (used + cost > limit.units).then_some(end_ms);
    let used_after = if refused.is_some() { used } else { used + cost };
    let next = Cell::Window { start_ms, used: used_after };
    Answer { before: told(used), after: told(used_after), refused, next }
}

/// What is taken counts as taken at the end of its sixteenth, and for one window from then on.
fn log(limit: &Definition, cell: Option<&Cell>, now_ms: u64, cost: u64) -> Answer {
    let part_ms = limit.window_ms.div_ceil(16);
    let (newest, mut units) = match cell {
        Some(Cell::Log { newest, log }) => (*newest, log.clone()),
        _ => (0, Vec::new()),
    };
    let newest = newest.max(now_ms / part_ms);
    let at_ms = now_ms.max(newest * part_ms);
    let leaves_ms = |number: u64| (number + 1) * part_ms - 1 + limit.window_ms;
    // What has left is kept for a window more: if the clock runs backwards, it counts again.
    units.retain(|(number, _)| number + 16 >= newest);
    let counts = |(number, _): &&(u64, u64)| leaves_ms(*number) > at_ms;
    let used =
        |units: &[(u64, u64)]| -> u64 { units.iter().filter(counts).map(|(_, units)| units).sum() };
    let told = |units: &[(u64, u64)]| {
        let last = units.iter().rfind(|one| counts(one));
        Left {
            remaining: limit.units.saturating_sub(used(units)),
            reset_ms: last.map_or(now_ms, |(number, _)| leaves_ms(*number)),
        }
    };
    let before = told(&units);
    let refused = (cost > before.remaining).then(|| {
        let mut stays = used(&units);
        let leaves = units.iter().filter(counts).find(|(_, units)| {
            stays -= units;
            stays + cost <= limit.units
        });
        leaves.map_or(0, |(number, _)| leaves_ms(*number))
    });
    if refused.is_none() {
        match units.last_mut() {
            Some((number, units)) if *number == newest => *units += cost,
            _ => units.push((newest, cost)),
        }
    }
    Answer { before, after: told(&units), refused, next: Cell::Log { newest, log: units } }
}
