//! The engine on the memory store against a model of obvious code, step by step.
//!
//! `PROPTEST_CASES` scales it; a failing sequence is shrunk and printed.

// Helpers of tests may do what tests may; `clippy.toml` allows it in test functions alone.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    unreachable_pub
)]

pub(crate) mod model;
pub(crate) mod world;

use std::collections::BTreeSet;

use proptest::prelude::*;
use tollgate::*;

use model::decide::{Facts, Key, Said, Who};
use model::money::next_month_ms;
use model::{Cap, End, World};
use world::policy::policy;
use world::steps::{Clock, Probe, Step, step};

/// 2027-12-31 23:59:50 UTC: ten seconds before a day, a month and a year end, and leases do not.
const START_MS: u64 = 1_830_297_590_000;
const ACCOUNTS: [&str; 3] = ["acme", "globex", "initech"];
const SOURCES: [Option<&str>; 5] = [
    Some("192.0.2.7"),
    Some("2001:db8:1:2::3"),
    Some("2001:db8:1:2:ffff::9"), // the same /64
    Some("2001:db8:1:3::3"),
    None,
];
const TOKENS_AT_START: usize = 4;

/// A request that something must still be said of: what the engine gave, and what the model calls it.
struct Open {
    ticket: Ticket,
    account: usize,
    number: u64,
}

/// Header lines as they were sent.
struct Sent(Vec<(&'static str, String)>);

impl Headers for Sent {
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        self.0.as_slice().value(name, nth)
    }
}

pub(crate) struct Pair {
    engine: Engine,
    store: MemoryStore,
    model: World,
    now_ms: u64,
    latest_ms: u64,
    windows_changed: bool,
    open: Vec<Open>,
    compared: u64,
    seen: BTreeSet<String>,
}

fn token_text(index: usize) -> TokenText {
    TokenText::parse(TokenFormat::Opaque, &format!("token-{index}")).unwrap()
}

fn account_id(index: usize) -> AccountId {
    AccountId::new(ACCOUNTS[index]).unwrap()
}

fn caps(caps: &[Cap]) -> Vec<SpendCap> {
    caps.iter()
        .map(|cap| SpendCap { per: cap.per, amount: Amount(cap.amount), shadow: cap.shadow })
        .collect()
}

fn stored(response: &model::Response) -> StoredResponse {
    StoredResponse {
        status: response.status,
        headers: Box::default(),
        body: response.body.clone().map(Vec::into_boxed_slice),
    }
}

fn finish(end: &End) -> Finish {
    let stored = |response: &Option<model::Response>| {
        response.as_ref().map(|response| stored(response).into())
    };
    match end {
        End::Settle { amount, response } => {
            Finish::Settle { amount: amount.map(Amount), response: stored(response) }
        }
        End::Void { response } => Finish::Void { response: stored(response) },
        End::Unknown => Finish::Unknown,
    }
}

fn refused<T>(result: Result<T, AdminError>) -> Result<T, Refusal> {
    result.map_err(|error| match error {
        AdminError::Refused(refusal) => refusal,
        AdminError::Store(error) => panic!("{error}"),
    })
}

impl Pair {
    fn new(config: PolicyConfig) -> Pair {
        let engine = Engine::new(config.compile().unwrap());
        let mut pair = Pair {
            engine,
            store: MemoryStore::default(),
            model: World::new(config),
            now_ms: START_MS,
            latest_ms: START_MS,
            windows_changed: false,
            open: Vec::new(),
            compared: 0,
            seen: BTreeSet::new(),
        };
        for index in 0..ACCOUNTS.len() {
            let money = 40 * index as u64;
            let patch = AccountPatch::default();
            pair.admin().put_account(&account_id(index), Amount(money), patch, START_MS).unwrap();
            pair.model
                .accounts
                .push(model::Account { deposits: vec![money], ..Default::default() });
        }
        for index in 0..TOKENS_AT_START {
            let account = index.min(ACCOUNTS.len() - 1);
            let scopes = if index == 1 { vec!["read"] } else { vec!["read", "write"] };
            let patch = TokenPatch {
                scopes: Some(scopes.iter().map(|scope| (*scope).into()).collect()),
                ..Default::default()
            };
            let digest = pair.engine.digest(&token_text(index));
            pair.admin().put_token(&digest, &account_id(account), patch, START_MS).unwrap();
            pair.model.tokens.push(model::Token {
                account,
                scopes: scopes.into_iter().map(str::to_owned).collect(),
                networks: Vec::new(),
                quota: None,
                caps: Vec::new(),
                expires_ms: None,
                revoked: false,
                ancestor: None,
            });
        }
        pair
    }

    fn admin(&self) -> Admin<'_, MemoryStore> {
        Admin::new(&self.store)
    }

    fn digest(&self, index: usize) -> TokenDigest {
        self.engine.digest(&token_text(index))
    }

    fn move_clock(&mut self, clock: &Clock) {
        let to_boundary = |next_ms: u64, offset: i64| next_ms.saturating_add_signed(offset);
        let now_ms = self.now_ms;
        let day_ms = 86_400_000;
        let next_ms = match clock {
            Clock::Stay => now_ms,
            Clock::Ahead(by) => now_ms + by,
            Clock::Back(by) => now_ms - by,
            Clock::Second(offset) => to_boundary((now_ms / 1_000 + 1) * 1_000, *offset),
            Clock::Day(offset) => to_boundary((now_ms / day_ms + 1) * day_ms, *offset),
            Clock::Month(offset) => to_boundary(next_month_ms(now_ms), *offset),
        };
        // The memory store keeps what is over for a minute, for clocks that run backwards.
        let back_ms = if self.windows_changed { 0 } else { 50_000 };
        self.now_ms = next_ms.max(self.latest_ms - back_ms);
        self.latest_ms = self.latest_ms.max(self.now_ms);
    }

    /// What was over under its own window may be gone for a longer one that comes later. With a clock that
    /// then runs backwards an answer would hang on whether it is: from here on it does not.
    fn change_windows(&mut self) {
        self.windows_changed = true;
        self.now_ms = self.latest_ms;
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Clock(clock) => self.move_clock(clock),
            Step::Request(request, probe) => {
                let facts = self.facts(request);
                self.request(&facts, *probe)?;
            }
            Step::Finish { which, end, operator } => self.finish(*which, end, *operator)?,
            Step::Deposit { account, amount } => {
                let account = account % ACCOUNTS.len();
                let given =
                    self.admin().deposit(&account_id(account), Amount(*amount), self.now_ms);
                prop_assert_eq!(refused(given), self.model.deposit(account, *amount));
            }
            Step::Refund { which, amount, reference } => {
                let Some(open) = self.pick(*which) else { return Ok(()) };
                let reference = format!("refund-{reference}");
                let given = self.admin().refund(
                    &open.ticket.account,
                    open.ticket.reservation,
                    Amount(*amount),
                    &reference,
                    self.now_ms,
                );
                let (account, number) = (open.account, open.number);
                let expected = self.model.refund(account, number, *amount, &reference, self.now_ms);
                self.seen.insert(format!("refund {expected:?}"));
                prop_assert_eq!(refused(given), expected);
            }
            Step::Account { account, networks, caps: new_caps, senders } => {
                let account = account % ACCOUNTS.len();
                let patch = AccountPatch {
                    networks: networks.clone(),
                    spend_caps: new_caps.as_deref().map(caps),
                    senders: senders
                        .as_ref()
                        .map(|senders| senders.iter().map(|name| name.as_str().into()).collect()),
                };
                self.admin()
                    .put_account(&account_id(account), Amount(7), patch, self.now_ms)
                    .unwrap();
                let settings = &mut self.model.accounts[account];
                settings.networks = networks.clone().unwrap_or(settings.networks.clone());
                settings.caps = new_caps.clone().unwrap_or(settings.caps.clone());
                settings.senders = senders.clone().unwrap_or(settings.senders.clone());
            }
            Step::Token { token, networks, quota, caps: new_caps, expires_in_ms } => {
                let index = token % self.model.tokens.len();
                if quota.is_some() {
                    self.change_windows();
                }
                let expires_ms =
                    expires_in_ms.map(|expires| expires.map(|in_ms| self.now_ms + in_ms));
                let patch = TokenPatch {
                    scopes: None,
                    networks: networks.clone(),
                    quota: quota.map(|quota| {
                        quota.map(|(limit, window_ms)| TokenQuota { limit, window_ms })
                    }),
                    spend_caps: new_caps.as_deref().map(caps),
                    expires_ms,
                };
                let account = self.model.tokens[index].account;
                let other = account_id((account + 1) % ACCOUNTS.len());
                let digest = self.digest(index);
                let foreign = self.admin().put_token(&digest, &other, patch.clone(), self.now_ms);
                prop_assert_eq!(refused(foreign), Err(Refusal::ForeignToken));
                self.admin().put_token(&digest, &account_id(account), patch, self.now_ms).unwrap();
                let settings = &mut self.model.tokens[index];
                settings.networks = networks.clone().unwrap_or(settings.networks.clone());
                settings.quota = quota.unwrap_or(settings.quota);
                settings.caps = new_caps.clone().unwrap_or(settings.caps.clone());
                settings.expires_ms = expires_ms.unwrap_or(settings.expires_ms);
            }
            Step::Revoke { token } => {
                let index = token % self.model.tokens.len();
                self.admin().revoke_token(&self.digest(index), self.now_ms).unwrap();
                self.model.tokens[index].revoked = true;
            }
            Step::Rotate { token, grace_ms } => {
                let old = token % self.model.tokens.len();
                let new = self.model.tokens.len();
                let given = self.admin().rotate_token(
                    &self.digest(old),
                    &self.digest(new),
                    *grace_ms,
                    self.now_ms,
                );
                prop_assert_eq!(refused(given), self.model.rotate(old, *grace_ms, self.now_ms));
            }
            Step::Expire => {
                let given = self.admin().expire(self.now_ms).unwrap();
                prop_assert_eq!(given, self.model.expire(self.now_ms));
            }
            Step::Reload(config) => {
                self.change_windows();
                self.engine = self.engine.with_policy(config.compile().unwrap());
                self.model.policy = (**config).clone();
            }
        }
        self.compare_wallets()
    }

    fn facts(&self, request: &world::steps::Asked) -> Facts {
        let tokens = self.model.tokens.len();
        let who = match request.token {
            0 => Who::Nobody,
            1 => Who::Stranger,
            other => Who::Token(other % tokens),
        };
        let (route, target) = world::policy::target(request.route, request.query);
        Facts {
            who,
            route: route.map(str::to_owned),
            target,
            source: SOURCES[request.source % SOURCES.len()].map(|text| text.parse().unwrap()),
            key: match request.key {
                0 => Key::Absent,
                1 => Key::Malformed,
                other => Key::Given(format!("key-{}", other % 4)),
            },
            body: request.body,
            cost: request.cost,
            sender: request.sender.map(|sender| format!("sender-{sender}")),
            invalid: request.invalid,
            now_ms: self.now_ms,
        }
    }

    fn request(&mut self, facts: &Facts, probe: Probe) -> Result<(), TestCaseError> {
        let mut headers: Vec<(&'static str, String)> = Vec::new();
        match facts.who {
            Who::Nobody => {}
            Who::Stranger => headers.push(("Authorization", "Bearer somebody-else".into())),
            Who::Token(index) => {
                headers.push(("Authorization", format!("Bearer {}", token_text(index).expose())));
            }
        }
        match &facts.key {
            Key::Absent => {}
            Key::Malformed => headers.push(("Idempotency-Key", "not a key".into())),
            Key::Given(key) => headers.push(("Idempotency-Key", key.clone())),
        }
        let method = facts.route.as_deref().map_or("GET", |route| route.split(' ').next().unwrap());
        let headers = Sent(headers);
        let request = Request {
            peer: facts.source,
            body: Body::Bytes(std::slice::from_ref(&facts.body)),
            cost: facts.cost.map(Amount),
            sender: facts.sender.as_deref(),
            invalid: facts.invalid.then_some("the \"to\" field is missing"),
            ..Request::new(method.as_bytes(), facts.target.as_bytes(), facts.now_ms)
                .with_headers(&headers)
        };
        let probed = match probe {
            Probe::No => None,
            Probe::Peek => {
                Some(self.engine.decide(&self.store, &Request { peek: true, ..request }))
            }
            Probe::Explain => {
                let explanation = self.engine.explain(&self.store, &request);
                let decided = |step: &&TraceStep| step.result == CheckResult::Decided;
                let deciding = explanation.steps.iter().filter(decided).count();
                let passes = explanation.decision.verdict() == Verdict::Allow;
                prop_assert_eq!(deciding, usize::from(!passes), "{:?}", explanation.steps);
                Some(explanation.decision)
            }
        };
        if let Some(probed) = &probed {
            let expected = self.model.peek(facts);
            let given = self.said(probed);
            prop_assert_eq!(Said { limit: None, ..given }, expected, "before {:?}", facts);
            self.compare_wallets()?;
        }
        let decision = self.engine.decide(&self.store, &request);
        if let Some(probed) = probed {
            prop_assert_eq!(probed.status(), decision.status());
            prop_assert_eq!(probed.denial(), decision.denial());
            prop_assert_eq!(probed.shadows(), decision.shadows());
        }
        let expected = self.model.decide(facts);
        let mut given = self.said(&decision);
        given.number = expected.number.filter(|_| given.number.is_some());
        self.seen.insert(expected.code.to_owned());
        prop_assert_eq!(&given, &expected, "{:?}", facts);
        if let (Some(ticket), Some(number)) = (decision.ticket(), expected.number) {
            let account = expected.account.unwrap();
            prop_assert_eq!(ticket.reservation, ReservationId(number));
            prop_assert_eq!(ticket.holds_key, self.holds_key(account, number));
            self.open.push(Open { ticket: ticket.clone(), account, number });
        }
        self.compared += 1;
        Ok(())
    }

    fn holds_key(&self, account: usize, number: u64) -> bool {
        self.model.accounts[account].reservations[&number].claim.is_some()
    }

    /// What the engine says, read from its answer as a client would.
    fn said(&self, decision: &Decision) -> Said {
        let answer = self.engine.answer(decision);
        let number = |name: &str| -> Option<u64> {
            answer.header(name).map(|value| std::str::from_utf8(value).unwrap().parse().unwrap())
        };
        let code = decision.status().code();
        let body = String::from_utf8(answer.body.clone()).unwrap();
        match decision.verdict() {
            Verdict::Deny => {
                assert!(body.ends_with(&format!("\"code\":\"{code}\"}}")), "{body}");
                assert_eq!(answer.header("content-type"), Some(&b"application/json"[..]));
                assert_eq!(answer.header("www-authenticate").is_some(), {
                    answer.status == 401 || code == "insufficient_scope"
                });
                if code == "validation_failed" {
                    assert!(body.contains(r#"the \"to\" field is missing"#), "{body}");
                }
            }
            Verdict::Allow => assert!(answer.body.is_empty()),
            Verdict::Replay => {}
        }
        let replayed = answer.header("idempotent-replayed") == Some(b"true");
        assert_eq!(replayed, decision.verdict() == Verdict::Replay);
        let limit = number("x-ratelimit-limit").map(|limit| {
            (limit, number("x-ratelimit-remaining").unwrap(), number("x-ratelimit-reset").unwrap())
        });
        Said {
            code,
            http: answer.status,
            limit,
            retry_after_s: number("retry-after"),
            replay: decision.replay().map(|stored| {
                assert_eq!(answer.body, stored.body.as_deref().unwrap_or_default());
                model::Response {
                    status: answer.status,
                    body: stored.body.as_deref().map(<[u8]>::to_vec),
                }
            }),
            account: decision.account().map(|account| {
                let id = self.admin().account_id(account, self.now_ms).unwrap();
                ACCOUNTS.iter().position(|name| *name == id.as_str()).unwrap()
            }),
            reserved: decision.reserved().map(|amount| amount.0),
            number: decision.ticket().map(|ticket| ticket.reservation.0),
            shadow_limits: decision.shadows().limits,
            shadow_caps: decision.shadows().spend_caps,
            shadow_networks: decision.shadows().networks,
        }
    }

    /// One of the latest requests that were allowed, finished or not.
    fn pick(&self, which: usize) -> Option<&Open> {
        let latest = self.open.len().checked_sub(1 + which % 8)?;
        self.open.get(latest)
    }

    fn finish(&mut self, which: usize, end: &End, operator: bool) -> Result<(), TestCaseError> {
        let Some(open) = self.pick(which) else { return Ok(()) };
        let (account, number) = (open.account, open.number);
        let given = if operator {
            let reservation = open.ticket.reservation;
            refused(self.admin().resolve(
                &account_id(account),
                reservation,
                finish(end),
                self.now_ms,
            ))
        } else {
            match self.engine.finish(&self.store, &open.ticket, finish(end), self.now_ms) {
                Ok(settled) => Ok(settled),
                Err(FinishError::Refused(refusal)) => Err(refusal),
                Err(FinishError::Store(error)) => panic!("{error}"),
            }
        };
        let given = given.map(|settled| settled.posted.map(|amount| amount.0));
        let expected = if operator {
            self.model.resolve(account, number, end, self.now_ms)
        } else {
            self.model.finish(account, number, end, self.now_ms)
        };
        let outcome = expected.map(|posted| posted.is_some());
        self.seen.insert(format!("{} {outcome:?}", if operator { "resolve" } else { "finish" }));
        prop_assert_eq!(given, expected, "{:?} by operator: {}", end, operator);
        self.compared += 1;
        Ok(())
    }

    fn compare_wallets(&self) -> Result<(), TestCaseError> {
        for (index, account) in self.model.accounts.iter().enumerate() {
            let id = account_id(index);
            let wallet = self.admin().account(&id, self.now_ms).unwrap().wallet;
            let sum = |list: &[u64]| list.iter().sum::<u64>();
            let expected = (
                account.balance(),
                account.held(),
                sum(&account.posted),
                sum(&account.deposits),
                sum(&account.refunds),
                account.open(),
            );
            let given = (
                wallet.balance.0,
                wallet.held.0,
                wallet.posted.0,
                wallet.deposited.0,
                wallet.refunded.0,
                wallet.open_reservations,
            );
            prop_assert_eq!(given, expected, "{}", id);
            for per in [Period::Day, Period::Month, Period::Lifetime] {
                let spent = wallet.spend.within(per, self.now_ms).0;
                prop_assert_eq!(spent, account.spent.within(per, self.now_ms), "{:?}", per);
            }
            // The invariants, by the store's own words.
            let (deposited, refunded) = (u128::from(given.3), u128::from(given.4));
            prop_assert_eq!(deposited + refunded, u128::from(given.0) + u128::from(given.2));
            prop_assert!(wallet.held <= wallet.balance);
            let reservations = self.admin().reservations(&id, self.now_ms).unwrap();
            let held = reservations.iter().filter(|(_, one)| one.state == ReservationState::Held);
            prop_assert_eq!(wallet.held.0, held.map(|(_, one)| one.amount.0).sum::<u64>());
            let numbers: Vec<u64> = reservations.iter().map(|(number, _)| number.0).collect();
            prop_assert_eq!(numbers, account.reservations.keys().copied().collect::<Vec<_>>());
        }
        Ok(())
    }
}

pub(crate) fn run(config: PolicyConfig, steps: &[Step]) -> Result<Pair, TestCaseError> {
    let mut pair = Pair::new(config);
    for step in steps {
        pair.step(step)?;
    }
    Ok(pair)
}

#[test]
fn agrees_with_the_model() {
    use proptest::test_runner::{Config, TestError, TestRunner};
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let config =
        Config { cases: cases.unwrap_or(3_000), failure_persistence: None, ..Config::default() };
    let compared = std::cell::Cell::new(0);
    let seen = std::cell::RefCell::new(BTreeSet::new());
    let strategy = (policy(), prop::collection::vec(step(), 80));
    let result = TestRunner::new(config).run(&strategy, |(config, steps)| {
        let pair = run(config, &steps)?;
        compared.set(compared.get() + pair.compared);
        seen.borrow_mut().extend(pair.seen);
        Ok(())
    });
    if let Err(error) = result {
        match error {
            TestError::Fail(reason, (config, steps)) => {
                panic!("{reason}\npolicy: {config:?}\nsteps:\n{}", {
                    let lines = steps.iter().map(|step| format!("  {step:?}\n"));
                    lines.collect::<String>()
                })
            }
            TestError::Abort(reason) => panic!("{reason}"),
        }
    }
    let seen = seen.into_inner();
    println!("{} requests and endings compared; seen: {seen:#?}", compared.get());
    // A model that never meets a case proves nothing about it.
    for row in STATUS_TABLE.iter().filter(|row| row.status != Status::StoreUnavailable) {
        assert!(seen.contains(row.code), "{} never came up: {seen:?}", row.code);
    }
    for outcome in
        ["Ok(false)", "Ok(true)", "Err(StaleFence)", "Err(LeaseEnded)", "Err(AlreadyFinished)"]
    {
        let outcome = format!("finish {outcome}");
        assert!(seen.contains(&outcome), "{outcome} never came up: {seen:?}");
    }
}
