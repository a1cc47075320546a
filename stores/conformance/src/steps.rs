//! Random commands, as data that a person can read and play again.

use std::sync::OnceLock;

use proptest::prelude::*;
use proptest::sample::select;
use tollgate::{
    Algorithm, Amount, ChargeRule, FailureMode, Finish, Idempotency, IdempotencyRule, IpNet, Limit,
    LimitConfig, Mode, OnExpiry, OnOrphan, Partition, Period, SpendCap, StoredResponse, TokenQuota,
};

use crate::world::{self, Ask, DAY_MS};

/// How many accounts the steps are about.
pub(crate) const ACCOUNTS: u64 = 3;
/// How many tokens.
pub(crate) const TOKENS: u64 = 7;

/// One thing to do to a store. Accounts, tokens, keys, bodies and sources are numbers; `which` is one of
/// the reservations so far.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // the fields are those of the commands
pub enum Step {
    /// The clock moves by so many milliseconds, at most 55 seconds back.
    Clock(i64),
    /// To half a second around the next UTC day (0), month's 31 days (1) later.
    ClockToDay {
        days: u64,
        off_ms: i64,
    },
    PutAccount {
        account: u64,
        balance: u64,
        networks: Option<Vec<IpNet>>,
        caps: Option<Vec<SpendCap>>,
        senders: Option<Vec<String>>,
    },
    PutToken {
        token: u64,
        account: u64,
        scopes: Option<Vec<String>>,
        networks: Option<Vec<IpNet>>,
        quota: Option<Option<(u64, u64)>>,
        caps: Option<Vec<SpendCap>>,
        expires_in_ms: Option<Option<u64>>,
    },
    Revoke {
        token: u64,
    },
    Rotate {
        old: u64,
        new: u64,
        grace_ms: u64,
    },
    Deposit {
        account: u64,
        amount: u64,
    },
    Refund {
        which: usize,
        amount: u64,
        reference: u8,
        by_name: bool,
    },
    Resolve {
        which: usize,
        end: End,
    },
    Settle {
        which: usize,
        end: End,
        by_name: bool,
    },
    Expire,
    Inspect {
        account: u64,
    },
    ListAccounts {
        after: Option<u64>,
        at_most: usize,
    },
    ListTokens {
        account: u64,
    },
    ListReservations {
        account: u64,
    },
    /// Looks up with one of two scope tables; where a token is plain, admits under these limits.
    LookUp {
        token: u64,
        other_scopes: bool,
        plain: Option<Vec<usize>>,
    },
    Admit(Box<Asked>),
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum End {
    Settle { amount: Option<u64>, response: Option<u16> },
    Void { response: Option<u16> },
    Unknown,
}

/// An admission; limits are places in [`limits`].
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Asked {
    pub token: u64,
    /// Under the credential that was looked up last, however long ago.
    pub stale: bool,
    pub mode: Mode,
    pub limits: Vec<usize>,
    pub key: Key,
    pub sender: Option<u8>,
    pub invalid: bool,
    pub charge: Option<u64>,
    pub lease_ms: u64,
    pub on_expiry: OnExpiry,
    pub retention_ms: u64,
    pub source: Option<u64>,
    pub detail: bool,
    pub by_name: bool,
}

/// An idempotency key.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Key {
    Absent,
    Invalid,
    Of { key: u64, body: u64, rerun: bool, retention_ms: u64 },
}

impl End {
    /// The outcome for a store.
    #[must_use]
    pub fn finish(&self) -> Finish {
        let response = |status: Option<u16>| {
            status.map(|status| match status {
                // One that was too large to keep.
                202 => StoredResponse { status, headers: Box::default(), body: None }.into(),
                _ => world::response(status, b"sent"),
            })
        };
        match *self {
            End::Settle { amount, response: given } => {
                Finish::Settle { amount: amount.map(Amount), response: response(given) }
            }
            End::Void { response: given } => Finish::Void { response: response(given) },
            End::Unknown => Finish::Unknown,
        }
    }
}

impl Asked {
    /// The admission for a store.
    #[must_use]
    pub fn ask(&self) -> Ask {
        let idempotency = match self.key {
            Key::Absent => Idempotency::Absent,
            Key::Invalid => Idempotency::Invalid,
            Key::Of { key, body, rerun, retention_ms } => Idempotency::Key {
                claim: world::claim(key),
                fingerprint: world::fingerprint(body),
                rule: IdempotencyRule {
                    required: false,
                    retention_ms,
                    on_orphan: if rerun { OnOrphan::Rerun } else { OnOrphan::Conflict },
                    on_store_failure: FailureMode::Closed,
                },
            },
        };
        Ask {
            token: world::token(self.token),
            mode: self.mode,
            source: self.source.map(world::address),
            limits: limits_at(&self.limits),
            idempotency,
            sender: self.sender.map(|number| format!("sender {number}")),
            invalid: self.invalid,
            charge: self.charge.map(Amount),
            rule: ChargeRule {
                price: None,
                lease_ms: self.lease_ms,
                on_expiry: self.on_expiry,
                retention_ms: self.retention_ms,
            },
            detail: self.detail,
            by_name: self.by_name,
        }
    }
}

/// The limits at these places of [`limits`].
pub(crate) fn limits_at(places: &[usize]) -> Vec<Limit> {
    places.iter().filter_map(|place| limits().get(*place).cloned()).collect()
}

/// All limits that the steps use: every algorithm and partition; those that count requests first.
#[must_use]
pub fn limits() -> &'static [Limit] {
    use Algorithm::*;
    use Partition::*;
    static LIMITS: OnceLock<Vec<Limit>> = OnceLock::new();
    LIMITS.get_or_init(|| {
        let of = |name, per, algorithm, quota, window_ms| {
            world::named(name, world::limit_of(per, algorithm, quota, window_ms))
        };
        let own = |limit| world::with(limit, |limit| limit.token_override = true);
        let burst =
            LimitConfig { burst: Some(4), cost: 2, ..LimitConfig::new(TokenSourceIp, 2, 500) };
        let shadow = of("shadow", Token, FixedWindow, 1, 60_000);
        vec![
            own(of("gcra", Token, Gcra, 3, 1_000)),
            of("fixed", Token, FixedWindow, 4, 1_600),
            own(of("sliding", Token, SlidingWindow, 3, 1_600)),
            of("second gcra", Token, Gcra, 5, 60_000),
            of("account", Account, Gcra, 6, 5_000),
            of("address", SourceIp, SlidingWindow, 4, 1_000),
            of("all", Global, FixedWindow, 20, 2_000),
            world::named("both", world::limit(burst)),
            of("account and address", AccountSourceIp, SlidingWindow, 5, 7),
            world::with(shadow, |limit| limit.shadow = true),
            world::executions(of("codes", SourceIp, Gcra, 3, 1_000)),
            world::executions(of("daily", Account, FixedWindow, 5, 60_000)),
            world::executions(of("everything", Global, SlidingWindow, 30, 3_600_000)),
        ]
    })
}

/// Those of [`limits`] that do not count by source address, and so go with a look-up.
const WITHOUT_SOURCE: [usize; 9] = [0, 1, 2, 3, 4, 6, 9, 11, 12];

fn clock() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..30_i64).prop_map(Step::Clock),
        4 => (100..2_500_i64).prop_map(Step::Clock),
        1 => select(vec![5_000_i64, 5_001, 30_000, 60_000, 300_000, 3_600_000]).prop_map(Step::Clock),
        2 => (-3_000..0_i64).prop_map(Step::Clock),
        1 => (-55_000..0_i64).prop_map(Step::Clock),
        1 => (0..32_u64, select(vec![-1_i64, 0, 1, 500]))
            .prop_map(|(days, off_ms)| Step::ClockToDay { days, off_ms }),
    ]
}

fn networks() -> impl Strategy<Value = Option<Vec<IpNet>>> {
    let list = prop_oneof![
        3 => Just(vec![]),
        1 => Just(vec!["192.0.2.0/24"]),
        1 => Just(vec!["192.0.2.8/32", "2001:db8:1:2::/64"]),
    ];
    let parse = |list: Vec<&str>| list.into_iter().map(|text| text.parse().unwrap()).collect();
    prop::option::weighted(0.4, list.prop_map(parse))
}

fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![30 => 0..30_u64, 1 => Just(u64::MAX), 1 => Just(u64::MAX / 2)]
}

fn caps() -> impl Strategy<Value = Option<Vec<SpendCap>>> {
    let per = select(vec![Period::Day, Period::Month, Period::Lifetime]);
    let cap = (per, 0..60_u64, prop::bool::weighted(0.25));
    let cap =
        cap.prop_map(|(per, amount, shadow)| SpendCap { per, amount: Amount(amount), shadow });
    prop::option::weighted(0.4, prop::collection::vec(cap, 0..3))
}

fn senders() -> impl Strategy<Value = Option<Vec<String>>> {
    prop::option::of(select(vec![vec![], vec!["sender 0".to_owned()]]))
}

fn end() -> impl Strategy<Value = End> {
    let response = || prop::option::of(select(vec![201_u16, 202, 500]));
    prop_oneof![
        4 => (prop::option::weighted(0.4, 0..15_u64), response())
            .prop_map(|(amount, response)| End::Settle { amount, response }),
        3 => response().prop_map(|response| End::Void { response }),
        1 => Just(End::Unknown),
    ]
}

fn key() -> impl Strategy<Value = Key> {
    let retention_ms = select(vec![DAY_MS, DAY_MS, DAY_MS, DAY_MS, 60_000, 3_000, 1]);
    prop_oneof![
        8 => Just(Key::Absent),
        1 => Just(Key::Invalid),
        8 => (0..3_u64, prop_oneof![6 => Just(0_u64), 1 => Just(1)], any::<bool>(), retention_ms)
            .prop_map(|(key, body, rerun, retention_ms)| Key::Of { key, body, rerun, retention_ms }),
    ]
}

fn places(among: Vec<usize>) -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        2 => Just(vec![]),
        2 => Just(vec![0]),
        4 => prop::sample::subsequence(among, 1..=4),
    ]
}

fn asked() -> impl Strategy<Value = Step> {
    let mode = prop_oneof![
        8 => Just(Mode::Apply),
        2 => Just(Mode::Peek),
        1 => Just(Mode::Observe),
    ];
    let money = (
        prop::option::weighted(0.6, prop_oneof![30 => 1..30_u64, 1 => Just(u64::MAX)]),
        select(vec![300_000_u64, 300_000, 300_000, 300_000, 5_000, 5_000, 1_000, 1, 0]),
        select(vec![OnExpiry::Void, OnExpiry::Settle, OnExpiry::Hold]),
        select(vec![604_800_000_u64, 604_800_000, 604_800_000, 604_800_000, 30_000, 1_000, 0]),
    );
    let all: Vec<usize> = (0..limits().len()).collect();
    (
        (
            prop_oneof![3 => Just(0_u64), 3 => Just(1), 3 => 0..TOKENS],
            prop::bool::weighted(0.2),
            mode,
            places(all),
            key(),
        ),
        (prop::option::weighted(0.1, 0..2_u8), prop::bool::weighted(0.04)),
        money,
        (
            prop::option::weighted(0.9, 0..3_u64),
            prop::bool::weighted(0.15),
            prop::bool::weighted(0.3),
        ),
    )
        .prop_map(|(what, checks, money, how)| {
            let (token, stale, mode, limits, key) = what;
            let (sender, invalid) = checks;
            let (charge, lease_ms, on_expiry, retention_ms) = money;
            let (source, detail, by_name) = how;
            Step::Admit(Box::new(Asked {
                token,
                stale,
                mode,
                limits,
                key,
                sender,
                invalid,
                charge,
                lease_ms,
                on_expiry,
                retention_ms,
                source,
                detail,
                by_name,
            }))
        })
}

/// One of the latest reservations.
fn which() -> impl Strategy<Value = usize> {
    prop_oneof![4 => Just(0_usize), 3 => 1..3_usize, 1 => 3..8_usize]
}

fn put_account() -> impl Strategy<Value = Step> {
    (0..ACCOUNTS, amount(), networks(), caps(), senders()).prop_map(
        |(account, balance, networks, caps, senders)| Step::PutAccount {
            account,
            balance,
            networks,
            caps,
            senders,
        },
    )
}

fn put_token() -> impl Strategy<Value = Step> {
    let quota = select(vec![(0, 1_000), (1, 1_000), (3, 1_000), (9, 1_600), (2, 250)]);
    let expires = prop::option::weighted(0.5, select(vec![0_u64, 1_000, 20_000]));
    let scopes = select(vec![vec![], vec!["pay"], vec!["pay"], vec!["admin", "pay", "unknown"]]);
    (
        0..TOKENS,
        prop::option::weighted(0.1, 0..ACCOUNTS),
        prop::option::weighted(0.7, scopes),
        networks(),
        prop::option::weighted(0.3, prop::option::of(quota)),
        caps(),
        prop::option::weighted(0.2, expires),
    )
        .prop_map(|(token, account, scopes, networks, quota, caps, expires_in_ms)| {
            Step::PutToken {
                token,
                // Mostly its own; another one's is refused.
                account: account.unwrap_or(token % ACCOUNTS),
                scopes: scopes.map(|names| names.into_iter().map(str::to_owned).collect()),
                networks,
                quota,
                caps,
                expires_in_ms,
            }
        })
}

/// One random step.
pub fn step() -> impl Strategy<Value = Step> {
    let account = || 0..ACCOUNTS;
    prop_oneof![
        14 => clock(),
        50 => asked(),
        6 => (0..TOKENS, any::<bool>(), prop::option::of(places(WITHOUT_SOURCE.to_vec())))
            .prop_map(|(token, other_scopes, plain)| Step::LookUp { token, other_scopes, plain }),
        20 => (which(), end(), any::<bool>())
            .prop_map(|(which, end, by_name)| Step::Settle { which, end, by_name }),
        4 => (which(), end()).prop_map(|(which, end)| Step::Resolve { which, end }),
        8 => (which(), 0..8_u64, 0..2_u8, any::<bool>()).prop_map(
            |(which, amount, reference, by_name)| Step::Refund { which, amount, reference, by_name }),
        4 => (account(), amount()).prop_map(|(account, amount)| Step::Deposit { account, amount }),
        3 => put_account(),
        5 => put_token(),
        1 => (0..TOKENS).prop_map(|token| Step::Revoke { token }),
        2 => (0..TOKENS, 0..TOKENS, select(vec![0_u64, 1, 5_000, u64::MAX]))
            .prop_map(|(old, new, grace_ms)| Step::Rotate { old, new, grace_ms }),
        4 => Just(Step::Expire),
        1 => account().prop_map(|account| Step::Inspect { account }),
        1 => (prop::option::of(account()), 0..4_usize)
            .prop_map(|(after, at_most)| Step::ListAccounts { after, at_most }),
        1 => account().prop_map(|account| Step::ListTokens { account }),
        1 => account().prop_map(|account| Step::ListReservations { account }),
    ]
}

/// A random story: every account and most tokens are there at its start.
pub fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1.max(most / 5)..most)
}

/// What a story begins with.
#[must_use]
pub fn setting() -> Vec<Step> {
    let mut steps = Vec::new();
    for account in 0..ACCOUNTS.saturating_sub(1) {
        let senders = Some(vec!["sender 0".to_owned()]);
        let (networks, caps) = (None, None);
        steps.push(Step::PutAccount { account, balance: 100, networks, caps, senders });
    }
    for token in (0..TOKENS.saturating_sub(1)).filter(|token| token % ACCOUNTS != 2) {
        steps.push(Step::PutToken {
            token,
            account: token % ACCOUNTS,
            scopes: Some(vec!["pay".to_owned()]),
            networks: None,
            quota: Some((token == 3).then_some((2, 1_000))),
            caps: None,
            expires_in_ms: None,
        });
    }
    steps
}

/// A token's own quota.
pub(crate) fn quota_of((limit, window_ms): (u64, u64)) -> TokenQuota {
    TokenQuota { limit, window_ms }
}
