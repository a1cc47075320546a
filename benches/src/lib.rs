//! The contenders: a floor, a stack composed by hand from the usual crates, and tollgate. All decide
//! the same requests on the same tokens, in the same order, at the same simulated time, and each is
//! given the `Authorization` value and the path as slices that the compiler knows nothing about.
//!
//! | | [`Floor`] | [`Composed`] | [`Tollgate`] |
//! |---|---|---|---|
//! | `Authorization` among the headers | given | given | found, duplicates refused |
//! | bearer prefix | skipped unread | checked | checked, case-insensitive |
//! | form and checksum of the token | no | no | as the policy says |
//! | SHA-256 of the token, token by digest | yes | yes | yes |
//! | status, expiry of token and account | no | no | yes |
//! | networks | no | yes (none are set) | yes (none are set) |
//! | route | by a known method | by a known method | method and path |
//! | path in its one accepted form | not checked | not checked | checked |
//! | scopes | no | yes | yes |
//! | limiter | one compare-and-swap | governor | yes, with figures for the headers |
//! | what the answer needs | a `bool` | a `bool` | a `Decision` |
//! | POST: fingerprint, claim, wallet hold | | yes | yes |
//! | POST: settled, response kept, what fell due removed | | no | yes |
#![allow(clippy::unwrap_used, clippy::expect_used)] // measures; nothing here is input
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)] // same
#![allow(clippy::cast_possible_truncation)] // numbers of tokens

mod bars;
mod clock;
mod composed;
mod engine;
mod floor;
mod requests;

pub use bars::{Bar, print_bars};
pub use clock::SimulatedClock;
pub use composed::Composed;
pub use engine::Tollgate;
pub use floor::Floor;
pub use requests::{Keys, RING, Ring, Tokens, empty_ring, token};

/// Who decides a GET.
pub trait Get: Sync {
    /// Whether `GET /messages` with this `Authorization` value is allowed at this time (Unix ms).
    fn get(&self, authorization: &[u8], now_ms: u64) -> bool;
}

/// Who decides a POST.
pub trait Post {
    /// Whether `POST /sms/send` of [`BODY`], at a price of 5, is allowed, and carried through as far as
    /// the contender goes.
    fn post(&self, authorization: &[u8], key: &[u8; 24], now_ms: u64) -> bool;

    /// Drops what has expired. Called outside the measured time.
    fn tidy(&self, now_ms: u64) {
        let _ = now_ms;
    }
}

/// Requests a minute, as in the preset.
const QUOTA: u64 = 120;
/// The quota's window.
const WINDOW_MS: u64 = 60_000;
/// When simulated time begins.
const START_MS: u64 = 1_700_000_000_000;
/// How long a claim of an idempotency key is kept.
const KEEP_MS: u64 = 10_000;
/// Every tenth token starts an account.
const TOKENS_PER_ACCOUNT: usize = 10;
/// The body of every POST.
pub const BODY: &[u8] =
    br#"{"to":"+15550100","sender":"ACME","message":"Your parcel is on its way."}"#;
/// The routes that a request is matched against: those of the preset.
const ROUTES: &[(&str, &str)] = &[
    ("POST", "/sms/send"),
    ("POST", "/otp/send"),
    ("POST", "/otp/verify"),
    ("POST", "/voice/send"),
    ("GET", "/voice/{id}"),
    ("POST", "/lookup"),
    ("GET", "/lookups"),
    ("GET", "/lookup/{id}"),
    ("POST", "/email/verify"),
    ("GET", "/messages"),
    ("GET", "/messages/{id}"),
    ("GET", "/campaigns"),
    ("GET", "/campaigns/{id}"),
    ("GET", "/balance"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Everyone says yes to a known token until its quota is used up, and no to a stranger.
    fn limits(contender: &impl Get, burst: usize) {
        let mut values = Vec::new();
        let mut tokens = Tokens::new(11);
        tokens.each(|value, _| values.push(value.to_vec()));
        let allowed = (0..1_000).filter(|_| contender.get(&values[0], START_MS)).count();
        assert_eq!(allowed, burst);
        assert!(contender.get(&values[1], START_MS));
        assert!(!contender.get(&values[10], START_MS), "only ten tokens are known");
    }

    #[test]
    fn contenders_decide_alike() {
        limits(&Floor::new(10), 120);
        limits(&Composed::new(10), 120);
        limits(&Tollgate::new(10), 120);
    }

    fn claims(contender: &impl Post) {
        let mut tokens = Tokens::new(10);
        let mut keys = Keys::default();
        let key = *keys.draw();
        tokens.each(|value, now_ms| {
            // All tokens are of one account: the first claims the key.
            assert_eq!(contender.post(value, &key, now_ms), now_ms == START_MS + 4);
            assert!(contender.post(value, keys.draw(), now_ms));
        });
        contender.tidy(START_MS + KEEP_MS + 5_000);
        let (value, now_ms) = tokens.draw();
        assert!(contender.post(value, &key, now_ms + KEEP_MS + 5_000));
    }

    #[test]
    fn contenders_claim_alike() {
        claims(&Composed::new(10));
        claims(&Tollgate::new(10));
    }
}
