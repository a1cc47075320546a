//! One session in the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value, json};
use tollgate::{Amount, Finish, PolicyConfig, StoredResponse, TokenQuota, TraceStep, Verdict};
use tollgate_scenario::{
    AccountStep, Decided, DepositStep, Finished, Header, InspectStep, Money, RequestStep,
    RevokeStep, RotateStep, StepError, Surface, TokenStep,
};

use crate::program::Program;

/// A session with its engine and its store.
pub struct JsSurface {
    program: Arc<Program>,
    session: u64,
    requests: AtomicU64,
}

/// A request that was allowed: by its name in the session, with the headers it was answered with.
#[derive(Clone)]
pub struct Open(Arc<OpenParts>);

struct OpenParts {
    id: String,
    headers: Vec<Header>,
}

impl Drop for JsSurface {
    fn drop(&mut self) {
        let _ = self.program.ask(self.session, "end", json!(true));
    }
}

impl JsSurface {
    pub(crate) fn new(program: Arc<Program>, session: u64) -> Self {
        JsSurface { program, session, requests: AtomicU64::new(0) }
    }

    fn perform(&self, step: Value) -> Result<Value, StepError> {
        let mut answer = self.program.ask(self.session, "step", step)?;
        let reply = answer.get_mut("reply").map(Value::take).unwrap_or_default();
        match reply.get("error").and_then(Value::as_str) {
            Some(error) => Err(StepError::new(error)),
            None => Ok(reply),
        }
    }

    fn done(&self, step: Value) -> Result<(), StepError> {
        self.perform(step).map(drop)
    }

    /// As text, so that no number is rounded.
    pub(crate) fn policy(&self, op: &str, policy: &PolicyConfig) -> Result<(), StepError> {
        let text = serde_json::to_string(policy).map_err(StepError::of)?;
        self.done(json!({"op": op, "policy": text}))
    }

    pub(crate) fn restart(&self) -> Result<(), StepError> {
        let answer = self.program.ask(self.session, "restart", json!(true))?;
        match answer.get("reply").and_then(|reply| reply.get("error")).and_then(Value::as_str) {
            Some(error) => Err(StepError::new(error)),
            None => Ok(()),
        }
    }

    /// Under a name that no other request of the session has.
    fn request(&self, step: &RequestStep) -> (String, Value) {
        let id = format!("r{}", self.requests.fetch_add(1, Ordering::Relaxed));
        let request = step.to_request();
        let text = |bytes: &[u8]| bytes.iter().copied().map(char::from).collect::<String>();
        let headers: Vec<Value> = step
            .headers
            .0
            .iter()
            .map(|(name, value)| json!([text(name.as_ref()), text(value.as_ref())]))
            .collect();
        let mut members = Map::new();
        let mut set = |name: &str, value: Value| {
            if !value.is_null() {
                members.insert(name.into(), value);
            }
        };
        set("op", "request".into());
        set("id", id.as_str().into());
        set("now_ms", number(step.now_ms));
        set("method", text(request.method).into());
        set("target", text(request.target).into());
        set("headers", headers.into());
        set("body", step.body.as_deref().into());
        set("cost", optional(step.cost));
        set("sender", step.sender.as_deref().into());
        set("invalid", step.invalid.as_deref().into());
        set("peek", step.peek.into());
        let peer = step.peer.as_ref().map(|peer| text(peer.as_ref()));
        members.insert("peer".into(), peer.into());
        (id, Value::Object(members))
    }
}

fn number(number: u64) -> Value {
    // Those that a number of JavaScript holds, and those it does not.
    if number < 1 << 53 { number.into() } else { number.to_string().into() }
}

fn optional(amount: Option<Amount>) -> Value {
    amount.map(|Amount(amount)| number(amount)).unwrap_or_default()
}

fn read_number(value: Option<&Value>) -> Option<u64> {
    let value = value?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn caps(caps: Option<Vec<tollgate::SpendCap>>) -> Option<Vec<Value>> {
    let cap = |cap: tollgate::SpendCap| json!({"per": cap.per, "amount": number(cap.amount.0), "shadow": cap.shadow});
    Some(caps?.into_iter().map(cap).collect())
}

/// Members that are there.
fn step(op: &str, now_ms: u64, members: Value) -> Value {
    let mut step = json!({"op": op, "now_ms": number(now_ms)});
    if let (Value::Object(step), Value::Object(members)) = (&mut step, members) {
        step.extend(members.into_iter().filter(|(_, value)| !value.is_null()));
    }
    step
}

fn response(response: &StoredResponse) -> Value {
    let text = |bytes: &[u8]| bytes.iter().copied().map(char::from).collect::<String>();
    let headers: Vec<Value> =
        response.headers.iter().map(|(name, value)| json!([name, text(value)])).collect();
    let body = response.body.as_ref().map(|body| String::from_utf8_lossy(body));
    json!({"status": response.status, "headers": headers, "body": body})
}

fn ending(finish: &Finish) -> (&'static str, Value, Value) {
    let optional_response =
        |it: &Option<Arc<StoredResponse>>| it.as_deref().map(response).unwrap_or_default();
    match finish {
        Finish::Settle { amount, response } => {
            ("settle", optional(*amount), optional_response(response))
        }
        Finish::Void { response } => ("void", Value::Null, optional_response(response)),
        Finish::Unknown => ("unknown", Value::Null, Value::Null),
    }
}

impl Surface for JsSurface {
    type Open = Open;

    fn reload(&self, policy: PolicyConfig) -> Result<(), StepError> {
        self.policy("reload", &policy)
    }

    fn put_account(&self, account: AccountStep, now_ms: u64) -> Result<(), StepError> {
        let members = json!({
            "id": account.id,
            "balance": optional(account.balance),
            "networks": account.networks,
            "spend_caps": caps(account.spend_caps),
            "senders": account.senders,
        });
        self.done(step("account", now_ms, members))
    }

    fn put_token(&self, token: TokenStep, now_ms: u64) -> Result<(), StepError> {
        let members = json!({
            "token": token.token.expose(),
            "account": token.account,
            "scopes": token.scopes,
            "networks": token.networks,
            "spend_caps": caps(token.spend_caps),
        });
        let mut step = step("token", now_ms, members);
        let quota = |TokenQuota { limit, window_ms }| json!({"limit": number(limit), "window_ms": number(window_ms)});
        // `null` takes them away.
        if let (Some(given), Some(members)) = (token.quota, step.as_object_mut()) {
            members.insert("quota".into(), given.map(quota).unwrap_or_default());
        }
        if let (Some(given), Some(members)) = (token.expires_ms, step.as_object_mut()) {
            members.insert("expires_ms".into(), given.map(number).unwrap_or_default());
        }
        self.done(step)
    }

    fn rotate(&self, rotate: &RotateStep, now_ms: u64) -> Result<(), StepError> {
        let members = json!({
            "token": rotate.token.expose(),
            "new_token": rotate.new_token.expose(),
            "grace_ms": number(rotate.grace_ms),
        });
        self.done(step("rotate", now_ms, members))
    }

    fn revoke(&self, revoke: &RevokeStep, now_ms: u64) -> Result<(), StepError> {
        self.done(step("revoke", now_ms, json!({"token": revoke.token.expose()})))
    }

    fn deposit(&self, deposit: &DepositStep, now_ms: u64) -> Result<(), StepError> {
        let members = json!({"account": deposit.account, "amount": number(deposit.amount.0)});
        self.done(step("deposit", now_ms, members))
    }

    fn inspect(&self, inspect: &InspectStep, now_ms: u64) -> Result<Money, StepError> {
        let reply = self.perform(step("inspect", now_ms, json!({"account": inspect.account})))?;
        let amount = |name| Amount(read_number(reply.get(name)).unwrap_or_default());
        Ok(Money {
            balance: amount("balance"),
            held: amount("held"),
            available: amount("available"),
            posted: amount("posted"),
            reservations: read_number(reply.get("reservations")).unwrap_or_default(),
        })
    }

    fn decide(&self, step: &RequestStep) -> Result<Decided<Open>, StepError> {
        let (id, step) = self.request(step);
        let mut answer = self.program.ask(self.session, "step", step)?;
        let must_finish = answer.get("must_finish").and_then(Value::as_bool).unwrap_or(false);
        decided(answer.get_mut("reply").map(Value::take).unwrap_or_default(), &id, must_finish)
    }

    fn explain(&self, step: &RequestStep) -> Result<(Decided<Open>, Vec<TraceStep>), StepError> {
        let (id, step) = self.request(step);
        let mut answer = self.program.ask(self.session, "explain", step)?;
        let reply = answer.get_mut("reply").map(Value::take).unwrap_or_default();
        let decided = decided(reply, &id, false)?;
        let steps = answer.get("steps").and_then(Value::as_array);
        let steps = steps.into_iter().flatten().cloned().map(serde_json::from_value);
        let steps = steps.collect::<Result<_, _>>().map_err(StepError::of)?;
        Ok((decided, steps))
    }

    fn finish(
        &self,
        Open(open): &Open,
        finish: Finish,
        now_ms: u64,
    ) -> Result<Finished, StepError> {
        let (outcome, amount, response) = ending(&finish);
        let members =
            json!({"id": open.id, "outcome": outcome, "amount": amount, "response": response});
        let reply = self.perform(step("finish", now_ms, members))?;
        Ok(Finished {
            settled: read_number(reply.get("settled")).map(Amount),
            headers: Some(headers(&reply)?),
        })
    }

    fn resolve(
        &self,
        Open(open): &Open,
        finish: Finish,
        now_ms: u64,
    ) -> Result<Option<Amount>, StepError> {
        let (outcome, amount, response) = ending(&finish);
        let members =
            json!({"id": open.id, "outcome": outcome, "amount": amount, "response": response});
        let reply = self.perform(step("resolve", now_ms, members))?;
        Ok(read_number(reply.get("settled")).map(Amount))
    }

    fn refund(
        &self,
        Open(open): &Open,
        amount: Amount,
        reference: &str,
        now_ms: u64,
    ) -> Result<(), StepError> {
        let members = json!({"id": open.id, "amount": number(amount.0), "ref": reference});
        self.done(step("refund", now_ms, members))
    }

    fn expire(&self, now_ms: u64) -> Result<u64, StepError> {
        let reply = self.perform(step("expire", now_ms, json!({})))?;
        read_number(reply.get("expired")).ok_or_else(|| StepError::new("no number expired"))
    }

    fn late_headers(&self, Open(open): &Open) -> Result<Vec<Header>, StepError> {
        Ok(open.headers.clone())
    }
}

fn decided(reply: Value, id: &str, must_finish: bool) -> Result<Decided<Open>, StepError> {
    let text = |name: &str| reply.get(name).and_then(Value::as_str).map(str::to_owned);
    if let Some(error) = text("error") {
        return Err(StepError::new(error));
    }
    let verdict = match text("verdict").as_deref() {
        Some("allow") => Verdict::Allow,
        Some("deny") => Verdict::Deny,
        Some("replay") => Verdict::Replay,
        other => return Err(StepError::new(format!("{other:?} is no verdict"))),
    };
    let status = reply.get("status").and_then(Value::as_u64);
    let headers = headers(&reply)?;
    Ok(Decided {
        verdict,
        status: status.and_then(|it| u16::try_from(it).ok()).unwrap_or_default(),
        code: text("code"),
        headers: Some(headers.clone()),
        body: text("body").unwrap_or_default().into_bytes(),
        account: text("account"),
        route: text("route"),
        reserved: read_number(reply.get("reserved")).map(Amount),
        must_finish,
        open: (verdict == Verdict::Allow)
            .then(|| Open(Arc::new(OpenParts { id: id.to_owned(), headers }))),
    })
}

fn headers(reply: &Value) -> Result<Vec<Header>, StepError> {
    let malformed = || StepError::new("headers are pairs of strings of bytes");
    let list = reply.get("headers").and_then(Value::as_array).ok_or_else(malformed)?;
    list.iter()
        .map(|pair| {
            let part = |at| pair.get(at).and_then(Value::as_str);
            let (name, value) = part(0).zip(part(1)).ok_or_else(malformed)?;
            let value = value.chars().map(|unit| u8::try_from(u32::from(unit)));
            let value = value.collect::<Result<_, _>>().map_err(|_| malformed())?;
            Ok((name.to_owned(), value))
        })
        .collect()
}
