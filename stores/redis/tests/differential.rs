//! The scripts against `transition` over plain maps: random commands, the same outcomes.
#![cfg(test)]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use common::limits::{any_limit, engine};
use common::model::Model;
use common::{Cluster, Server};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tollgate::*;
use tollgate_redis::RedisStore;

const MONTH_MS: i64 = 31 * 86_400_000;

/// A limit in a few numbers.
#[derive(Clone, Debug)]
struct Lim {
    name: &'static str,
    partition: Partition,
    algorithm: Algorithm,
    quota: Quota,
    counts: Counts,
    cost: u64,
    token_override: bool,
    shadow: bool,
}

#[derive(Clone, Debug)]
struct Ask {
    mode: Mode,
    account: usize,
    token: usize,
    /// With the record and the revision of the latest look-up.
    looked_up: bool,
    source: Option<IpAddr>,
    limits: Vec<Lim>,
    refused_elsewhere: bool,
    key: Option<(u8, u8, u64, OnOrphan)>,
    key_invalid: bool,
    sender: Option<&'static str>,
    invalid: bool,
    charge: Option<u64>,
    rule: (u64, OnExpiry, u64),
    detail: bool,
}

#[derive(Clone, Debug)]
enum Step {
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

fn account(index: usize) -> AccountId {
    AccountId::new(["acme", "a{b}%7Dé", "nobody"][index]).unwrap()
}

fn token(index: usize) -> TokenDigest {
    digest(&[u8::try_from(index).unwrap()], None)
}

fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => 0..12_u64,
        1 => select(vec![
            u64::from(u32::MAX) - 1, u64::from(u32::MAX), 1 << 32, (1 << 32) + 1, 1 << 53, (1 << 53) + 1,
            1 << 63, u64::MAX - 1, u64::MAX,
        ]),
        1 => (0..64_u32, any::<u64>()).prop_map(|(by, value)| value >> by),
    ]
}

fn span() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => select(vec![0, 1, 500, 1_000, 60_000, 86_400_000]),
        1 => select(vec![1 << 44, 1 << 52, (1 << 53) - 1, 1 << 60, u64::MAX]),
    ]
}

fn quota() -> impl Strategy<Value = Quota> {
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

fn lim(name: &'static str) -> impl Strategy<Value = Lim> {
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

fn response() -> impl Strategy<Value = Option<Arc<StoredResponse>>> {
    let some = |status, body: Option<&[u8]>| {
        let headers = Box::new([("x".into(), Box::from(&b"\0\xff"[..]))]);
        Some(Arc::new(StoredResponse { status, headers, body: body.map(Box::from) }))
    };
    select(vec![None, some(200, None), some(200, Some(b"")), some(500, Some(b"body\0\r\n"))])
}

fn finish() -> impl Strategy<Value = Finish> {
    prop_oneof![
        3 => (prop::option::of(amount()), response())
            .prop_map(|(amount, response)| Finish::Settle { amount: amount.map(Amount), response }),
        2 => response().prop_map(|response| Finish::Void { response }),
        1 => Just(Finish::Unknown),
    ]
}

fn ask() -> impl Strategy<Value = Step> {
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

fn caps() -> impl Strategy<Value = Vec<SpendCap>> {
    let per = select(vec![Period::Day, Period::Month, Period::Lifetime]);
    let cap = (per, amount(), prop::bool::weighted(0.3));
    let cap =
        cap.prop_map(|(per, amount, shadow)| SpendCap { per, amount: Amount(amount), shadow });
    prop::collection::vec(cap, 0..3)
}

fn networks() -> impl Strategy<Value = Vec<IpNet>> {
    select(vec![vec![], vec!["192.0.2.0/24".parse().unwrap()]])
}

fn account_patch() -> impl Strategy<Value = AccountPatch> {
    let senders = select(vec![vec![], vec!["bob"], vec!["eve", "bob", "bob"], vec![""]]);
    (prop::option::of(networks()), prop::option::of(caps()), prop::option::of(senders)).prop_map(
        |(networks, spend_caps, senders)| AccountPatch {
            networks,
            spend_caps,
            senders: senders.map(|names| names.into_iter().map(Into::into).collect()),
        },
    )
}

fn token_patch() -> impl Strategy<Value = TokenPatch> {
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

fn id() -> impl Strategy<Value = u64> {
    prop_oneof![12 => 1..8_u64, 1 => select(vec![0, 1 << 53, u64::MAX])]
}

fn step() -> impl Strategy<Value = Step> {
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

/// An outcome in full: the `Debug` of a stored answer leaves its content out.
fn show(outcome: &Outcome) -> String {
    if let Outcome::LookedUp(LookedUp { credential: Some(credential), admission }) = outcome {
        // Every store has revisions of its own.
        let credential = Credential { revision: 0, ..credential.clone() };
        return format!("{credential:?} {admission:?}");
    }
    let text = format!("{outcome:?}");
    let Outcome::Admission(Admission { verdict: AdmitVerdict::Replay(response), .. }) = outcome
    else {
        return text;
    };
    format!("{text} {:?} {:?}", response.headers, response.body)
}

struct Both {
    engine: Engine,
    limit: Limit,
    store: RedisStore,
    model: Model,
    now_ms: u64,
    /// With the model's revision.
    known: BTreeMap<usize, (Credential, u64)>,
}

impl Both {
    fn new(url: &str, now_ms: u64) -> Both {
        let mut both = Both {
            engine: engine(),
            limit: any_limit(),
            store: common::store(url),
            model: Model::default(),
            now_ms,
            known: BTreeMap::new(),
        };
        for who in 0..2 {
            both.step(&Step::PutAccount(who, 20, AccountPatch::default())).unwrap();
            for which in 0..2 {
                let scopes = Some(vec!["all".into()]);
                let patch = TokenPatch { scopes, ..TokenPatch::default() };
                both.step(&Step::PutToken(2 * who + which, who, patch)).unwrap();
            }
        }
        both
    }

    fn same(&mut self, command: &Command<'_>) -> Result<[Outcome; 2], TestCaseError> {
        self.alike(command, command)
    }

    /// The outcomes of the store and of the model.
    fn alike(
        &mut self,
        command: &Command<'_>,
        of_model: &Command<'_>,
    ) -> Result<[Outcome; 2], TestCaseError> {
        let now_ms = self.now_ms;
        let expected = self.model.perform(of_model, now_ms);
        let outcome = self.store.perform(command, now_ms);
        let outcome = outcome.map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
        prop_assert_eq!(show(&outcome), show(&expected), "at {} of {:?}", now_ms, command);
        Ok([outcome, expected])
    }

    fn administer(&mut self, administration: &Administration<'_>) -> Result<(), TestCaseError> {
        self.same(&Command::Administer(administration)).map(drop)
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Tick(by) => {
                self.now_ms = self.now_ms.saturating_add_signed(*by).min(MAX_NOW_MS);
                Ok(())
            }
            Step::Lookup(index) => self.look_up(*index),
            Step::Admit(ask) => self.admit(ask),
            Step::Settle(who, id, finish) => {
                let account = AccountRef::Id(account(*who));
                let reservation = ReservationId(*id);
                self.same(&Command::Settle(Settle { account: &account, reservation, finish }))?;
                Ok(())
            }
            Step::PutAccount(who, opening, settings) => {
                let (account, opening_balance) = (&account(*who), Amount(*opening));
                let settings = settings.clone();
                self.administer(&Administration::PutAccount { account, opening_balance, settings })
            }
            Step::PutToken(index, who, settings) => {
                let (digest, account) = (&token(*index), &account(*who));
                let settings = settings.clone();
                self.administer(&Administration::PutToken { digest, account, settings })
            }
            Step::Revoke(index) => {
                self.administer(&Administration::RevokeToken { digest: &token(*index) })
            }
            Step::Rotate(old, new, grace_ms) => {
                let (old, new, grace_ms) = (&token(*old), &token(*new), *grace_ms);
                self.administer(&Administration::RotateToken { old, new, grace_ms })
            }
            Step::Deposit(who, amount) => {
                let (account, amount) = (&account(*who), Amount(*amount));
                self.administer(&Administration::Deposit { account, amount })
            }
            Step::Refund(who, id, amount, reference) => {
                let account = &AccountRef::Id(account(*who));
                let (reservation, amount) = (ReservationId(*id), Amount(*amount));
                self.administer(&Administration::Refund { account, reservation, amount, reference })
            }
            Step::Resolve(who, id, finish) => {
                let (account, reservation) = (&account(*who), ReservationId(*id));
                let finish = finish.clone();
                self.administer(&Administration::Resolve { account, reservation, finish })
            }
            Step::Show(who) => self.show(*who),
            Step::Expire => self.administer(&Administration::Expire),
        }
    }

    fn show(&mut self, who: usize) -> Result<(), TestCaseError> {
        let account = &account(who);
        self.administer(&Administration::Inspect { account })?;
        self.administer(&Administration::ListTokens { account })?;
        self.administer(&Administration::ListReservations { account })?;
        self.administer(&Administration::NameAccount { account: &AccountRef::Id(account.clone()) })
    }

    fn look_up(&mut self, index: usize) -> Result<(), TestCaseError> {
        let digest = token(index);
        let scopes = self.engine.policy().scopes().clone();
        let lookup = Lookup { digest: &digest, scopes: &scopes, plain: None };
        let found = |outcome| match outcome {
            Outcome::LookedUp(found) => found.credential,
            _ => None,
        };
        match self.same(&Command::Lookup(lookup))?.map(found) {
            [Some(credential), Some(of_model)] => {
                self.known.insert(index, (credential, of_model.revision));
            }
            _ => drop(self.known.remove(&index)),
        }
        Ok(())
    }

    fn admit(&mut self, ask: &Ask) -> Result<(), TestCaseError> {
        let known =
            self.known.get(&ask.token).filter(|_| ask.looked_up && ask.account < 2).cloned();
        let limits: Vec<Limit> = ask.limits.iter().map(|lim| self.limit(lim)).collect();
        let idempotency = match ask.key {
            _ if ask.key_invalid => Idempotency::Invalid,
            None => Idempotency::Absent,
            Some((key, fingerprint, retention_ms, on_orphan)) => Idempotency::Key {
                claim: ClaimKey([key; 32]),
                fingerprint: Fingerprint([fingerprint; 32]),
                rule: IdempotencyRule {
                    required: false,
                    retention_ms,
                    on_orphan,
                    on_store_failure: FailureMode::Closed,
                },
            },
        };
        let (lease_ms, on_expiry, retention_ms) = ask.rule;
        let refusal = Denial::RateLimited { limit: 7, retry_at_ms: 1 };
        // A token is one account's: whoever says another has not looked it up.
        let (who, digest) = match ask.account {
            2 => (2, token(9)),
            _ => (ask.token / 2, token(ask.token)),
        };
        let named = AccountRef::Id(account(who));
        let of_model = known.as_ref().map(|(_, revision)| *revision);
        let known = known.map(|(known, _)| known);
        let record = known.as_ref().and_then(|known| known.token.clone());
        let admit = Admit {
            mode: ask.mode,
            token: &digest,
            token_record: record.as_deref(),
            account: known.as_ref().map_or(&named, |known| &known.account),
            revision: known.as_ref().map(|known| known.revision),
            source: ask.source,
            limits: &limits,
            refused_elsewhere: ask.refused_elsewhere.then_some(&refusal),
            idempotency: &idempotency,
            sender: ask.sender,
            invalid: ask.invalid,
            charge: ask.charge.map(Amount),
            charge_rule: &ChargeRule { price: None, lease_ms, on_expiry, retention_ms },
            detail: ask.detail,
        };
        let same = Admit { revision: of_model, ..admit };
        self.alike(&Command::Admit(admit), &Command::Admit(same)).map(drop)
    }

    fn limit(&self, lim: &Lim) -> Limit {
        let mut limit = self.limit.clone();
        // Scripts take windows above 2^52 ms for this long. That shows in no answer, unless one policy
        // has such a window and the next one another: then its end, thousands of years from now, is
        // another one.
        let huge = lim.quota.window_ms > 1 << 52;
        let name = if huge { format!("{} of ages", lim.name) } else { lim.name.to_owned() };
        limit.id = LimitId::of(&name, lim.algorithm);
        limit.name = name.into();
        limit.partition = lim.partition;
        limit.algorithm = lim.algorithm;
        limit.quota = lim.quota;
        limit.counts = lim.counts;
        limit.cost = lim.cost;
        limit.token_override = lim.token_override && !huge;
        limit.shadow = lim.shadow;
        limit
    }
}

fn compare(url: &str, cases: u32) {
    let cases = std::env::var("TOLLGATE_CASES").ok().map_or(cases, |text| text.parse().unwrap());
    let start = select(vec![0, 1_700_000_000_000, MAX_NOW_MS - 70_000]);
    let steps = (start, prop::collection::vec(step(), 1..80));
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let result = runner.run(&steps, |(start_ms, steps)| {
        let mut both = Both::new(url, start_ms);
        for step in &steps {
            both.step(step)?;
        }
        (0..3).try_for_each(|who| both.show(who))
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_server_answers_as_transition_does() {
    let server = Server::start(&[]);
    compare(&server.url(), 250);
}

#[test]
fn a_cluster_answers_as_transition_does() {
    let cluster = Cluster::start();
    compare(&cluster.url(), 120);
}

/// Runs these steps on a server and on a cluster.
fn runs_alike(steps: &[Step]) {
    let server = Server::start(&[]);
    let cluster = Cluster::start();
    for url in [server.url(), cluster.url()] {
        let mut both = Both::new(&url, 1_700_000_000_000);
        for step in steps {
            both.step(step).unwrap_or_else(|error| panic!("{step:?}: {error}"));
        }
        (0..3).try_for_each(|who| both.show(who)).unwrap();
    }
}

/// A request of the first account that nothing is asked of yet.
fn plain() -> Ask {
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

fn one(partition: Partition, algorithm: Algorithm, units: u64) -> Lim {
    let quota = Quota::new(units, 1_600);
    let counts = Counts::Requests;
    let (token_override, shadow) = (false, false);
    Lim { name: "x", partition, algorithm, quota, counts, cost: 1, token_override, shadow }
}

#[test]
fn an_account_with_much_that_is_due_deals_with_all_of_it_first() {
    let mut steps = vec![Step::Deposit(0, 1_000)];
    let charge = |key, amount, rule| {
        let key = Some((key, 0, 60_000, OnOrphan::Conflict));
        Step::Admit(Box::new(Ask { charge: Some(amount), key, rule, ..plain() }))
    };
    for number in 0..1_020_u64 {
        let rules = [OnExpiry::Void, OnExpiry::Void, OnExpiry::Settle, OnExpiry::Hold];
        let rule = rules[usize::try_from(number % 4).unwrap()];
        let ask = Ask { charge: Some(1), rule: (1_000, rule, number % 3), ..plain() };
        steps.push(Step::Admit(Box::new(ask)));
    }
    steps.extend([Step::Tick(1_000), charge(1, 500, (10, OnExpiry::Void, 10)), Step::Show(0)]);
    for _ in 0..600 {
        steps.push(Step::Admit(Box::new(Ask { charge: Some(0), ..plain() })));
    }
    steps.extend([Step::Tick(1_000), Step::Expire, Step::Show(0), Step::Expire]);
    runs_alike(&steps);
}

#[test]
fn a_reservation_takes_a_hundred_refunds() {
    let finish = Finish::Settle { amount: None, response: None };
    let mut steps = vec![
        Step::Deposit(0, 1_000),
        Step::Admit(Box::new(Ask { charge: Some(500), ..plain() })),
        Step::Settle(0, 1, finish),
    ];
    let names: Vec<&'static str> =
        (0..102).map(|number| &*Box::leak(format!("r{number}").into_boxed_str())).collect();
    steps.extend(names.iter().map(|name| Step::Refund(0, 1, 2, name)));
    steps.push(Step::Refund(0, 1, 2, names[5]));
    runs_alike(&steps);
}

#[test]
fn an_outcome_that_comes_again_after_its_key_is_gone_is_refused() {
    let response = |body: &[u8]| {
        Some(Arc::new(StoredResponse {
            status: 200,
            headers: Box::default(),
            body: Some(body.into()),
        }))
    };
    let settle = |body| Finish::Settle { amount: None, response: response(body) };
    let ask = |retention_ms, on_orphan| {
        let key = Some((0, 0, retention_ms, on_orphan));
        Step::Admit(Box::new(Ask { charge: Some(5), key, ..plain() }))
    };
    runs_alike(&[
        ask(500, OnOrphan::Conflict),
        Step::Settle(0, 1, settle(b"a")),
        Step::Settle(0, 1, settle(b"a")),
        Step::Settle(0, 1, settle(b"b")),
        ask(500, OnOrphan::Conflict),
        Step::Tick(500),
        Step::Settle(0, 1, settle(b"a")),
        Step::Settle(0, 1, Finish::Settle { amount: None, response: None }),
        // Taken over by a later execution, which gives the key up.
        ask(60_000, OnOrphan::Rerun),
        Step::Tick(1_000),
        ask(60_000, OnOrphan::Rerun),
        Step::Settle(0, 2, settle(b"late")),
        Step::Settle(0, 3, Finish::Void { response: None }),
        Step::Resolve(0, 2, Finish::Void { response: None }),
    ]);
}

#[test]
fn what_a_denial_gives_back_leaves_the_limit_as_it_was() {
    for algorithm in [Algorithm::Gcra, Algorithm::FixedWindow, Algorithm::SlidingWindow] {
        let counts = Counts::Executions;
        let limits = vec![Lim { counts, ..one(Partition::Global, algorithm, 1) }];
        let denied = Ask { limits: limits.clone(), sender: Some("nobody"), ..plain() };
        let allowed = Ask { limits, ..plain() };
        runs_alike(&[
            Step::Admit(Box::new(denied.clone())),
            Step::Tick(-1_000),
            Step::Admit(Box::new(allowed.clone())),
            Step::Admit(Box::new(denied.clone())),
            Step::Tick(5_000),
            Step::Admit(Box::new(denied)),
            Step::Tick(-5_000),
            Step::Admit(Box::new(allowed)),
        ]);
    }
}

/// One limit of each account, small steps of the clock in both directions.
fn limit_steps() -> impl Strategy<Value = Vec<Step>> {
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

#[test]
fn limits_are_counted_as_transition_counts_them_wherever_the_clock_goes() {
    let server = Server::start(&[]);
    let config = Config { cases: 400, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&limit_steps(), |steps| {
        let mut both = Both::new(&server.url(), 1_700_000_000_000);
        steps.iter().try_for_each(|step| both.step(step))
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}
