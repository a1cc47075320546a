//! What an explanation tells the operator: each check in order, what it saw, and what would make it pass.

// Helpers of tests may do what tests may; `clippy.toml` allows it in test functions alone.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod small_api;

use small_api::{NOW_MS, account, engine};
use tollgate::*;

const POLICY: &str = "
    [limits.calls]
    per = \"token\"
    quota = 2
    window_ms = 60000
    algorithm = \"fixed_window\"
    [limits.sends]
    per = \"token\"
    quota = 3
    window_ms = 60000
    algorithm = \"fixed_window\"
    counts = \"executions\"
    routes = [\"POST /pay\"]
    [routes.\"POST /pay\"]
    idempotency = true
    price = 5
";

struct Desk {
    engine: Engine,
    store: MemoryStore,
}

#[derive(Clone, Copy, Default)]
struct Ask<'a> {
    key: Option<&'a str>,
    body: &'a str,
    cost: Option<u64>,
    sender: Option<&'a str>,
    invalid: Option<&'a str>,
}

const CHECKED: Ask<'_> = Ask { key: None, body: "", cost: None, sender: None, invalid: None };

impl Desk {
    /// An account with ten units of money, eight a day to spend, and a token.
    fn new(policy: &str) -> Desk {
        let desk = Desk { engine: engine(policy), store: MemoryStore::default() };
        let caps = vec![SpendCap { per: Period::Day, amount: Amount(8), shadow: false }];
        let patch = AccountPatch {
            spend_caps: Some(caps),
            senders: Some(vec!["ACME".into()]),
            ..Default::default()
        };
        Admin::new(&desk.store).put_account(&account("acme"), Amount(10), patch, NOW_MS).unwrap();
        desk.token(TokenPatch::default());
        desk
    }

    fn digest(&self) -> TokenDigest {
        self.engine.digest(&TokenText::parse(TokenFormat::Opaque, "acme").unwrap())
    }

    fn token(&self, patch: TokenPatch) {
        let patch = TokenPatch { scopes: Some(vec!["all".into()]), ..patch };
        let admin = Admin::new(&self.store);
        admin.put_token(&self.digest(), &account("acme"), patch, NOW_MS).unwrap();
    }

    fn with_request<T>(&self, ask: Ask<'_>, then: impl FnOnce(&Request<'_>) -> T) -> T {
        let key = ask.key.unwrap_or_default();
        let name = if ask.key.is_some() { "idempotency-key" } else { "x-none" };
        let headers = [("authorization", "Bearer acme"), (name, key)];
        then(&Request {
            peer: Some([192, 0, 2, 1].into()),
            body: Body::Bytes(ask.body.as_bytes()),
            cost: ask.cost.map(Amount),
            sender: ask.sender,
            invalid: ask.invalid,
            ..Request::new(b"POST", b"/pay", NOW_MS).with_headers(&headers)
        })
    }

    fn decide(&self, ask: Ask<'_>) -> Decision {
        self.with_request(ask, |request| self.engine.decide(&self.store, request))
    }

    fn explain(&self, ask: Ask<'_>) -> Vec<TraceStep> {
        self.with_request(ask, |request| self.engine.explain(&self.store, request).steps)
    }

    /// What one check saw, how it ended, and what would make it pass.
    fn told(&self, ask: Ask<'_>, check: ExplainedCheck) -> Told {
        told(&self.explain(ask), check)
    }

    /// The same of a request that is not like the others.
    fn told_of(&self, request: &Request<'_>, check: ExplainedCheck) -> Told {
        told(&self.engine.explain(&self.store, request).steps, check)
    }
}

type Told = (String, CheckResult, Option<String>);

fn told(steps: &[TraceStep], check: ExplainedCheck) -> Told {
    let step = steps.iter().find(|step| step.check == check);
    let step = step.unwrap_or_else(|| panic!("no {check}: {steps:?}"));
    (step.observed.clone(), step.result, step.fix.clone())
}

fn passed(observed: &str) -> Told {
    (observed.into(), CheckResult::Passed, None)
}

fn decided(observed: &str, fix: &str) -> Told {
    (observed.into(), CheckResult::Decided, Some(fix.into()))
}

#[test]
fn a_request_that_passes_passes_every_check() {
    let desk = Desk::new(POLICY);
    let caps = Some(vec![SpendCap { per: Period::Month, amount: Amount(20), shadow: false }]);
    desk.token(TokenPatch { spend_caps: caps, ..Default::default() });
    let steps = desk.explain(Ask { sender: Some("ACME"), ..CHECKED });
    let lines: Vec<String> = steps
        .iter()
        .map(|step| format!("{} | {} | {}", step.check, step.rule, step.observed))
        .collect();
    let expected = [
        "bearer token | one Authorization header with a bearer token | a well-formed token",
        "credential | the token is known, not revoked and not expired | live, does not expire",
        "source network | account networks: any; token networks: any | 192.0.2.1",
        "scope | POST /pay needs one of: all | token has: all",
        "request limit | calls: 2 per 60000 ms, this request takes 1 | 2 left",
        "idempotency | the Idempotency-Key is new, or stands for this very request | no key, or the route takes none",
        "validation | the sender is approved for the account | sender 'ACME'",
        "validation | the host finds the request valid | no objection",
        "execution limit | sends: 3 per 60000 ms, this request takes 1 | 3 left",
        "spend cap | token cap: 20 per month | 0 spent, 5 more asked",
        "spend cap | account cap: 8 per day | 0 spent, 5 more asked",
        "wallet | the wallet has 5 available | 10 available",
    ];
    assert_eq!(lines, expected);
    assert!(steps.iter().all(|step| step.result == CheckResult::Passed && step.fix.is_none()));
}

#[test]
fn an_explanation_consumes_nothing() {
    let desk = Desk::new(POLICY);
    for _ in 0..4 {
        assert_eq!(desk.told(CHECKED, ExplainedCheck::RequestLimit), passed("2 left"));
    }
    assert_eq!(desk.decide(CHECKED).status(), Status::Allowed);
}

#[test]
fn the_bearer_token() {
    let desk = Desk::new(POLICY);
    let check = ExplainedCheck::BearerToken;
    let request = Request::new(b"POST", b"/pay", NOW_MS);
    assert_eq!(
        desk.told_of(&request, check),
        decided("no bearer token", "send 'Authorization: Bearer TOKEN'")
    );
    let headers = [("authorization", "Bearer a b")];
    assert_eq!(
        desk.told_of(&request.with_headers(&headers), check),
        decided(
            "a header that is repeated or malformed, or a token whose form or checksum is wrong",
            "send the token once, exactly as it was issued"
        )
    );
}

#[test]
fn the_credential() {
    let desk = Desk::new(POLICY);
    let check = ExplainedCheck::Credential;
    let new = "issue a new token";
    let headers = [("authorization", "Bearer unknown")];
    let request = Request::new(b"POST", b"/pay", NOW_MS).with_headers(&headers);
    assert_eq!(desk.told_of(&request, check), decided("unknown", new));
    let until =
        |expires_ms| TokenPatch { expires_ms: Some(Some(expires_ms)), ..Default::default() };
    desk.token(until(NOW_MS + 1));
    assert_eq!(desk.told(CHECKED, check), passed("live until 1700000000001 ms"));
    desk.token(until(NOW_MS));
    assert_eq!(desk.told(CHECKED, check), decided("expired at 1700000000000 ms", new));
    Admin::new(&desk.store).revoke_token(&desk.digest(), NOW_MS).unwrap();
    assert_eq!(desk.told(CHECKED, check), decided("revoked", new));
}

#[test]
fn networks_and_scopes() {
    let desk = Desk::new(POLICY);
    let networks = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
    desk.token(TokenPatch { networks: Some(networks), ..Default::default() });
    let steps = desk.explain(CHECKED);
    assert_eq!(
        told(&steps, ExplainedCheck::SourceNetwork),
        decided("192.0.2.1", "add 192.0.2.1 to the networks, or call from inside them")
    );
    let rule = "account networks: any; token networks: 10.0.0.0/8, 2001:db8::/32";
    assert!(steps.iter().any(|step| step.rule == rule), "{steps:?}");
    // What comes later is told too, and decides nothing any more; what is not asked is left out.
    assert_eq!(
        told(&steps, ExplainedCheck::RequestLimit),
        ("2 left".into(), CheckResult::WouldPass, None)
    );
    let left_out =
        [ExplainedCheck::Idempotency, ExplainedCheck::Validation, ExplainedCheck::Wallet];
    assert!(steps.iter().all(|step| !left_out.contains(&step.check)), "{steps:?}");
    let headers = [("authorization", "Bearer acme")];
    let elsewhere = Request::new(b"POST", b"/elsewhere", NOW_MS).with_headers(&headers);
    assert_eq!(
        desk.told_of(&elsewhere, ExplainedCheck::SourceNetwork).0,
        "no source address",
        "no peer, no address"
    );
    desk.token(TokenPatch { networks: Some(Vec::new()), ..Default::default() });
    assert_eq!(
        desk.told_of(&elsewhere, ExplainedCheck::Scope),
        decided(
            "no route matches the method and path",
            "call a route of the policy, by its canonical path"
        )
    );
    let desk = Desk::new(&format!("other = [\"GET /other\"]\n{POLICY}"));
    let other = Request::new(b"GET", b"/other", NOW_MS).with_headers(&headers);
    assert_eq!(
        desk.told_of(&other, ExplainedCheck::Scope),
        decided("token has: all", "grant the token one of: other")
    );
}

#[test]
fn networks_in_shadow_mode_deny_nothing() {
    let desk = Desk::new(&format!("{POLICY}\n[source]\nshadow_networks = true"));
    let networks = vec!["10.0.0.0/8".parse().unwrap()];
    desk.token(TokenPatch { networks: Some(networks), ..Default::default() });
    let steps = desk.explain(CHECKED);
    assert_eq!(told(&steps, ExplainedCheck::SourceNetwork).1, CheckResult::Shadow);
    assert_eq!(told(&steps, ExplainedCheck::Wallet), passed("10 available"));
}

#[test]
fn the_limits() {
    let desk = Desk::new(POLICY);
    for _ in 0..2 {
        assert_eq!(desk.decide(Ask { cost: Some(0), ..CHECKED }).status(), Status::Allowed);
    }
    let steps = desk.explain(CHECKED);
    // Windows of a minute begin at whole minutes: the present one ends 40 s later.
    assert_eq!(
        told(&steps, ExplainedCheck::RequestLimit),
        decided("0 left", "try again at 1700000040000 ms")
    );
    assert_eq!(told(&steps, ExplainedCheck::ExecutionLimit).1, CheckResult::WouldPass);
    let quota = Some(Some(TokenQuota { limit: 0, window_ms: 1_000 }));
    desk.token(TokenPatch { quota, ..Default::default() });
    assert_eq!(
        desk.told(CHECKED, ExplainedCheck::RequestLimit),
        decided("0 left", "raise the quota above the request's cost")
    );
}

#[test]
fn the_idempotency_key() {
    let desk = Desk::new(POLICY);
    let told = |ask| desk.told(ask, ExplainedCheck::Idempotency);
    let keyed = Ask { key: Some("k"), cost: Some(0), ..CHECKED };
    assert_eq!(
        told(Ask { key: Some("a b"), ..CHECKED }),
        decided("a missing or malformed key", "send one key of 1 to 255 visible ASCII characters")
    );
    assert_eq!(told(keyed), passed("not claimed by another request"));
    let first = desk.decide(keyed);
    assert_eq!(
        told(keyed),
        decided(
            "the first request with this key has not ended",
            "wait for it, or resolve its reservation if its holder is lost"
        )
    );
    assert_eq!(
        told(Ask { body: "other", ..keyed }),
        decided("the key stands for another request", "use a new key")
    );
    let settle = Finish::Settle { amount: None, response: None };
    desk.engine.finish(&desk.store, first.ticket().unwrap(), settle, NOW_MS).unwrap();
    assert_eq!(
        told(keyed),
        decided("completed: its response is replayed", "use a new key to run again")
    );
}

#[test]
fn validation() {
    let desk = Desk::new(POLICY);
    let told = |ask| desk.told(ask, ExplainedCheck::Validation);
    assert_eq!(
        told(Ask { sender: Some("OTHER"), ..CHECKED }),
        decided("sender 'OTHER'", "approve 'OTHER' for the account")
    );
    assert_eq!(
        told(Ask { invalid: Some("no such number"), ..CHECKED }),
        decided("no such number", "correct the request")
    );
}

#[test]
fn the_money() {
    let desk = Desk::new(POLICY);
    let told = |cost, check| desk.told(Ask { cost: Some(cost), ..CHECKED }, check);
    let asked = |cost| format!("0 spent, {cost} more asked");
    assert_eq!(told(8, ExplainedCheck::SpendCap), passed(&asked(8)));
    assert_eq!(
        told(9, ExplainedCheck::SpendCap),
        decided(&asked(9), "raise the cap, or wait for the next day")
    );
    assert_eq!(told(u64::MAX, ExplainedCheck::SpendCap).1, CheckResult::Decided);
    let would =
        |result, fix: Option<&str>| ("10 available".to_owned(), result, fix.map(ToOwned::to_owned));
    assert_eq!(told(10, ExplainedCheck::Wallet), would(CheckResult::WouldPass, None));
    assert_eq!(told(12, ExplainedCheck::Wallet), would(CheckResult::WouldFail, Some("deposit 2")));
    // What costs nothing is asked nothing about money.
    let steps = desk.explain(Ask { cost: Some(0), ..CHECKED });
    assert!(steps.iter().all(|step| step.check != ExplainedCheck::Wallet), "{steps:?}");
}

#[test]
fn a_cap_in_shadow_mode_denies_nothing() {
    let desk = Desk::new(POLICY);
    let caps = Some(vec![SpendCap { per: Period::Lifetime, amount: Amount(1), shadow: true }]);
    desk.token(TokenPatch { spend_caps: caps, ..Default::default() });
    let steps = desk.explain(CHECKED);
    assert_eq!(told(&steps, ExplainedCheck::SpendCap).1, CheckResult::Shadow);
    assert!(steps.iter().any(|step| step.rule == "token cap: 1 per lifetime"), "{steps:?}");
    assert_eq!(told(&steps, ExplainedCheck::Wallet), passed("10 available"));
}

#[test]
fn a_trace_of_what_is_no_peek_tells_the_same_and_consumes() {
    let desk = Desk::new(POLICY);
    let free = Ask { cost: Some(0), ..CHECKED };
    for left in ["2 left", "1 left"] {
        let expected = desk.explain(free);
        let steps = desk.with_request(free, |request| {
            let mut evaluation = desk.engine.evaluate_traced(request);
            while let Some(command) = evaluation.command() {
                let outcome = desk.store.perform(&command, NOW_MS);
                evaluation.resume(outcome);
            }
            evaluation.into_explanation().steps
        });
        assert_eq!(told(&steps, ExplainedCheck::RequestLimit), passed(left));
        assert_eq!(steps, expected);
    }
    assert_eq!(desk.decide(free).status(), Status::RateLimited);
}

#[test]
fn what_is_looked_up_again_is_told_once() {
    let desk = Desk::new(POLICY);
    let (steps, unchanged) = desk.with_request(CHECKED, |request| {
        let request = Request { peek: true, ..*request };
        let mut evaluation = desk.engine.evaluate_traced(&request);
        let found = desk.store.perform(&evaluation.command().unwrap(), NOW_MS);
        evaluation.resume(found);
        // Between look-up and admission the account is changed: the token is looked up again.
        desk.token(TokenPatch::default());
        while let Some(command) = evaluation.command() {
            let outcome = desk.store.perform(&command, NOW_MS);
            evaluation.resume(outcome);
        }
        (evaluation.into_explanation().steps, desk.explain(CHECKED))
    });
    assert_eq!(steps, unchanged);
}

/// What an explanation tells does not hang on where limits are kept.
#[test]
fn a_composite_explains_and_peeks_like_one_store() {
    let desk = Desk::new(POLICY);
    let beside = Desk::new(POLICY);
    let beside = (beside.engine, CompositeStore::new(MemoryStore::default(), beside.store));
    let keyed = Ask { key: Some("k"), ..CHECKED };
    let dear = Ask { cost: Some(9), ..CHECKED };
    for round in [keyed, keyed, dear, CHECKED, CHECKED] {
        for ask in [CHECKED, keyed, dear, Ask { invalid: Some("no"), ..CHECKED }] {
            desk.with_request(ask, |request| {
                let (one, two) = (
                    desk.engine.explain(&desk.store, request),
                    beside.0.explain(&beside.1, request),
                );
                assert_eq!(one.steps, two.steps);
                let peek = Request { peek: true, ..*request };
                let statuses = [
                    one.decision.status(),
                    two.decision.status(),
                    desk.engine.decide(&desk.store, &peek).status(),
                    beside.0.decide(&beside.1, &peek).status(),
                ];
                assert_eq!(statuses, [statuses[0]; 4]);
            });
        }
        desk.with_request(round, |request| {
            let one = desk.engine.decide(&desk.store, request);
            let two = beside.0.decide(&beside.1, request);
            assert_eq!((one.status(), one.limit()), (two.status(), two.limit()));
        });
    }
}
