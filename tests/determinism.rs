//! The same commands give the same answers, for nothing but the arguments decides.

// Helpers of tests may do what tests may; `clippy.toml` allows it in test functions alone.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tollgate::*;

const NOW_MS: u64 = 1_700_000_000_000;

struct Twin {
    engine: Engine,
    store: MemoryStore,
    tickets: Vec<Ticket>,
}

/// What to do: token, route, key, peer, cost, end of which ticket, milliseconds forward or back.
type Move = (u8, u8, u8, u8, u64, u8, i16);

impl Twin {
    fn new() -> Twin {
        let mut policy = preset("sms-gateway").unwrap();
        policy.tokens.format = TokenFormat::Opaque;
        policy.limits.get_mut("token").unwrap().quota = 5;
        policy.limits.get_mut("otp_source_ip").unwrap().quota = 2;
        policy.reservations.lease_ms = 20_000;
        let window = LimitConfig {
            algorithm: Algorithm::SlidingWindow,
            ..LimitConfig::new(Partition::Account, 9, 10_000)
        };
        policy.limits.insert("account".into(), window);
        let engine = Engine::new(policy.compile().unwrap());
        let store = MemoryStore::default();
        for account in 0..2 {
            let admin = Admin::new(&store);
            let id = AccountId::new(&format!("account-{account}")).unwrap();
            admin.put_account(&id, Amount(40), AccountPatch::default(), NOW_MS).unwrap();
            let name = format!("token-{account}");
            let text = TokenText::parse(TokenFormat::Opaque, &name).unwrap();
            let scopes = Some(vec!["sms:send".into(), "otp".into(), "balance".into()]);
            let patch = TokenPatch { scopes, ..Default::default() };
            admin.put_token(&engine.digest(&text), &id, patch, NOW_MS).unwrap();
        }
        Twin { engine, store, tickets: Vec::new() }
    }

    /// Everything that can be seen of one move.
    fn make(&mut self, (token, route, key, peer, cost, end, _): Move, now_ms: u64) -> String {
        let bearer = format!("Bearer token-{}", token % 3);
        let key = format!("key-{}", key % 4);
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", key.as_str())];
        let (method, target) = [
            ("POST", "/sms/send"),
            ("POST", "/otp/send"),
            ("GET", "/balance"),
            ("GET", "/voice/1"),
        ][usize::from(route % 4)];
        let request = Request {
            peer: Some([192, 0, 2, peer % 3].into()),
            cost: Some(Amount(cost)),
            ..Request::new(method.as_bytes(), target.as_bytes(), now_ms).with_headers(&headers)
        };
        let explained = self.engine.explain(&self.store, &request);
        let decision = self.engine.decide(&self.store, &request);
        let answer = self.engine.answer(&decision);
        self.tickets.extend(decision.ticket().cloned());
        let ended = self.tickets.get(usize::from(end) % 4).map(|ticket| {
            let response = StoredResponse { status: 202, headers: Box::default(), body: None };
            let finish = match end % 3 {
                0 => Finish::Settle { amount: None, response: Some(response.into()) },
                1 => Finish::Void { response: None },
                _ => Finish::Unknown,
            };
            self.engine.finish(&self.store, ticket, finish, now_ms)
        });
        let swept = (end % 7 == 0).then(|| Admin::new(&self.store).expire(now_ms));
        let accounts: Vec<_> = (0..2)
            .map(|account| {
                let id = AccountId::new(&format!("account-{account}")).unwrap();
                let admin = Admin::new(&self.store);
                (
                    admin.account(&id, now_ms).unwrap(),
                    admin.reservations(&id, now_ms).unwrap(),
                    admin.tokens(&id, now_ms).unwrap(),
                )
            })
            .collect();
        let wire = (&answer.headers, &answer.body);
        format!("{explained:?} {decision:?} {wire:?} {ended:?} {swept:?} {accounts:?}")
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn two_stores_fed_the_same_commands_answer_the_same(
        moves in prop::collection::vec(
            (any::<u8>(), any::<u8>(), any::<u8>(), any::<u8>(), 0..30_u64, any::<u8>(), -900..3_000_i16),
            1..60,
        ),
    ) {
        let (mut one, mut other) = (Twin::new(), Twin::new());
        let mut now_ms = NOW_MS;
        for step in moves {
            now_ms = now_ms.saturating_add_signed(step.6.into());
            prop_assert_eq!(one.make(step, now_ms), other.make(step, now_ms));
        }
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Time, entropy and the outside world come in as arguments. Without `std` the compiler sees to it; with
/// it, this does. The memory store and hot reload may use `std`, but not its clocks, files or sockets.
#[test]
fn the_core_has_no_clock_no_randomness_and_no_io() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 30, "the sources are not where they were: {}", root.display());
    let nowhere = [
        "std::time",
        "SystemTime",
        "Instant",
        "rand::",
        "getrandom",
        "std::env",
        "std::fs",
        "std::net",
        "std::io",
        "std::process",
        "std::thread",
        "println!",
        "eprintln!",
        "print!(",
        "unsafe ",
        "unsafe{",
    ];
    let memory = root.join("store").join("memory");
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let hosted = path.starts_with(&memory) || path == root.join("live.rs");
        let is_test = path.ends_with("tests.rs");
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            // Who waits for another thread may let it run.
            let code = code.replace("std::thread::yield_now", "");
            let place = || format!("{}:{}: {line}", path.display(), number + 1);
            for word in nowhere.into_iter().filter(|word| !(is_test && *word == "std::thread")) {
                assert!(!code.contains(word), "{word} in {}", place());
            }
            assert!(hosted || !code.contains("std::"), "std in {}", place());
        }
    }
}
