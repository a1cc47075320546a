//! What a decision allocates: nothing, when it allows a GET.

// Helpers of tests may do what tests may; `clippy.toml` allows it in test functions alone.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use allocation_counter::measure;
use tollgate::*;

const NOW_MS: u64 = 1_700_000_000_000;
const TOKENS: usize = 100;
const DECISIONS: usize = 10_000;

struct World {
    engine: Engine,
    store: MemoryStore,
    authorizations: Vec<String>,
}

impl World {
    /// A hundred tokens of ten accounts under the preset.
    fn new() -> Self {
        let engine = Engine::new(preset("sms-gateway").unwrap().compile().unwrap());
        let store = MemoryStore::default();
        let admin = Admin::new(&store);
        let names = engine.policy().scopes().names();
        let scopes: Vec<Box<str>> = names.to_vec();
        let authorization = |number: u8| {
            let account = AccountId::new(&format!("account-{}", number / 10)).unwrap();
            let _ = admin.put_account(&account, Amount(100), AccountPatch::default(), NOW_MS);
            let token = TokenText::generate(&[number; 32]);
            let patch = TokenPatch { scopes: Some(scopes.clone()), ..TokenPatch::default() };
            admin.put_token(&engine.digest(&token), &account, patch, NOW_MS).unwrap();
            format!("Bearer {}", token.expose())
        };
        let authorizations = (0..100).map(authorization).collect();
        World { engine, store, authorizations }
    }

    fn get(&self, authorization: &str, now_ms: u64) -> Status {
        let headers = [("host", "api.example"), ("authorization", authorization)];
        let request = Request {
            peer: Some([192, 0, 2, 1].into()),
            ..Request::new(b"GET", b"/messages", now_ms).with_headers(&headers)
        };
        self.engine.decide(&self.store, &request).status()
    }

    /// Allocations and reallocations in `DECISIONS` decisions that all end with `status`; `at` gives
    /// the text and the time of each.
    fn allocations(&self, status: Status, at: impl Fn(usize) -> (String, u64)) -> u64 {
        let requests: Vec<_> = (0..DECISIONS).map(at).collect();
        let mut as_expected = 0;
        let counted = measure(|| {
            for (authorization, now_ms) in &requests {
                as_expected += usize::from(self.get(authorization, *now_ms) == status);
            }
        });
        assert_eq!(as_expected, DECISIONS, "{status:?}");
        assert_eq!(counted.bytes_current, 0, "{status:?}: a decision leaves nothing behind");
        counted.count_total
    }

    /// Every token in turn, a hundred requests a second.
    fn in_turn(&self, number: usize) -> (String, u64) {
        (self.authorizations[number % TOKENS].clone(), NOW_MS + 10 * number as u64)
    }
}

#[test]
fn the_allocator_counts() {
    let mut text = String::new();
    let counted = measure(|| text = String::from("kept"));
    assert_eq!((counted.count_total, counted.bytes_current), (1, 4));
}

#[test]
fn an_allowed_get_allocates_nothing() {
    let world = World::new();
    world.authorizations.iter().for_each(|value| {
        assert_eq!(world.get(value, NOW_MS), Status::Allowed);
    });
    assert_eq!(world.allocations(Status::Allowed, |number| world.in_turn(number)), 0);
}

/// Denials are as cheap: nobody can make the host allocate with a wrong token, or by asking too often.
#[test]
fn denials_of_strangers_and_of_busy_tokens_allocate_nothing() {
    let world = World::new();
    let stranger = TokenText::generate(&[0xee; 32]);
    let stranger = format!("Bearer {}", stranger.expose());
    assert_eq!(world.get(&stranger, NOW_MS), Status::InvalidToken);
    assert_eq!(world.allocations(Status::InvalidToken, |_| (stranger.clone(), NOW_MS)), 0);

    let busy = &world.authorizations[0];
    while world.get(busy, NOW_MS) == Status::Allowed {}
    assert_eq!(world.allocations(Status::RateLimited, |_| (busy.clone(), NOW_MS)), 0);
}
