//! The one table of answers: number, code, HTTP status, precedence and meaning.

/// Why a decision came out as it did. The number is the same on every surface and never reused.
///
/// The order of the variants is the order of precedence: when several checks would fail, the
/// answer is the first of them. A key that stands for another request is `IdempotencyKeyReused`
/// also while that request runs, for waiting would not help the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
#[non_exhaustive]
pub enum Status {
    /// The request may pass.
    Allowed = 0,
    /// An earlier response to the same idempotency key is given again.
    Replayed = 1,
    /// No bearer token.
    MissingToken = 10,
    /// The token is malformed, unknown, revoked or expired; which of them is for the operator only.
    InvalidToken = 11,
    /// The source address is outside the account's or the token's networks.
    IpNotAllowed = 20,
    /// The endpoint is outside the token's scopes.
    InsufficientScope = 21,
    /// A limit is used up.
    RateLimited = 30,
    /// A request with the same idempotency key is still running.
    IdempotencyInFlight = 40,
    /// The idempotency key was used for another request.
    IdempotencyKeyReused = 41,
    /// The idempotency key is not 1 to 255 visible ASCII characters.
    IdempotencyKeyInvalid = 42,
    /// The sender is not approved for the account.
    SenderNotApproved = 50,
    /// The host's own validation refused the request.
    ValidationFailed = 51,
    /// A spend cap of the token or the account would be exceeded.
    SpendCapExceeded = 60,
    /// The wallet holds less than the request may cost.
    InsufficientBalance = 61,
    /// The store did not answer, or refused because it is full.
    StoreUnavailable = 90,
}

/// One row of the status table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRow {
    /// The status this row describes.
    pub status: Status,
    /// Machine-readable code, the `code` member of the body.
    pub code: &'static str,
    /// HTTP status code.
    pub http: u16,
    /// Text for the client, the `message` member of the body. Says what to do, never a secret.
    pub message: &'static str,
}

const fn row(status: Status, code: &'static str, http: u16, message: &'static str) -> StatusRow {
    StatusRow { status, code, http, message }
}

/// Every status in order of precedence.
pub const STATUS_TABLE: &[StatusRow] = &[
    row(Status::Allowed, "allowed", 200, "The request may pass."),
    row(Status::Replayed, "replayed", 200, "The original response is given again."),
    row(
        Status::MissingToken,
        "missing_token",
        401,
        "No API token was sent. Send it as 'Authorization: Bearer YOUR_API_TOKEN'.",
    ),
    row(
        Status::InvalidToken,
        "invalid_token",
        401,
        "The API token is not valid. Check it, or create a new one.",
    ),
    row(
        Status::IpNotAllowed,
        "ip_not_allowed",
        403,
        "Requests from this source address are not allowed. Add it to the allowed networks.",
    ),
    row(
        Status::InsufficientScope,
        "insufficient_scope",
        403,
        "The API token does not have the scope that this endpoint needs.",
    ),
    row(
        Status::RateLimited,
        "rate_limited",
        429,
        "Too many requests. Wait for the seconds given in Retry-After, then try again.",
    ),
    row(
        Status::IdempotencyInFlight,
        "idempotency_in_flight",
        409,
        "A request with this Idempotency-Key is still running. Try again later.",
    ),
    row(
        Status::IdempotencyKeyReused,
        "idempotency_key_reused",
        422,
        "This Idempotency-Key was used for a different request. Use a new key.",
    ),
    row(
        Status::IdempotencyKeyInvalid,
        "idempotency_key_invalid",
        422,
        "The Idempotency-Key must be sent once, as 1 to 255 visible ASCII characters.",
    ),
    row(
        Status::SenderNotApproved,
        "sender_not_approved",
        422,
        "The sender is not approved for this account.",
    ),
    row(Status::ValidationFailed, "validation_failed", 422, "The request is not valid."),
    row(
        Status::SpendCapExceeded,
        "spend_cap_exceeded",
        403,
        "A spend cap would be exceeded. Raise the cap or wait for the next period.",
    ),
    row(
        Status::InsufficientBalance,
        "insufficient_balance",
        402,
        "The wallet balance is too low. Top it up and try again.",
    ),
    row(
        Status::StoreUnavailable,
        "store_unavailable",
        503,
        "The request could not be checked. Try again later.",
    ),
];

impl Status {
    /// The row that describes this status.
    #[must_use]
    pub fn row(self) -> &'static StatusRow {
        const UNLISTED: StatusRow = row(Status::StoreUnavailable, "store_unavailable", 503, "");
        STATUS_TABLE.iter().find(|row| row.status == self).unwrap_or(&UNLISTED)
    }

    /// The stable number, the same on every surface.
    #[must_use]
    pub fn number(self) -> u16 {
        self as u16
    }

    /// The machine-readable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.row().code
    }

    /// The HTTP status code.
    #[must_use]
    pub fn http(self) -> u16 {
        self.row().http
    }

    /// Whether this is a denial.
    #[must_use]
    pub fn is_denial(self) -> bool {
        self > Status::Replayed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_complete_and_ordered_by_precedence() {
        for pair in STATUS_TABLE.windows(2) {
            assert!(pair[0].status < pair[1].status, "{:?}", pair[1].status);
            assert!(pair[0].status.number() < pair[1].status.number());
        }
        for row in STATUS_TABLE {
            assert_eq!(row.status.row(), row);
        }
    }
}
