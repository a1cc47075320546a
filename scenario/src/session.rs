//! What a `policy` step begins: an engine, a store, and the requests so far.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tollgate::{
    AccountPatch, AccountRef, Admin, Amount, Decision, Engine, LiveEngine, MAX_NOW_MS, Store,
    Ticket, TokenDigest, TokenPatch, TokenText, TraceStep, Verdict,
};

use crate::convert::{account_id, config, finish, networks, posted, set};
use crate::error::StepError;
use crate::fields::{
    AccountStep, DepositStep, FinishStep, InspectStep, PolicyStep, RefundStep, RequestStep,
    ResolveStep, RevokeStep, RotateStep, TokenStep,
};
use crate::parallel;
use crate::step::Step;
use crate::wire::{Secret, wire_text};

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
pub(crate) struct Session {
    live: LiveEngine,
    store: Arc<dyn Store>,
    requests: Mutex<HashMap<String, Asked>>,
    latest_ms: AtomicU64,
}

/// A request that was decided.
#[derive(Clone)]
enum Asked {
    /// It was allowed and consumed what it needed.
    Allowed(Arc<Allowed>),
    /// There is nothing to finish, and why.
    Over(&'static str),
}

struct Allowed {
    /// The engine under whose policy it began, and will end.
    engine: Arc<Engine>,
    decision: Decision,
    ticket: Option<Ticket>,
}

impl Session {
    pub(crate) fn new(engine: Engine, store: Arc<dyn Store>) -> Self {
        Session {
            live: LiveEngine::new(engine),
            store,
            requests: Mutex::default(),
            latest_ms: AtomicU64::new(0),
        }
    }

    /// The same policy over the store that `reopen` makes of this one. Requests are known on, by their
    /// account's name, only where the store keeps its state.
    pub(crate) fn restarted(
        self,
        keeps_state: bool,
        reopen: impl FnOnce(Arc<dyn Store>) -> Result<Arc<dyn Store>, tollgate::StoreError>,
    ) -> Result<Self, StepError> {
        let now_ms = self.latest_ms();
        let requests = self.requests.into_inner().unwrap_or_else(PoisonError::into_inner);
        let kept = if keeps_state { named(requests, &*self.store, now_ms) } else { HashMap::new() };
        let store = reopen(self.store).map_err(|error| {
            StepError::new(format!("the store cannot be reopened: {error}; send a `policy` step"))
        })?;
        Ok(Session {
            live: self.live,
            store,
            requests: Mutex::new(kept),
            latest_ms: self.latest_ms,
        })
    }

    /// The latest time that a step gave.
    pub(crate) fn latest_ms(&self) -> u64 {
        self.latest_ms.load(Ordering::Relaxed)
    }

    fn requests(&self) -> MutexGuard<'_, HashMap<String, Asked>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admin(&self) -> Admin<'_, dyn Store> {
        Admin::new(&*self.store)
    }

    /// Performs a step. `default_ms` is its time if it gives none.
    pub(crate) fn perform(&self, step: Step, default_ms: u64) -> Reply {
        let given_ms = step.now_ms();
        let now_ms = given_ms.unwrap_or(default_ms);
        let reply = match step {
            Step::Policy(_) | Step::Restart => {
                Err(StepError::new("a `parallel` step cannot hold `policy` or `restart`"))
            }
            Step::Reload(step) => self.reload(&step),
            Step::Account(step) => self.account(step, now_ms),
            Step::Token(step) => self.token(step, now_ms),
            Step::Rotate(step) => self.rotate(&step, now_ms),
            Step::Revoke(step) => self.revoke(&step, now_ms),
            Step::Deposit(step) => self.deposit(&step, now_ms),
            Step::Request(step) => Ok(self.request(step)),
            Step::Finish(step) => self.finish(step),
            Step::Resolve(step) => self.resolve(step, now_ms),
            Step::Inspect(step) => self.inspect(&step, now_ms),
            Step::Refund(step) => self.refund(&step, now_ms),
            Step::Expire(_) => {
                let expired = self.admin().expire(now_ms).map_err(StepError::of)?;
                Ok(json!({ "expired": expired }))
            }
            Step::Parallel(step) => parallel::run(self, step, default_ms),
        }?;
        // A request may give a time that no later step could take.
        if let Some(given_ms) = given_ms.filter(|given_ms| *given_ms <= MAX_NOW_MS) {
            self.latest_ms.fetch_max(given_ms, Ordering::Relaxed);
        }
        Ok(reply)
    }

    fn reload(&self, step: &PolicyStep) -> Reply {
        self.live.reload(config(step)?.compile().map_err(StepError::of)?);
        Ok(json!({}))
    }

    fn account(&self, step: AccountStep, now_ms: u64) -> Reply {
        let settings = AccountPatch {
            networks: networks(step.networks)?,
            spend_caps: step.spend_caps,
            senders: step.senders,
        };
        let balance = step.balance.unwrap_or_default();
        let id = account_id(&step.id)?;
        self.admin().put_account(&id, balance, settings, now_ms).map_err(StepError::of)?;
        Ok(json!({}))
    }

    fn digest(&self, token: &Secret) -> Result<TokenDigest, StepError> {
        self.live.with(|engine| {
            let text = TokenText::parse(engine.policy().token_format(), token.expose())
                .map_err(StepError::of)?;
            Ok(engine.digest(&text))
        })
    }

    fn token(&self, step: TokenStep, now_ms: u64) -> Reply {
        let digest = self.digest(&step.token)?;
        let settings = TokenPatch {
            scopes: Some(step.scopes),
            networks: networks(step.networks)?,
            quota: step.quota,
            spend_caps: step.spend_caps,
            expires_ms: step.expires_ms,
        };
        let account = account_id(&step.account)?;
        self.admin().put_token(&digest, &account, settings, now_ms).map_err(StepError::of)?;
        Ok(json!({}))
    }

    fn rotate(&self, step: &RotateStep, now_ms: u64) -> Reply {
        let (old, new) = (self.digest(&step.token)?, self.digest(&step.new_token)?);
        self.admin().rotate_token(&old, &new, step.grace_ms, now_ms).map_err(StepError::of)?;
        Ok(json!({}))
    }

    fn revoke(&self, step: &RevokeStep, now_ms: u64) -> Reply {
        let digest = self.digest(&step.token)?;
        self.admin().revoke_token(&digest, now_ms).map_err(StepError::of)?;
        Ok(json!({}))
    }

    fn deposit(&self, step: &DepositStep, now_ms: u64) -> Reply {
        let account = account_id(&step.account)?;
        self.admin().deposit(&account, step.amount, now_ms).map_err(StepError::of)?;
        Ok(json!({}))
    }

    fn inspect(&self, step: &InspectStep, now_ms: u64) -> Reply {
        let account = account_id(&step.account)?;
        let wallet = self.admin().account(&account, now_ms).map_err(StepError::of)?.wallet;
        Ok(json!({
            "balance": wallet.balance,
            "held": wallet.held,
            "available": wallet.available(),
            "posted": wallet.posted,
            "reservations": wallet.open_reservations,
        }))
    }

    fn request(&self, step: RequestStep) -> Value {
        let engine = self.live.load();
        let decision = engine.decide(&*self.store, &step.to_request());
        let reply = self.reply(&engine, &decision, &step);
        let asked = match decision.verdict() {
            Verdict::Deny => Asked::Over("was denied"),
            Verdict::Replay => Asked::Over("was replayed"),
            Verdict::Allow if step.peek == Some(true) => Asked::Over("was only a peek"),
            Verdict::Allow => {
                let ticket = decision.ticket().cloned();
                Asked::Allowed(Arc::new(Allowed { engine, decision, ticket }))
            }
        };
        self.requests().insert(step.id, asked);
        reply
    }

    /// Explains a request.
    pub(crate) fn explain(&self, step: &RequestStep) -> Explained {
        let engine = self.live.load();
        let explanation = engine.explain(&*self.store, &step.to_request());
        Explained {
            reply: self.reply(&engine, &explanation.decision, step),
            steps: explanation.steps,
        }
    }

    fn reply(&self, engine: &Engine, decision: &Decision, step: &RequestStep) -> Value {
        let answer = engine.answer(decision);
        let status = decision.status();
        let mut reply = json!({
            "id": step.id,
            "verdict": match decision.verdict() {
                Verdict::Allow => "allow",
                Verdict::Deny => "deny",
                Verdict::Replay => "replay",
            },
            "status": answer.status,
            "code": status.is_denial().then(|| status.code()),
            "headers": answer
                .headers
                .iter()
                .map(|(name, value)| json!([name, wire_text(value)]))
                .collect::<Vec<_>>(),
            // Denials are written in UTF-8, and replays came in as it.
            "body": String::from_utf8_lossy(&answer.body),
        });
        let account = decision
            .account()
            .and_then(|account| self.admin().account_id(account, step.now_ms.min(MAX_NOW_MS)).ok());
        set(&mut reply, "account", account.map(|account| account.as_str().into()));
        let route = decision.route().and_then(|route| engine.policy().route(route));
        set(&mut reply, "route", route.map(|route| (*route.name).into()));
        set(&mut reply, "reserved", decision.reserved().map(|Amount(amount)| amount.into()));
        reply
    }

    fn allowed(&self, id: &str) -> Result<Arc<Allowed>, StepError> {
        match self.requests().get(id) {
            Some(Asked::Allowed(allowed)) => Ok(Arc::clone(allowed)),
            Some(Asked::Over(why)) => Err(StepError::new(format!(
                "request `{id}` {why}: there is nothing to finish, resolve or refund"
            ))),
            None => Err(StepError::new(format!("there is no request `{id}`; send it first"))),
        }
    }

    fn finish(&self, step: FinishStep) -> Reply {
        let allowed = self.allowed(&step.id)?;
        let finish = finish(step.outcome, step.amount, step.response)?;
        let mut reply = json!({ "id": step.id, "headers": headers(&allowed) });
        match &allowed.ticket {
            Some(ticket) => {
                let settled = allowed
                    .engine
                    .finish(&*self.store, ticket, finish, step.now_ms)
                    .map_err(StepError::of)?;
                set(&mut reply, "settled", posted(settled));
            }
            None if step.amount.is_some_and(|amount| amount > Amount::ZERO) => {
                return Err(StepError::new(format!(
                    "request `{}` reserved nothing; finish it without an amount",
                    step.id
                )));
            }
            None => {}
        }
        Ok(reply)
    }

    fn resolve(&self, step: ResolveStep, now_ms: u64) -> Reply {
        let ticket = self.ticket(&step.id)?;
        let finish = finish(step.outcome, step.amount, step.response)?;
        let admin = self.admin();
        let account = admin.account_id(&ticket.account, now_ms).map_err(StepError::of)?;
        let settled =
            admin.resolve(&account, ticket.reservation, finish, now_ms).map_err(StepError::of)?;
        let mut reply = json!({ "id": step.id });
        set(&mut reply, "settled", posted(settled));
        Ok(reply)
    }

    fn refund(&self, step: &RefundStep, now_ms: u64) -> Reply {
        let ticket = self.ticket(&step.id)?;
        self.admin()
            .refund(&ticket.account, ticket.reservation, step.amount, &step.reference, now_ms)
            .map_err(StepError::of)?;
        Ok(json!({}))
    }

    fn ticket(&self, id: &str) -> Result<Ticket, StepError> {
        self.allowed(id)?.ticket.clone().ok_or_else(|| {
            StepError::new(format!("request `{id}` reserved nothing and claimed no key"))
        })
    }
}

fn headers(allowed: &Allowed) -> Vec<Value> {
    let mut headers = Vec::new();
    allowed.engine.for_each_header(&allowed.decision, |name, value| {
        headers.push(json!([name, wire_text(value)]));
    });
    headers
}

/// Tickets by their account's name: a store that is reopened need not know its own references.
fn named(
    requests: HashMap<String, Asked>,
    store: &dyn Store,
    now_ms: u64,
) -> HashMap<String, Asked> {
    let admin = Admin::new(store);
    let kept = |allowed: &Allowed| {
        let (engine, decision) = (Arc::clone(&allowed.engine), allowed.decision.clone());
        let ticket = match &allowed.ticket {
            None => None,
            Some(ticket) => {
                let account = admin.account_id(&ticket.account, now_ms).ok()?;
                Some(Ticket { account: AccountRef::Id(account), ..ticket.clone() })
            }
        };
        Some(Asked::Allowed(Arc::new(Allowed { engine, decision, ticket })))
    };
    requests
        .into_iter()
        .map(|(id, asked)| match asked {
            Asked::Allowed(allowed) => {
                (id, kept(&allowed).unwrap_or(Asked::Over("is of an account that is not kept")))
            }
            over @ Asked::Over(_) => (id, over),
        })
        .collect()
}
