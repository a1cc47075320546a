//! Money: lists and sums, and a calendar that counts months one by one.

use std::sync::OnceLock;

use tollgate::{OnExpiry, Period};

const DAY_MS: u64 = 86_400_000;

/// The day on which each month begins, from January 1970 to the end of 2029.
fn months() -> &'static [u64] {
    static MONTHS: OnceLock<Vec<u64>> = OnceLock::new();
    MONTHS.get_or_init(|| {
        let mut day = 0;
        let mut months = Vec::new();
        for year in 1970..2030 {
            let february =
                if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) { 29 } else { 28 };
            for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
                months.push(day);
                day += length;
            }
        }
        months
    })
}

fn day(now_ms: u64) -> u64 {
    now_ms / DAY_MS
}

/// Months since January 1970, counted from one.
fn month(now_ms: u64) -> u64 {
    months().partition_point(|begins| *begins <= day(now_ms)) as u64
}

/// When the next day or month begins.
pub(crate) fn next_ms(per: Period, now_ms: u64) -> u64 {
    match per {
        Period::Month => months()[month(now_ms) as usize] * DAY_MS,
        _ => (day(now_ms) + 1) * DAY_MS,
    }
}

/// All that was spent: what is held or was posted, by reservation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spent {
    entries: Vec<Entry>,
    /// A clock that runs backwards stays in the later period.
    latest_day: u64,
    latest_month: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    reservation: u64,
    amount: u64,
    day: u64,
    month: u64,
}

impl Spent {
    pub(crate) fn add(&mut self, reservation: u64, amount: u64, now_ms: u64) {
        self.latest_day = self.latest_day.max(day(now_ms));
        self.latest_month = self.latest_month.max(month(now_ms));
        let (day, month) = (self.latest_day, self.latest_month);
        self.entries.push(Entry { reservation, amount, day, month });
    }

    /// Only this much of a reservation was posted in the end.
    pub(crate) fn keep(&mut self, reservation: u64, amount: u64) {
        for entry in self.entries.iter_mut().filter(|entry| entry.reservation == reservation) {
            entry.amount = amount;
        }
    }

    pub(crate) fn within(&self, per: Period, now_ms: u64) -> u64 {
        let today = day(now_ms).max(self.latest_day);
        let this_month = month(now_ms).max(self.latest_month);
        let counts = |entry: &&Entry| match per {
            Period::Day => entry.day == today,
            Period::Month => entry.month == this_month,
            Period::Lifetime => true,
        };
        self.entries.iter().filter(counts).map(|entry| entry.amount).sum()
    }
}

/// Where a reservation stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    Held,
    Posted { amount: u64, by_expiry: bool, refunds: Vec<(u8, u64)> },
    Voided { by_expiry: bool },
}

/// Money that is held for a request, or a key alone.
#[derive(Clone, Debug)]
pub(crate) struct Reservation {
    pub(crate) number: u64,
    pub(crate) amount: u64,
    /// The first ancestor of the token that spends it.
    pub(crate) spends_as: usize,
    pub(crate) on_expiry: OnExpiry,
    pub(crate) retention_ms: u64,
    /// When time does something to it; `None`: never.
    pub(crate) due_ms: Option<u64>,
    /// Route and key.
    pub(crate) claim: Option<(usize, u8)>,
    pub(crate) state: State,
}

impl Reservation {
    pub(crate) fn posted(&self) -> u64 {
        match self.state {
            State::Posted { amount, .. } => amount,
            _ => 0,
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.state == State::Held
    }
}
