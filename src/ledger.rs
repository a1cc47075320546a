//! Money: amounts, caps, wallets and reservations. Data and arithmetic only; `transition` decides.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::idempotency::ClaimKey;
use crate::token::TokenDigest;

/// Money in the ledger's minor unit (cents, say). Never negative, never a float.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Amount(pub u64);

impl Amount {
    /// Nothing.
    pub const ZERO: Amount = Amount(0);
    /// The largest amount.
    pub const MAX: Amount = Amount(u64::MAX);

    /// The sum, or `None` when it does not fit.
    #[must_use]
    pub fn checked_add(self, other: Amount) -> Option<Amount> {
        self.0.checked_add(other.0).map(Amount)
    }

    /// The difference, or `None` when it would be negative.
    #[must_use]
    pub fn checked_sub(self, other: Amount) -> Option<Amount> {
        self.0.checked_sub(other.0).map(Amount)
    }

    /// The difference, or zero when it would be negative.
    #[must_use]
    pub fn saturating_sub(self, other: Amount) -> Amount {
        Amount(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of an account: 1 to 128 bytes of UTF-8 without control characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Box<str>", into = "Box<str>")]
pub struct AccountId(Arc<str>);

/// An account name that is empty, too long, or has control characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an account id is 1 to 128 bytes of UTF-8 without control characters")]
pub struct AccountIdError;

impl AccountId {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`AccountIdError`] when it is empty, over 128 bytes, or has control characters.
    pub fn new(text: &str) -> Result<Self, AccountIdError> {
        if text.is_empty() || text.len() > 128 || text.chars().any(char::is_control) {
            return Err(AccountIdError);
        }
        Ok(AccountId(text.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<Box<str>> for AccountId {
    type Error = AccountIdError;

    fn try_from(text: Box<str>) -> Result<Self, AccountIdError> {
        AccountId::new(&text)
    }
}

impl From<AccountId> for Box<str> {
    fn from(id: AccountId) -> Self {
        id.as_str().into()
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// How a store knows an account: by name, or by a slot of its own that is quicker to reach.
///
/// A slot means something only to the store that gave it out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AccountRef {
    /// By name.
    Id(AccountId),
    /// By a number that one store gave out, and keeps for as long as it lives.
    Slot(u32),
}

impl AccountRef {
    pub(crate) fn as_key_bytes(&self) -> KeyBytes<'_> {
        match self {
            AccountRef::Id(id) => KeyBytes::Text(id.as_str()),
            AccountRef::Slot(slot) => KeyBytes::Slot(slot.to_be_bytes()),
        }
    }
}

pub(crate) enum KeyBytes<'a> {
    Text(&'a str),
    Slot([u8; 4]),
}

impl AsRef<[u8]> for KeyBytes<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            KeyBytes::Text(text) => text.as_bytes(),
            KeyBytes::Slot(bytes) => bytes,
        }
    }
}

/// The time over which a spend cap adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// A UTC calendar day.
    Day,
    /// A UTC calendar month.
    Month,
    /// For ever.
    Lifetime,
}

impl Period {
    /// The number of the period that holds `now_ms`: days or months since the Unix epoch, or 0.
    #[must_use]
    pub fn number(self, now_ms: u64) -> u64 {
        let days = now_ms / 86_400_000;
        match self {
            Period::Day => days,
            Period::Month => months_since_epoch(days),
            Period::Lifetime => 0,
        }
    }
}

/// Months since January 1970 of the day `days` after the Unix epoch (Hinnant, "chrono-compatible
/// low-level date algorithms", `civil_from_days`, for days that are not negative).
fn months_since_epoch(days: u64) -> u64 {
    let shifted = days.saturating_add(719_468);
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = day_of_era
        .saturating_sub(day_of_era / 1_460)
        .saturating_add(day_of_era / 36_524)
        .saturating_sub(day_of_era / 146_096)
        / 365;
    let day_of_year = day_of_era.saturating_sub(
        year_of_era
            .saturating_mul(365)
            .saturating_add(year_of_era / 4)
            .saturating_sub(year_of_era / 100),
    );
    // Months counted from March, so that the leap day is a year's last.
    let march_month = day_of_year.saturating_mul(5).saturating_add(2) / 153;
    let march_year = year_of_era.saturating_add(era.saturating_mul(400));
    march_year
        .saturating_mul(12)
        .saturating_add(march_month)
        .saturating_add(2)
        .saturating_sub(1970 * 12)
}

/// A bound on what may be spent in a period; posted and held money both count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpendCap {
    /// The period.
    pub per: Period,
    /// The most that may be spent in it.
    pub amount: Amount,
    /// Evaluated and reported, not enforced.
    #[serde(default)]
    pub shadow: bool,
}

/// What was spent (posted and held) in the current day, the current month and ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spend {
    day: u64,
    day_amount: Amount,
    month: u64,
    month_amount: Amount,
    lifetime_amount: Amount,
}

impl Spend {
    /// What was spent in the period that holds `now_ms`.
    ///
    /// A clock that runs backwards stays in the later period: spend is never forgotten early.
    #[must_use]
    pub fn within(&self, per: Period, now_ms: u64) -> Amount {
        let number = per.number(now_ms);
        match per {
            Period::Day if number <= self.day => self.day_amount,
            Period::Month if number <= self.month => self.month_amount,
            Period::Lifetime => self.lifetime_amount,
            _ => Amount::ZERO,
        }
    }

    /// Adds `amount` at `now_ms`; `None` when a sum does not fit.
    #[must_use]
    pub fn add(&self, amount: Amount, now_ms: u64) -> Option<Spend> {
        Some(Spend {
            day: self.day.max(Period::Day.number(now_ms)),
            day_amount: self.within(Period::Day, now_ms).checked_add(amount)?,
            month: self.month.max(Period::Month.number(now_ms)),
            month_amount: self.within(Period::Month, now_ms).checked_add(amount)?,
            lifetime_amount: self.lifetime_amount.checked_add(amount)?,
        })
    }

    /// Takes back `amount` that was added at `since_ms`: only from periods that still run.
    #[must_use]
    pub fn take_back(&self, amount: Amount, counted: CountedIn) -> Spend {
        let mut spend = *self;
        if counted.day == self.day {
            spend.day_amount = spend.day_amount.saturating_sub(amount);
        }
        if counted.month == self.month {
            spend.month_amount = spend.month_amount.saturating_sub(amount);
        }
        spend.lifetime_amount = spend.lifetime_amount.saturating_sub(amount);
        spend
    }

    /// The periods in which the latest amount was counted.
    #[must_use]
    pub fn counted_in(&self) -> CountedIn {
        CountedIn { day: self.day, month: self.month }
    }
}

/// The periods in which a reservation was counted, so that it is taken back from the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedIn {
    /// Day number.
    pub day: u64,
    /// Month number.
    pub month: u64,
}

/// An account's money. `deposited + refunded = balance + posted` and `held <= balance`, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wallet {
    /// What is there, held money included.
    pub balance: Amount,
    /// The part of the balance that reservations hold.
    pub held: Amount,
    /// All that was ever posted.
    pub posted: Amount,
    /// All that was ever paid in.
    pub deposited: Amount,
    /// All that was ever refunded.
    pub refunded: Amount,
    /// Reservations that are open.
    pub open_reservations: u64,
    /// The last number given to a reservation or claim; also the fencing token.
    pub sequence: u64,
    /// What counts against the account's caps.
    pub spend: Spend,
}

impl Wallet {
    /// What may still be reserved.
    #[must_use]
    pub fn available(&self) -> Amount {
        self.balance.saturating_sub(self.held)
    }
}

/// What becomes of a reservation whose lease ends before it is settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExpiry {
    /// The money is free again.
    #[default]
    Void,
    /// The whole amount is posted.
    Settle,
    /// It stays held until an operator or the host resolves it.
    Hold,
}

/// The most refunds that one reservation takes: its record stays bounded.
pub const MAX_REFUNDS: usize = 100;

/// Number of a reservation (or claim) within its account; also its fencing token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReservationId(pub u64);

/// Money that a request may cost, held until it is settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// What is held, or was.
    pub amount: Amount,
    /// The token that spends it.
    pub token: TokenDigest,
    /// The periods of the account's caps in which it was counted.
    pub account_counted: CountedIn,
    /// The periods of the token's caps in which it was counted.
    pub token_counted: CountedIn,
    /// When its lease ends, in Unix milliseconds.
    pub lease_until_ms: u64,
    /// What happens then.
    pub on_expiry: OnExpiry,
    /// How long its record is kept once it is final, in milliseconds.
    pub retention_ms: u64,
    /// The idempotency claim it was made with.
    pub claim: Option<ClaimKey>,
    /// Where it stands.
    pub state: ReservationState,
}

impl Reservation {
    /// Whether its lease has ended without a word of how the request did: still open, or ended by its expiry rule with an
    /// idempotency key of its own. Its record names that key until it is forgotten, also when the key was freed since.
    #[must_use]
    pub fn is_orphan(&self, now_ms: u64) -> bool {
        match self.state {
            ReservationState::Held => self.lease_until_ms <= now_ms,
            ReservationState::Posted { by_expiry, .. } | ReservationState::Voided { by_expiry } => {
                by_expiry && self.claim.is_some()
            }
        }
    }

    /// Whether it is open and holds money.
    pub(crate) fn holds_money(&self) -> bool {
        self.state == ReservationState::Held && self.amount > Amount::ZERO
    }

    /// What its final state gave back of what was held.
    pub(crate) fn freed(&self) -> Amount {
        self.amount.saturating_sub(self.state.posted())
    }
}

/// Where a reservation stands. All but `Held` are final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReservationState {
    /// Open.
    Held,
    /// Settled for `amount`.
    Posted {
        /// What was posted.
        amount: Amount,
        /// What was given back since, by reference.
        refunds: Vec<(Box<str>, Amount)>,
        /// Whether the end of its lease posted it, and not the host.
        by_expiry: bool,
    },
    /// Given up; nothing was posted.
    Voided {
        /// Whether the end of its lease voided it, and not the host.
        by_expiry: bool,
    },
}

impl ReservationState {
    /// What it posted.
    #[must_use]
    pub fn posted(&self) -> Amount {
        match self {
            ReservationState::Posted { amount, .. } => *amount,
            ReservationState::Held | ReservationState::Voided { .. } => Amount::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_differences_fit_or_are_none() {
        let (three, five) = (Amount(3), Amount(5));
        assert_eq!((five.checked_sub(three), three.checked_sub(five)), (Some(Amount(2)), None));
        assert_eq!(
            (five.checked_add(three), five.checked_add(Amount::MAX)),
            (Some(Amount(8)), None)
        );
        assert_eq!(three.saturating_sub(five), Amount::ZERO);
    }

    #[test]
    fn amounts_and_accounts_read_as_they_are_written() {
        use alloc::{format, string::ToString};
        assert_eq!(Amount(1_250).to_string(), "1250");
        let id = AccountId::new("acme").unwrap();
        assert_eq!((id.to_string().as_str(), format!("{id:?}").as_str()), ("acme", "\"acme\""));
        let text: Box<str> = id.clone().into();
        assert_eq!(AccountId::try_from(text), Ok(id));
    }

    #[test]
    fn an_orphan_is_what_ended_without_a_word() {
        let ended = |state, claim| Reservation {
            amount: Amount(5),
            token: crate::token::digest(b"t", None),
            account_counted: CountedIn::default(),
            token_counted: CountedIn::default(),
            lease_until_ms: 1_000,
            on_expiry: OnExpiry::Void,
            retention_ms: 0,
            claim,
            state,
        };
        let key = Some(ClaimKey([1; 32]));
        let posted = |by_expiry| ReservationState::Posted {
            amount: Amount(5),
            by_expiry,
            refunds: Vec::new(),
        };
        assert!(!ended(ReservationState::Held, None).is_orphan(999));
        assert!(ended(ReservationState::Held, None).is_orphan(1_000));
        for state in [posted(true), ReservationState::Voided { by_expiry: true }] {
            assert!(ended(state.clone(), key).is_orphan(0) && !ended(state, None).is_orphan(0));
        }
        for state in [posted(false), ReservationState::Voided { by_expiry: false }] {
            assert!(!ended(state, key).is_orphan(u64::MAX));
        }
    }

    #[test]
    fn periods_follow_the_utc_calendar() {
        let day = 86_400_000;
        // (day since the epoch, months since the epoch), from a printed calendar.
        let table = [
            (0, 0),
            (30, 0),
            (31, 1),
            (58, 1),
            (59, 2),
            (365, 12),
            (789, 25), // 1972-02-29
            (790, 26),
            (10_956, 359), // 1999-12-31
            (10_957, 360),
            (11_016, 361), // 2000-02-29
            (11_017, 362),
            (20_780, 682), // 2026-11-23
        ];
        for (days, months) in table {
            assert_eq!(Period::Month.number(days * day), months, "day {days}");
            assert_eq!(Period::Day.number(days * day + day - 1), days);
        }
        assert_eq!(Period::Lifetime.number(u64::MAX), 0);
        let _ = Period::Month.number(u64::MAX);
    }
}
