//! What is asked of a store on the way to a decision, its end, or an operator's answer: one description for stores that answer
//! at once and for those that answer later.

use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use tollgate::{
    AccountId, AccountRef, Administration, Command, Decision, Engine, Explanation, MemoryStore,
    Outcome, Request, Settle, Store, StoreError,
};

use crate::error::Fault;
use crate::flat::Ending;

/// What a store answers.
pub(crate) type Answered = Result<Outcome, StoreError>;

/// What is asked on the way: a store, or the end of a wire to one.
pub(crate) trait Ask {
    /// Has a command performed.
    async fn ask(&self, command: &Command<'_>, now_ms: u64) -> Answered;
}

impl Ask for MemoryStore {
    async fn ask(&self, command: &Command<'_>, now_ms: u64) -> Answered {
        self.perform(command, now_ms)
    }
}

/// A decision, with the account's name.
#[cfg(feature = "objects")]
pub(crate) struct Decided {
    pub(crate) decision: Decision,
    pub(crate) account: Option<AccountId>,
}

#[cfg(feature = "objects")]
pub(crate) async fn decide(engine: &Engine, request: &Request<'_>, store: &impl Ask) -> Decided {
    let mut evaluation = engine.evaluate(request);
    while let Some(command) = evaluation.command() {
        let answered = store.ask(&command, request.now_ms).await;
        evaluation.resume(answered);
    }
    let decision = evaluation.into_decision();
    let account = name(&decision, request.now_ms, store).await;
    Decided { decision, account }
}

pub(crate) async fn explain(
    engine: &Engine,
    request: &Request<'_>,
    store: &impl Ask,
) -> (Explanation, Option<AccountId>) {
    let request = Request { peek: true, ..*request };
    let mut evaluation = engine.evaluate_traced(&request);
    while let Some(command) = evaluation.command() {
        let answered = store.ask(&command, request.now_ms).await;
        evaluation.resume(answered);
    }
    let explanation = evaluation.into_explanation();
    let account = name(&explanation.decision, request.now_ms, store).await;
    (explanation, account)
}

/// The name behind a decision's account. A store that fails for all of a request does not tell it either.
async fn name(decision: &Decision, now_ms: u64, store: &impl Ask) -> Option<AccountId> {
    let account = match decision.account()? {
        AccountRef::Id(id) => return Some(id.clone()),
        account => account,
    };
    let command = Administration::NameAccount { account };
    let now_ms = now_ms.min(tollgate::MAX_NOW_MS);
    match store.ask(&Command::Administer(&command), now_ms).await {
        Ok(Outcome::Name(id)) => Some(id),
        _ => None,
    }
}

/// Gives what was posted; `None` while it is unknown.
pub(crate) async fn finish(ending: &Ending, store: &impl Ask) -> Result<Option<u64>, Fault> {
    let Some(ticket) = &ending.ticket else {
        return Err(Fault::invalid("finish needs the decision's ticket"));
    };
    let (account, reservation) = (&ticket.account, ticket.reservation);
    let settle = Settle { account, reservation, finish: &ending.finish };
    match store.ask(&Command::Settle(settle), ending.now_ms).await? {
        Outcome::Settled(settled) => Ok(settled.posted.map(|amount| amount.0)),
        Outcome::Refused(refusal) => Err(refusal.into()),
        _ => Err(StoreError::WrongOutcome.into()),
    }
}

/// Runs work over a store that answers at once.
pub(crate) fn at_once<T>(work: impl Future<Output = T>) -> Result<T, Fault> {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Ok(done),
        Poll::Pending => Err(StoreError::WrongOutcome.into()),
    }
}
