//! One policy over a store of its own, and what it did to the traffic.

use std::collections::BTreeSet;
use std::sync::Arc;

use tollgate::{
    Admin, AdminError, Amount, Body, CapHolder, CheckResult, Decision, Denial, Engine, Finish,
    MemoryOptions, MemoryStore, Period, PolicyConfig, PolicyErrors, Request, RouteId, Status,
    StoredResponse, Ticket, TraceStep,
};

use super::callers::{Callers, Newcomer};
use super::meters::{CapOf, Meters};
use super::record::Record;
use super::sent::Sent;
use super::state::State;
use crate::exit::Failure;

/// How many requests are decided before what fell due is reclaimed.
const EXPIRE_EVERY: u64 = 16_384;

/// The bound of accounts and of tokens: far above what a machine's memory holds.
const MAX_CALLERS: usize = 1 << 26;

/// What a policy decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decided {
    pub(crate) status: Status,
    pub(crate) route: Option<RouteId>,
    pub(crate) reserved: u64,
}

/// A policy, its store, and what it did.
pub(crate) struct World {
    pub(crate) name: String,
    config: PolicyConfig,
    engine: Engine,
    store: MemoryStore,
    scopes: Vec<Box<str>>,
    /// Which accounts have a list of senders.
    checks_senders: BTreeSet<usize>,
    decided: u64,
    pub(crate) meters: Meters,
    /// Settlements that failed.
    pub(crate) unsettled: u64,
    last: Option<Decision>,
}

impl World {
    pub(crate) fn new(name: String, mut config: PolicyConfig) -> Result<Self, PolicyErrors> {
        // Requests are settled at once and nothing is refunded, so no record of a finished reservation is ever
        // asked for again: kept for days, they would take most of the memory.
        config.reservations.retention_ms = 1;
        let engine = Engine::new(config.compile()?);
        let mut options = MemoryOptions::default();
        options.max_accounts = MAX_CALLERS;
        options.max_tokens = MAX_CALLERS;
        options.max_cells = usize::MAX;
        options.max_claims = usize::MAX;
        options.max_reservations = usize::MAX;
        options.max_per_account = usize::MAX;
        let limits = config.limits.iter().map(|(name, limit)| (name.as_str().into(), limit.per));
        let meters = Meters::new(limits.collect());
        Ok(World {
            name,
            scopes: engine.policy().scopes().names().to_vec(),
            engine,
            store: MemoryStore::new(options),
            config,
            checks_senders: BTreeSet::new(),
            decided: 0,
            meters,
            unsettled: 0,
            last: None,
        })
    }

    pub(crate) fn scopes(&self) -> &[Box<str>] {
        &self.scopes
    }

    /// Sets up a caller that comes for the first time.
    pub(crate) fn welcome(
        &mut self,
        callers: &Callers,
        newcomer: &Newcomer,
        state: &State,
        now_ms: u64,
    ) -> Result<(), Failure> {
        self.meters.make_room(callers.count(), callers.account_count());
        let Some(caller) = callers.get(newcomer.number) else { return Ok(()) };
        let Some(id) = callers.account(caller.account) else { return Ok(()) };
        let admin = Admin::new(&self.store);
        if newcomer.brings_account {
            let rule = state.account(id);
            admin.put_account(id, rule.balance, rule.settings.clone(), now_ms).map_err(full)?;
            let caps = rule.settings.spend_caps.as_deref().unwrap_or_default();
            self.meters.add_caps(CapOf::Account(caller.account), caps);
            if rule.settings.senders.is_some() {
                self.checks_senders.insert(caller.account);
            }
        }
        let (rule, _) = state
            .caller(callers.name(newcomer.number), Some(id.as_str()))
            .map_err(|error| Failure::new(error.to_string()))?;
        let mut settings = rule.settings.clone();
        settings.scopes = Some(rule.scopes.clone().unwrap_or_else(|| self.scopes.clone()));
        let caps = settings.spend_caps.clone().unwrap_or_default();
        admin.put_token(&caller.digest, id, settings, now_ms).map_err(full)?;
        self.meters.add_caps(CapOf::Caller(newcomer.number), &caps);
        Ok(())
    }

    /// Decides a request, and settles what was allowed as the log says.
    pub(crate) fn decide(&mut self, sent: &Sent<'_>) -> Result<Decided, Failure> {
        let request = self.request(sent);
        let now_ms = request.now_ms;
        let decision = self.engine.decide(&self.store, &request);
        let posted = match decision.ticket() {
            None => 0,
            Some(ticket) => {
                let finish = finish(sent.record, ticket);
                match self.engine.finish(&self.store, ticket, finish, now_ms) {
                    Ok(settled) => settled.posted.map_or(0, |amount| amount.0),
                    Err(_) => {
                        self.unsettled = self.unsettled.saturating_add(1);
                        0
                    }
                }
            }
        };
        let decided = Decided {
            status: decision.status(),
            route: decision.route(),
            reserved: decision.reserved().map_or(0, |amount| amount.0),
        };
        let limits = self.engine.policy().limits(decision.route());
        self.meters.count(sent, &decided, &decision, limits, posted);
        self.last = Some(decision);
        self.decided = self.decided.saturating_add(1);
        if self.decided.is_multiple_of(EXPIRE_EVERY) {
            Admin::new(&self.store).expire(now_ms).map_err(full)?;
        }
        Ok(decided)
    }

    fn request<'r>(&self, sent: &Sent<'r>) -> Request<'r> {
        let record = sent.record;
        let checks_sender =
            sent.account.is_some_and(|account| self.checks_senders.contains(&account));
        Request {
            now_ms: record.now_ms,
            method: &record.method,
            target: &record.target,
            headers: sent.headers,
            peer: record.peer,
            body: Body::Bytes(sent.body),
            cost: self.cost(record),
            sender: record.sender.as_deref().filter(|_| checks_sender),
            invalid: invalid(record),
            peek: record.peek,
        }
    }

    /// The price that the host gave. What was reserved may have been the route's price, and stands for the
    /// host's only where this policy has none for the route.
    fn cost(&self, record: &Record) -> Option<Amount> {
        let price = &record.price;
        let priced = || {
            let route = price.route.as_deref().and_then(|route| self.config.routes.get(route));
            route.is_some_and(|route| route.price.is_some())
        };
        price.cost.or_else(|| price.reserved.filter(|_| !priced())).map(Amount)
    }

    /// The name of a route.
    pub(crate) fn route_name(&self, route: Option<RouteId>) -> Option<&str> {
        route.and_then(|id| self.engine.policy().route(id)).map(|route| &*route.name)
    }

    /// What of the policy decided the last request: a limit's name, or whose cap.
    pub(crate) fn last_rule(&self) -> Option<String> {
        let decision = self.last.as_ref()?;
        match decision.denial()? {
            Denial::RateLimited { limit, .. } => {
                let limits = self.engine.policy().limits(decision.route());
                limits.get(usize::from(*limit)).map(|limit| limit.name.to_string())
            }
            Denial::SpendCapExceeded { holder, per, .. } => {
                let holder = match holder {
                    CapHolder::Token => "token",
                    CapHolder::Account => "account",
                };
                Some(format!("{holder} per {}", period_name(*per)))
            }
            _ => None,
        }
    }

    /// The step that decided the last request, which was `sent`. It is asked for again without consuming
    /// anything: a denial consumed nothing that its own check looks at, and a replay neither.
    pub(crate) fn last_step(&self, sent: &Sent<'_>) -> Option<TraceStep> {
        let status = self.last.as_ref()?.status();
        if status == Status::Allowed {
            return None;
        }
        let explanation = self.engine.explain(&self.store, &self.request(sent));
        if explanation.decision.status() != status {
            return None;
        }
        explanation.steps.into_iter().find(|step| step.result == CheckResult::Decided)
    }
}

pub(crate) fn period_name(per: Period) -> &'static str {
    match per {
        Period::Day => "day",
        Period::Month => "month",
        Period::Lifetime => "lifetime",
    }
}

/// What the log says the host's validation said.
fn invalid(record: &Record) -> Option<&str> {
    const RECORDED: &str = "the log says so";
    let recorded = record.outcome.is(Status::ValidationFailed).then_some(RECORDED);
    record.invalid.as_deref().or(recorded)
}

/// How a request ended, as far as the log tells: what was answered with 4xx or 5xx costs nothing. What was denied
/// then was answered by nobody else; it counts as carried out.
fn finish(record: &Record, ticket: &Ticket) -> Finish {
    let outcome = &record.outcome;
    let status = outcome.status.filter(|_| !outcome.was_denied());
    let response = ticket.holds_key.then(|| {
        let status = status.unwrap_or(200);
        Arc::new(StoredResponse { status, headers: Box::default(), body: None })
    });
    if status.is_some_and(|status| status >= 400) {
        return Finish::Void { response };
    }
    // A recorded charge says what the host makes of a price; of another price it says nothing.
    let same_price = record.price.reserved.is_none_or(|reserved| reserved == ticket.reserved.0);
    let charged = record.price.charged.filter(|_| same_price);
    let amount = charged.map(|charged| Amount(charged.min(ticket.reserved.0)));
    Finish::Settle { amount, response }
}

fn full(error: AdminError) -> Failure {
    Failure::new(format!("the store for the replay: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::record::{IdentityRule, Name, Parsed};
    use super::super::sent::SentHeaders;
    use super::*;

    fn record(now_ms: u64) -> Record {
        let line = format!(
            r#"{{"now_ms":{now_ms},"method":"POST","path":"/a","token":"t","key":"k-{now_ms}"}}"#
        );
        match super::super::json_line::parse(line.as_bytes(), &IdentityRule::First) {
            Ok(Parsed::Record(record)) => *record,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_over_does_not_stay_in_the_store() {
        let policy = "idempotency.retention_ms = 1\nscopes.a = [\"POST /a\"]\nroutes.\"POST /a\".idempotency = true\n";
        let config = PolicyConfig::from_toml(policy).unwrap();
        let mut world = World::new("x".to_owned(), config).unwrap();
        let (mut callers, state) = (Callers::default(), State::default());
        // Each account is busy once, so that nothing but a sweep ends what it left behind.
        for number in 0..EXPIRE_EVERY {
            let record = record(number.saturating_mul(10));
            let name =
                Name { kind: super::super::record::Kind::Token, text: number.to_string().into() };
            let (caller, newcomer) = callers.number(&name, None, &state).unwrap();
            world.welcome(&callers, &newcomer.unwrap(), &state, record.now_ms).unwrap();
            let known = callers.get(caller).unwrap();
            let headers = SentHeaders::of(&record, Some(&known.authorization));
            let account = Some(known.account);
            let sent = Sent {
                record: &record,
                headers: &headers,
                body: b"",
                caller: Some(caller),
                account,
            };
            assert_eq!(world.decide(&sent).unwrap().status, Status::Allowed);
        }
        let now_ms = EXPIRE_EVERY.saturating_mul(10);
        let left = Admin::new(&world.store).expire(now_ms).unwrap();
        assert!(left <= 1, "{left} keys were still there");
    }
}
