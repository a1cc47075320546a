//! A recorded request as it is sent again.

use tollgate::{Headers, Status};

use super::record::Record;

/// What of it both policies are asked alike.
#[derive(Clone, Copy)]
pub(crate) struct Sent<'r> {
    pub(crate) record: &'r Record,
    pub(crate) headers: &'r dyn Headers,
    pub(crate) body: &'r [u8],
    /// The caller's number, if it is authenticated.
    pub(crate) caller: Option<usize>,
    /// The number of its account.
    pub(crate) account: Option<usize>,
}

/// The headers of a request: those that were recorded, and those that stand for what logs do not tell.
pub(crate) struct SentHeaders<'r>(Vec<(&'r str, &'r [u8])>);

const KEY: &str = "idempotency-key";

impl<'r> SentHeaders<'r> {
    pub(crate) fn of(record: &'r Record, authorization: Option<&'r str>) -> Self {
        // What was wrong with a key its digest does not tell, so one is sent that is surely wrong.
        let was_invalid = record.outcome.is(Status::IdempotencyKeyInvalid);
        let key = if was_invalid { Some("") } else { record.key.as_deref() };
        let is_replaced = |name: &str| key.is_some() && name.eq_ignore_ascii_case(KEY);
        let recorded = record.headers.iter().filter(|(name, _)| !is_replaced(name));
        let mut headers: Vec<(&str, &[u8])> =
            recorded.map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        headers.extend(authorization.map(|value| ("authorization", value.as_bytes())));
        headers.extend(key.map(|key| (KEY, key.as_bytes())));
        SentHeaders(headers)
    }
}

impl Headers for SentHeaders<'_> {
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        self.0.as_slice().value(name, nth)
    }
}

/// Logs have no bodies: requests with one key are taken for the same, unless the log says that they were not.
pub(crate) fn body_of(record: &Record) -> &'static [u8] {
    if record.outcome.is(Status::IdempotencyKeyReused) { b"another body" } else { b"" }
}
