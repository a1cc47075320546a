//! Bounds, and input that nobody means well.

// Helpers of tests may do what tests may; `clippy.toml` allows it in test functions alone.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]

mod small_api;

use proptest::prelude::*;
use small_api::*;
use tollgate::*;

#[test]
fn a_flood_of_tokens_meets_its_bound_and_dead_ones_make_room() {
    let engine = engine("");
    let store = store(&engine, |options| options.max_tokens = 4_096);
    let put = |number: u64, now_ms| {
        let mut bytes = [0; 32];
        // Spread evenly, as digests are.
        bytes[..2].copy_from_slice(&((number % 65_536) as u16).to_be_bytes());
        bytes[2..10].copy_from_slice(&number.to_be_bytes());
        let digest = TokenDigest::new(bytes);
        let expires_ms = Some(Some(NOW_MS));
        let patch = TokenPatch { expires_ms, ..Default::default() };
        Admin::new(&store).put_token(&digest, &account("acme"), patch, now_ms)
    };
    let taken = (0..10_000).filter(|number| put(*number, 1).is_ok()).count();
    assert!((4_000..=4_096).contains(&taken), "{taken}");
    assert_eq!(put(77_777, 1), Err(AdminError::Store(StoreError::Full { what: "tokens" })));
    // The live ones are all there, and those that expired make room.
    assert_eq!(FREE.decide(&engine, &store).status(), Status::Allowed);
    let listed = Admin::new(&store).tokens(&account("acme"), 1).unwrap().len();
    assert_eq!(listed, taken + 1);
    assert_eq!(put(77_777, NOW_MS), Ok(()));
    assert_eq!(FREE.decide(&engine, &store).status(), Status::Allowed);
}

#[test]
fn a_revoked_token_that_was_reclaimed_stays_unusable() {
    let engine = engine("");
    let store = store(&engine, |options| options.max_tokens = 1_024);
    let digest = put_token(&engine, &store, "acme", "gone");
    Admin::new(&store).revoke_token(&digest, 1).unwrap();
    let mut bytes = *digest.as_bytes();
    bytes[31] ^= 1; // the same part of the store, which holds one
    let patch = TokenPatch::default();
    Admin::new(&store).put_token(&TokenDigest::new(bytes), &account("acme"), patch, 1).unwrap();
    let ask = Ask { token: "gone", ..FREE };
    assert_eq!(ask.decide(&engine, &store).status(), Status::InvalidToken);
}

#[test]
fn a_flood_of_addresses_meets_its_bound_and_resets_no_live_cell() {
    let limit = "[limits.ip]\nper = \"source_ip\"\nquota = 2\nwindow_ms = 60000\n\
                 algorithm = \"fixed_window\"";
    let engine = engine(limit);
    let store = store(&engine, |options| options.max_cells = 4_096);
    let from = |number: u32, now_ms| {
        let peer = [0x2001, 0xdb8, (number >> 16) as u16, number as u16, 9, 9, 9, 9];
        Ask { peer, now_ms, ..FREE }.decide(&engine, &store)
    };
    let mut known = Vec::new();
    for number in 0..20_000 {
        let decision = from(number, NOW_MS);
        match decision.status() {
            Status::Allowed => known.push(number),
            _ => assert!(is_full(&decision, "limiter cells"), "{decision:?}"),
        }
    }
    assert!((3_500..=4_096).contains(&known.len()), "{}", known.len());
    // Whoever had one unit left has one left still, and no more.
    for number in &known {
        assert_eq!(from(*number, NOW_MS + 1).status(), Status::Allowed);
        assert_eq!(from(*number, NOW_MS + 2).status(), Status::RateLimited);
    }
    // What expired makes room by itself: a flood over time goes on for ever.
    for minute in 1..40_u32 {
        for number in 0..1_500 {
            let decision =
                from(1_000_000 + minute * 1_500 + number, NOW_MS + u64::from(minute) * 60_000);
            assert_eq!(decision.status(), Status::Allowed, "minute {minute}");
        }
    }
}

#[test]
fn a_limit_may_stay_open_when_its_cells_are_full() {
    for (mode, expected) in [("open", Status::Allowed), ("closed", Status::StoreUnavailable)] {
        let engine = engine(&format!(
            "[limits.ip]\nper = \"source_ip\"\nquota = 2\nwindow_ms = 60000\n\
             on_store_failure = \"{mode}\"\nalgorithm = \"sliding_window\""
        ));
        let store = store(&engine, |options| options.max_cells = 64);
        let last = (0..2_000_u16)
            .map(|number| Ask { peer: [0x2001, number, 0, 0, 0, 0, 0, 0], ..FREE })
            .map(|ask| ask.decide(&engine, &store).status())
            .last();
        assert_eq!(last, Some(expected));
    }
}

#[test]
fn a_flood_of_keys_meets_its_bound_and_forgets_no_live_one() {
    let engine = engine("[routes.\"POST /pay\"]\nidempotency = { retention_ms = 10000 }");
    let store = store(&engine, |options| options.max_claims = 10);
    let ask = |token: &'static str, key: u32, now_ms| {
        let key = format!("key-{key}");
        Ask { token, key: Some(&key), now_ms, ..PAY }.decide(&engine, &store)
    };
    for key in 0..10 {
        let decision = ask("acme", key, NOW_MS);
        let end = Finish::Settle { amount: None, response: None };
        engine.finish(&store, decision.ticket().unwrap(), end, NOW_MS).unwrap();
    }
    for key in 10..30 {
        assert!(is_full(&ask("acme", key, NOW_MS + 9_999), "idempotency claims"));
        assert!(is_full(&ask("globex", key, NOW_MS + 9_999), "idempotency claims"));
    }
    for key in 0..10 {
        assert_eq!(ask("acme", key, NOW_MS + 9_999).status(), Status::Replayed);
    }
    // Past their retention they make room, also for another account, without a sweep.
    for key in 10..20 {
        assert_eq!(ask("globex", key, NOW_MS + 10_000).status(), Status::Allowed, "{key}");
    }
    assert!(is_full(&ask("acme", 50, NOW_MS + 10_000), "idempotency claims"));
}

#[test]
fn a_flood_of_reservations_meets_its_bound_and_holds_no_more_money() {
    let engine = engine(
        "[routes.\"POST /pay\"]\nprice = 3\n[reservations]\nlease_ms = 1000\nretention_ms = 5000",
    );
    let store = store(&engine, |options| options.max_reservations = 10);
    let ask = |token, now_ms| Ask { token, now_ms, ..PAY }.decide(&engine, &store);
    let held = |name| Admin::new(&store).account(&account(name), NOW_MS).unwrap().wallet.held;
    for _ in 0..10 {
        assert_eq!(ask("acme", NOW_MS).status(), Status::Allowed);
    }
    for _ in 0..10 {
        assert!(is_full(&ask("acme", NOW_MS), "reservations"));
        assert!(is_full(&ask("globex", NOW_MS), "reservations"));
    }
    assert_eq!((held("acme"), held("globex")), (Amount(30), Amount(0)));
    // Their leases end, their records are kept for five seconds more, and then there is room.
    assert!(is_full(&ask("globex", NOW_MS + 1_000), "reservations"));
    assert_eq!(held("acme"), Amount(0));
    assert_eq!(ask("globex", NOW_MS + 6_000).status(), Status::Allowed);
}

#[test]
fn one_account_fills_its_share_and_not_the_store() {
    let engine = engine(KEYED);
    let store = store(&engine, |options| options.max_per_account = 3);
    let ask = |token, key| Ask { token, key: Some(key), ..PAY }.decide(&engine, &store);
    for key in ["a", "b", "c"] {
        assert_eq!(ask("acme", key).status(), Status::Allowed);
    }
    let refused = ask("acme", "d");
    assert_eq!(refused.status(), Status::StoreUnavailable);
    // What it holds is still answered, and so is everybody else.
    assert_eq!(ask("acme", "a").status(), Status::IdempotencyInFlight);
    assert_eq!(ask("globex", "a").status(), Status::Allowed);
}

#[test]
fn accounts_meet_their_bound() {
    let engine = engine("");
    let store = store(&engine, |options| options.max_accounts = 2);
    let admin = Admin::new(&store);
    let put = |name| admin.put_account(&account(name), Amount(1), AccountPatch::default(), 1);
    assert_eq!(put("third"), Err(AdminError::Store(StoreError::Full { what: "accounts" })));
    assert_eq!(put("acme"), Ok(()));
    let error = StoreError::Full { what: "accounts" }.to_string();
    assert!(error.contains("raise its bound"), "{error}");
}

#[test]
fn every_clock_is_answered() {
    let engine = engine(&format!(
        "[limits.a]\nper = \"token\"\nquota = 100\nwindow_ms = 34560000000\n\
         [limits.b]\nper = \"account\"\nquota = 100\nwindow_ms = 34560000000\nalgorithm = \"fixed_window\"\n\
         [limits.c]\nper = \"global\"\nquota = 100\nwindow_ms = 34560000000\nalgorithm = \"sliding_window\"\n\
         {KEYED}"
    ));
    let times = [0, 1, MAX_NOW_MS, MAX_NOW_MS + 1, u64::MAX];
    for (first, second) in times.into_iter().flat_map(|first| times.map(|second| (first, second))) {
        let store = store(&engine, |_| {});
        let admin = Admin::new(&store);
        for (round, now_ms) in [first, second].into_iter().enumerate() {
            let key = format!("key-{round}");
            let decision = Ask { key: Some(&key), now_ms, ..PAY }.decide(&engine, &store);
            let answer = engine.answer(&decision);
            let out_of_range = AdminError::Refused(Refusal::ClockOutOfRange);
            if now_ms > MAX_NOW_MS {
                assert_eq!((decision.status(), answer.status), (Status::StoreUnavailable, 503));
                assert_eq!(admin.expire(now_ms), Err(out_of_range.clone()));
                assert_eq!(admin.account(&account("acme"), now_ms), Err(out_of_range));
                continue;
            }
            if first <= MAX_NOW_MS && now_ms + 1 < first {
                // What was counted at a later time stays counted: gcra lets nothing through before.
                assert_eq!((decision.status(), answer.status), (Status::RateLimited, 429));
                continue;
            }
            assert_eq!(decision.status(), Status::Allowed, "{first} then {second}");
            let end = Finish::Settle { amount: None, response: None };
            let ticket = decision.ticket().unwrap();
            for later in [u64::MAX, MAX_NOW_MS + 1] {
                let late = engine.finish(&store, ticket, end.clone(), later);
                assert_eq!(late, Err(FinishError::Refused(Refusal::ClockOutOfRange)));
            }
            engine.finish(&store, ticket, end, now_ms).unwrap();
            admin.expire(now_ms).unwrap();
            let replay = Ask { key: Some(&key), now_ms, ..PAY }.decide(&engine, &store);
            assert_eq!(replay.status(), Status::Replayed);
        }
    }
}

#[test]
fn amounts_reach_to_the_last_unit() {
    let engine = engine("");
    let store = store(&engine, |_| {});
    let admin = Admin::new(&store);
    let acme = account("acme");
    let all = u64::MAX;
    let pay = |cost| Ask { cost: Some(cost), ..PAY }.decide(&engine, &store);
    let overflow = Err(AdminError::Refused(Refusal::AmountOverflow));
    assert_eq!(admin.deposit(&acme, Amount(all), 1), overflow);
    assert_eq!(admin.deposit(&acme, Amount(all - 999), 1), overflow);
    assert_eq!(pay(all).status(), Status::InsufficientBalance);
    assert_eq!(admin.deposit(&acme, Amount(all - 1_000), 1), Ok(()));
    assert_eq!(admin.deposit(&acme, Amount(1), 1), overflow);
    let cap = |amount| AccountPatch {
        spend_caps: Some(vec![SpendCap {
            per: Period::Month,
            amount: Amount(amount),
            shadow: false,
        }]),
        ..Default::default()
    };
    admin.put_account(&acme, Amount(0), cap(all - 1), 1).unwrap();
    assert_eq!(pay(all).status(), Status::SpendCapExceeded);
    admin.put_account(&acme, Amount(0), cap(all), 1).unwrap();
    let decision = pay(all);
    assert_eq!(decision.reserved(), Some(Amount(all)));
    // With all of it held, caps and wallet are used up; without a cap it is the wallet that says so.
    assert_eq!(pay(1).status(), Status::SpendCapExceeded);
    let none = AccountPatch { spend_caps: Some(Vec::new()), ..Default::default() };
    admin.put_account(&acme, Amount(0), none, 1).unwrap();
    assert_eq!(pay(1).status(), Status::InsufficientBalance);
    let end = Finish::Settle { amount: None, response: None };
    engine.finish(&store, decision.ticket().unwrap(), end, NOW_MS).unwrap();
    let wallet = admin.account(&acme, 1).unwrap().wallet;
    assert_eq!((wallet.posted, wallet.balance, wallet.held), (Amount(all), Amount(0), Amount(0)));
    assert_eq!(pay(1).status(), Status::InsufficientBalance);
}

#[test]
fn headers_of_a_megabyte_are_answered() {
    let engine = engine(&format!(
        "[source]\ntrusted_proxies = [\"2001:db8::/32\"]\n\
         [limits.ip]\nper = \"source_ip\"\nquota = 1\nwindow_ms = 1000\n{KEYED}"
    ));
    let store = store(&engine, |_| {});
    let long = "a".repeat(1 << 20);
    let bearer = format!("Bearer {long}");
    let addresses = "192.0.2.1,".repeat(100_000);
    let decide = |headers: &[(&str, &str); 3]| {
        let request = Request {
            peer: Some(FREE.peer.into()),
            ..Request::new(b"POST", b"/pay", NOW_MS).with_headers(headers)
        };
        let decision = engine.decide(&store, &request);
        engine.answer(&decision).status
    };
    let good = ("authorization", "Bearer acme");
    assert_eq!(decide(&[("authorization", &bearer), ("a", ""), ("b", "")]), 401);
    assert_eq!(decide(&[good, ("idempotency-key", &long), ("b", "")]), 422);
    // No address is known then, and requests without one share a bucket.
    assert_eq!(decide(&[good, ("x-forwarded-for", &addresses), ("b", "")]), 200);
    assert_eq!(decide(&[good, ("x-forwarded-for", &long), ("b", "")]), 429);
    let target = format!("/pay/{long}");
    let headers = [good];
    let request = Request::new(long.as_bytes(), target.as_bytes(), NOW_MS).with_headers(&headers);
    let decision = engine.decide(&store, &request);
    assert_eq!(decision.status(), Status::InsufficientScope);
}

#[test]
fn two_authorization_headers_are_no_token() {
    let engine = engine("");
    let store = store(&engine, |_| {});
    for second in ["Bearer acme", "Bearer globex", "Basic YQ==", ""] {
        for headers in [
            [("Authorization", "Bearer acme"), ("authorization", second)],
            [("authorization", second), ("AUTHORIZATION", "Bearer acme")],
        ] {
            let request = Request::new(b"GET", b"/free", NOW_MS).with_headers(&headers);
            assert_eq!(engine.decide(&store, &request).status(), Status::InvalidToken);
        }
    }
}

#[test]
fn an_old_decision_is_answered_under_any_policy() {
    let limits = "[limits.a]\nper = \"token\"\nquota = 2\nwindow_ms = 60000\n\
                  [limits.b]\nper = \"account\"\nquota = 1\nwindow_ms = 60000";
    let old = engine(&format!("{limits}\n{KEYED}"));
    let store = store(&old, |_| {});
    let mut decisions = vec![Ask { token: "nobody", ..FREE }.decide(&old, &store)];
    for key in ["a", "a", "b"] {
        decisions.push(Ask { key: Some(key), ..PAY }.decide(&old, &store));
    }
    decisions.push(FREE.decide(&old, &store));
    let empty = old.with_policy(PolicyConfig::default().compile().unwrap());
    let other = engine("[answers]\nietf_ratelimit = true\nreset = \"delta\"\nproblem_json = true");
    for decision in &decisions {
        for engine in [&old, &empty, &other] {
            let answer = engine.answer(decision);
            assert_eq!(answer.status, decision.status().http());
            let mut headers = 0;
            engine.for_each_header(decision, |_, _| headers += 1);
            assert!(headers <= answer.headers.len());
        }
    }
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..most)
}

/// A header that the engine reads, with a value that is anything or nearly right.
fn header() -> impl Strategy<Value = (String, Vec<u8>)> {
    let name = prop::sample::select(vec![
        "authorization",
        "Idempotency-Key",
        "x-forwarded-for",
        "forwarded",
        "x-other",
    ]);
    let value = prop_oneof![
        bytes(60),
        prop::sample::select(vec![
            "Bearer acme",
            "bearer  globex ",
            "Bearer",
            "\"key\"",
            "key",
            "\"k\\\"",
            "for=192.0.2.7",
            "192.0.2.7, 2001:db8::1",
            "for=\"[2001:db8::1]:80\";by=_x",
            "unknown",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    (name.prop_map(str::to_owned), value)
}

/// Header lines of any number.
struct Lines(Vec<(String, Vec<u8>)>);

impl Headers for Lines {
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        self.0.as_slice().value(name, nth)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn any_request_has_a_documented_answer(
        method in prop_oneof![bytes(8), Just(b"POST".to_vec()), Just(b"GET".to_vec())],
        target in prop_oneof![bytes(40), Just(b"/pay".to_vec()), Just(b"/free?x=%2f".to_vec())],
        lines in prop::collection::vec(header(), 0..6),
        good in any::<bool>(),
        peer in any::<Option<[u8; 16]>>(),
        body in bytes(30),
        cost in any::<Option<u64>>(),
        sender in any::<Option<String>>(),
        invalid in any::<Option<String>>(),
        now_ms in prop_oneof![3 => 0..=MAX_NOW_MS, 1 => any::<u64>()],
        problem_json in any::<bool>(),
    ) {
        let engine = engine(&format!(
            "[source]\ntrusted_proxies = [\"::/1\", \"0.0.0.0/1\"]\n\
             [limits.ip]\nper = \"account_source_ip\"\nquota = 3\nwindow_ms = 1000\n\
             [limits.t]\nper = \"token\"\nquota = 2\nwindow_ms = 1000\nalgorithm = \"sliding_window\"\n\
             [answers]\nietf_ratelimit = true\nproblem_json = {problem_json}\n{KEYED}"
        ));
        let store = store(&engine, |_| {});
        let mut lines = lines;
        if good {
            lines.retain(|(name, _)| name != "authorization");
            lines.push(("authorization".into(), b"Bearer acme".to_vec()));
        }
        let lines = Lines(lines);
        let request = Request {
            peer: peer.map(Into::into),
            body: Body::Bytes(&body),
            cost: cost.map(Amount),
            sender: sender.as_deref(),
            invalid: invalid.as_deref(),
            ..Request::new(&method, &target, now_ms).with_headers(&lines)
        };
        for _ in 0..3 {
            let explained = engine.explain(&store, &request);
            let decision = engine.decide(&store, &request);
            prop_assert_eq!(explained.decision.status(), decision.status());
            let row = decision.status().row();
            prop_assert!(STATUS_TABLE.contains(row));
            let answer = engine.answer(&decision);
            prop_assert_eq!(answer.status, row.http);
            if decision.verdict() == Verdict::Deny {
                let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
                prop_assert_eq!(&body["code"], row.code);
                let message = body[if problem_json { "detail" } else { "message" }].as_str();
                match invalid.as_deref().filter(|_| row.status == Status::ValidationFailed) {
                    Some(invalid) => prop_assert_eq!(message, Some(invalid)),
                    None => prop_assert_eq!(message, Some(row.message)),
                }
            }
            for (name, value) in &answer.headers {
                prop_assert!(!value.contains(&b'\n') && !value.contains(&b'\r'), "{}", name);
            }
            if let Some(ticket) = decision.ticket() {
                let end = Finish::Settle { amount: None, response: None };
                engine.finish(&store, ticket, end, now_ms).unwrap();
            }
        }
    }
}
