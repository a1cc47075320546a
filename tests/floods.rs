//! Floods: a million of what strangers and customers can make up. Memory grows as far as the options say,
//! and honest clients are served as before. The whole flood runs in every build; it takes some seconds.

// Helpers of tests may do what tests may; `clippy.toml` allows it in test functions alone.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod small_api;

use std::io::Write;
use std::sync::Arc;

use allocation_counter::{AllocationInfo, measure};
use small_api::*;
use tollgate::*;

const FLOOD: u64 = 1_000_000;

/// What the bounds of a memory store come to in bytes, at most: what each entry takes, with the room that maps
/// and queues have for more, and once more while they grow.
///
/// - a limiter cell of `max_cells`: 512
/// - a claim of `max_claims` with its reservation of `max_reservations`: 2,048, and the response that is kept
/// - what is there without any entry, and what one request takes for itself: 1 MiB
fn most_bytes(cells: usize, claims: usize, response_bytes: usize) -> u64 {
    (512 * cells + (2_048 + response_bytes) * claims + (1 << 20)) as u64
}

#[track_caller]
fn assert_bounded(counted: &AllocationInfo, bound: u64) {
    assert!(counted.bytes_max <= bound, "{} bytes, over the bound of {bound}", counted.bytes_max);
}

/// A number as unlike its neighbours as if it were random; another for each number.
fn mixed(number: u64) -> u64 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

#[test]
fn a_million_unknown_tokens_leave_nothing_behind() {
    let engine = Engine::new(preset("sms-gateway").unwrap().compile().unwrap());
    let store = MemoryStore::default();
    let admin = Admin::new(&store);
    admin.put_account(&account("acme"), Amount(0), AccountPatch::default(), 0).unwrap();
    let honest = TokenText::generate(&[1; 32]);
    let scopes = Some(vec!["reports".into()]);
    let patch = TokenPatch { scopes, ..TokenPatch::default() };
    admin.put_token(&engine.digest(&honest), &account("acme"), patch, 0).unwrap();
    let ask = |token: &TokenText, now_ms| {
        let mut value = [0_u8; 64];
        let mut rest = &mut value[..];
        write!(rest, "Bearer {}", token.expose()).unwrap();
        let free = rest.len();
        let headers = [("authorization", &value[..64 - free])];
        let request = Request::new(b"GET", b"/messages", now_ms).with_headers(&headers);
        engine.decide(&store, &request).status()
    };
    assert_eq!(ask(&honest, NOW_MS), Status::Allowed);
    let counted = measure(|| {
        for number in 0..FLOOD {
            let mut entropy = [0; 32];
            entropy[..8].copy_from_slice(&mixed(number).to_be_bytes());
            entropy[8..16].copy_from_slice(&mixed(!number).to_be_bytes());
            // Well formed, or the store would not even be asked.
            assert_eq!(ask(&TokenText::generate(&entropy), NOW_MS), Status::InvalidToken);
            if number % 10_000 == 0 {
                assert_eq!(ask(&honest, NOW_MS + number), Status::Allowed);
            }
        }
    });
    assert_eq!(counted.bytes_current, 0, "{counted:?}");
    assert_bounded(&counted, 4_096);
}

const PER_SOURCE: &str = "[limits.ip]\nper = \"source_ip\"\nquota = 2\nwindow_ms = 60000\n\
                          algorithm = \"fixed_window\"";

const MAX_CELLS: usize = 16_384;

/// A GET from a /64 of its own for each number.
fn from(engine: &Engine, store: &MemoryStore, network: u64, now_ms: u64) -> Decision {
    let [a, b, c, d] = std::array::from_fn(|part| (network >> (48 - 16 * part)) as u16);
    Ask { peer: [a, b, c, d, 9, 9, 9, 9], now_ms, ..FREE }.decide(engine, store)
}

#[test]
fn a_million_networks_stay_within_the_bound_and_reset_no_cell() {
    let engine = engine(PER_SOURCE);
    let store = store(&engine, |options| options.max_cells = MAX_CELLS);
    let honest: Vec<u64> = (0..100).map(|number| 0x2001_0db8_0000_0000 + number).collect();
    let mut admitted = 0_u64;
    let counted = measure(|| {
        // One window after the other: what has expired makes room for as many again.
        for window in 0..4 {
            let now_ms = NOW_MS / 60_000 * 60_000 + window * 120_000;
            for network in &honest {
                assert_eq!(from(&engine, &store, *network, now_ms).status(), Status::Allowed);
            }
            for number in 0..FLOOD / 4 {
                let network = mixed(window * FLOOD + number) & !(0xff << 56);
                let decision = from(&engine, &store, network, now_ms + number / 10_000);
                match decision.status() {
                    Status::Allowed => admitted += 1,
                    _ => assert!(is_full(&decision, "limiter cells"), "{decision:?}"),
                }
            }
            // Whoever was there before is served to the end of its quota, and no further.
            for network in &honest {
                let status = |now_ms| from(&engine, &store, *network, now_ms).status();
                assert_eq!(status(now_ms + 50), Status::Allowed);
                assert_eq!(status(now_ms + 51), Status::RateLimited);
            }
        }
    });
    let cells = MAX_CELLS as u64;
    assert!((3 * cells..=4 * cells).contains(&admitted), "{admitted}");
    assert_bounded(&counted, most_bytes(MAX_CELLS, 0, 0));
}

const MAX_CLAIMS: usize = 16_384;
const RESPONSE_BYTES: usize = 1_024;

#[test]
fn a_million_keys_stay_within_the_bounds_and_push_nothing_out() {
    let engine = engine("[routes.\"POST /pay\"]\nidempotency = { retention_ms = 60000 }");
    let store = store(&engine, |options| {
        options.max_claims = MAX_CLAIMS;
        options.max_reservations = MAX_CLAIMS;
        options.max_per_account = MAX_CLAIMS / 2;
    });
    let ask = |token: &'static str, key: u64, now_ms| {
        let key = format!("{key:016x}");
        Ask { token, key: Some(&key), now_ms, ..PAY }.decide(&engine, &store)
    };
    let settle = |decision: &Decision, now_ms| {
        let body = Some(vec![b'x'; RESPONSE_BYTES].into());
        let response = StoredResponse { status: 200, headers: Box::default(), body };
        let finish = Finish::Settle { amount: None, response: Some(Arc::new(response)) };
        engine.finish(&store, decision.ticket().unwrap(), finish, now_ms).unwrap();
    };
    let mut honest = 0;
    let mut served = |now_ms| {
        honest += 1;
        let decision = ask("globex", honest, now_ms);
        assert_eq!(decision.status(), Status::Allowed);
        settle(&decision, now_ms);
        assert_eq!(ask("globex", honest, now_ms).status(), Status::Replayed);
    };
    let mut admitted = 0;
    let counted = measure(|| {
        for number in 0..FLOOD {
            let decision = ask("acme", mixed(number), NOW_MS);
            match decision.status() {
                Status::Allowed => {
                    settle(&decision, NOW_MS);
                    admitted += 1;
                }
                _ => assert!(full_of_one_account(&decision), "{decision:?}"),
            }
            if number % 1_000 == 0 {
                served(NOW_MS);
            }
        }
    });
    // One account has its share and no more, and every key of it that was answered still is.
    assert_eq!(admitted, MAX_CLAIMS as u64 / 2);
    for number in (0..admitted).step_by(16) {
        assert_eq!(ask("acme", mixed(number), NOW_MS + 59_999).status(), Status::Replayed);
    }
    assert_bounded(&counted, most_bytes(0, MAX_CLAIMS, RESPONSE_BYTES));
}

fn full_of_one_account(decision: &Decision) -> bool {
    let full = matches!(decision.store_error(), Some(StoreError::Full { .. }));
    full && decision.status() == Status::StoreUnavailable
}

/// The bounds above are near enough to what is used that a store without them is over them.
#[test]
#[should_panic(expected = "over the bound")]
fn a_store_whose_bound_is_not_kept_is_found() {
    let engine = engine(PER_SOURCE);
    let store = store(&engine, |options| options.max_cells = 1 << 20);
    let counted = measure(|| {
        for number in 0..100_000 {
            let network = mixed(number) & !(0xff << 56);
            assert_eq!(from(&engine, &store, network, NOW_MS).status(), Status::Allowed);
        }
    });
    assert_bounded(&counted, most_bytes(MAX_CELLS, 0, 0));
}
