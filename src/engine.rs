//! The engine: a compiled policy, and what hosts call.

use alloc::sync::Arc;
use core::net::IpAddr;

use crate::answer::{Answer, answer, each_header};
use crate::client_ip::client_ip;
use crate::command::{Command, Finish, Outcome, Refusal, Settle, Settled};
use crate::decision::{Decision, Ticket};
use crate::evaluate::{Evaluation, decide};
use crate::explain::{Explanation, Trace};
use crate::policy::CompiledPolicy;
use crate::request::Request;
use crate::store::{AsyncStore, Store, StoreError};
use crate::token::{Pepper, TokenDigest, TokenText, digest};

/// Decides requests under one policy. It holds no state and may be shared by any number of threads;
/// state lives in a [`Store`].
#[derive(Clone, Debug)]
pub struct Engine {
    policy: Arc<CompiledPolicy>,
    pepper: Option<Pepper>,
}

impl Engine {
    /// An engine for a policy.
    #[must_use]
    pub fn new(policy: CompiledPolicy) -> Self {
        Engine { policy: Arc::new(policy), pepper: None }
    }

    /// The same with a pepper: digests of tokens become HMAC-SHA-256 under this key, so that a stolen
    /// store tells nothing about guessable tokens. It must stay the same for as long as the tokens.
    #[must_use]
    pub fn with_pepper(self, pepper: Pepper) -> Self {
        Engine { pepper: Some(pepper), ..self }
    }

    /// The same pepper with another policy.
    #[must_use]
    pub fn with_policy(&self, policy: CompiledPolicy) -> Self {
        Engine { policy: Arc::new(policy), pepper: self.pepper.clone() }
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &CompiledPolicy {
        &self.policy
    }

    pub(crate) fn pepper(&self) -> Option<&Pepper> {
        self.pepper.as_ref()
    }

    /// The digest under which a store keeps a token.
    #[must_use]
    pub fn digest(&self, token: &TokenText) -> TokenDigest {
        digest(token.expose().as_bytes(), self.pepper())
    }

    /// The source address of a request: its peer, or what the policy's trusted proxies say of it. `None` where that is
    /// no address. Decisions need no telling; logs do.
    #[must_use]
    pub fn source_address(&self, request: &Request<'_>) -> Option<IpAddr> {
        let sources = &self.policy.sources;
        let header = sources.forwarded_header;
        client_ip(request.peer, request.headers, &sources.trusted_proxies, header)
    }

    /// Begins to decide a request; the host asks the store itself.
    #[must_use]
    #[inline]
    pub fn evaluate<'a>(&'a self, request: &'a Request<'a>) -> Evaluation<'a> {
        Evaluation::new(self, request, None)
    }

    /// Decides a request.
    pub fn decide<S: Store + ?Sized>(&self, store: &S, request: &Request<'_>) -> Decision {
        decide(self, store, request)
    }

    /// Decides a request on a store that answers later.
    pub async fn decide_async<S: AsyncStore + ?Sized>(
        &self,
        store: &S,
        request: &Request<'_>,
    ) -> Decision {
        let mut evaluation = self.evaluate(request);
        while let Some(command) = evaluation.command() {
            let outcome = store.perform_async(&command, request.now_ms).await;
            evaluation.resume(outcome);
        }
        evaluation.into_decision()
    }

    /// Begins to explain a request; the host asks the store itself, and ends with
    /// [`Evaluation::into_explanation`]. The request should be a [`peek`](Request::peek): what is not one is
    /// decided, and consumes.
    #[must_use]
    pub fn evaluate_traced<'a>(&'a self, request: &'a Request<'a>) -> Evaluation<'a> {
        Evaluation::new(self, request, Some(Trace::new()))
    }

    /// Decides a request without consuming anything, and tells what every check saw.
    pub fn explain<S: Store + ?Sized>(&self, store: &S, request: &Request<'_>) -> Explanation {
        let request = Request { peek: true, ..*request };
        let mut evaluation = self.evaluate_traced(&request);
        evaluation.run(store);
        evaluation.into_explanation()
    }

    /// Finishes a request that was allowed with a [`Ticket`].
    ///
    /// # Errors
    /// [`FinishError`]; nothing was changed then, as far as the store can tell.
    pub fn finish<S: Store + ?Sized>(
        &self,
        store: &S,
        ticket: &Ticket,
        finish: Finish,
        now_ms: u64,
    ) -> Result<Settled, FinishError> {
        finished(store.perform(&settle(ticket, &finish), now_ms))
    }

    /// Finishes a request on a store that answers later.
    ///
    /// # Errors
    /// See [`Engine::finish`].
    pub async fn finish_async<S: AsyncStore + ?Sized>(
        &self,
        store: &S,
        ticket: &Ticket,
        finish: Finish,
        now_ms: u64,
    ) -> Result<Settled, FinishError> {
        finished(store.perform_async(&settle(ticket, &finish), now_ms).await)
    }

    /// The answer to give for a decision: for an allowed request the headers to add to the upstream's
    /// answer, for a denial or a replay the whole of it.
    #[must_use]
    pub fn answer(&self, decision: &Decision) -> Answer {
        answer(&self.policy, decision)
    }

    /// The headers that an allowed request's response gets, as `(name, value)`.
    pub fn for_each_header(&self, decision: &Decision, mut each: impl FnMut(&str, &[u8])) {
        each_header(&self.policy, decision, &mut each);
    }
}

fn settle<'t>(ticket: &'t Ticket, finish: &'t Finish) -> Command<'t> {
    Command::Settle(Settle { account: &ticket.account, reservation: ticket.reservation, finish })
}

fn finished(outcome: Result<Outcome, StoreError>) -> Result<Settled, FinishError> {
    match outcome? {
        Outcome::Settled(settled) => Ok(settled),
        Outcome::Refused(refusal) => Err(FinishError::Refused(refusal)),
        _ => Err(FinishError::Store(StoreError::WrongOutcome)),
    }
}

/// Why a request could not be finished.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FinishError {
    /// The store refused; the first outcome, or the expiry rule's, stays.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed. Sending the same outcome again is safe.
    #[error(transparent)]
    Store(#[from] StoreError),
}
