//! The ordered trace of a decision, for operators: what each check saw, and what would make it pass.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::authenticate::Bearer;
use crate::command::{
    Admission, Admit, AdmitVerdict, CapHolder, Credential, Denial, Idempotency, Mode,
};
use crate::decision::Decision;
use crate::ledger::Period;
use crate::limit::Counts;
use crate::policy::{CompiledPolicy, Route};
use crate::request::Request;
use crate::token::TokenFormat;

/// A decision and how it came about. Nothing was consumed.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What the decision would be.
    pub decision: Decision,
    /// The checks, in order.
    pub steps: Vec<TraceStep>,
}

/// One check of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceStep {
    /// Which check.
    pub check: Check,
    /// The rule that was applied.
    pub rule: String,
    /// What it was applied to. Never a secret.
    pub observed: String,
    /// How it ended.
    pub result: CheckResult,
    /// What would make it pass, if it failed.
    pub fix: Option<String>,
}

/// The checks, in the order in which they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Check {
    /// A bearer token is present and well formed.
    BearerToken,
    /// It is known, not revoked, not expired.
    Credential,
    /// The source address is inside the networks.
    SourceNetwork,
    /// A scope of the token grants the route.
    Scope,
    /// A limit that counts requests.
    RequestLimit,
    /// The idempotency key.
    Idempotency,
    /// The sender, and the host's own validation.
    Validation,
    /// A limit that counts executions.
    ExecutionLimit,
    /// A spend cap.
    SpendCap,
    /// The wallet.
    Wallet,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckResult {
    /// It passed.
    Passed,
    /// It decides: the request is denied, or replayed.
    Decided,
    /// It would have failed, but is in shadow mode.
    Shadow,
    /// An earlier check decided; this one would have passed.
    WouldPass,
    /// An earlier check decided; this one would have failed too.
    WouldFail,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Check::BearerToken => "bearer token",
            Check::Credential => "credential",
            Check::SourceNetwork => "source network",
            Check::Scope => "scope",
            Check::RequestLimit => "request limit",
            Check::Idempotency => "idempotency",
            Check::Validation => "validation",
            Check::ExecutionLimit => "execution limit",
            Check::SpendCap => "spend cap",
            Check::Wallet => "wallet",
        })
    }
}

impl Explanation {
    pub(crate) fn new(decision: Decision, trace: Option<Box<Trace>>) -> Self {
        let steps = trace.map(|trace| trace.steps).unwrap_or_default();
        Explanation { decision, steps }
    }
}

/// The steps so far.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    steps: Vec<TraceStep>,
}

impl Trace {
    pub(crate) fn new() -> Box<Self> {
        Box::default()
    }

    fn add(
        &mut self,
        check: Check,
        rule: impl Into<String>,
        observed: impl Into<String>,
        failed: bool,
        shadow: bool,
        fix: impl FnOnce() -> String,
    ) {
        let decided = self.steps.iter().any(|step| step.result == CheckResult::Decided);
        let result = match (failed, shadow, decided) {
            (true, true, _) => CheckResult::Shadow,
            (true, false, false) => CheckResult::Decided,
            (true, false, true) => CheckResult::WouldFail,
            (false, _, false) => CheckResult::Passed,
            (false, _, true) => CheckResult::WouldPass,
        };
        let fix = failed.then(fix);
        let (rule, observed) = (rule.into(), observed.into());
        self.steps.push(TraceStep { check, rule, observed, result, fix });
    }

    /// Forgets all but the first check, which needs no store.
    pub(crate) fn look_up_again(&mut self) {
        self.steps.truncate(1);
    }

    pub(crate) fn bearer(&mut self, found: &Bearer<'_>, format: TokenFormat) {
        let rule = match format {
            TokenFormat::Native => "one Authorization header with a native bearer token",
            TokenFormat::Opaque => "one Authorization header with a bearer token",
        };
        let (observed, fix) = match found {
            Bearer::Missing => ("no bearer token", "send 'Authorization: Bearer TOKEN'"),
            Bearer::Malformed => (
                "a header that is repeated or malformed, or a token whose form or checksum is wrong",
                "send the token once, exactly as it was issued",
            ),
            Bearer::Token(_) => ("a well-formed token", ""),
        };
        let failed = !matches!(found, Bearer::Token(_));
        self.add(Check::BearerToken, rule, observed, failed, false, || fix.to_owned());
    }

    pub(crate) fn credential(&mut self, credential: Option<&Credential>, now_ms: u64) {
        let rule = "the token is known, not revoked and not expired";
        let expires_ms = credential
            .and_then(|credential| credential.token.as_ref())
            .and_then(|token| token.expires_ms);
        let expired = expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms);
        let (observed, failed) = match (credential, expires_ms) {
            (None, _) => ("unknown".to_owned(), true),
            (Some(credential), _) if credential.revoked => ("revoked".to_owned(), true),
            (Some(_), Some(expires_ms)) if expired => (format!("expired at {expires_ms} ms"), true),
            (Some(_), Some(expires_ms)) => (format!("live until {expires_ms} ms"), false),
            (Some(_), None) => ("live, does not expire".to_owned(), false),
        };
        self.add(Check::Credential, rule, observed, failed, false, || {
            "issue a new token".to_owned()
        });
    }

    pub(crate) fn networks(
        &mut self,
        credential: &Credential,
        source: Option<IpAddr>,
        inside: bool,
        shadow: bool,
    ) {
        let account = credential.settings.as_deref().map_or(&[][..], |settings| &settings.networks);
        let token = credential.token.as_deref().map_or(&[][..], |token| &token.networks);
        let list = |networks: &[ipnet::IpNet]| {
            let names: Vec<String> = networks.iter().map(ToString::to_string).collect();
            if names.is_empty() { "any".to_owned() } else { names.join(", ") }
        };
        let rule = format!("account networks: {}; token networks: {}", list(account), list(token));
        let observed = match source {
            Some(address) => address.to_string(),
            None => "no source address".to_owned(),
        };
        let fix = format!("add {observed} to the networks, or call from inside them");
        self.add(Check::SourceNetwork, rule, observed, !inside, shadow, || fix);
    }

    pub(crate) fn scopes(
        &mut self,
        policy: &CompiledPolicy,
        route: Option<&Route>,
        credential: &Credential,
        granted: bool,
    ) {
        let names = |set| policy.scopes.names_in(set).collect::<Vec<_>>().join(", ");
        let Some(route) = route else {
            let fix = || "call a route of the policy, by its canonical path".to_owned();
            let observed = "no route matches the method and path";
            return self.add(Check::Scope, "a route of the policy", observed, true, false, fix);
        };
        let rule = format!("{} needs one of: {}", route.name, names(route.granted_by));
        let observed = format!("token has: {}", names(credential.scopes));
        let fix = || format!("grant the token one of: {}", names(route.granted_by));
        self.add(Check::Scope, rule, observed, !granted, false, fix);
    }

    /// The checks that the store made.
    pub(crate) fn admission(
        &mut self,
        admit: &Admit<'_>,
        admission: &Admission,
        request: &Request<'_>,
    ) {
        let denial = match &admission.verdict {
            AdmitVerdict::Denied(denial) => Some(denial),
            _ => None,
        };
        self.limits(admit, admission, Counts::Requests);
        if admit.mode != Mode::Observe {
            self.idempotency(admit, admission, denial);
            self.validation(admit, denial, request);
        }
        self.limits(admit, admission, Counts::Executions);
        if admit.mode != Mode::Observe {
            self.money(admit, admission);
        }
    }

    fn limits(&mut self, admit: &Admit<'_>, admission: &Admission, counts: Counts) {
        let check = match counts {
            Counts::Requests => Check::RequestLimit,
            Counts::Executions => Check::ExecutionLimit,
        };
        let Some(detail) = &admission.detail else { return };
        for (report, verdict) in &detail.limits {
            let Some(limit) = admit.limits.get(usize::from(report.limit)) else { continue };
            if limit.counts != counts {
                continue;
            }
            let rule = format!(
                "{}: {} per {} ms, this request takes {}",
                limit.name, report.quota.units, report.quota.window_ms, limit.cost
            );
            let observed = format!("{} left", report.left.remaining);
            let fix = || match verdict {
                Err(Some(retry_at_ms)) => format!("try again at {retry_at_ms} ms"),
                _ => "raise the quota above the request's cost".to_owned(),
            };
            self.add(check, rule, observed, verdict.is_err(), limit.shadow, fix);
        }
    }

    fn idempotency(&mut self, admit: &Admit<'_>, admission: &Admission, denial: Option<&Denial>) {
        let rule = "the Idempotency-Key is new, or stands for this very request";
        let replay = matches!(admission.verdict, AdmitVerdict::Replay(_));
        let (observed, failed, fix) = match (admit.idempotency, denial) {
            (Idempotency::Absent, _) => ("no key, or the route takes none", false, ""),
            (Idempotency::Invalid, _) => (
                "a missing or malformed key",
                true,
                "send one key of 1 to 255 visible ASCII characters",
            ),
            (_, Some(Denial::InFlight)) => (
                "the first request with this key has not ended",
                true,
                "wait for it, or resolve its reservation if its holder is lost",
            ),
            (_, Some(Denial::KeyReused)) => {
                ("the key stands for another request", true, "use a new key")
            }
            _ if replay => {
                ("completed: its response is replayed", true, "use a new key to run again")
            }
            _ => ("not claimed by another request", false, ""),
        };
        self.add(Check::Idempotency, rule, observed, failed, false, || fix.to_owned());
    }

    fn validation(&mut self, admit: &Admit<'_>, denial: Option<&Denial>, request: &Request<'_>) {
        if let Some(sender) = admit.sender {
            let failed = denial == Some(&Denial::SenderNotApproved);
            let observed = format!("sender '{sender}'");
            let fix = || format!("approve '{sender}' for the account");
            let rule = "the sender is approved for the account";
            self.add(Check::Validation, rule, observed, failed, false, fix);
        }
        let rule = "the host finds the request valid";
        let observed = request.invalid.unwrap_or("no objection");
        let fix = || "correct the request".to_owned();
        self.add(Check::Validation, rule, observed, admit.invalid, false, fix);
    }

    fn money(&mut self, admit: &Admit<'_>, admission: &Admission) {
        let (Some(detail), Some(charge)) = (&admission.detail, admit.charge) else { return };
        for (holder, cap, spent) in &detail.spend_caps {
            let whose = match holder {
                CapHolder::Token => "token",
                CapHolder::Account => "account",
            };
            let per = match cap.per {
                Period::Day => "day",
                Period::Month => "month",
                Period::Lifetime => "lifetime",
            };
            let rule = format!("{whose} cap: {} per {per}", cap.amount);
            let observed = format!("{spent} spent, {charge} more asked");
            let failed = spent.checked_add(charge).is_none_or(|sum| sum > cap.amount);
            let fix = || format!("raise the cap, or wait for the next {per}");
            self.add(Check::SpendCap, rule, observed, failed, cap.shadow, fix);
        }
        let rule = format!("the wallet has {charge} available");
        let observed = format!("{} available", detail.available);
        let missing = charge.saturating_sub(detail.available);
        let failed = charge > detail.available;
        self.add(Check::Wallet, rule, observed, failed, false, || format!("deposit {missing}"));
    }
}
