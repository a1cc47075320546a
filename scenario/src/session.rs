//! What a `policy` step begins: a surface, and the requests so far.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tollgate::{Amount, MAX_NOW_MS, TraceStep, Verdict};

use crate::convert::{config, finish};
use crate::error::StepError;
use crate::fields::{FinishStep, RefundStep, RequestStep, ResolveStep};
use crate::parallel;
use crate::step::Step;
use crate::surface::{Surface, Surfaces, amount, header_list, set};

type Reply = Result<Value, StepError>;

/// A request as it would be decided now, and why.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The reply that the `request` step would get; nothing is reserved.
    pub reply: Value,
    /// The checks, in order.
    pub steps: Vec<TraceStep>,
}

/// All that a scenario has set up since its `policy` step. Steps may come from several threads.
pub(crate) struct Session<S: Surface> {
    surface: S,
    requests: Mutex<HashMap<String, Asked<S::Open>>>,
    latest_ms: AtomicU64,
}

/// A request that was decided.
#[derive(Clone)]
enum Asked<O> {
    /// It was allowed and consumed what it needed.
    Allowed(Allowed<O>),
    /// There is nothing to finish, and why.
    Over(&'static str),
}

#[derive(Clone)]
struct Allowed<O> {
    open: O,
    /// Whether it reserved money or claimed a key.
    must_finish: bool,
}

impl<S: Surface> Session<S> {
    pub(crate) fn new(surface: S) -> Self {
        Session { surface, requests: Mutex::default(), latest_ms: AtomicU64::new(0) }
    }

    /// The same policy over the store that a restart leaves. Requests are known on only where the
    /// store keeps its state.
    pub(crate) fn restarted<H>(self, surfaces: &H) -> Result<Self, StepError>
    where
        H: Surfaces<Surface = S>,
    {
        let now_ms = self.latest_ms();
        let requests = self.requests.into_inner().unwrap_or_else(PoisonError::into_inner);
        let kept = if surfaces.keeps_state() {
            kept(requests, &self.surface, now_ms)
        } else {
            HashMap::new()
        };
        let surface = surfaces.restart(self.surface).map_err(|error| {
            error.within(|text| {
                format!("the store cannot be reopened: {text}; send a `policy` step")
            })
        })?;
        Ok(Session { surface, requests: Mutex::new(kept), latest_ms: self.latest_ms })
    }

    /// The latest time that a step gave.
    pub(crate) fn latest_ms(&self) -> u64 {
        self.latest_ms.load(Ordering::Relaxed)
    }

    fn requests(&self) -> MutexGuard<'_, HashMap<String, Asked<S::Open>>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Performs a step. `default_ms` is its time if it gives none.
    pub(crate) fn perform(&self, step: Step, default_ms: u64) -> Reply {
        let given_ms = step.now_ms();
        let now_ms = given_ms.unwrap_or(default_ms);
        let surface = &self.surface;
        let done = |()| json!({});
        let reply = match step {
            Step::Policy(_) | Step::Restart => {
                Err(StepError::new("a `parallel` step cannot hold `policy` or `restart`"))
            }
            Step::Reload(step) => surface.reload(config(&step)?).map(done),
            Step::Account(step) => surface.put_account(step, now_ms).map(done),
            Step::Token(step) => surface.put_token(step, now_ms).map(done),
            Step::Rotate(step) => surface.rotate(&step, now_ms).map(done),
            Step::Revoke(step) => surface.revoke(&step, now_ms).map(done),
            Step::Deposit(step) => surface.deposit(&step, now_ms).map(done),
            Step::Request(step) => self.request(step),
            Step::Finish(step) => self.finish(step),
            Step::Resolve(step) => self.resolve(step, now_ms),
            Step::Inspect(step) => Ok(surface.inspect(&step, now_ms)?.to_reply()),
            Step::Refund(step) => self.refund(&step, now_ms).map(done),
            Step::Expire(_) => Ok(json!({ "expired": surface.expire(now_ms)? })),
            Step::Parallel(step) => parallel::run(self, step, default_ms),
        }?;
        // A request may give a time that no later step could take.
        if let Some(given_ms) = given_ms.filter(|given_ms| *given_ms <= MAX_NOW_MS) {
            self.latest_ms.fetch_max(given_ms, Ordering::Relaxed);
        }
        Ok(reply)
    }

    fn request(&self, step: RequestStep) -> Reply {
        let decided = self.surface.decide(&step)?;
        let reply = decided.to_reply(&step.id);
        let must_finish = decided.must_finish;
        let asked = match (decided.verdict, decided.open) {
            (Verdict::Deny, _) => Asked::Over("was denied"),
            (Verdict::Replay, _) => Asked::Over("was replayed"),
            (Verdict::Allow, _) if step.peek == Some(true) => Asked::Over("was only a peek"),
            (Verdict::Allow, Some(open)) => Asked::Allowed(Allowed { open, must_finish }),
            (Verdict::Allow, None) => {
                return Err(StepError::new("the surface gave nothing to finish the request with"));
            }
        };
        self.requests().insert(step.id, asked);
        Ok(reply)
    }

    /// Explains a request.
    pub(crate) fn explain(&self, step: &RequestStep) -> Result<Explained, StepError> {
        let (decided, steps) = self.surface.explain(step)?;
        Ok(Explained { reply: decided.to_reply(&step.id), steps })
    }

    /// The headers of an allowed request whose reply did not show them, as a reply shows headers.
    pub(crate) fn late_headers(&self, id: &str) -> Reply {
        Ok(header_list(&self.surface.late_headers(&self.allowed(id)?.open)?))
    }

    fn allowed(&self, id: &str) -> Result<Allowed<S::Open>, StepError> {
        match self.requests().get(id) {
            Some(Asked::Allowed(allowed)) => Ok(allowed.clone()),
            Some(Asked::Over(why)) => Err(StepError::new(format!(
                "request `{id}` {why}: there is nothing to finish, resolve or refund"
            ))),
            None => Err(StepError::new(format!("there is no request `{id}`; send it first"))),
        }
    }

    fn finish(&self, step: FinishStep) -> Reply {
        let allowed = self.allowed(&step.id)?;
        let finish = finish(step.outcome, step.amount, step.response)?;
        if !allowed.must_finish && step.amount.is_some_and(|amount| amount > Amount::ZERO) {
            return Err(StepError::new(format!(
                "request `{}` reserved nothing; finish it without an amount",
                step.id
            )));
        }
        let finished = self.surface.finish(&allowed.open, finish, step.now_ms)?;
        Ok(finished.to_reply(&step.id))
    }

    fn resolve(&self, step: ResolveStep, now_ms: u64) -> Reply {
        let open = self.unsettled(&step.id)?;
        let finish = finish(step.outcome, step.amount, step.response)?;
        let settled = self.surface.resolve(&open, finish, now_ms)?;
        let mut reply = json!({ "id": step.id });
        set(&mut reply, "settled", amount(settled));
        Ok(reply)
    }

    fn refund(&self, step: &RefundStep, now_ms: u64) -> Result<(), StepError> {
        let open = self.unsettled(&step.id)?;
        self.surface.refund(&open, step.amount, &step.reference, now_ms)
    }

    /// A request with something to settle, or to refund.
    fn unsettled(&self, id: &str) -> Result<S::Open, StepError> {
        let allowed = self.allowed(id)?;
        if !allowed.must_finish {
            let text = format!("request `{id}` reserved nothing and claimed no key");
            return Err(StepError::new(text));
        }
        Ok(allowed.open)
    }
}

fn kept<S: Surface>(
    requests: HashMap<String, Asked<S::Open>>,
    surface: &S,
    now_ms: u64,
) -> HashMap<String, Asked<S::Open>> {
    let after = |asked| match asked {
        Asked::Allowed(Allowed { open, must_finish }) => match surface.kept(&open, now_ms) {
            Some(open) => Asked::Allowed(Allowed { open, must_finish }),
            None => Asked::Over("is of an account that is not kept"),
        },
        over @ Asked::Over(_) => over,
    };
    requests.into_iter().map(|(id, asked)| (id, after(asked))).collect()
}
