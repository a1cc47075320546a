//! Scenarios through the driver.

use std::sync::Arc;

use tempfile::TempDir;
use tollgate::{Amount, Finish, PolicyConfig, TraceStep, Verdict};
use tollgate_scenario::{
    AccountStep, Decided, DepositStep, Finished, Header, InspectStep, Money, RequestStep,
    RevokeStep, RotateStep, StepError, Surface, TokenStep,
};

use crate::driver::{Decision, Driver};

/// A driver with its store: the C program that is asked.
pub struct Program {
    pub(crate) driver: Arc<Driver>,
    /// Where the store is, if it is on disk.
    pub(crate) directory: Option<TempDir>,
}

/// A request that was allowed.
#[derive(Clone)]
pub struct Open(Arc<OpenParts>);

struct OpenParts {
    /// Gone after a restart, which no handle outlives.
    decision: Option<Decision>,
    account: Option<String>,
    reservation: Option<u64>,
}

impl OpenParts {
    fn decision(&self) -> Result<&Decision, StepError> {
        self.decision
            .as_ref()
            .ok_or_else(|| StepError::not_carried("a decision does not outlive its process"))
    }

    /// What an operator says which reservation with.
    fn reservation(&self) -> Result<(&str, u64), StepError> {
        let named = self.account.as_deref().zip(self.reservation);
        named.ok_or_else(|| StepError::new("there is no account, or nothing was reserved"))
    }
}

pub(crate) fn json(policy: &PolicyConfig) -> Result<String, StepError> {
    serde_json::to_string(policy).map_err(StepError::of)
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

impl Surface for Program {
    type Open = Open;

    fn reload(&self, policy: PolicyConfig) -> Result<(), StepError> {
        self.driver.reload(&json(&policy)?)
    }

    fn put_account(&self, step: AccountStep, now_ms: u64) -> Result<(), StepError> {
        self.driver.put_account(&step, now_ms)
    }

    fn put_token(&self, step: TokenStep, now_ms: u64) -> Result<(), StepError> {
        self.driver.put_token(&step, now_ms)
    }

    fn rotate(&self, step: &RotateStep, now_ms: u64) -> Result<(), StepError> {
        self.driver.rotate(step, now_ms)
    }

    fn revoke(&self, step: &RevokeStep, now_ms: u64) -> Result<(), StepError> {
        self.driver.revoke(step, now_ms)
    }

    fn deposit(&self, step: &DepositStep, now_ms: u64) -> Result<(), StepError> {
        self.driver.deposit(&step.account, step.amount, now_ms)
    }

    fn inspect(&self, step: &InspectStep, now_ms: u64) -> Result<Money, StepError> {
        self.driver.inspect(&step.account, now_ms)
    }

    fn decide(&self, step: &RequestStep) -> Result<Decided<Open>, StepError> {
        decided(self.driver.decide(step)?)
    }

    fn explain(&self, step: &RequestStep) -> Result<(Decided<Open>, Vec<TraceStep>), StepError> {
        let (decision, texts) = self.driver.explain(step)?;
        let steps = texts.chunks(5).map(trace_step).collect::<Result<_, _>>()?;
        Ok((decided(decision)?, steps))
    }

    fn finish(
        &self,
        Open(open): &Open,
        finish: Finish,
        now_ms: u64,
    ) -> Result<Finished, StepError> {
        let decision = open.decision()?;
        let settled = self.driver.finish(decision, &finish, now_ms)?;
        Ok(Finished { settled, headers: Some(decision.headers()?) })
    }

    fn resolve(
        &self,
        Open(open): &Open,
        finish: Finish,
        now_ms: u64,
    ) -> Result<Option<Amount>, StepError> {
        let (account, number) = open.reservation()?;
        self.driver.resolve(account, number, &finish, now_ms)
    }

    fn refund(
        &self,
        Open(open): &Open,
        amount: Amount,
        reference: &str,
        now_ms: u64,
    ) -> Result<(), StepError> {
        let (account, number) = open.reservation()?;
        self.driver.refund(account, number, amount, reference, now_ms)
    }

    fn expire(&self, now_ms: u64) -> Result<u64, StepError> {
        self.driver.expire(now_ms)
    }

    fn late_headers(&self, Open(open): &Open) -> Result<Vec<Header>, StepError> {
        open.decision()?.headers()
    }

    fn kept(&self, Open(open): &Open, _: u64) -> Option<Open> {
        let (account, reservation) = (open.account.clone(), open.reservation);
        Some(Open(Arc::new(OpenParts { decision: None, account, reservation })))
    }
}

/// All that the header tells of a decision.
fn decided(decision: Decision) -> Result<Decided<Open>, StepError> {
    let (status, code) = (decision.status(), decision.code());
    if status != code {
        let text = format!("the header's number says {status}, and the code is {code}");
        return Err(StepError::new(text));
    }
    let verdict = match decision.verdict() {
        'a' => Verdict::Allow,
        'd' => Verdict::Deny,
        'r' => Verdict::Replay,
        other => return Err(StepError::new(format!("{other} is no verdict"))),
    };
    // The store fails for all of a request: then it does not tell the name either.
    let account = decision.account().ok().and_then(some);
    let reservation = decision.reservation();
    Ok(Decided {
        verdict,
        status: decision.http_status()?,
        code: (verdict == Verdict::Deny).then_some(code),
        headers: Some(decision.headers()?),
        body: decision.body()?,
        account: account.clone(),
        route: some(decision.route()?),
        reserved: decision.reserved(),
        must_finish: decision.must_finish(),
        open: (verdict == Verdict::Allow)
            .then(|| Open(Arc::new(OpenParts { decision: Some(decision), account, reservation }))),
    })
}

/// A check by its five texts.
fn trace_step(texts: &[String]) -> Result<TraceStep, StepError> {
    let [check, rule, observed, result, fix] = texts else {
        return Err(StepError::new("a check has five texts"));
    };
    let fix = some(fix.clone());
    let step = serde_json::json!({
        "check": check, "rule": rule, "observed": observed, "result": result, "fix": fix,
    });
    serde_json::from_value(step).map_err(StepError::of)
}
