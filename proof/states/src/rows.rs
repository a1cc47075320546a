//! What an account holds, as small as it gets: equal records are equal bytes, so that a state that was
//! reached before is known again. Every conversion is exact, or it panics.

use arrayvec::ArrayVec;
use tollgate::transition::MAX_REFUNDS;
use tollgate::{
    Amount, Claim, CountedIn, OnExpiry, Period, Reservation, ReservationId, ReservationState,
    Spend, Wallet,
};

use crate::clock::{ms, small, span, span_ms, tick};
use crate::names::Names;
use crate::word::Stored;

/// The most executions of an account, over all the time that a setup has.
pub(crate) const MAX_GRANTS: usize = 6;
/// The most tokens and the most keys of an account.
pub(crate) const MAX_NAMES: usize = 3;
/// The names of refunds.
pub(crate) const REFERENCES: [&str; 2] = ["a", "b"];

/// The records of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Rows {
    pub(crate) money: Money,
    /// By token, in order.
    pub(crate) token_spend: ArrayVec<(u8, Tally), MAX_NAMES>,
    /// By number, in order.
    pub(crate) reservations: ArrayVec<ReservationRow, MAX_GRANTS>,
    /// By key, in order.
    pub(crate) claims: ArrayVec<ClaimRow, MAX_NAMES>,
}

impl Rows {
    pub(crate) fn reservation(&self, number: u8) -> Option<&ReservationRow> {
        self.reservations.iter().find(|row| row.number == number)
    }

    /// Whether something fell due.
    pub(crate) fn has_due(&self, now_ms: u64) -> bool {
        let mut due = self.claims.iter().map(|row| row.due);
        due.any(|due| ms(due) <= now_ms)
            || self.reservations.iter().any(|row| ms(row.due) <= now_ms)
    }

    pub(crate) fn claim(&self, key: u8) -> Option<&ClaimRow> {
        self.claims.iter().find(|row| row.key == key)
    }
}

/// A [`Wallet`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Money {
    pub(crate) balance: u8,
    pub(crate) held: u8,
    pub(crate) posted: u8,
    pub(crate) deposited: u8,
    pub(crate) refunded: u8,
    pub(crate) open: u8,
    pub(crate) sequence: u8,
    pub(crate) spend: Tally,
}

impl Money {
    pub(crate) fn of(wallet: &Wallet) -> Money {
        Money {
            balance: small(wallet.balance.0),
            held: small(wallet.held.0),
            posted: small(wallet.posted.0),
            deposited: small(wallet.deposited.0),
            refunded: small(wallet.refunded.0),
            open: small(wallet.open_reservations),
            sequence: small(wallet.sequence),
            spend: Tally::of(&wallet.spend),
        }
    }

    pub(crate) fn wallet(&self) -> Wallet {
        Wallet {
            balance: amount(self.balance),
            held: amount(self.held),
            posted: amount(self.posted),
            deposited: amount(self.deposited),
            refunded: amount(self.refunded),
            open_reservations: u64::from(self.open),
            sequence: u64::from(self.sequence),
            spend: self.spend.spend(),
        }
    }
}

/// An [`Amount`].
pub(crate) fn amount(units: u8) -> Amount {
    Amount(u64::from(units))
}

/// A [`Spend`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Tally {
    day: u8,
    day_amount: u8,
    month: u8,
    month_amount: u8,
    lifetime_amount: u8,
}

impl Tally {
    pub(crate) fn of(spend: &Spend) -> Tally {
        let CountedIn { day, month } = spend.counted_in();
        let tally = Tally {
            day: small(day),
            day_amount: small(spend.within(Period::Day, 0).0),
            month: small(month),
            month_amount: small(spend.within(Period::Month, 0).0),
            lifetime_amount: small(spend.within(Period::Lifetime, 0).0),
        };
        assert_eq!(tally.spend(), *spend, "a spend that no sequence of charges gives");
        tally
    }

    /// The shortest history with this result: something before the present month, then a charge of
    /// which all but the day's amount is taken back from the day, and so from the lifetime too.
    pub(crate) fn spend(&self) -> Spend {
        let day_ms = u64::from(self.day) * 86_400_000;
        let day_alone = CountedIn { day: u64::from(self.day), month: u64::MAX };
        Spend::default()
            .add(amount(self.lifetime_amount - self.day_amount), 0)
            .and_then(|spend| spend.add(amount(self.month_amount), day_ms))
            .map(|spend| spend.take_back(amount(self.month_amount - self.day_amount), day_alone))
            .unwrap()
    }
}

/// A [`Reservation`], and when it falls due.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ReservationRow {
    pub(crate) number: u8,
    pub(crate) amount: u8,
    token: u8,
    account_counted: (u8, u8),
    token_counted: (u8, u8),
    lease_until: u8,
    on_expiry: u8,
    retention: u8,
    claim: Option<u8>,
    pub(crate) state: RowState,
    pub(crate) due: u8,
}

/// A [`ReservationState`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RowState {
    Held,
    Posted { amount: u8, refunds: ArrayVec<(u8, u8), { REFERENCES.len() }>, by_expiry: bool },
    Voided { by_expiry: bool },
}

impl RowState {
    /// Whether two states are the same but for refunds.
    pub(crate) fn ended_as(&self, other: &RowState) -> bool {
        match (self, other) {
            (
                RowState::Posted { amount, by_expiry, .. },
                RowState::Posted { amount: other, by_expiry: by, .. },
            ) => amount == other && by_expiry == by,
            _ => self == other,
        }
    }
}

const ON_EXPIRY: [OnExpiry; 3] = [OnExpiry::Void, OnExpiry::Settle, OnExpiry::Hold];

fn counted(counted: CountedIn) -> (u8, u8) {
    (small(counted.day), small(counted.month))
}

fn counted_in((day, month): (u8, u8)) -> CountedIn {
    CountedIn { day: u64::from(day), month: u64::from(month) }
}

impl ReservationRow {
    pub(crate) fn of(
        names: &Names,
        id: ReservationId,
        reservation: &Reservation,
        due_ms: u64,
    ) -> Self {
        let on_expiry = ON_EXPIRY.iter().position(|rule| *rule == reservation.on_expiry).unwrap();
        ReservationRow {
            number: small(id.0),
            amount: small(reservation.amount.0),
            token: names.token(&reservation.token).unwrap(),
            account_counted: counted(reservation.account_counted),
            token_counted: counted(reservation.token_counted),
            lease_until: tick(reservation.lease_until_ms),
            on_expiry: small(on_expiry as u64),
            retention: span(reservation.retention_ms),
            claim: reservation.claim.map(|key| names.key(&key)),
            state: match &reservation.state {
                ReservationState::Held => RowState::Held,
                ReservationState::Posted { amount, refunds, by_expiry } => {
                    assert!(refunds.len() <= MAX_REFUNDS);
                    let refunds = refunds.iter().map(|(name, amount)| {
                        let name = REFERENCES.iter().position(|known| *known == &**name).unwrap();
                        (small(name as u64), small(amount.0))
                    });
                    RowState::Posted {
                        amount: small(amount.0),
                        refunds: refunds.collect(),
                        by_expiry: *by_expiry,
                    }
                }
                ReservationState::Voided { by_expiry } => {
                    RowState::Voided { by_expiry: *by_expiry }
                }
            },
            due: tick(due_ms),
        }
    }

    pub(crate) fn reservation(&self, names: &Names) -> Reservation {
        Reservation {
            amount: amount(self.amount),
            token: names.tokens[usize::from(self.token)].0,
            account_counted: counted_in(self.account_counted),
            token_counted: counted_in(self.token_counted),
            lease_until_ms: ms(self.lease_until),
            on_expiry: ON_EXPIRY[usize::from(self.on_expiry)],
            retention_ms: span_ms(self.retention),
            claim: self.claim.map(|key| names.keys[usize::from(key)]),
            state: match &self.state {
                RowState::Held => ReservationState::Held,
                RowState::Posted { amount: units, refunds, by_expiry } => {
                    let refunds = refunds
                        .iter()
                        .map(|(name, units)| {
                            (REFERENCES[usize::from(*name)].into(), amount(*units))
                        })
                        .collect();
                    ReservationState::Posted {
                        amount: amount(*units),
                        refunds,
                        by_expiry: *by_expiry,
                    }
                }
                RowState::Voided { by_expiry } => {
                    ReservationState::Voided { by_expiry: *by_expiry }
                }
            },
        }
    }
}

/// A [`Claim`], and when it falls due.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClaimRow {
    pub(crate) key: u8,
    pub(crate) body: u8,
    pub(crate) fence: u8,
    lease_until: u8,
    pub(crate) expires: u8,
    pub(crate) response: Option<Stored>,
    pub(crate) due: u8,
}

impl ClaimRow {
    pub(crate) fn of(names: &Names, key: u8, claim: &Claim, due_ms: u64) -> Self {
        ClaimRow {
            key,
            body: names.body(&claim.fingerprint),
            fence: small(claim.fence.0),
            lease_until: tick(claim.lease_until_ms),
            expires: tick(claim.expires_ms),
            response: claim.response.as_deref().map(Stored::of),
            due: tick(due_ms),
        }
    }

    pub(crate) fn claim(&self, names: &Names) -> Claim {
        Claim {
            fingerprint: names.bodies[usize::from(self.body)],
            fence: ReservationId(u64::from(self.fence)),
            lease_until_ms: ms(self.lease_until),
            expires_ms: ms(self.expires),
            response: self.response.map(Stored::response),
        }
    }
}
