//! The step machine: from a request to a decision, asking a store at most twice on the way.

use alloc::boxed::Box;
use core::net::IpAddr;

use crate::MAX_NOW_MS;
use crate::authenticate::{Bearer, bearer};
use crate::authorize::{has_networks, source_is_allowed};
use crate::client_ip::client_ip;
use crate::command::{
    Admission, Admit, AdmitVerdict, Command, Credential, Denial, Idempotency, LookedUp, Lookup,
    Mode, Outcome, PlainAdmission, PlainAdmit, Shadows,
};
use crate::decision::{Cause, Decision, Ticket};
use crate::engine::Engine;
use crate::explain::{Explanation, Trace};
use crate::idempotency::{IdempotencyRule, MAX_KEY_BYTES, claim_key, fingerprint, parse_key};
use crate::ledger::Amount;
use crate::limit::{FailureMode, Limit};
use crate::policy::{ChargeRule, Route, RouteId};
use crate::request::{Request, Single};
use crate::status::Status;
use crate::store::{Store, StoreError};
use crate::token::{TokenDigest, digest};

/// One request on its way to a decision.
///
/// ```
/// # use tollgate::*;
/// # fn example(engine: &Engine, store: &impl Store, request: &Request<'_>) -> Decision {
/// let mut evaluation = engine.evaluate(request);
/// while let Some(command) = evaluation.command() {
///     let outcome = store.perform(&command, request.now_ms); // or send it away, and resume later
///     evaluation.resume(outcome);
/// }
/// evaluation.into_decision()
/// # }
/// ```
#[derive(Debug)]
pub struct Evaluation<'a> {
    engine: &'a Engine,
    request: &'a Request<'a>,
    facts: Facts<'a>,
    stage: Stage,
    looks_up_first: bool,
    look_ups_left: u8,
    /// What the store told of the token.
    credential: Option<Credential>,
    source: Option<IpAddr>,
    idempotency: Idempotency,
    /// The decision so far. When an admission only observes, its status is the denial already.
    decision: Decision,
    trace: Option<Box<Trace>>,
}

/// How often a token is looked up again because its account was changed meanwhile.
const MAX_LOOK_UPS: u8 = 8;

/// What the evaluation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Credential,
    Admission,
    Nothing,
}

/// What a request says before any store is asked.
#[derive(Clone, Copy, Debug)]
struct Facts<'a> {
    digest: TokenDigest,
    found: Option<RouteId>,
    route: Option<&'a Route>,
}

impl<'a> Facts<'a> {
    #[inline]
    fn new(engine: &'a Engine, request: &Request<'_>, text: &[u8]) -> Self {
        let policy = engine.policy();
        let found = policy.find_route(request.method, request.target);
        let route = found.and_then(|id| policy.route(id));
        Facts { digest: digest(text, engine.pepper()), found, route }
    }

    #[inline]
    fn look_up<'s>(&'s self, engine: &'s Engine, plain: Option<PlainAdmit<'s>>) -> Lookup<'s> {
        Lookup { digest: &self.digest, scopes: &engine.policy().scopes, plain }
    }

    fn charge(&self, request: &Request<'_>) -> Option<Amount> {
        let price = self.route.and_then(|route| route.charge.price);
        request.cost.or(price).filter(|cost| *cost > Amount::ZERO)
    }

    /// What can be admitted together with the look-up: a request that only limits can hold back.
    #[inline]
    fn plain(&self, request: &Request<'_>) -> Option<PlainAdmit<'a>> {
        let route = self.route.filter(|route| !route.counts_by_source)?;
        let takes_key = route.idempotency.is_some_and(|rule| {
            rule.required || request.headers.single("idempotency-key") != Single::None
        });
        let asks_more = takes_key
            || request.peek
            || request.invalid.is_some()
            || request.sender.is_some()
            || self.charge(request).is_some();
        (!asks_more).then_some(PlainAdmit { granted_by: route.granted_by, limits: &route.limits })
    }
}

/// Decides a request on a store that answers at once. The same as the loop over
/// [`Evaluation::command`], but what needs no more than its look-up never becomes an evaluation: that
/// is most requests, and building one takes as long as answering them.
#[inline]
pub(crate) fn decide<S: Store + ?Sized>(
    engine: &Engine,
    store: &S,
    request: &Request<'_>,
) -> Decision {
    let now_ms = request.now_ms;
    let text = match presented(engine, request) {
        Ok(text) => text,
        Err(status) => return Decision::new(status, now_ms),
    };
    let facts = Facts::new(engine, request, text);
    let lookup = facts.look_up(engine, facts.plain(request));
    if let Some(admitted) = store.admit_plain(&lookup, now_ms) {
        return decided(facts.found, admitted, now_ms);
    }
    let mut evaluation = Evaluation::with_facts(engine, request, facts, None);
    evaluation.run(store);
    evaluation.into_decision()
}

/// The decision on a plain request that was admitted, or that a limit refused.
#[cfg_attr(not(feature = "small"), inline(always))]
fn decided(route: Option<RouteId>, admitted: PlainAdmission, now_ms: u64) -> Decision {
    let PlainAdmission { account, admission, .. } = admitted;
    let (status, cause) = match admission.verdict {
        AdmitVerdict::Admitted { reservation: None } => (Status::Allowed, Cause::None),
        AdmitVerdict::Denied(denial) => (status_of(&denial), Cause::Denial(denial)),
        _ => (Status::StoreUnavailable, Cause::Store(Box::new(StoreError::WrongOutcome))),
    };
    let (limit, shadows) = (admission.tightest, admission.shadows);
    let decision = Decision::new(status, now_ms);
    Decision { route, account: Some(account), limit, shadows, cause, ..decision }
}

/// The token text of a request, or why there is none to look up.
#[inline]
fn presented<'r>(engine: &Engine, request: &Request<'r>) -> Result<&'r [u8], Status> {
    match bearer(request.headers, engine.policy().token_format) {
        _ if request.now_ms > MAX_NOW_MS => Err(Status::StoreUnavailable),
        Bearer::Missing => Err(Status::MissingToken),
        Bearer::Malformed => Err(Status::InvalidToken),
        Bearer::Token(text) => Ok(text),
    }
}

impl<'a> Evaluation<'a> {
    pub(crate) fn new(
        engine: &'a Engine,
        request: &'a Request<'a>,
        mut trace: Option<Box<Trace>>,
    ) -> Self {
        if let Some(trace) = &mut trace {
            let format = engine.policy().token_format;
            trace.bearer(&bearer(request.headers, format), format);
        }
        match presented(engine, request) {
            Ok(text) => Self::with_facts(engine, request, Facts::new(engine, request, text), trace),
            Err(status) => {
                let none = TokenDigest::new([0; 32]);
                let facts = Facts { digest: none, found: None, route: None };
                let mut evaluation = Self::with_facts(engine, request, facts, trace);
                evaluation.deny(status);
                evaluation
            }
        }
    }

    fn with_facts(
        engine: &'a Engine,
        request: &'a Request<'a>,
        facts: Facts<'a>,
        trace: Option<Box<Trace>>,
    ) -> Self {
        let decision = Decision::new(Status::Allowed, request.now_ms);
        Evaluation {
            engine,
            request,
            facts,
            stage: Stage::Credential,
            looks_up_first: false,
            look_ups_left: MAX_LOOK_UPS,
            credential: None,
            source: None,
            idempotency: Idempotency::Absent,
            decision,
            trace,
        }
    }

    fn deny(&mut self, status: Status) {
        self.decision.status = status;
        self.stage = Stage::Nothing;
    }

    /// Asks for look-up and admission apart, also where they could be one command: until the store
    /// performs [`Command::Admit`] nothing is consumed, and the host may still give up.
    #[must_use]
    pub fn look_up_first(self) -> Self {
        Evaluation { looks_up_first: true, ..self }
    }

    /// What to ask of the store now; `None` when the decision is there.
    #[must_use]
    pub fn command(&self) -> Option<Command<'_>> {
        match self.stage {
            Stage::Nothing => None,
            Stage::Credential => Some(Command::Lookup(self.look_up())),
            Stage::Admission => self.admit().map(Command::Admit),
        }
    }

    /// Asks a store until the decision is there: the loop of the example, with typed answers.
    #[inline]
    pub(crate) fn run<S: Store + ?Sized>(&mut self, store: &S) {
        let now_ms = self.request.now_ms;
        loop {
            match self.stage {
                Stage::Nothing => return,
                Stage::Credential => match store.look_up(&self.look_up(), now_ms) {
                    Ok(found) => self.looked_up(found),
                    Err(error) => self.unavailable(error),
                },
                Stage::Admission => {
                    let Some(admit) = self.admit() else { return };
                    match store.admit(&admit, now_ms) {
                        Ok(admission) => self.admitted(admission),
                        Err(error) => self.without_store(error),
                    }
                }
            }
        }
    }

    /// Takes the store's answer to [`command`](Self::command).
    pub fn resume(&mut self, outcome: Result<Outcome, StoreError>) {
        match (self.stage, outcome) {
            (Stage::Credential, Ok(Outcome::LookedUp(found))) => self.looked_up(found),
            (Stage::Admission, Ok(Outcome::Admission(admission))) => self.admitted(admission),
            (Stage::Nothing, _) => {}
            (Stage::Credential, outcome) => self.unavailable(error_of(outcome)),
            (Stage::Admission, outcome) => self.without_store(error_of(outcome)),
        }
    }

    /// The decision. Before [`command`](Self::command) gives `None` it is a denial with
    /// `store_unavailable`.
    #[must_use]
    #[inline]
    pub fn into_decision(mut self) -> Decision {
        if self.stage != Stage::Nothing {
            self.deny(Status::StoreUnavailable);
        }
        self.decision
    }

    /// The decision with its trace, of an evaluation that
    /// [`evaluate_traced`](crate::Engine::evaluate_traced) began; any other has no steps.
    #[must_use]
    pub fn into_explanation(mut self) -> Explanation {
        let trace = self.trace.take();
        Explanation::new(self.into_decision(), trace)
    }

    fn look_up(&self) -> Lookup<'_> {
        // A trace wants to see every check: it takes the long way.
        let apart = self.looks_up_first || self.trace.is_some();
        let plain = if apart { None } else { self.facts.plain(self.request) };
        self.facts.look_up(self.engine, plain)
    }

    fn looked_up(&mut self, found: LookedUp) {
        match found {
            LookedUp { credential: Some(credential), admission: Some(admission) } => {
                self.decision.route = self.facts.found;
                self.decision.account = Some(credential.account);
                self.admitted(admission);
            }
            LookedUp { credential, .. } => self.known(credential),
        }
    }

    /// Checks 2 to 4, and what is to be asked for the rest.
    fn known(&mut self, credential: Option<Credential>) {
        let now_ms = self.request.now_ms;
        if let Some(trace) = &mut self.trace {
            trace.credential(credential.as_ref(), now_ms);
        }
        let Some(credential) = credential.filter(|credential| is_live(credential, now_ms)) else {
            return self.deny(Status::InvalidToken);
        };
        let policy = self.engine.policy();
        self.decision.route = self.facts.found;
        let restricted = has_networks(&credential);
        let by_source = restricted || self.limits().iter().any(Limit::needs_source);
        if by_source || self.trace.is_some() {
            let rules = &policy.sources;
            let (peer, headers) = (self.request.peer, self.request.headers);
            self.source = client_ip(peer, headers, &rules.trusted_proxies, rules.forwarded_header);
        }
        let inside = !restricted || source_is_allowed(&credential, self.source);
        let granted =
            self.facts.route.is_some_and(|route| route.granted_by.intersects(credential.scopes));
        if let Some(trace) = &mut self.trace {
            trace.networks(&credential, self.source, inside, policy.sources.shadow);
            trace.scopes(policy, self.facts.route, &credential, granted);
        }
        self.decision.shadows.networks = !inside && policy.sources.shadow;
        self.decision.account = Some(credential.account.clone());
        self.credential = Some(credential);
        self.stage = Stage::Admission;
        if !inside && !policy.sources.shadow {
            self.decision.status = Status::IpNotAllowed;
        } else if !granted {
            self.decision.status = Status::InsufficientScope;
        } else if let Some(rule) = self.facts.route.and_then(|route| route.idempotency) {
            self.idempotency = self.idempotency(rule);
        }
    }

    fn limits(&self) -> &'a [Limit] {
        match self.facts.route {
            Some(route) => &route.limits,
            None => &self.engine.policy().unrouted_limits,
        }
    }

    fn charge_rule(&self) -> &'a ChargeRule {
        self.facts.route.map_or(&ChargeRule::NONE, |route| &route.charge)
    }

    fn charge(&self) -> Option<Amount> {
        self.facts.charge(self.request)
    }

    /// Checks 5 to 10 as one question; where the request is denied already, only where its limits stand.
    fn admit(&self) -> Option<Admit<'_>> {
        let credential = self.credential.as_ref()?;
        let admit = Admit {
            mode: Mode::Observe,
            token: &self.facts.digest,
            token_record: credential.token.as_deref(),
            account: &credential.account,
            revision: Some(credential.revision),
            source: self.source,
            limits: self.limits(),
            refused_elsewhere: None,
            idempotency: &Idempotency::Absent,
            sender: None,
            invalid: false,
            charge: None,
            charge_rule: self.charge_rule(),
            detail: self.trace.is_some(),
        };
        if self.decision.status != Status::Allowed {
            return Some(admit);
        }
        Some(Admit {
            mode: if self.request.peek { Mode::Peek } else { Mode::Apply },
            idempotency: &self.idempotency,
            sender: self.request.sender,
            invalid: self.request.invalid.is_some(),
            charge: self.charge(),
            ..admit
        })
    }

    fn idempotency(&self, rule: IdempotencyRule) -> Idempotency {
        let value = match self.request.headers.single("idempotency-key") {
            Single::One(value) => value,
            Single::None if rule.required => return Idempotency::Invalid,
            Single::None => return Idempotency::Absent,
            Single::Repeated => return Idempotency::Invalid,
        };
        let mut buffer = [0; MAX_KEY_BYTES];
        let Ok(key) = parse_key(value, &mut buffer) else { return Idempotency::Invalid };
        let Some(route) = self.facts.route else { return Idempotency::Absent };
        Idempotency::Key {
            claim: claim_key(&route.name, key),
            fingerprint: fingerprint(self.request.method, self.request.target, self.request.body),
            rule,
        }
    }

    /// What was looked up is no longer so: from the start, but not for ever.
    fn look_up_again(&mut self) {
        let Some(again) = self.look_ups_left.checked_sub(1) else {
            let reason = "the account's settings change faster than a request can be decided";
            return self.unavailable(StoreError::Unavailable { reason: reason.into() });
        };
        self.look_ups_left = again;
        self.stage = Stage::Credential;
        self.credential = None;
        self.source = None;
        self.idempotency = Idempotency::Absent;
        self.decision = Decision::new(Status::Allowed, self.request.now_ms);
        if let Some(trace) = &mut self.trace {
            trace.look_up_again();
        }
    }

    fn admitted(&mut self, admission: Admission) {
        if matches!(admission.verdict, AdmitVerdict::CredentialChanged) {
            return self.look_up_again();
        }
        if self.trace.is_some() {
            let mut trace = self.trace.take();
            if let (Some(trace), Some(admit)) = (&mut trace, self.admit()) {
                trace.admission(&admit, &admission, self.request);
            }
            self.trace = trace;
        }
        self.stage = Stage::Nothing;
        let decision = &mut self.decision;
        decision.limit = admission.tightest;
        decision.shadows = Shadows { networks: decision.shadows.networks, ..admission.shadows };
        if decision.status != Status::Allowed {
            return;
        }
        match admission.verdict {
            AdmitVerdict::Admitted { reservation: None } | AdmitVerdict::CredentialChanged => {}
            AdmitVerdict::Admitted { reservation: Some(reservation) } => {
                let reserved = self.charge().unwrap_or(Amount::ZERO);
                let holds_key = matches!(self.idempotency, Idempotency::Key { .. });
                self.decision.ticket = self.decision.account.clone().map(|account| Ticket {
                    account,
                    reservation,
                    reserved,
                    holds_key,
                });
            }
            AdmitVerdict::Replay(response) => {
                decision.status = Status::Replayed;
                decision.cause = Cause::Replay(response);
            }
            AdmitVerdict::Denied(denial) => {
                decision.status = status_of(&denial);
                decision.cause = match self.request.invalid {
                    Some(message) if denial == Denial::ValidationFailed => {
                        Cause::Invalid(message.into())
                    }
                    _ => Cause::Denial(denial),
                };
            }
        }
    }

    fn unavailable(&mut self, error: StoreError) {
        self.decision.cause = Cause::Store(Box::new(error));
        self.deny(Status::StoreUnavailable);
    }

    /// The decision when the store failed an admission: a denial made before it stands; else the
    /// request passes only if the policy leaves every check open that it needed, and none of them is
    /// about money.
    fn without_store(&mut self, error: StoreError) {
        self.stage = Stage::Nothing;
        if self.decision.status != Status::Allowed {
            return;
        }
        let is_open = |limit: &Limit| limit.shadow || limit.on_store_failure == FailureMode::Open;
        let key_open = match self.idempotency {
            Idempotency::Absent => true,
            Idempotency::Invalid => false,
            Idempotency::Key { rule, .. } => rule.on_store_failure == FailureMode::Open,
        };
        let about_money = self.charge().is_some() || self.request.sender.is_some();
        if about_money || !key_open || !self.limits().iter().all(is_open) {
            return self.unavailable(error);
        }
        if let Some(message) = self.request.invalid {
            self.decision.cause = Cause::Invalid(message.into());
            self.deny(Status::ValidationFailed);
        }
    }
}

fn error_of(outcome: Result<Outcome, StoreError>) -> StoreError {
    outcome.err().unwrap_or(StoreError::WrongOutcome)
}

fn is_live(credential: &Credential, now_ms: u64) -> bool {
    let expires_ms = credential.token.as_ref().and_then(|token| token.expires_ms);
    !credential.revoked && expires_ms.is_none_or(|expires_ms| expires_ms > now_ms)
}

fn status_of(denial: &Denial) -> Status {
    match denial {
        Denial::RateLimited { .. } => Status::RateLimited,
        Denial::InFlight => Status::IdempotencyInFlight,
        Denial::KeyReused => Status::IdempotencyKeyReused,
        Denial::KeyInvalid => Status::IdempotencyKeyInvalid,
        Denial::SenderNotApproved => Status::SenderNotApproved,
        Denial::ValidationFailed => Status::ValidationFailed,
        Denial::SpendCapExceeded { .. } => Status::SpendCapExceeded,
        Denial::InsufficientBalance { .. } => Status::InsufficientBalance,
    }
}
