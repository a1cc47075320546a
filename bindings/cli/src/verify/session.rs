//! One run against one gateway: asks it and the reference, and judges every answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tollgate::{Algorithm, Limit, Verdict};

use super::call::{Call, Redactor};
use super::client::{Client, ClientError, Reply};
use super::findings::{Finding, Findings};
use super::judge::{self, Judged};
use super::needs::{Need, needs};
use super::plan::{Plan, RoutePlan, is_shared};
use super::provision::{Provision, Provisioned};
use super::reference::{Reference, Took, Truth, merged};
use super::upstream::Upstream;
use crate::exit::Failure;

/// Why a check does not go on.
#[derive(Debug)]
pub(super) enum Stop {
    /// It found something, which is recorded.
    Failed,
    /// It cannot be run, and why.
    NotRun(String),
    /// The run cannot go on.
    Broken(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Broken(failure)
    }
}

impl From<tollgate_scenario::StepError> for Stop {
    fn from(error: tollgate_scenario::StepError) -> Stop {
        Stop::NotRun(error.to_string())
    }
}

pub(super) type Checked<T = ()> = Result<T, Stop>;

pub(super) fn not_run<T>(why: impl Into<String>) -> Checked<T> {
    Err(Stop::NotRun(why.into()))
}

/// An answer that was as documented.
pub(super) struct Asked {
    pub(super) reply: Reply,
    pub(super) verdict: Verdict,
    /// The `X-RateLimit-Limit` that the engine tells.
    pub(super) told_limit: Option<String>,
}

impl Asked {
    /// Whether a limit held it back.
    pub(super) fn is_limited(&self) -> bool {
        self.verdict == Verdict::Deny && self.reply.status == 429
    }
}

/// What HTTP servers say to requests that they do not read: bad, too long, of another version.
const SERVERS_OWN: [u16; 4] = [400, 414, 431, 505];

/// Nobody knows the gateway's clock better.
const CLOCK_MS: u64 = 1_500;

/// How long to wait until a fixed window has surely begun; windows that are hardly longer than that do not matter.
fn boundary_ms(limit: &Limit, now_ms: u64) -> Option<u64> {
    let window_ms = limit.quota.window_ms;
    if limit.algorithm != Algorithm::FixedWindow || window_ms < CLOCK_MS.saturating_mul(4) {
        return None;
    }
    let since_ms = now_ms.checked_rem(window_ms)?;
    let until_ms = window_ms.saturating_sub(since_ms);
    if until_ms <= CLOCK_MS {
        return Some(until_ms.saturating_add(CLOCK_MS));
    }
    CLOCK_MS.checked_sub(since_ms)
}

/// Gateways that answer so many requests not at all are asked no more.
const MAX_SILENCES: usize = 3;

pub(super) struct Session {
    pub(super) plan: Plan,
    pub(super) client: Client,
    pub(super) upstream: Option<Upstream>,
    pub(super) findings: Findings,
    pub(super) redactor: Redactor,
    reference: Reference,
    provision: Provision,
    needs: Vec<Need>,
    /// Texts of the tokens that there are by now, by the name of their need.
    tokens: BTreeMap<String, String>,
    /// In the names of accounts and keys: a run does not meet what an earlier one left.
    run: String,
    /// The gateway's clock is ahead by so much.
    skew_ms: i64,
    /// What may be waited for once.
    wait: Duration,
    /// Tokens that the gateway decided about otherwise than the reference: what limits have left for them is not
    /// known any more.
    astray: BTreeSet<String>,
    pub(super) check: &'static str,
}

pub(super) struct Parts {
    pub(super) plan: Plan,
    pub(super) client: Client,
    pub(super) upstream: Option<Upstream>,
    pub(super) reference: Reference,
    pub(super) provision: Provision,
    pub(super) run: String,
    pub(super) wait: Duration,
}

impl Session {
    pub(super) fn new(parts: Parts) -> Session {
        let mut redactor = Redactor::default();
        if let Some(secret) = parts.provision.secret() {
            redactor.hide(secret);
        }
        Session {
            needs: needs(&parts.plan),
            plan: parts.plan,
            client: parts.client,
            upstream: parts.upstream,
            findings: Findings::default(),
            redactor,
            reference: parts.reference,
            provision: parts.provision,
            tokens: BTreeMap::new(),
            run: parts.run,
            skew_ms: 0,
            wait: parts.wait,
            astray: BTreeSet::new(),
            check: "answers-http",
        }
    }

    /// The time at the gateway.
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        now_ms.saturating_add_signed(self.skew_ms)
    }

    /// Takes the gateway's clock over, where it says that it is another one. Its `Date` has whole seconds.
    pub(super) fn set_clock(&mut self, reply: &Reply) {
        let Some(date) = reply.header("date").and_then(|text| httpdate::parse_http_date(text).ok())
        else {
            return;
        };
        let since = date.duration_since(UNIX_EPOCH).unwrap_or_default();
        let there_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX).saturating_add(500);
        let here_ms = i64::try_from(self.now_ms()).unwrap_or(i64::MAX);
        let ahead_ms = there_ms.saturating_sub(here_ms);
        if ahead_ms.unsigned_abs() > 2_000 {
            self.skew_ms = ahead_ms;
        }
    }

    pub(super) fn wait(&self) -> Duration {
        self.wait
    }

    /// A key that no run has used.
    pub(super) fn key(&self, name: &str) -> String {
        format!("verify-{}-{name}", self.run)
    }

    pub(super) fn account(&self, name: &str) -> String {
        // Names of accounts are short and plain; scopes and limits need not be.
        let place = self.needs.iter().position(|need| need.name == name).unwrap_or_default();
        let plain: String =
            name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let plain: String = plain.chars().take(32).collect();
        format!("verify-{}-{place}-{plain}", self.run)
    }

    /// The token of this name; it is made when it is first asked for.
    pub(super) async fn token(&mut self, name: &str) -> Checked<String> {
        if let Some(token) = self.tokens.get(name) {
            return Ok(token.clone());
        }
        let Some(need) = self.needs.iter().find(|need| need.name == name).cloned() else {
            return not_run(format!("the policy needs no token `{name}`"));
        };
        let account = self.account(name);
        let step = json!({ "op": "account", "id": account, "balance": need.balance });
        self.provide(name, merged(step, &need.account)).await?;
        let text = self.plan.new_token()?;
        self.redactor.hide(&text);
        let mut step =
            merged(json!({ "op": "token", "token": text, "account": account }), &need.token);
        let done = self.provision.perform(name, &step).await?;
        let text = match done {
            Provisioned::Done => text,
            Provisioned::WithToken(text) => text,
            Provisioned::CannotDo(why) => return not_run(why),
        };
        self.redactor.hide(&text);
        if let Some(member) = step.get_mut("token") {
            *member = Value::from(text.clone());
        }
        self.reference.provision(&step, self.now_ms())?;
        self.tokens.insert(name.to_owned(), text.clone());
        Ok(text)
    }

    /// Performs a step on the gateway, and on the reference.
    pub(super) async fn provide(&mut self, name: &str, step: Value) -> Checked {
        match self.provision.perform(name, &step).await? {
            Provisioned::CannotDo(why) => not_run(why),
            _ => Ok(self.reference.provision(&step, self.now_ms())?),
        }
    }

    /// A call of a route with this token; with a key, where it must have one.
    pub(super) async fn call(&mut self, route: &RoutePlan, token: &str) -> Checked<Call> {
        let token = self.token(token).await?;
        let call = route.call().bearer(&token);
        if !route.needs_key {
            return Ok(call);
        }
        let made = self.client.made();
        Ok(call.key(&self.key(&format!("any-{made}"))))
    }

    /// Asks, once limits leave room, and judges the answer.
    pub(super) async fn ask(&mut self, subject: &str, call: &Call) -> Checked<Asked> {
        self.make_room(call).await?;
        self.ask_now(subject, call).await
    }

    /// Waits until no limit holds the call back.
    pub(super) async fn make_room(&mut self, call: &Call) -> Checked {
        let mut waited = Duration::ZERO;
        loop {
            let strict = self.reference.foresee(call, self.now_ms(), self.is_shared(call))?;
            if strict.code.as_deref() != Some("rate_limited") {
                return Ok(());
            }
            let seconds = judge::header(&strict, "retry-after").and_then(|text| text.parse().ok());
            let bound = Duration::from_secs(seconds.unwrap_or(1));
            waited = waited.saturating_add(bound);
            if waited > self.wait {
                return not_run(format!(
                    "a limit leaves no room for {} s more; --wait allows {} s",
                    bound.as_secs(),
                    self.wait.as_secs()
                ));
            }
            tokio::time::sleep(bound).await;
        }
    }

    /// Asks, and judges the answer.
    pub(super) async fn ask_now(&mut self, subject: &str, call: &Call) -> Checked<Asked> {
        // What comes before the request does not count as its time.
        self.client.take_turn().await;
        self.leave_boundary(call).await;
        let calls = self.upstream.as_ref().map(Upstream::calls);
        let from_ms = self.now_ms();
        let reply = self.send(subject, call).await?;
        let took = Took { from_ms, until_ms: self.now_ms() };
        let executed = self.upstream.as_ref().map(Upstream::calls).zip(calls);
        let executed = executed.map(|(after, before)| after.saturating_sub(before));
        if call.is_odd && SERVERS_OWN.contains(&reply.status) {
            return not_run(format!("the gateway's server itself answers with {}", reply.status));
        }
        let is_shared = self.is_shared(call);
        let truth = self.reference.decide(call, took, judge::is_denial(&reply), is_shared)?;
        let asked = self.judge(subject, call, &truth, reply, executed);
        if let Ok(asked) = &asked {
            self.reference.finish(&truth, &asked.reply, took)?;
        }
        asked
    }

    /// Waits where a fixed window is about to end, or has just begun: which of the two the gateway counts in would
    /// be its clock's to say, and of that no more than seconds are known.
    async fn leave_boundary(&self, call: &Call) {
        let now_ms = self.now_ms();
        let wait_ms =
            self.limits_of(call).iter().filter_map(|limit| boundary_ms(limit, now_ms)).max();
        if let Some(wait_ms) = wait_ms {
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
    }

    /// Whether requests of other tokens count together with it: those of scenarios share accounts.
    fn is_shared(&self, call: &Call) -> bool {
        self.check == "vectors" || self.limits_of(call).iter().any(is_shared)
    }

    fn limits_of(&self, call: &Call) -> &[Limit] {
        let route = call.route.as_ref();
        let route =
            route.and_then(|name| self.plan.routes.iter().find(|route| route.name == *name));
        route.map_or(&self.plan.unrouted, |route| &route.limits)
    }

    /// Sends at once, and records it when there is no answer.
    pub(super) async fn send(&mut self, subject: &str, call: &Call) -> Checked<Reply> {
        match self.client.send_now(call).await {
            Ok(reply) => {
                self.findings.looked("answers-http");
                Ok(reply)
            }
            Err(error) => self.no_reply(subject, call, &error),
        }
    }

    pub(super) fn no_reply<T>(
        &mut self,
        subject: &str,
        call: &Call,
        error: &ClientError,
    ) -> Checked<T> {
        match error {
            ClientError::Spent(_) | ClientError::Request(_) => not_run(error.to_string()),
            // Nobody is there: that is no gateway's fault.
            ClientError::Connect(error) if self.client.made() <= 1 => {
                Err(Failure::at(self.client.base(), format!("no connection: {error}")).into())
            }
            _ => {
                // Nobody knows what it decided.
                self.astray.extend(call.authorization().map(str::to_owned));
                let subject = format!("{}: {subject}", self.check);
                self.found("answers-http", &subject, call, "an HTTP answer", &error.to_string());
                Err(Stop::Failed)
            }
        }
    }

    /// Whether the gateway is asked on.
    pub(super) fn is_silent(&self) -> bool {
        self.findings.of("answers-http").findings.len() >= MAX_SILENCES
    }

    /// Has the reference carry out what was asked past it.
    pub(super) fn tell_reference(&mut self, call: &Call, reply: &Reply) -> Checked {
        let now_ms = self.now_ms();
        let took = Took { from_ms: now_ms, until_ms: now_ms };
        let is_shared = self.is_shared(call);
        let truth = self.reference.decide(call, took, false, is_shared)?;
        Ok(self.reference.finish(&truth, reply, took)?)
    }

    pub(super) fn found(
        &mut self,
        name: &'static str,
        subject: &str,
        call: &Call,
        documented: &str,
        got: &str,
    ) {
        let finding = Finding {
            subject: subject.to_owned(),
            documented: self.redactor.redact(documented),
            got: self.redactor.redact(got),
            repeat: call.curl(self.client.base(), &self.redactor),
        };
        self.findings.found(name, finding);
    }

    fn judge(
        &mut self,
        subject: &str,
        call: &Call,
        truth: &Truth,
        reply: Reply,
        executed: Option<u64>,
    ) -> Checked<Asked> {
        let limits = self.limits_of(call);
        let is_astray = call.authorization().is_some_and(|text| self.astray.contains(text));
        let numbers = !is_astray && !truth.is_open;
        let judged: Judged = judge::judge(call, truth, &reply, executed, limits, numbers);
        let mut found = judged.seen.clone();
        found.dedup();
        for name in found {
            self.findings.looked(name);
        }
        for difference in &judged.differences {
            let name = difference.check.unwrap_or(self.check);
            self.found(name, subject, call, &difference.documented, &difference.got);
        }
        if let Some(why) = judged.not_run {
            return not_run(why);
        }
        self.findings.looked(self.check);
        // What another check watches does not end this one.
        if judged.differences.iter().any(|difference| difference.check.is_none()) {
            self.astray.extend(call.authorization().map(str::to_owned));
            return Err(Stop::Failed);
        }
        Ok(Asked {
            reply,
            verdict: judged.verdict,
            told_limit: judge::header(&truth.strict, "x-ratelimit-limit"),
        })
    }
}
