//! Random commands, in a few numbers each.

use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;
use tollgate::*;

pub(crate) const MONTH_MS: i64 = 31 * 86_400_000;

/// A limit in a few numbers.
#[derive(Clone, Debug)]
pub(crate) struct Lim {
    pub(crate) name: &'static str,
    pub(crate) partition: Partition,
    pub(crate) algorithm: Algorithm,
    pub(crate) quota: Quota,
    pub(crate) counts: Counts,
    pub(crate) cost: u64,
    pub(crate) token_override: bool,
    pub(crate) shadow: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) mode: Mode,
    pub(crate) account: usize,
    pub(crate) token: usize,
    /// With the record and the revision of the latest look-up.
    pub(crate) looked_up: bool,
    pub(crate) source: Option<IpAddr>,
    pub(crate) limits: Vec<Lim>,
    pub(crate) refused_elsewhere: bool,
    pub(crate) key: Option<(u8, u8, u64, OnOrphan)>,
    pub(crate) key_invalid: bool,
    pub(crate) sender: Option<&'static str>,
    pub(crate) invalid: bool,
    pub(crate) charge: Option<u64>,
    pub(crate) rule: (u64, OnExpiry, u64),
    pub(crate) detail: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Tick(i64),
    Lookup(usize),
    Admit(Box<Ask>),
    Settle(usize, u64, Finish),
    PutAccount(usize, u64, AccountPatch),
    PutToken(usize, usize, TokenPatch),
    Revoke(usize),
    Rotate(usize, usize, u64),
    Deposit(usize, u64),
    Refund(usize, u64, u64, &'static str),
    Resolve(usize, u64, Finish),
    Show(usize),
    Expire,
}

pub(crate) fn account(index: usize) -> AccountId {
    AccountId::new(["acme", "a{b}%7Dé", "nobody"][index]).unwrap()
}

pub(crate) fn token(index: usize) -> TokenDigest {
    digest(&[u8::try_from(index).unwrap()], None)
}

pub(crate) fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => 0..12_u64,
        1 => select(vec![
            u64::from(u32::MAX) - 1, u64::from(u32::MAX), 1 << 32, (1 << 32) + 1, 1 << 53, (1 << 53) + 1,
            1 << 63, u64::MAX - 1, u64::MAX,
        ]),
        1 => (0..64_u32, any::<u64>()).prop_map(|(by, value)| value >> by),
    ]
}

pub(crate) fn span() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => select(vec![0, 1, 500, 1_000, 60_000, 86_400_000]),
        1 => select(vec![1 << 44, 1 << 52, (1 << 53) - 1, 1 << 60, u64::MAX]),
    ]
}

pub(crate) fn quota() -> impl Strategy<Value = Quota> {
    let window_ms = prop_oneof![
        6 => select(vec![1, 5, 16, 17, 100, 1_000, 1_601, 60_000]),
        1 => select(vec![86_400_000, 1 << 43, 1 << 44, 1 << 48, 1 << 52]),
        1 => Just(u64::MAX),
    ];
    let units = prop_oneof![4 => 0..6_u64, 1 => amount()];
    (units, window_ms, prop_oneof![3 => Just(None), 1 => amount().prop_map(Some)]).prop_map(
        |(units, window_ms, burst)| Quota { units, window_ms, burst: burst.unwrap_or(units) },
    )
}

pub(crate) fn lim(name: &'static str) -> impl Strategy<Value = Lim> {
    let partitions = vec![
        Partition::Token,
        Partition::Account,
        Partition::SourceIp,
        Partition::TokenSourceIp,
        Partition::AccountSourceIp,
        Partition::Global,
    ];
    let algorithms = vec![Algorithm::Gcra, Algorithm::FixedWindow, Algorithm::SlidingWindow];
    (
        select(partitions),
        select(algorithms),
        quota(),
        select(vec![Counts::Requests, Counts::Executions]),
        prop_oneof![6 => 1..3_u64, 1 => amount()],
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.2),
    )
        .prop_map(
            move |(partition, algorithm, quota, counts, cost, token_override, shadow)| Lim {
                name,
                partition,
                algorithm,
                quota,
                counts,
                cost,
                token_override,
                shadow,
            },
        )
}

pub(crate) fn response() -> impl Strategy<Value = Option<Arc<StoredResponse>>> {
    let some = |status, body: Option<&[u8]>| {
        let headers = Box::new([("x".into(), Box::from(&b"\0\xff"[..]))]);
        Some(Arc::new(StoredResponse { status, headers, body: body.map(Box::from) }))
    };
    select(vec![None, some(200, None), some(200, Some(b"")), some(500, Some(b"body\0\r\n"))])
}

pub(crate) fn finish() -> impl Strategy<Value = Finish> {
    prop_oneof![
        3 => (prop::option::of(amount()), response())
            .prop_map(|(amount, response)| Finish::Settle { amount: amount.map(Amount), response }),
        2 => response().prop_map(|response| Finish::Void { response }),
        1 => Just(Finish::Unknown),
    ]
}

pub(crate) fn ask() -> impl Strategy<Value = Step> {
    let limits =
        (prop::sample::subsequence(vec![0_usize, 1, 2], 0..=3), (lim("x"), lim("y"), lim("z")))
            .prop_map(|(places, (x, y, z))| {
                let all = [x, y, z];
                places.into_iter().map(|place| all[place].clone()).collect::<Vec<_>>()
            });
    let who = (
        prop_oneof![7 => Just(Mode::Apply), 1 => Just(Mode::Peek), 1 => Just(Mode::Observe)],
        prop_oneof![20 => 0..2_usize, 1 => Just(2)],
        0..4_usize,
        prop::bool::weighted(0.8),
        select(vec![None, Some("192.0.2.1"), Some("2001:db8::1")]),
        prop::bool::weighted(0.1),
    );
    let orphan = select(vec![OnOrphan::Conflict, OnOrphan::Rerun]);
    let key = prop::option::of((0..3_u8, prop_oneof![5 => Just(0), 1 => Just(1)], span(), orphan));
    let what = (
        key,
        prop::bool::weighted(0.1),
        prop_oneof![3 => Just(None), 1 => select(vec![Some("bob"), Some("eve"), Some("")])],
        prop::bool::weighted(0.1),
        prop::option::of(amount()),
        (span(), select(vec![OnExpiry::Void, OnExpiry::Settle, OnExpiry::Hold]), span()),
        prop::bool::weighted(0.15),
    );
    (who, limits, what).prop_map(
        |(
            (mode, account, token, looked_up, source, refused_elsewhere),
            limits,
            (key, key_invalid, sender, invalid, charge, rule, detail),
        )| {
            let source = source.map(|source| source.parse().unwrap());
            Step::Admit(Box::new(Ask {
                mode,
                account,
                token,
                looked_up,
                source,
                limits,
                refused_elsewhere,
                key,
                key_invalid,
                sender,
                invalid,
                charge,
                rule,
                detail,
            }))
        },
    )
}

pub(crate) fn caps() -> impl Strategy<Value = Vec<SpendCap>> {
    let per = select(vec![Period::Day, Period::Month, Period::Lifetime]);
    let cap = (per, amount(), prop::bool::weighted(0.3));
    let cap =
        cap.prop_map(|(per, amount, shadow)| SpendCap { per, amount: Amount(amount), shadow });
    prop::collection::vec(cap, 0..3)
}

pub(crate) fn networks() -> impl Strategy<Value = Vec<IpNet>> {
    select(vec![vec![], vec!["192.0.2.0/24".parse().unwrap()]])
}

pub(crate) fn account_patch() -> impl Strategy<Value = AccountPatch> {
    let senders = select(vec![vec![], vec!["bob"], vec!["eve", "bob", "bob"], vec![""]]);
    (prop::option::of(networks()), prop::option::of(caps()), prop::option::of(senders)).prop_map(
        |(networks, spend_caps, senders)| AccountPatch {
            networks,
            spend_caps,
            senders: senders.map(|names| names.into_iter().map(Into::into).collect()),
        },
    )
}

pub(crate) fn token_patch() -> impl Strategy<Value = TokenPatch> {
    let own = (amount(), prop_oneof![3 => select(vec![1, 1_000, 60_000]), 1 => Just(1 << 52)])
        .prop_map(|(limit, window_ms)| TokenQuota { limit, window_ms });
    (
        prop::option::of(select(vec![vec!["all"], vec!["some", "unheard-of"], vec![]])),
        prop::option::of(networks()),
        prop::option::weighted(0.3, prop::option::of(own)),
        prop::option::of(caps()),
        prop::option::weighted(
            0.2,
            prop::option::of(prop_oneof![Just(1_700_000_100_000), any::<u64>()]),
        ),
    )
        .prop_map(|(scopes, networks, quota, spend_caps, expires_ms)| TokenPatch {
            scopes: scopes.map(|names| names.into_iter().map(Into::into).collect()),
            networks,
            quota,
            spend_caps,
            expires_ms,
        })
}

pub(crate) fn id() -> impl Strategy<Value = u64> {
    prop_oneof![12 => 1..8_u64, 1 => select(vec![0, 1 << 53, u64::MAX])]
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let forwards = vec![0, 1, 99, 500, 1_000, 60_000, 86_400_000, MONTH_MS];
    let tick =
        prop_oneof![6 => select(forwards), 1 => select(vec![-1, -1_000, -100_000, -MONTH_MS])];
    prop_oneof![
        4 => tick.prop_map(Step::Tick),
        2 => (0..4_usize).prop_map(Step::Lookup),
        14 => ask(),
        6 => (0..2_usize, id(), finish()).prop_map(|(who, id, how)| Step::Settle(who, id, how)),
        1 => (0..3_usize, amount(), account_patch()).prop_map(|(a, b, c)| Step::PutAccount(a, b, c)),
        2 => (0..4_usize, 0..3_usize, token_patch()).prop_map(|(a, b, c)| Step::PutToken(a, b, c)),
        1 => prop::bool::weighted(0.3).prop_flat_map(|_| 0..5_usize).prop_map(Step::Revoke),
        1 => (0..5_usize, 0..5_usize, span()).prop_map(|(old, new, ms)| Step::Rotate(old, new, ms)),
        1 => (0..3_usize, amount()).prop_map(|(who, amount)| Step::Deposit(who, amount)),
        3 => (0..2_usize, id(), amount(), select(vec!["r", "q", ""]))
            .prop_map(|(who, id, amount, name)| Step::Refund(who, id, amount, name)),
        2 => (0..3_usize, id(), finish()).prop_map(|(who, id, how)| Step::Resolve(who, id, how)),
        2 => (0..3_usize).prop_map(Step::Show),
        1 => Just(Step::Expire),
    ]
}

/// A request of the first account that nothing is asked of yet.
pub(crate) fn plain() -> Ask {
    Ask {
        mode: Mode::Apply,
        account: 0,
        token: 0,
        looked_up: false,
        source: None,
        limits: Vec::new(),
        refused_elsewhere: false,
        key: None,
        key_invalid: false,
        sender: None,
        invalid: false,
        charge: None,
        rule: (1_000, OnExpiry::Void, 86_400_000),
        detail: false,
    }
}

pub(crate) fn one(partition: Partition, algorithm: Algorithm, units: u64) -> Lim {
    let quota = Quota::new(units, 1_600);
    let counts = Counts::Requests;
    let (token_override, shadow) = (false, false);
    Lim { name: "x", partition, algorithm, quota, counts, cost: 1, token_override, shadow }
}

/// One limit of each account, small steps of the clock in both directions.
pub(crate) fn limit_steps() -> impl Strategy<Value = Vec<Step>> {
    let quotas = (1..5_u64, select(vec![1, 5, 16, 17, 100, 1_601]), 0..5_u64);
    let quotas = quotas.prop_map(|(units, window_ms, burst)| Quota { units, window_ms, burst });
    let algorithm = select(vec![Algorithm::Gcra, Algorithm::FixedWindow, Algorithm::SlidingWindow]);
    let partition = select(vec![Partition::Token, Partition::Global]);
    let limit = (partition, algorithm, prop::collection::vec(quotas, 1..3));
    let step = (0..8_usize, -3..9_i64, 1..3_u64, 0..2_usize);
    (limit, prop::collection::vec(step, 1..120)).prop_map(
        |((partition, algorithm, quotas), steps)| {
            let steps = steps.into_iter().flat_map(|(kind, by, cost, place)| {
                let quota = quotas[place % quotas.len()];
                let part = i64::try_from(quota.window_ms / 8).unwrap().max(1);
                let limits = vec![Lim { quota, cost, ..one(partition, algorithm, 1) }];
                let ask = Step::Admit(Box::new(Ask { limits, ..plain() }));
                let by = if kind == 0 { by * part * 4 } else { by * part / 2 };
                [Step::Tick(by), ask]
            });
            steps.collect()
        },
    )
}
