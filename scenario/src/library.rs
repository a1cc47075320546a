//! The library's own surface: an engine and a store in this process.

use std::sync::Arc;

use tollgate::{
    AccountPatch, AccountRef, Admin, Amount, Decision, Engine, Finish, LiveEngine, MAX_NOW_MS,
    PolicyConfig, Store, Ticket, TokenDigest, TokenPatch, TokenText, TraceStep, Verdict,
};

use crate::convert::{account_id, networks};
use crate::error::StepError;
use crate::fields::{
    AccountStep, DepositStep, InspectStep, RequestStep, RevokeStep, RotateStep, TokenStep,
};
use crate::runner::Backend;
use crate::surface::{Decided, Finished, Header, Money, Surface, Surfaces};
use crate::wire::Secret;

impl<B: Backend> Surfaces for B {
    type Surface = LibrarySurface;

    fn start(&self, policy: PolicyConfig) -> Result<LibrarySurface, StepError> {
        let engine = Engine::new(policy.compile().map_err(StepError::of)?);
        Ok(LibrarySurface::new(engine, self.fresh().map_err(StepError::of)?))
    }

    fn restart(&self, surface: LibrarySurface) -> Result<LibrarySurface, StepError> {
        let store = self.reopen(surface.store).map_err(StepError::of)?;
        Ok(LibrarySurface { live: surface.live, store })
    }

    fn keeps_state(&self) -> bool {
        Backend::keeps_state(self)
    }
}

/// The library itself. A surface that has no administration of its own can give it to this one, over
/// the same store.
pub struct LibrarySurface {
    live: LiveEngine,
    store: Arc<dyn Store>,
}

/// A request that the library allowed.
#[derive(Clone)]
pub struct Allowed(Arc<AllowedParts>);

struct AllowedParts {
    /// The engine under whose policy it began, and will end.
    engine: Arc<Engine>,
    decision: Decision,
    ticket: Option<Ticket>,
}

impl LibrarySurface {
    /// Over this store, which may hold something already.
    #[must_use]
    pub fn new(engine: Engine, store: Arc<dyn Store>) -> Self {
        LibrarySurface { live: LiveEngine::new(engine), store }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    fn admin(&self) -> Admin<'_, dyn Store> {
        Admin::new(&*self.store)
    }

    fn digest(&self, token: &Secret) -> Result<TokenDigest, StepError> {
        self.live.with(|engine| {
            let text = TokenText::parse(engine.policy().token_format(), token.expose())
                .map_err(StepError::of)?;
            Ok(engine.digest(&text))
        })
    }

    fn decided(&self, engine: &Arc<Engine>, decision: Decision, now_ms: u64) -> Decided<Allowed> {
        let answer = engine.answer(&decision);
        let status = decision.status();
        let account = decision
            .account()
            .and_then(|account| self.admin().account_id(account, now_ms.min(MAX_NOW_MS)).ok());
        let route = decision.route().and_then(|route| engine.policy().route(route));
        let headers = answer.headers.into_iter();
        Decided {
            verdict: decision.verdict(),
            status: answer.status,
            code: status.is_denial().then(|| status.code().to_owned()),
            headers: Some(headers.map(|(name, value)| (name.into_owned(), value)).collect()),
            body: answer.body,
            account: account.map(|account| account.as_str().to_owned()),
            route: route.map(|route| route.name.to_string()),
            reserved: decision.reserved(),
            must_finish: decision.ticket().is_some(),
            open: (decision.verdict() == Verdict::Allow).then(|| {
                let (engine, ticket) = (Arc::clone(engine), decision.ticket().cloned());
                Allowed(Arc::new(AllowedParts { engine, decision, ticket }))
            }),
        }
    }
}

impl Surface for LibrarySurface {
    type Open = Allowed;

    fn reload(&self, policy: PolicyConfig) -> Result<(), StepError> {
        self.live.reload(policy.compile().map_err(StepError::of)?);
        Ok(())
    }

    fn put_account(&self, step: AccountStep, now_ms: u64) -> Result<(), StepError> {
        let settings = AccountPatch {
            networks: networks(step.networks)?,
            spend_caps: step.spend_caps,
            senders: step.senders,
        };
        let balance = step.balance.unwrap_or_default();
        let id = account_id(&step.id)?;
        self.admin().put_account(&id, balance, settings, now_ms).map_err(StepError::of)
    }

    fn put_token(&self, step: TokenStep, now_ms: u64) -> Result<(), StepError> {
        let digest = self.digest(&step.token)?;
        let settings = TokenPatch {
            scopes: Some(step.scopes),
            networks: networks(step.networks)?,
            quota: step.quota,
            spend_caps: step.spend_caps,
            expires_ms: step.expires_ms,
        };
        let account = account_id(&step.account)?;
        self.admin().put_token(&digest, &account, settings, now_ms).map_err(StepError::of)
    }

    fn rotate(&self, step: &RotateStep, now_ms: u64) -> Result<(), StepError> {
        let (old, new) = (self.digest(&step.token)?, self.digest(&step.new_token)?);
        self.admin().rotate_token(&old, &new, step.grace_ms, now_ms).map_err(StepError::of)
    }

    fn revoke(&self, step: &RevokeStep, now_ms: u64) -> Result<(), StepError> {
        let digest = self.digest(&step.token)?;
        self.admin().revoke_token(&digest, now_ms).map_err(StepError::of)
    }

    fn deposit(&self, step: &DepositStep, now_ms: u64) -> Result<(), StepError> {
        let account = account_id(&step.account)?;
        self.admin().deposit(&account, step.amount, now_ms).map_err(StepError::of)
    }

    fn inspect(&self, step: &InspectStep, now_ms: u64) -> Result<Money, StepError> {
        let account = account_id(&step.account)?;
        let wallet = self.admin().account(&account, now_ms).map_err(StepError::of)?.wallet;
        Ok(Money {
            balance: wallet.balance,
            held: wallet.held,
            available: wallet.available(),
            posted: wallet.posted,
            reservations: wallet.open_reservations,
        })
    }

    fn decide(&self, step: &RequestStep) -> Result<Decided<Allowed>, StepError> {
        let engine = self.live.load();
        let decision = engine.decide(&*self.store, &step.to_request());
        Ok(self.decided(&engine, decision, step.now_ms))
    }

    fn explain(&self, step: &RequestStep) -> Result<(Decided<Allowed>, Vec<TraceStep>), StepError> {
        let engine = self.live.load();
        let explanation = engine.explain(&*self.store, &step.to_request());
        Ok((self.decided(&engine, explanation.decision, step.now_ms), explanation.steps))
    }

    fn finish(&self, open: &Allowed, finish: Finish, now_ms: u64) -> Result<Finished, StepError> {
        let Allowed(allowed) = open;
        let settled = match &allowed.ticket {
            None => None,
            Some(ticket) => {
                let settled = allowed.engine.finish(&*self.store, ticket, finish, now_ms);
                settled.map_err(StepError::of)?.posted
            }
        };
        Ok(Finished { settled, headers: Some(self.late_headers(open)?) })
    }

    fn resolve(
        &self,
        open: &Allowed,
        finish: Finish,
        now_ms: u64,
    ) -> Result<Option<Amount>, StepError> {
        let (admin, ticket) = (self.admin(), ticket(open)?);
        let account = admin.account_id(&ticket.account, now_ms).map_err(StepError::of)?;
        let settled = admin.resolve(&account, ticket.reservation, finish, now_ms);
        Ok(settled.map_err(StepError::of)?.posted)
    }

    fn refund(
        &self,
        open: &Allowed,
        amount: Amount,
        reference: &str,
        now_ms: u64,
    ) -> Result<(), StepError> {
        let ticket = ticket(open)?;
        self.admin()
            .refund(&ticket.account, ticket.reservation, amount, reference, now_ms)
            .map_err(StepError::of)
    }

    fn expire(&self, now_ms: u64) -> Result<u64, StepError> {
        self.admin().expire(now_ms).map_err(StepError::of)
    }

    fn late_headers(&self, Allowed(allowed): &Allowed) -> Result<Vec<Header>, StepError> {
        let mut headers = Vec::new();
        allowed.engine.for_each_header(&allowed.decision, |name, value| {
            headers.push((name.to_owned(), value.to_vec()));
        });
        Ok(headers)
    }

    /// By the account's name: a store that is reopened need not know its own references.
    fn kept(&self, Allowed(allowed): &Allowed, now_ms: u64) -> Option<Allowed> {
        let (engine, decision) = (Arc::clone(&allowed.engine), allowed.decision.clone());
        let ticket = match &allowed.ticket {
            None => None,
            Some(ticket) => {
                let account = self.admin().account_id(&ticket.account, now_ms).ok()?;
                Some(Ticket { account: AccountRef::Id(account), ..ticket.clone() })
            }
        };
        Some(Allowed(Arc::new(AllowedParts { engine, decision, ticket })))
    }
}

/// The session asks only for requests that have one.
fn ticket(Allowed(allowed): &Allowed) -> Result<&Ticket, StepError> {
    allowed.ticket.as_ref().ok_or_else(|| StepError::new("the request has no ticket"))
}
