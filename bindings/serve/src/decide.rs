//! From a question to a decision: the one place where the engine is asked and the decision is recorded.

use std::sync::Arc;
use std::time::Instant;

use tollgate::{
    AccountId, Answer, AsyncStore, Command, Decision, Engine, Evaluation, Finish, TokenDigest,
    TraceStep, Verdict,
};
use tracing::Instrument;

use crate::question::Question;
use crate::record::{DecisionRecord, Facts};
use crate::shared::Shared;
use crate::ticket;

/// A decision, and what its caller needs to carry it out.
pub(crate) struct Decided {
    pub engine: Arc<Engine>,
    pub decision: Decision,
    pub answer: Answer,
    pub account: Option<AccountId>,
    /// Names what must be settled.
    pub ticket: Option<String>,
    /// Where it was asked for.
    pub trace: Option<Vec<TraceStep>>,
}

impl Decided {
    /// The name of the route that matched.
    pub(crate) fn route(&self) -> Option<&str> {
        let route = self.engine.policy().route(self.decision.route()?)?;
        Some(&route.name)
    }
}

/// Decides. A caller that goes away meanwhile does not keep a remote store from answering: what was reserved for it is voided.
pub(crate) async fn decide(shared: &Arc<Shared>, question: Question) -> Decided {
    // Below the level of the lines that operators see: a span that nobody collects costs nothing.
    let span = tracing::debug_span!(
        target: crate::telemetry::SPANS,
        "decide",
        otel.kind = "server",
        via = question.via.name(),
        verdict = tracing::field::Empty,
        code = tracing::field::Empty,
        route = tracing::field::Empty,
    );
    if !shared.store.is_remote() {
        return decide_here(shared, question).instrument(span).await;
    }
    let shared = Arc::clone(shared);
    let (tell, told) = tokio::sync::oneshot::channel();
    let work = async move {
        let decided = decide_here(&shared, question).await;
        if let Err(unwanted) = tell.send(decided) {
            void(&shared, &unwanted).await;
        }
    };
    tokio::spawn(work.instrument(span));
    match told.await {
        Ok(decided) => decided,
        // The task panicked, which it never should: there is no decision to give.
        Err(_) => std::future::pending().await,
    }
}

async fn decide_here(shared: &Arc<Shared>, question: Question) -> Decided {
    let started = Instant::now();
    let now_ms = shared.clock.now_ms();
    let engine = Arc::clone(&question.engine);
    let shown = shared.latest.wants_trace(now_ms);
    let request = question.request(now_ms);
    let mut evaluation = match question.explain || shown {
        true => engine.evaluate_traced(&request),
        false => engine.evaluate(&request),
    };
    let digest = perform(&mut evaluation, shared, now_ms).await;
    let explained = evaluation.into_explanation();
    let decision = explained.decision;
    let answer = engine.answer(&decision);
    let account = match decision.account() {
        Some(account) => shared.store.account_id(account, now_ms).await,
        None => None,
    };
    let ticket = match (decision.ticket(), &account) {
        (Some(ticket), Some(account)) => Some(ticket::to_text(ticket, account)),
        _ => None,
    };
    let decided = Decided { engine, decision, answer, account, ticket, trace: None };
    let took = started.elapsed();
    let trace = explained.steps;
    shared.metrics.decided(&decided, question.via, took);
    tell_span(&decided);
    if shared.keeps_records() {
        let record = DecisionRecord::new(Facts {
            question: &question,
            decision: &decided.decision,
            answer: &decided.answer,
            account: decided.account.as_ref(),
            digest,
            now_ms,
            took,
        });
        shared.log.write(&record);
        if shared.options.admin.is_some() {
            shared.latest.keep(record, shown.then(|| trace.clone()));
        }
    }
    Decided { trace: question.explain.then_some(trace), ..decided }
}

fn tell_span(decided: &Decided) {
    let span = tracing::Span::current();
    if span.is_disabled() {
        return;
    }
    span.record("verdict", crate::record::verdict(decided.decision.verdict()));
    span.record("code", decided.decision.status().code());
    if let Some(route) = decided.route() {
        span.record("route", route);
    }
}

/// Asks the store until the decision is there. Gives the digest of the token, where one was looked up.
async fn perform(
    evaluation: &mut Evaluation<'_>,
    shared: &Shared,
    now_ms: u64,
) -> Option<TokenDigest> {
    let mut digest = None;
    while let Some(command) = evaluation.command() {
        if let Command::Lookup(lookup) = &command {
            digest = Some(*lookup.digest);
        }
        let outcome = shared.store.perform_async(&command, now_ms).await;
        if let Err(error) = &outcome {
            shared.metrics.store_failed(error.code());
        }
        evaluation.resume(outcome);
    }
    digest
}

/// Undoes what was reserved for a request that nobody waits for any more: it was never passed on.
pub(crate) async fn void(shared: &Shared, decided: &Decided) {
    let Some(open) =
        decided.decision.ticket().filter(|_| decided.decision.verdict() == Verdict::Allow)
    else {
        return;
    };
    let now_ms = shared.clock.now_ms();
    let finish = Finish::Void { response: None };
    if let Err(error) = decided.engine.finish_async(&shared.store, open, finish, now_ms).await {
        tracing::warn!(%error, "what was reserved for a caller that went away ends with its lease");
    }
}
