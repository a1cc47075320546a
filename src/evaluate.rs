//! The step machine: from a request to a decision, asking a store at most twice on the way.

use alloc::boxed::Box;
use core::net::IpAddr;

use crate::MAX_NOW_MS;
use crate::authenticate::{Bearer, bearer};
use crate::authorize::{has_networks, source_is_allowed};
use crate::client_ip::client_ip;
use crate::command::{
    Admission, Admit, AdmitVerdict, Command, Credential, Denial, Idempotency, Lookup, Mode,
    Outcome, Shadows,
};
use crate::decision::{Cause, Decision, Ticket};
use crate::engine::Engine;
use crate::explain::Trace;
use crate::idempotency::{MAX_KEY_BYTES, claim_key, fingerprint, parse_key};
use crate::ledger::Amount;
use crate::limit::{FailureMode, Limit};
use crate::policy::{ChargeRule, Route};
use crate::request::Request;
use crate::status::Status;
use crate::store::StoreError;
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
    digest: TokenDigest,
    state: State<'a>,
    trace: Option<Box<Trace>>,
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // it lives on the stack of one request, and boxing allocates
enum State<'a> {
    LookUp,
    Admit {
        admit: Admit<'a>,
        /// What the decision has so far: its status is a denial when the limits are only observed.
        decision: Decision,
    },
    Done(Decision),
}

impl<'a> Evaluation<'a> {
    pub(crate) fn new(
        engine: &'a Engine,
        request: &'a Request<'a>,
        mut trace: Option<Box<Trace>>,
    ) -> Self {
        let policy = engine.policy();
        let mut token_digest = TokenDigest::new([0; 32]);
        let deny = |status| State::Done(Decision::new(status, request.now_ms));
        let found = bearer(request.headers, policy.token_format);
        if let Some(trace) = &mut trace {
            trace.bearer(&found, policy.token_format);
        }
        let state = match found {
            _ if request.now_ms > MAX_NOW_MS => deny(Status::StoreUnavailable),
            Bearer::Missing => deny(Status::MissingToken),
            Bearer::Malformed => deny(Status::InvalidToken),
            Bearer::Token(text) => {
                token_digest = digest(text, engine.pepper());
                State::LookUp
            }
        };
        Evaluation { engine, request, digest: token_digest, state, trace }
    }

    /// What to ask of the store now; `None` when the decision is there.
    #[must_use]
    pub fn command(&self) -> Option<Command<'_>> {
        match &self.state {
            State::LookUp => {
                let scopes = &self.engine.policy().scopes;
                Some(Command::Lookup(Lookup { digest: &self.digest, scopes }))
            }
            State::Admit { admit, .. } => Some(Command::Admit(admit)),
            State::Done(_) => None,
        }
    }

    /// Takes the store's answer to [`command`](Self::command).
    pub fn resume(&mut self, outcome: Result<Outcome, StoreError>) {
        let now_ms = self.request.now_ms;
        let state = core::mem::replace(
            &mut self.state,
            State::Done(Decision::new(Status::StoreUnavailable, now_ms)),
        );
        self.state = match (state, outcome) {
            (State::LookUp, Ok(Outcome::Credential(credential))) => self.credential(credential),
            (State::LookUp, outcome) => {
                State::Done(unavailable(Decision::new(Status::Allowed, now_ms), outcome))
            }
            (State::Admit { admit, decision }, Ok(Outcome::Admission(admission))) => {
                State::Done(self.admitted(&admit, decision, admission))
            }
            (State::Admit { admit, decision }, outcome) => {
                State::Done(without_store(&admit, decision, self.request, outcome))
            }
            (State::Done(decision), _) => State::Done(decision),
        };
    }

    /// The decision. Before [`command`](Self::command) gives `None` it is a denial with
    /// `store_unavailable`.
    #[must_use]
    pub fn into_decision(self) -> Decision {
        match self.state {
            State::Done(decision) => decision,
            _ => Decision::new(Status::StoreUnavailable, self.request.now_ms),
        }
    }

    pub(crate) fn into_trace(mut self) -> (Decision, Option<Box<Trace>>) {
        let trace = self.trace.take();
        (self.into_decision(), trace)
    }

    /// Checks 2 to 4, and what is to be asked for the rest.
    fn credential(&mut self, credential: Option<Credential>) -> State<'a> {
        let now_ms = self.request.now_ms;
        if let Some(trace) = &mut self.trace {
            trace.credential(credential.as_ref(), now_ms);
        }
        let Some(credential) = credential.filter(|credential| is_live(credential, now_ms)) else {
            return State::Done(Decision::new(Status::InvalidToken, now_ms));
        };
        let policy = self.engine.policy();
        let restricted = has_networks(&credential);
        let mut decision = Decision::new(Status::Allowed, now_ms);

        let found = policy.find_route(self.request.method, self.request.target);
        let route = found.and_then(|id| policy.route(id));
        decision.route = route.and(found);
        let limits = route.map_or(&policy.unrouted_limits[..], |route| &route.limits);

        let source = if restricted || limits.iter().any(Limit::needs_source) || self.trace.is_some()
        {
            self.source()
        } else {
            None
        };
        let inside = !restricted || source_is_allowed(&credential, source);
        let granted = route.is_some_and(|route| route.granted_by.intersects(credential.scopes));
        if let Some(trace) = &mut self.trace {
            trace.networks(&credential, source, inside, policy.sources.shadow);
            trace.scopes(policy, route, &credential, granted);
        }
        decision.shadows.networks = !inside && policy.sources.shadow;
        decision.account = Some(credential.account.clone());
        if !inside && !policy.sources.shadow {
            decision.status = Status::IpNotAllowed;
        } else if !granted {
            decision.status = Status::InsufficientScope;
        }
        let admit = match route {
            Some(route) if decision.status == Status::Allowed => {
                self.admit(route, credential, source, limits)
            }
            _ => self.observe(credential, source, limits),
        };
        State::Admit { admit, decision }
    }

    fn source(&self) -> Option<IpAddr> {
        let rules = &self.engine.policy().sources;
        client_ip(
            self.request.peer,
            self.request.headers,
            &rules.trusted_proxies,
            rules.forwarded_header,
        )
    }

    fn admit(
        &self,
        route: &'a Route,
        credential: Credential,
        source: Option<IpAddr>,
        limits: &'a [Limit],
    ) -> Admit<'a> {
        let charge = self.request.cost.or(route.charge.price).filter(|cost| *cost > Amount::ZERO);
        Admit {
            mode: if self.request.peek { Mode::Peek } else { Mode::Apply },
            idempotency: self.idempotency(route),
            sender: self.request.sender,
            invalid: self.request.invalid.is_some(),
            charge,
            charge_rule: route.charge,
            ..self.observe(credential, source, limits)
        }
    }

    /// Asks only where the limits stand.
    fn observe(
        &self,
        credential: Credential,
        source: Option<IpAddr>,
        limits: &'a [Limit],
    ) -> Admit<'a> {
        Admit {
            mode: Mode::Observe,
            token: self.digest,
            token_record: credential.token,
            account: credential.account,
            source,
            limits,
            idempotency: Idempotency::Absent,
            sender: None,
            invalid: false,
            charge: None,
            charge_rule: ChargeRule::default(),
            detail: self.trace.is_some(),
        }
    }

    fn idempotency(&self, route: &Route) -> Idempotency {
        let Some(rule) = route.idempotency else { return Idempotency::Absent };
        let headers = self.request.headers;
        let Some(value) = headers.value("idempotency-key", 0) else {
            return if rule.required { Idempotency::Invalid } else { Idempotency::Absent };
        };
        if headers.value("idempotency-key", 1).is_some() {
            return Idempotency::Invalid;
        }
        let mut buffer = [0; MAX_KEY_BYTES];
        let Ok(key) = parse_key(value, &mut buffer) else { return Idempotency::Invalid };
        Idempotency::Key {
            claim: claim_key(&route.name, key),
            fingerprint: fingerprint(self.request.method, self.request.target, self.request.body),
            rule,
        }
    }

    fn admitted(
        &mut self,
        admit: &Admit<'a>,
        mut decision: Decision,
        admission: Admission,
    ) -> Decision {
        if let Some(trace) = &mut self.trace {
            trace.admission(admit, &admission, self.request);
        }
        decision.limit = admission.tightest;
        decision.shadows = Shadows { networks: decision.shadows.networks, ..admission.shadows };
        if admit.mode == Mode::Observe {
            return decision;
        }
        match admission.verdict {
            AdmitVerdict::Admitted { reservation } => {
                decision.ticket = reservation.map(|reservation| Ticket {
                    account: admit.account.clone(),
                    reservation,
                    reserved: admit.charge.unwrap_or(Amount::ZERO),
                    holds_key: matches!(admit.idempotency, Idempotency::Key { .. }),
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
        decision
    }
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

fn unavailable(mut decision: Decision, outcome: Result<Outcome, StoreError>) -> Decision {
    let error = outcome.err().unwrap_or(StoreError::WrongOutcome);
    decision.status = Status::StoreUnavailable;
    decision.cause = Cause::Store(Box::new(error));
    decision
}

/// The decision when the store failed an admission: a denial made before it stands; else the request
/// passes only if the policy leaves every check open that it needed, and none of them is about money.
fn without_store(
    admit: &Admit<'_>,
    decision: Decision,
    request: &Request<'_>,
    outcome: Result<Outcome, StoreError>,
) -> Decision {
    if admit.mode == Mode::Observe {
        return decision;
    }
    let limits_open = admit
        .limits
        .iter()
        .all(|limit| limit.shadow || limit.on_store_failure == FailureMode::Open);
    let key_open = match admit.idempotency {
        Idempotency::Absent => true,
        Idempotency::Invalid => false,
        Idempotency::Key { rule, .. } => rule.on_store_failure == FailureMode::Open,
    };
    if !limits_open || !key_open || admit.charge.is_some() || request.sender.is_some() {
        return unavailable(decision, outcome);
    }
    match request.invalid {
        None => decision,
        Some(message) => Decision {
            status: Status::ValidationFailed,
            cause: Cause::Invalid(message.into()),
            ..decision
        },
    }
}

impl Default for ChargeRule {
    fn default() -> Self {
        ChargeRule {
            price: None,
            lease_ms: 300_000,
            on_expiry: crate::ledger::OnExpiry::Void,
            retention_ms: 604_800_000,
        }
    }
}
