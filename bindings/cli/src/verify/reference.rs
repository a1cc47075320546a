//! The truth: the engine itself, in memory, asked what the gateway was asked.
//!
//! When exactly a gateway decides is not known, only when a request went out and when its answer was
//! there. So the engine is asked twice, on two stores whose clocks bound the gateway's: on the *strict*
//! one less time passes between any two requests than did at the gateway, so limits refill less; on the
//! *generous* one more. What both answer, the gateway must answer; and a number that depends on time lies
//! between theirs.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tollgate::{Amount, Engine, Finish, MAX_NOW_MS, MemoryStore, StoredResponse, Verdict};
use tollgate_scenario::{
    Allowed, Decided, HeaderList, LibrarySurface, RequestStep, Step, StepError, Surface, Wire,
};

use super::call::Call;
use super::client::Reply;
use super::plan::{Plan, RoutePlan};

/// When a request went out, and when its answer was there, in Unix milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Took {
    pub(super) from_ms: u64,
    pub(super) until_ms: u64,
}

/// What the engine answers, at the earliest and at the latest.
pub(super) struct Truth {
    pub(super) strict: Decided<Allowed>,
    pub(super) generous: Decided<Allowed>,
    /// Time decides whether it is let through, and the gateway said which. Numbers tell nothing then.
    pub(super) is_open: bool,
}

/// The engine over two stores.
pub(super) struct Reference {
    strict: LibrarySurface,
    generous: LibrarySurface,
    peer: Option<Wire>,
    prices: Vec<(String, Option<Amount>)>,
    /// How far the two clocks are from the time, for each token; and for what counts in limits of others too.
    drift_ms: BTreeMap<String, u64>,
    shared_drift_ms: u64,
}

/// What any answer may be off by, beside the time that requests take: rounding, and timers.
const LEAST_DRIFT_MS: u64 = 1;

impl Reference {
    pub(super) fn new(plan: &Plan, peer: Option<String>) -> Result<Reference, StepError> {
        let surface = || {
            let policy =
                plan.config.compile().map_err(|error| StepError::new(error.to_string()))?;
            Ok::<_, StepError>(LibrarySurface::new(
                Engine::new(policy),
                Arc::new(MemoryStore::default()),
            ))
        };
        let prices =
            plan.routes.iter().map(|route: &RoutePlan| (route.name.clone(), route.host_price));
        Ok(Reference {
            strict: surface()?,
            generous: surface()?,
            peer: peer.as_deref().and_then(Wire::parse),
            prices: prices.collect(),
            drift_ms: BTreeMap::new(),
            shared_drift_ms: 0,
        })
    }

    /// Performs `account`, `token`, `revoke` or `deposit`.
    pub(super) fn provision(&self, step: &Value, now_ms: u64) -> Result<(), StepError> {
        for surface in [&self.strict, &self.generous] {
            match Step::parse(step.clone())? {
                Step::Account(step) => surface.put_account(step, now_ms)?,
                Step::Token(step) => surface.put_token(step, now_ms)?,
                Step::Revoke(step) => surface.revoke(&step, now_ms)?,
                Step::Deposit(step) => surface.deposit(&step, now_ms)?,
                _ => return Err(StepError::new("this step provisions nothing")),
            }
        }
        Ok(())
    }

    /// Decides what the gateway decided meanwhile. Where time decides, both follow the gateway, which denied it
    /// or did not: so both go on from where it is.
    pub(super) fn decide(
        &mut self,
        call: &Call,
        took: Took,
        was_denied: bool,
        is_shared: bool,
    ) -> Result<Truth, StepError> {
        let drift_ms = self.drift_ms(call, is_shared);
        let strict_ms = took.from_ms.saturating_sub(drift_ms);
        let generous_ms = took.until_ms.saturating_add(drift_ms);
        let ask =
            |surface: &LibrarySurface, now_ms, peek| surface.decide(&self.step(call, now_ms, peek));
        let (strict, generous) =
            (ask(&self.strict, strict_ms, true)?, ask(&self.generous, generous_ms, true)?);
        let is_open = (strict.status, strict.code) != (generous.status, generous.code);
        let (strict_ms, generous_ms) = match (is_open, was_denied) {
            (false, _) => (strict_ms, generous_ms),
            (true, true) => (strict_ms, strict_ms),
            (true, false) => (generous_ms, generous_ms),
        };
        let truth = Truth {
            strict: ask(&self.strict, strict_ms, false)?,
            generous: ask(&self.generous, generous_ms, false)?,
            is_open,
        };
        // From here on: between this request and any later one at most, or at least, as much time as at the gateway,
        // which decided somewhere within each.
        let round_trip_ms = took.until_ms.saturating_sub(took.from_ms).max(LEAST_DRIFT_MS);
        let drift_ms = drift_ms.saturating_add(round_trip_ms);
        let token = call.authorization().unwrap_or_default().to_owned();
        self.drift_ms.insert(token, drift_ms);
        if is_shared {
            self.shared_drift_ms = drift_ms;
        }
        Ok(truth)
    }

    /// What would be decided now, at the latest; nothing is consumed.
    pub(super) fn foresee(
        &self,
        call: &Call,
        now_ms: u64,
        is_shared: bool,
    ) -> Result<Decided<Allowed>, StepError> {
        let strict_ms = now_ms.saturating_sub(self.drift_ms(call, is_shared));
        self.strict.decide(&self.step(call, strict_ms, true))
    }

    fn drift_ms(&self, call: &Call, is_shared: bool) -> u64 {
        let own = call.authorization().and_then(|token| self.drift_ms.get(token));
        let shared_ms = if is_shared { self.shared_drift_ms } else { 0 };
        own.copied().unwrap_or(0).max(shared_ms)
    }

    /// Ends what was allowed as the default rule of gateways does: a response of 2xx or 3xx is charged.
    pub(super) fn finish(&self, truth: &Truth, reply: &Reply, took: Took) -> Result<(), StepError> {
        let response = Arc::new(StoredResponse {
            status: reply.status,
            headers: content_type(reply),
            body: Some(reply.body.to_vec().into()),
        });
        let charged = (200..400).contains(&reply.status);
        for (surface, decided) in [(&self.strict, &truth.strict), (&self.generous, &truth.generous)]
        {
            let (Verdict::Allow, true, Some(open)) =
                (decided.verdict, decided.must_finish, decided.open.as_ref())
            else {
                continue;
            };
            let response = Some(Arc::clone(&response));
            let finish = if charged {
                Finish::Settle { amount: None, response }
            } else {
                Finish::Void { response }
            };
            surface.finish(open, finish, took.until_ms)?;
        }
        Ok(())
    }

    fn step(&self, call: &Call, now_ms: u64, peek: bool) -> RequestStep {
        let wire = |text: &str| Wire::parse(text).unwrap_or_default();
        let headers = call.headers.iter().map(|(name, value)| (wire(name), wire(value)));
        let price = self.prices.iter().find(|(name, _)| Some(name) == call.route.as_ref());
        RequestStep {
            id: String::new(),
            now_ms: now_ms.min(MAX_NOW_MS),
            method: wire(&call.method),
            target: wire(&call.target),
            headers: HeaderList(headers.collect()),
            peer: self.peer.clone(),
            body: Some(String::from_utf8_lossy(&call.body).into_owned()),
            cost: price.and_then(|(_, price)| *price),
            sender: None,
            invalid: None,
            peek: Some(peek),
        }
    }
}

type StoredHeaders = Box<[(Box<str>, Box<[u8]>)]>;

fn content_type(reply: &Reply) -> StoredHeaders {
    let value = reply.headers.get("content-type");
    value
        .map(|value| (Box::from("Content-Type"), Box::from(value.as_bytes())))
        .into_iter()
        .collect()
}

/// Members of `more` in `step`.
pub(super) fn merged(mut step: Value, more: &Value) -> Value {
    if let (Value::Object(step), Value::Object(more)) = (&mut step, more) {
        step.extend(more.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    step
}
