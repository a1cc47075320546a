//! What each limit guarantees, held through the whole engine on the memory store.

// Helpers of tests may do what tests may; `clippy.toml` allows it in test functions alone.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use tollgate::*;

const NOW_MS: u64 = 1_700_000_000_000;

struct Gate {
    engine: Engine,
    store: MemoryStore,
}

impl Gate {
    /// `limits` and more, as TOML, over one route `GET /a` and one `POST /b`.
    fn new(limits: &str) -> Gate {
        let policy = format!(
            "tokens.format = \"opaque\"\n\
             [scopes]\nall = [\"GET /a\", \"POST /b\"]\n{limits}"
        );
        let config = PolicyConfig::from_toml(&policy).unwrap_or_else(|error| panic!("{error}"));
        let gate =
            Gate { engine: Engine::new(config.compile().unwrap()), store: MemoryStore::default() };
        let account = AccountId::new("acme").unwrap();
        let admin = Admin::new(&gate.store);
        admin.put_account(&account, Amount(50), AccountPatch::default(), NOW_MS).unwrap();
        for name in ["one", "two"] {
            gate.token(name, TokenPatch::default());
        }
        gate
    }

    fn token(&self, name: &str, patch: TokenPatch) {
        let account = AccountId::new("acme").unwrap();
        let digest = self.engine.digest(&TokenText::parse(TokenFormat::Opaque, name).unwrap());
        let patch = TokenPatch { scopes: Some(vec!["all".into()]), ..patch };
        Admin::new(&self.store).put_token(&digest, &account, patch, NOW_MS).unwrap();
    }

    fn ask(&self, token: &str, method: &str, peer: &str, cost: u64, now_ms: u64) -> Decision {
        let target = if method == "GET" { "/a" } else { "/b" };
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let request = Request {
            peer: Some(peer.parse().unwrap()),
            cost: Some(Amount(cost)),
            ..Request::new(method.as_bytes(), target.as_bytes(), now_ms).with_headers(&headers)
        };
        self.engine.decide(&self.store, &request)
    }

    fn get(&self, now_ms: u64) -> Decision {
        self.ask("one", "GET", "192.0.2.1", 0, now_ms)
    }

    fn allows(&self, now_ms: u64) -> bool {
        self.get(now_ms).verdict() == Verdict::Allow
    }

    fn remaining(&self, decision: &Decision) -> String {
        let answer = self.engine.answer(decision);
        let value = answer.header("x-ratelimit-remaining").unwrap_or_default();
        String::from_utf8(value.to_vec()).unwrap()
    }
}

/// A limit of `quota` per `window_ms`, per token or from a shared cell.
fn limit(algorithm: &str, per: &str, quota: u64, window_ms: u64, more: &str) -> String {
    format!(
        "[limits.l]\nper = \"{per}\"\nquota = {quota}\nwindow_ms = {window_ms}\n\
         algorithm = \"{algorithm}\"\n{more}\n"
    )
}

/// Times of requests, mostly dense beside the window, some in bursts.
fn gaps() -> impl Strategy<Value = Vec<u64>> {
    let gap = prop_oneof![3 => Just(0_u64), 4 => 1..40_u64, 2 => 40..400_u64, 1 => 400..3_000_u64];
    prop::collection::vec(gap, 1..120)
}

fn admitted(gate: &Gate, gaps: &[u64]) -> Vec<u64> {
    let mut now_ms = NOW_MS;
    let mut times = Vec::new();
    for gap in gaps {
        now_ms += gap;
        let decision = gate.get(now_ms);
        if decision.verdict() == Verdict::Allow {
            times.push(now_ms);
            continue;
        }
        // A refusal names the very millisecond from which on it passes.
        let retry_ms = decision.retry_at_ms().unwrap();
        assert!(retry_ms > now_ms);
        let peek = |at_ms: u64| {
            let headers = [("authorization", "Bearer one")];
            let request = Request {
                peek: true,
                peer: Some("192.0.2.1".parse().unwrap()),
                ..Request::new(b"GET", b"/a", at_ms).with_headers(&headers)
            };
            gate.engine.decide(&gate.store, &request).status()
        };
        assert_eq!(peek(retry_ms - 1), Status::RateLimited);
        assert_eq!(peek(retry_ms), Status::Allowed);
        let answer = gate.engine.answer(&decision);
        let told = std::str::from_utf8(answer.header("retry-after").unwrap()).unwrap();
        let told_ms = told.parse::<u64>().unwrap() * 1_000;
        assert!(told_ms >= retry_ms - now_ms && told_ms < (retry_ms - now_ms).max(1) + 1_000);
    }
    times
}

fn partition() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["token", "account", "source_ip", "token_source_ip", "global"])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_sliding_window_never_holds_more_than_its_quota(
        gaps in gaps(), per in partition(), quota in 1..9_u64, window_ms in 1..2_000_u64,
    ) {
        let gate = Gate::new(&limit("sliding_window", per, quota, window_ms, ""));
        let times = admitted(&gate, &gaps);
        for start in &times {
            let inside = times.iter().filter(|at| (*start..start + window_ms).contains(at)).count();
            prop_assert!(inside as u64 <= quota, "{inside} from {start}");
        }
    }

    #[test]
    fn a_fixed_window_never_admits_more_from_one_multiple_to_the_next(
        gaps in gaps(), per in partition(), quota in 1..9_u64, window_ms in 1..2_000_u64,
    ) {
        let gate = Gate::new(&limit("fixed_window", per, quota, window_ms, ""));
        let mut windows: BTreeMap<u64, u64> = BTreeMap::new();
        for at in admitted(&gate, &gaps) {
            *windows.entry(at / window_ms).or_default() += 1;
        }
        prop_assert!(windows.values().all(|count| *count <= quota), "{windows:?}");
    }

    #[test]
    fn gcra_never_admits_more_than_burst_and_rate(
        gaps in gaps(), per in partition(), quota in 1..9_u64, window_ms in 1..2_000_u64,
        burst in 1..9_u64,
    ) {
        let gate = Gate::new(&limit("gcra", per, quota, window_ms, &format!("burst = {burst}")));
        let times = admitted(&gate, &gaps);
        for (first, start) in times.iter().enumerate() {
            for (last, end) in times.iter().enumerate().skip(first) {
                let count = (last - first + 1) as u64;
                // count <= burst + quota * t / window, without a division
                prop_assert!(count * window_ms <= burst * window_ms + quota * (end - start));
            }
        }
    }

    /// Whatever is asked, and whichever of several limits refuses: after a 429 every limit stands where
    /// it stood.
    #[test]
    fn a_429_consumes_nothing_in_any_limit(
        requests in prop::collection::vec((0..300_u64, any::<bool>(), 0..3_usize), 1..80),
        quotas in (1..5_u64, 1..5_u64, 1..5_u64),
    ) {
        let (a, b, c) = quotas;
        let limits = format!(
            "[limits.a]\nper = \"token\"\nquota = {a}\nwindow_ms = 900\n\
             [limits.b]\nper = \"account\"\nquota = {b}\nwindow_ms = 700\nalgorithm = \"sliding_window\"\n\
             [limits.c]\nper = \"source_ip\"\nquota = {c}\nwindow_ms = 800\ncounts = \"executions\"\n\
             algorithm = \"fixed_window\"\n"
        );
        let gate = Gate::new(&limits);
        let mut now_ms = NOW_MS;
        for (gap, second, peer) in requests {
            now_ms += gap;
            let token = if second { "two" } else { "one" };
            let peer = ["192.0.2.1", "192.0.2.2", "2001:db8::1"][peer];
            let bearer = format!("Bearer {token}");
            let headers = [("authorization", bearer.as_str())];
            let request = Request {
                peer: Some(peer.parse().unwrap()),
                ..Request::new(b"GET", b"/a", now_ms).with_headers(&headers)
            };
            let stands = || -> Vec<(String, String)> {
                let steps = gate.engine.explain(&gate.store, &request).steps;
                let limits = steps.into_iter().filter(|step| {
                    matches!(step.check, ExplainedCheck::RequestLimit | ExplainedCheck::ExecutionLimit)
                });
                limits.map(|step| (step.rule, step.observed)).collect()
            };
            let before = stands();
            prop_assert_eq!(before.len(), 3);
            let decision = gate.engine.decide(&gate.store, &request);
            match decision.status() {
                Status::RateLimited => prop_assert_eq!(before, stands()),
                status => {
                    prop_assert_eq!(status, Status::Allowed);
                    prop_assert!(before.iter().zip(stands()).all(|(was, is)| was.1 != is.1));
                }
            }
        }
    }
}

#[test]
fn a_refusal_by_one_limit_spares_the_others() {
    let gate = Gate::new(
        "[limits.requests]\nper = \"token\"\nquota = 3\nwindow_ms = 1000\n\
         [limits.sends]\nper = \"source_ip\"\nquota = 1\nwindow_ms = 60000\ncounts = \"executions\"\n\
         routes = [\"POST /b\"]\n",
    );
    let send = || gate.ask("one", "POST", "192.0.2.1", 0, NOW_MS).status();
    assert_eq!(send(), Status::Allowed);
    for _ in 0..10 {
        assert_eq!(send(), Status::RateLimited);
    }
    // Two of three requests are left: the refusals took none.
    assert_eq!(gate.get(NOW_MS).status(), Status::Allowed);
    assert_eq!(gate.get(NOW_MS).status(), Status::Allowed);
    assert_eq!(gate.get(NOW_MS).status(), Status::RateLimited);
}

#[test]
fn what_is_denied_for_money_counts_as_a_request_and_not_as_an_execution() {
    let gate = Gate::new(
        "[limits.requests]\nper = \"token\"\nquota = 2\nwindow_ms = 1000\n\
         [limits.sends]\nper = \"source_ip\"\nquota = 1\nwindow_ms = 1000\ncounts = \"executions\"\n",
    );
    let dear = gate.ask("one", "POST", "192.0.2.1", 51, NOW_MS);
    assert_eq!(dear.status(), Status::InsufficientBalance);
    assert_eq!(gate.ask("one", "POST", "192.0.2.1", 50, NOW_MS).status(), Status::Allowed);
    assert_eq!(gate.get(NOW_MS).status(), Status::RateLimited);
    assert_eq!(gate.get(NOW_MS).limit().unwrap().limit, 0, "the limit on requests refuses first");
}

#[test]
fn a_token_may_have_a_quota_of_its_own() {
    for algorithm in ["gcra", "fixed_window", "sliding_window"] {
        let gate = Gate::new(&limit(algorithm, "token", 1, 60_000, ""));
        let quota = Some(Some(TokenQuota { limit: 3, window_ms: 1_000 }));
        gate.token("one", TokenPatch { quota, ..Default::default() });
        for left in ["2", "1", "0"] {
            let decision = gate.get(NOW_MS);
            assert_eq!(decision.status(), Status::Allowed, "{algorithm}");
            assert_eq!(gate.remaining(&decision), left);
            let answer = gate.engine.answer(&decision);
            assert_eq!(answer.header("x-ratelimit-limit"), Some(&b"3"[..]));
        }
        assert_eq!(gate.get(NOW_MS).status(), Status::RateLimited);
        let other = |now_ms| gate.ask("two", "GET", "192.0.2.1", 0, now_ms).status();
        assert_eq!(other(NOW_MS), Status::Allowed);
        assert_eq!(other(NOW_MS), Status::RateLimited);
        // A quota of nothing lets nothing through; without one, the policy's counts again.
        let none = Some(Some(TokenQuota { limit: 0, window_ms: 1_000 }));
        gate.token("one", TokenPatch { quota: none, ..Default::default() });
        assert_eq!(gate.get(NOW_MS + 3_600_000).status(), Status::RateLimited);
        gate.token("one", TokenPatch { quota: Some(None), ..Default::default() });
        assert_eq!(gate.get(NOW_MS + 7_200_000).status(), Status::Allowed);
        assert_eq!(gate.get(NOW_MS + 7_200_000).status(), Status::RateLimited);
    }
}

#[test]
fn requests_weigh_what_their_route_says() {
    for algorithm in ["gcra", "fixed_window", "sliding_window"] {
        let gate = Gate::new(&format!(
            "{}[routes.\"POST /b\"]\nlimit_costs = {{ l = 4 }}\n",
            limit(algorithm, "account", 10, 60_000, "cost = 2")
        ));
        let post = || gate.ask("two", "POST", "192.0.2.1", 0, NOW_MS);
        assert_eq!(gate.remaining(&gate.get(NOW_MS)), "8");
        assert_eq!(gate.remaining(&post()), "4");
        assert_eq!(gate.remaining(&gate.get(NOW_MS)), "2");
        assert_eq!(post().status(), Status::RateLimited);
        assert_eq!(gate.remaining(&gate.get(NOW_MS)), "0");
        assert_eq!(gate.get(NOW_MS).status(), Status::RateLimited);
    }
}

#[test]
fn ipv6_addresses_share_the_bucket_of_their_64() {
    for per in ["source_ip", "account_source_ip"] {
        let gate = Gate::new(&limit("gcra", per, 2, 60_000, ""));
        let ask = |peer| gate.ask("one", "GET", peer, 0, NOW_MS).status();
        assert_eq!(ask("2001:db8:1:2::1"), Status::Allowed);
        assert_eq!(ask("2001:db8:1:2:ffff:ffff:ffff:ffff"), Status::Allowed);
        assert_eq!(ask("2001:db8:1:2:3::"), Status::RateLimited);
        assert_eq!(ask("2001:db8:1:3::"), Status::Allowed);
        // IPv4 counts by address, in either spelling.
        assert_eq!(ask("192.0.2.1"), Status::Allowed);
        assert_eq!(ask("::ffff:192.0.2.1"), Status::Allowed);
        assert_eq!(ask("192.0.2.1"), Status::RateLimited);
        assert_eq!(ask("192.0.2.2"), Status::Allowed);
    }
}

#[test]
fn a_shadow_limit_reports_and_enforces_nothing() {
    for (algorithm, per) in [("gcra", "token"), ("gcra", "global"), ("fixed_window", "token")] {
        let gate = Gate::new(&limit(algorithm, per, 2, 60_000, "shadow = true"));
        for round in 0..6 {
            let decision = gate.get(NOW_MS);
            assert_eq!(decision.status(), Status::Allowed);
            assert_eq!(decision.shadows().limits, u64::from(round >= 2));
            assert!(decision.limit().is_none(), "headers speak of enforced limits only");
        }
    }
    // Beside an enforced one that refuses, it consumes nothing either.
    let gate = Gate::new(
        "[limits.real]\nper = \"token\"\nquota = 1\nwindow_ms = 1000\n\
         [limits.shadow]\nper = \"token\"\nquota = 2\nwindow_ms = 3600000\nshadow = true\n",
    );
    assert!(gate.allows(NOW_MS));
    assert!(!gate.allows(NOW_MS));
    let second = gate.get(NOW_MS + 1_000);
    assert_eq!((second.status(), second.shadows().limits), (Status::Allowed, 0));
    let third = gate.get(NOW_MS + 2_000);
    assert_eq!((third.status(), third.shadows().limits), (Status::Allowed, 0b10));
}

#[test]
fn the_promised_time_is_the_latest_of_the_limits_that_refuse() {
    let gate = Gate::new(
        "[limits.a]\nper = \"token\"\nquota = 1\nwindow_ms = 1000\n\
         [limits.b]\nper = \"account\"\nquota = 1\nwindow_ms = 5000\n\
         [limits.c]\nper = \"global\"\nquota = 1\nwindow_ms = 3000\n",
    );
    assert!(gate.allows(NOW_MS));
    let refused = gate.get(NOW_MS + 10);
    assert_eq!(refused.retry_at_ms(), Some(NOW_MS + 5_000));
    assert!(!gate.allows(NOW_MS + 4_999));
    assert!(gate.allows(NOW_MS + 5_000));
}

#[test]
fn the_promised_time_heeds_limits_that_count_something_else() {
    let gate = Gate::new(
        "[limits.requests]\nper = \"token\"\nquota = 1\nwindow_ms = 1000\n\
         [limits.sends]\nper = \"account\"\nquota = 1\nwindow_ms = 5000\ncounts = \"executions\"\n",
    );
    assert!(gate.allows(NOW_MS));
    let refused = gate.get(NOW_MS + 10);
    assert_eq!(refused.limit().unwrap().limit, 0);
    assert_eq!(refused.retry_at_ms(), Some(NOW_MS + 5_000));
    assert!(gate.allows(NOW_MS + 5_000));
}
