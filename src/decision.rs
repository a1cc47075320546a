//! The decision on one request: a verdict, its status, and what must be settled.

use alloc::boxed::Box;
use alloc::sync::Arc;

use crate::command::{Denial, LimitReport, Shadows};
use crate::idempotency::StoredResponse;
use crate::ledger::{AccountRef, Amount, ReservationId};
use crate::policy::RouteId;
use crate::status::Status;
use crate::store::StoreError;

/// What is to be done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Pass it on. If the decision has a [`Ticket`], settle it afterwards.
    Allow,
    /// Answer it with the denial.
    Deny,
    /// Answer it with the stored response.
    Replay,
}

/// What must be settled once the upstream has answered, or has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The account.
    pub account: AccountRef,
    /// The reservation, which is also the fencing token of the idempotency claim.
    pub reservation: ReservationId,
    /// What was reserved.
    pub reserved: Amount,
    /// Whether the request holds an idempotency key, so that its response should be captured.
    pub holds_key: bool,
}

/// The decision on one request.
///
/// It is plain data: nothing is formatted before [`Engine::answer`](crate::Engine::answer) asks for it.
#[derive(Clone, Debug)]
pub struct Decision {
    pub(crate) status: Status,
    pub(crate) now_ms: u64,
    pub(crate) route: Option<RouteId>,
    pub(crate) account: Option<AccountRef>,
    pub(crate) limit: Option<LimitReport>,
    pub(crate) ticket: Option<Ticket>,
    pub(crate) shadows: Shadows,
    pub(crate) cause: Cause,
}

/// What a status leaves open.
#[derive(Clone, Debug)]
pub(crate) enum Cause {
    None,
    Denial(Denial),
    Replay(Arc<StoredResponse>),
    /// The host's message to a failed validation.
    Invalid(Box<str>),
    Store(Box<StoreError>),
}

impl Decision {
    #[inline]
    pub(crate) fn new(status: Status, now_ms: u64) -> Self {
        Decision {
            status,
            now_ms,
            route: None,
            account: None,
            limit: None,
            ticket: None,
            shadows: Shadows::default(),
            cause: Cause::None,
        }
    }

    /// What is to be done.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self.status {
            Status::Allowed => Verdict::Allow,
            Status::Replayed => Verdict::Replay,
            _ => Verdict::Deny,
        }
    }

    /// Why.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// The route that the request matched; there from check 3 on.
    #[must_use]
    pub fn route(&self) -> Option<RouteId> {
        self.route
    }

    /// The account, once the token is known; its name is the store's to tell
    /// ([`Admin::account_id`](crate::Admin::account_id)).
    #[must_use]
    pub fn account(&self) -> Option<&AccountRef> {
        self.account.as_ref()
    }

    /// What must be settled, if anything.
    #[must_use]
    pub fn ticket(&self) -> Option<&Ticket> {
        self.ticket.as_ref()
    }

    /// What was reserved, if anything.
    #[must_use]
    pub fn reserved(&self) -> Option<Amount> {
        self.ticket.as_ref().map(|ticket| ticket.reserved).filter(|amount| *amount > Amount::ZERO)
    }

    /// The enforced limit that is closest to its end.
    #[must_use]
    pub fn limit(&self) -> Option<&LimitReport> {
        self.limit.as_ref()
    }

    /// Checks in shadow mode that would have refused the request.
    #[must_use]
    pub fn shadows(&self) -> &Shadows {
        &self.shadows
    }

    /// The stored response, on a replay.
    #[must_use]
    pub fn replay(&self) -> Option<&Arc<StoredResponse>> {
        match &self.cause {
            Cause::Replay(response) => Some(response),
            _ => None,
        }
    }

    /// The facts of a denial at check 5 or later.
    #[must_use]
    pub fn denial(&self) -> Option<&Denial> {
        match &self.cause {
            Cause::Denial(denial) => Some(denial),
            _ => None,
        }
    }

    /// Why the store did not answer, where that decided. For the operator, not for the client.
    #[must_use]
    pub fn store_error(&self) -> Option<&StoreError> {
        match &self.cause {
            Cause::Store(error) => Some(error),
            _ => None,
        }
    }

    /// When the same request would pass as far as limits go, in Unix milliseconds; on 429 only.
    #[must_use]
    pub fn retry_at_ms(&self) -> Option<u64> {
        match self.denial() {
            Some(Denial::RateLimited { retry_at_ms, .. }) => Some(*retry_at_ms),
            _ => None,
        }
    }
}
