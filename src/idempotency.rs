//! Idempotency keys: what they look like, what they cover, and what is kept of an answer.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ledger::ReservationId;
use crate::limit::FailureMode;
use crate::request::Body;

/// How a route treats its idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdempotencyRule {
    /// A request without a key is refused.
    pub required: bool,
    /// How long a completed answer is replayed, in milliseconds from the first request.
    pub retention_ms: u64,
    /// What becomes of a claim whose holder never settled it.
    pub on_orphan: OnOrphan,
    /// What happens when the store cannot answer.
    pub on_store_failure: FailureMode,
}

/// What becomes of a claim whose holder never settled it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnOrphan {
    /// It stays in flight until it is resolved or its retention ends: never silently run again.
    #[default]
    Conflict,
    /// Once its lease ends, the next request with the key runs again.
    Rerun,
}

/// Names a claim within its account: SHA-256 over route and key.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ClaimKey(pub [u8; 32]);

/// What a key stands for: SHA-256 over method, target and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub [u8; 32]);

/// A claim on an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The request that the key stands for.
    pub fingerprint: Fingerprint,
    /// Number of the execution that holds the claim: the fencing token.
    pub fence: ReservationId,
    /// When its holder is given up, in Unix milliseconds.
    pub lease_until_ms: u64,
    /// When the claim is forgotten, in Unix milliseconds.
    pub expires_ms: u64,
    /// The answer, once there is one.
    pub response: Option<Arc<StoredResponse>>,
}

/// An upstream's answer, kept for replays.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredResponse {
    /// HTTP status.
    pub status: u16,
    /// Chosen headers, in order.
    pub headers: Box<[(Box<[u8]>, Box<[u8]>)]>,
    /// Body; `None` when it was over the host's bound and only the fact is kept.
    pub body: Option<Box<[u8]>>,
}

impl fmt::Debug for StoredResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Bodies carry customers' data.
        f.debug_struct("StoredResponse")
            .field("status", &self.status)
            .field("headers", &self.headers.len())
            .field("body_bytes", &self.body.as_ref().map(|body| body.len()))
            .finish()
    }
}

/// Over the route's name and the key, both prefixed with their lengths.
pub(crate) fn claim_key(route: &str, key: &[u8]) -> ClaimKey {
    ClaimKey(
        Sha256::new()
            .chain_update((route.len() as u64).to_be_bytes())
            .chain_update(route.as_bytes())
            .chain_update(key)
            .finalize()
            .into(),
    )
}

/// Over method, target and the body's SHA-256, each of fixed length or prefixed with it.
pub(crate) fn fingerprint(method: &[u8], target: &[u8], body: Body<'_>) -> Fingerprint {
    let body = match body {
        Body::Bytes(bytes) => Sha256::digest(bytes).into(),
        Body::Sha256(digest) => digest,
    };
    Fingerprint(
        Sha256::new()
            .chain_update((method.len() as u64).to_be_bytes())
            .chain_update(method)
            .chain_update((target.len() as u64).to_be_bytes())
            .chain_update(target)
            .chain_update(body)
            .finalize()
            .into(),
    )
}

/// The longest key.
const MAX_KEY_BYTES: usize = 255;

/// A key that is not 1 to 255 visible ASCII characters, bare or as an RFC 8941 string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidKey;

/// The key in a header value: bare, or as an RFC 8941 string (draft-ietf-httpapi-idempotency-key-header).
/// `buffer` takes the key where escapes make it differ from the value.
pub(crate) fn parse_key<'v>(
    value: &'v [u8],
    buffer: &'v mut [u8; MAX_KEY_BYTES],
) -> Result<&'v [u8], InvalidKey> {
    let _ = (value, buffer);
    Err(InvalidKey)
}
