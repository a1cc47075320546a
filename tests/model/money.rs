//! Money: lists, sums, and a calendar that counts months one by one.

use tollgate::{OnExpiry, Period};

use super::ClaimName;

const DAY_MS: u64 = 86_400_000;

/// Days since 1970.
pub fn day(now_ms: u64) -> u64 {
    now_ms / DAY_MS
}

/// Months since January 1970.
pub fn month(now_ms: u64) -> u64 {
    let mut days = day(now_ms);
    let mut month = 0;
    loop {
        let year = 1970 + month / 12;
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let february = if leap { 29 } else { 28 };
        let length = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][(month % 12) as usize];
        if days < length {
            return month;
        }
        days -= length;
        month += 1;
    }
}

/// When the next month begins.
pub fn next_month_ms(now_ms: u64) -> u64 {
    let mut later = day(now_ms) * DAY_MS;
    while month(later) == month(now_ms) {
        later += DAY_MS;
    }
    later
}

/// All that was spent: what is held or was posted, by reservation, in the order it was reserved.
#[derive(Clone, Debug, Default)]
pub struct Spent {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    reservation: u64,
    amount: u64,
    day: u64,
    month: u64,
}

impl Spent {
    /// A clock that runs backwards stays in the later period.
    fn latest(&self) -> (u64, u64) {
        let days = self.entries.iter().map(|entry| entry.day).max().unwrap_or(0);
        let months = self.entries.iter().map(|entry| entry.month).max().unwrap_or(0);
        (days, months)
    }

    pub fn add(&mut self, reservation: u64, amount: u64, now_ms: u64) {
        let (latest_day, latest_month) = self.latest();
        self.entries.push(Entry {
            reservation,
            amount,
            day: day(now_ms).max(latest_day),
            month: month(now_ms).max(latest_month),
        });
    }

    /// Only this much of a reservation was posted in the end.
    pub fn keep(&mut self, reservation: u64, amount: u64) {
        for entry in self.entries.iter_mut().filter(|entry| entry.reservation == reservation) {
            entry.amount = amount;
        }
    }

    pub fn within(&self, per: Period, now_ms: u64) -> u64 {
        let (latest_day, latest_month) = self.latest();
        let (day, month) = (day(now_ms).max(latest_day), month(now_ms).max(latest_month));
        let counts = |entry: &&Entry| match per {
            Period::Day => entry.day == day,
            Period::Month => entry.month == month,
            Period::Lifetime => true,
        };
        self.entries.iter().filter(counts).map(|entry| entry.amount).sum()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum State {
    Held,
    Posted { amount: u64, by_expiry: bool, refunds: Vec<(String, u64)> },
    Voided { by_expiry: bool },
}

#[derive(Clone, Debug)]
pub struct Reservation {
    pub amount: u64,
    /// The first ancestor of the token that spends it.
    pub spends_as: usize,
    pub on_expiry: OnExpiry,
    pub retention_ms: u64,
    /// When time does something to it; `None`: never.
    pub due_ms: Option<u64>,
    pub claim: Option<ClaimName>,
    pub state: State,
}

impl Reservation {
    pub fn posted(&self) -> u64 {
        match self.state {
            State::Posted { amount, .. } => amount,
            _ => 0,
        }
    }
}
