//! The setups that are explored: small ones, which every run of the tests explores, and large ones.

use tollgate::{OnExpiry, OnOrphan, Period};

use crate::event::Event;
use crate::setup::{Call, Cap, Setup, TokenPlan};

const TOKEN: TokenPlan = TokenPlan { account: 0, caps: &[] };

const fn keyed(key: u8, body: u8, price: u8, times: u8) -> Call {
    Call { token: 0, key: Some(key), body, price, times }
}

const fn unkeyed(token: u8, price: u8, times: u8) -> Call {
    Call { token, key: None, body: 0, price, times }
}

const fn with_token(token: u8, call: Call) -> Call {
    Call { token, ..call }
}

/// What the others are made of: a client sends one call again and again.
const RETRY: Setup = Setup {
    name: "retry",
    about: "one call sent again and again; conflict, void; operator, refunds",
    on_orphan: OnOrphan::Conflict,
    on_expiry: OnExpiry::Void,
    lease: 2,
    key_retention: 4,
    record_retention: 2,
    last_tick: 5,
    accounts: &[4],
    caps: &[],
    tokens: &[TOKEN],
    calls: &[keyed(0, 0, 2, 2)],
    part: 1,
    operator: true,
    deposits: 0,
    refunds: &[(0, 1), (1, 2)],
    sees: &[
        Event::Admitted,
        Event::Replayed,
        Event::InFlight,
        Event::Settled,
        Event::Again,
        Event::Differing,
        Event::LateRefused,
        Event::Resolved,
        Event::Released,
        Event::Swept,
        Event::Refunded,
        Event::RefundRefused,
    ],
};

const HOLD: Setup = Setup {
    name: "hold",
    about: "the same with hold: late settlements are taken",
    on_expiry: OnExpiry::Hold,
    sees: &[Event::SettledLate, Event::StaleRefused, Event::Resolved, Event::Replayed],
    ..RETRY
};

const CHARGE: Setup = Setup {
    name: "charge",
    about: "the same with settle: the end of a lease posts the price",
    on_expiry: OnExpiry::Settle,
    sees: &[Event::LateRefused, Event::Released, Event::Refunded, Event::Replayed],
    ..RETRY
};

const RERUN: Setup = Setup {
    name: "rerun",
    about: "orphans run again; void",
    on_orphan: OnOrphan::Rerun,
    refunds: &[],
    sees: &[Event::Rerun, Event::LateRefused, Event::Replayed, Event::InFlight],
    ..RETRY
};

const RERUN_HOLD: Setup = Setup {
    name: "rerun-hold",
    about: "orphans run again; hold: stale fences meet held money",
    on_expiry: OnExpiry::Hold,
    sees: &[Event::Rerun, Event::StaleRefused, Event::SettledLate, Event::Resolved],
    ..RERUN
};

const RERUN_CHARGE: Setup = Setup {
    name: "rerun-charge",
    about: "orphans run again; settle",
    on_expiry: OnExpiry::Settle,
    refunds: &[(0, 1), (1, 2)],
    sees: &[Event::Rerun, Event::LateRefused, Event::Released, Event::Refunded],
    ..RERUN
};

const BODIES: Setup = Setup {
    name: "bodies",
    about: "two clients use one key for different bodies, a third another key",
    last_tick: 3,
    key_retention: 3,
    calls: &[keyed(0, 0, 2, 1), keyed(0, 1, 1, 1), keyed(1, 0, 1, 1)],
    operator: false,
    refunds: &[],
    sees: &[Event::Mismatched, Event::Replayed, Event::InFlight, Event::Poor],
    accounts: &[3],
    ..RETRY
};

const CAPS: Setup = Setup {
    name: "caps",
    about: "two tokens with caps for a day, an account with caps for a month and for ever",
    last_tick: 4,
    accounts: &[9],
    caps: &[Cap { per: Period::Month, units: 3 }, Cap { per: Period::Lifetime, units: 5 }],
    tokens: &[
        TokenPlan { account: 0, caps: &[Cap { per: Period::Day, units: 2 }] },
        TokenPlan { account: 0, caps: &[Cap { per: Period::Day, units: 3 }] },
    ],
    calls: &[unkeyed(0, 2, 2), with_token(1, keyed(0, 0, 2, 1))],
    operator: false,
    refunds: &[],
    sees: &[Event::Capped, Event::Settled, Event::LateRefused],
    ..RETRY
};

const ACCOUNTS: Setup = Setup {
    name: "accounts",
    about: "two accounts, which use the same key; deposits",
    last_tick: 3,
    key_retention: 3,
    accounts: &[1, 2],
    tokens: &[TOKEN, TokenPlan { account: 1, caps: &[] }],
    calls: &[keyed(0, 0, 2, 2), with_token(1, keyed(0, 1, 1, 1))],
    operator: false,
    deposits: 1,
    refunds: &[],
    sees: &[Event::Poor, Event::Admitted, Event::Replayed],
    ..RETRY
};

const FREE: Setup = Setup {
    name: "free",
    about: "keys without a price: a late outcome is taken for as long as the key is kept",
    calls: &[keyed(0, 0, 0, 3)],
    refunds: &[],
    sees: &[Event::SettledLate, Event::Replayed, Event::InFlight, Event::Resolved],
    ..RETRY
};

const SHORT_KEY: Setup = Setup {
    name: "short-key",
    about: "a key that is kept for less than a lease",
    lease: 3,
    key_retention: 1,
    calls: &[keyed(0, 0, 1, 3)],
    operator: true,
    refunds: &[],
    last_tick: 4,
    sees: &[Event::StaleRefused, Event::Resolved, Event::Differing],
    ..RETRY
};

const MIXED: Setup = Setup {
    name: "mixed",
    about: "all of it at once: a key with two bodies, a call without a key, caps, deposits, refunds",
    last_tick: 4,
    key_retention: 3,
    accounts: &[3],
    caps: &[Cap { per: Period::Lifetime, units: 4 }],
    calls: &[keyed(0, 0, 2, 2), keyed(0, 1, 1, 1), unkeyed(0, 1, 1)],
    deposits: 1,
    refunds: &[(0, 1)],
    sees: &[Event::Mismatched, Event::Capped, Event::Poor, Event::Refunded, Event::Replayed],
    ..RETRY
};

/// Setups that are explored whole within seconds, also by code that is not optimised.
pub const SMALL: &[Setup] = &[
    RETRY,
    HOLD,
    CHARGE,
    RERUN,
    RERUN_HOLD,
    RERUN_CHARGE,
    BODIES,
    CAPS,
    ACCOUNTS,
    FREE,
    SHORT_KEY,
];

/// Larger ones of the same kinds: more arrivals, more time, more that happens at once.
pub const LARGE: &[Setup] = &[
    Setup {
        name: "retry-large",
        last_tick: 8,
        calls: &[keyed(0, 0, 2, 4)],
        accounts: &[5],
        ..RETRY
    },
    Setup { name: "hold-large", last_tick: 7, calls: &[keyed(0, 0, 2, 4)], accounts: &[5], ..HOLD },
    Setup {
        name: "charge-large",
        last_tick: 7,
        calls: &[keyed(0, 0, 2, 4)],
        accounts: &[5],
        ..CHARGE
    },
    Setup {
        name: "rerun-large",
        last_tick: 6,
        calls: &[keyed(0, 0, 2, 4)],
        accounts: &[6],
        ..RERUN
    },
    Setup {
        name: "rerun-hold-large",
        last_tick: 6,
        calls: &[keyed(0, 0, 2, 4)],
        accounts: &[6],
        ..RERUN_HOLD
    },
    Setup {
        name: "rerun-charge-large",
        last_tick: 6,
        calls: &[keyed(0, 0, 2, 3)],
        accounts: &[6],
        ..RERUN_CHARGE
    },
    Setup {
        name: "bodies-large",
        operator: true,
        last_tick: 5,
        calls: &[keyed(0, 0, 2, 2), keyed(0, 1, 1, 1), keyed(1, 0, 1, 1)],
        accounts: &[3],
        ..BODIES
    },
    Setup {
        name: "caps-large",
        refunds: &[(0, 1)],
        last_tick: 5,
        calls: &[unkeyed(0, 2, 2), with_token(1, keyed(0, 0, 2, 2))],
        ..CAPS
    },
    Setup {
        name: "accounts-large",
        last_tick: 4,
        operator: true,
        calls: &[keyed(0, 0, 2, 2), with_token(1, keyed(0, 1, 1, 2))],
        ..ACCOUNTS
    },
    Setup { name: "free-large", last_tick: 7, calls: &[keyed(0, 0, 0, 5)], ..FREE },
    Setup { name: "short-key-large", last_tick: 6, calls: &[keyed(0, 0, 1, 4)], ..SHORT_KEY },
    Setup { name: "mixed-large", ..MIXED },
    Setup { name: "mixed-hold-large", on_expiry: OnExpiry::Hold, ..MIXED },
    Setup {
        name: "mixed-rerun-large",
        on_orphan: OnOrphan::Rerun,
        on_expiry: OnExpiry::Hold,
        last_tick: 3,
        ..MIXED
    },
];
