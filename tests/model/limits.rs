//! Limits, counted the obvious way.

use tollgate::{Algorithm, LimitConfig};

/// How long a store remembers a limit after it is whole again, so that a clock that runs backwards
/// by no more finds it.
pub const REMEMBERED_MS: u64 = 60_000;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quota {
    pub units: u64,
    pub window_ms: u64,
    pub burst: u64,
}

impl Quota {
    pub fn of(limit: &LimitConfig, own: Option<(u64, u64)>) -> Quota {
        match own {
            Some((units, window_ms)) => Quota { units, window_ms, burst: units },
            None => Quota {
                units: limit.quota,
                window_ms: limit.window_ms,
                burst: match limit.algorithm {
                    Algorithm::Gcra => limit.burst.unwrap_or(limit.quota),
                    _ => limit.quota,
                },
            },
        }
    }
}

/// What a limit says to one request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// (remaining, reset_ms) before the request is counted, and after.
    pub before: (u64, u64),
    pub after: (u64, u64),
    /// The first millisecond at which it passes, or `None` for never.
    pub refused: Option<Option<u64>>,
    pub next: Cell,
}

#[derive(Clone, Debug)]
pub enum Cell {
    /// A leaky bucket: so many nanoseconds' worth of units at a time; it may be negative.
    Bucket { level_ns: i128, at_ns: i128 },
    /// Units in the window that begins at `start_ms`.
    Window { start_ms: u64, used: u64, end_ms: u64 },
    /// Units by number of their sub-window of `part_ms`.
    Log { part_ms: u64, newest: u64, log: Vec<(u64, u64)>, whole_ms: u64 },
}

impl Cell {
    /// Whether it was whole for so long that it is forgotten.
    fn is_forgotten(&self, now_ms: u64) -> bool {
        match self {
            Cell::Bucket { .. } => false, // an empty bucket is as good as none
            Cell::Window { end_ms: whole_ms, .. } | Cell::Log { whole_ms, .. } => {
                whole_ms + REMEMBERED_MS <= now_ms
            }
        }
    }
}

pub fn look(
    algorithm: Algorithm,
    quota: Quota,
    cell: Option<&Cell>,
    now_ms: u64,
    cost: u64,
) -> Answer {
    let cell = cell.filter(|cell| !cell.is_forgotten(now_ms));
    match algorithm {
        Algorithm::Gcra => bucket(quota, cell, now_ms, cost),
        Algorithm::FixedWindow => window(quota, cell, now_ms, cost),
        Algorithm::SlidingWindow => log(quota, cell, now_ms, cost),
    }
}

fn bucket(quota: Quota, cell: Option<&Cell>, now_ms: u64, cost: u64) -> Answer {
    const MS: i128 = 1_000_000;
    let now_ns = i128::from(now_ms) * MS;
    // Nanoseconds a unit, rounded up; a quota of nothing holds nothing.
    let units = i128::from(quota.units);
    let per_unit =
        if units == 0 { 1 } else { (i128::from(quota.window_ms) * MS + units - 1) / units };
    let size = if units == 0 { 0 } else { i128::from(quota.burst) * per_unit };
    let level = match cell {
        Some(Cell::Bucket { level_ns, at_ns }) => level_ns - (now_ns - at_ns),
        _ => i128::MIN / 2,
    };
    let told = |level: i128| {
        let level = level.max(0);
        let remaining = (size - level).max(0) / per_unit;
        let empty_ns = now_ns + level;
        (remaining as u64, ((empty_ns + MS - 1) / MS) as u64)
    };
    let need = i128::from(cost) * per_unit;
    let after = level.max(0) + need;
    let refused = (after > size).then(|| {
        // It passes when the level has sunk to what leaves room for the cost.
        (need <= size).then(|| ((now_ns + level - (size - need) + MS - 1) / MS) as u64)
    });
    let left_after = if refused.is_some() { told(level) } else { told(after) };
    let next = Cell::Bucket { level_ns: after, at_ns: now_ns };
    Answer { before: told(level), after: left_after, refused, next }
}

fn window(quota: Quota, cell: Option<&Cell>, now_ms: u64, cost: u64) -> Answer {
    let start_of = |ms: u64| ms / quota.window_ms * quota.window_ms;
    let present = start_of(now_ms);
    let (start_ms, used) = match cell {
        Some(Cell::Window { start_ms, used, .. }) if start_of(*start_ms) >= present => {
            (start_of(*start_ms), *used)
        }
        _ => (present, 0),
    };
    let end_ms = start_ms + quota.window_ms;
    let told =
        |used: u64| (quota.units.saturating_sub(used), if used == 0 { now_ms } else { end_ms });
    let refused = (used + cost > quota.units).then(|| (cost <= quota.units).then_some(end_ms));
    let used_after = if refused.is_some() { used } else { used + cost };
    let next = Cell::Window { start_ms, used: used_after, end_ms };
    Answer { before: told(used), after: told(used_after), refused, next }
}

fn log(quota: Quota, cell: Option<&Cell>, now_ms: u64, cost: u64) -> Answer {
    let part_ms = quota.window_ms.div_ceil(16);
    let present = now_ms / part_ms;
    let (newest, mut units) = match cell {
        None | Some(Cell::Bucket { .. } | Cell::Window { .. }) => (present, Vec::new()),
        Some(Cell::Log { part_ms: same, newest, log, .. }) if *same == part_ms => {
            (*newest, log.clone())
        }
        // In other sub-windows: all count as taken when the last of them can have been.
        Some(Cell::Log { part_ms: other, newest, log, .. }) => {
            let number = ((newest + 1) * other - 1) / part_ms;
            (number, vec![(number, log.iter().map(|(_, units)| units).sum())])
        }
    };
    let newest = newest.max(present);
    let at_ms = now_ms.max(newest * part_ms);
    units.retain(|(number, _)| number + 16 >= newest);
    let leaves_ms = |number: u64| (number + 1) * part_ms - 1 + quota.window_ms;
    let told = |units: &[(u64, u64)]| {
        let counted = units.iter().filter(|(number, _)| leaves_ms(*number) > at_ms);
        let used: u64 = counted.clone().map(|(_, units)| units).sum();
        let reset_ms = counted.map(|(number, _)| leaves_ms(*number)).max().unwrap_or(now_ms);
        (quota.units.saturating_sub(used), reset_ms)
    };
    let before = told(&units);
    let refused = (cost > before.0).then(|| {
        let mut times: Vec<u64> = units.iter().map(|(number, _)| leaves_ms(*number)).collect();
        times.sort_unstable();
        let used_at = |ms: u64| -> u64 {
            units.iter().filter(|(number, _)| leaves_ms(*number) > ms).map(|(_, units)| units).sum()
        };
        times.into_iter().filter(|ms| *ms > at_ms).find(|ms| used_at(*ms) + cost <= quota.units)
    });
    let refused_for_ever = cost > quota.units;
    let refused = refused.map(|at| at.filter(|_| !refused_for_ever));
    let mut taken = units.clone();
    if refused.is_none() {
        taken.push((newest, cost));
    }
    let after = told(&taken);
    let whole_ms = taken.iter().map(|(number, _)| leaves_ms(*number)).max().unwrap_or(0);
    Answer { before, after, refused, next: Cell::Log { part_ms, newest, log: taken, whole_ms } }
}
