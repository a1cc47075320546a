//! Scenarios over HTTP: their steps are asked of the gateway and of the reference, whose answers must agree.
//!
//! A step's `expect` is not looked at, because it holds for the scenario's own time, tokens and address; the
//! reference says what holds here. What HTTP, or this command, cannot carry is counted, with its reason.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tollgate::{Amount, PolicyConfig, preset};
use tollgate_scenario::{Scenario, VectorFile};

use super::call::Call;
use super::needs::plenty;
use super::plan::Plan;
use super::session::{Checked, Session, Stop, not_run};
use crate::exit::Failure;

/// What was given with `--vectors`.
#[derive(Default)]
pub(super) struct Vectors {
    /// File and scenario.
    scenarios: Vec<(String, Scenario)>,
}

impl Vectors {
    pub(super) fn read(place: Option<&Path>) -> Result<Vectors, Failure> {
        let mut scenarios = Vec::new();
        for file in place.map_or_else(|| Ok(Vec::new()), listed)? {
            let fail = |error: &dyn std::fmt::Display| Failure::at(file.display(), error);
            let text = fs::read_to_string(&file).map_err(|error| fail(&error))?;
            let vectors = VectorFile::parse(&text).map_err(|error| fail(&error))?;
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            scenarios
                .extend(vectors.scenarios.into_iter().map(|scenario| (name.clone(), scenario)));
        }
        Ok(Vectors { scenarios })
    }
}

fn listed(place: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !place.is_dir() {
        return Ok(vec![place.to_owned()]);
    }
    let fail = |error: std::io::Error| Failure::at(place.display(), error);
    let mut files = Vec::new();
    for entry in fs::read_dir(place).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    match files.is_empty() {
        true => Err(Failure::at(place.display(), "the directory has no .json files")),
        false => Ok(files),
    }
}

pub(super) async fn run(session: &mut Session, vectors: &Vectors) -> Checked {
    if vectors.scenarios.is_empty() {
        return not_run("give scenario files with --vectors");
    }
    let mut left_out: BTreeMap<String, u64> = BTreeMap::new();
    let mut carried_out = 0_u64;
    for (number, (file, scenario)) in vectors.scenarios.iter().enumerate() {
        if session.is_silent() {
            break;
        }
        let steps = match carried(&session.plan, scenario, session.wait()) {
            Ok(steps) => steps,
            Err(why) => {
                count(&mut left_out, why);
                continue;
            }
        };
        let subject = format!("{file}: {}", scenario.name);
        let mut running = Running { session, number, subject, tokens: BTreeMap::new() };
        match running.run(&steps).await {
            Ok(()) | Err(Stop::Failed) => carried_out = carried_out.saturating_add(1),
            Err(Stop::NotRun(why)) => count(&mut left_out, why),
            Err(broken) => return Err(broken),
        }
    }
    let all = vectors.scenarios.len();
    session.findings.note(session.check, format!("{carried_out} of {all} scenarios"));
    for (why, count) in left_out {
        session.findings.not_run(session.check, format!("{count} scenarios: {why}"));
    }
    Ok(())
}

fn count(left_out: &mut BTreeMap<String, u64>, why: impl Into<String>) {
    let count = left_out.entry(why.into()).or_default();
    *count = count.saturating_add(1);
}

/// A step that can be carried.
enum Carried {
    /// `account`, `token`, `revoke` or `deposit`.
    Provision(Value),
    Request(Call),
    /// So much later.
    Wait(Duration),
}

type Why = String;

/// The steps of a scenario, if all of them can be carried.
fn carried(plan: &Plan, scenario: &Scenario, wait: Duration) -> Result<Vec<Carried>, Why> {
    let mut out = Vec::new();
    let mut now_ms: Option<u64> = None;
    let mut waited = Duration::ZERO;
    for step in &scenario.steps {
        let given_ms = step.get("now_ms").and_then(Value::as_u64);
        if let (Some(then), Some(given)) = (now_ms, given_ms) {
            if given < then {
                return Err("its clock runs backwards".to_owned());
            }
            let later = Duration::from_millis(given.saturating_sub(then));
            waited = waited.saturating_add(later);
            if waited > wait {
                return Err("it takes longer than --wait".to_owned());
            }
            if !later.is_zero() {
                out.push(Carried::Wait(later));
            }
        }
        now_ms = given_ms.or(now_ms);
        carry(plan, step, &mut out)?;
    }
    match out.iter().any(|step| matches!(step, Carried::Request(_))) {
        true => Ok(out),
        false => Err("it has no request".to_owned()),
    }
}

fn carry(plan: &Plan, step: &Value, out: &mut Vec<Carried>) -> Result<(), Why> {
    let expects_error = step.pointer("/expect/error").is_some_and(|error| *error != json!(false));
    if expects_error {
        return Err("it is about steps that fail".to_owned());
    }
    let op = step.get("op").and_then(Value::as_str).unwrap_or_default();
    match op {
        "policy" => same_policy(plan, step),
        "account" | "token" => {
            if step.get("networks").is_some() {
                return Err("it is about source addresses, and this command has one".to_owned());
            }
            if step.get("expires_ms").is_some() {
                return Err("it is about a time of its own: expires_ms".to_owned());
            }
            if step.get("quota").is_some_and(Value::is_null) {
                return Err("it takes a setting away, which admin APIs need not know".to_owned());
            }
            out.push(Carried::Provision(step.clone()));
            Ok(())
        }
        "revoke" | "deposit" => {
            out.push(Carried::Provision(step.clone()));
            Ok(())
        }
        "request" => {
            out.push(Carried::Request(request(plan, step)?));
            Ok(())
        }
        // The API behind the gateway has answered already: each request is finished with its answer.
        "finish"
            if step.get("outcome") == Some(&json!("settle")) && step.get("amount").is_none() =>
        {
            Ok(())
        }
        "finish" => Err("it says how the API answers".to_owned()),
        "inspect" => Ok(()),
        other => Err(format!("HTTP has nothing for the step `{other}`")),
    }
}

/// Token texts are replaced anyway: their format may be another one.
fn same_policy(plan: &Plan, step: &Value) -> Result<(), Why> {
    let other = || "its policy is another one".to_owned();
    let base = match (step.get("policy"), step.get("preset").and_then(Value::as_str)) {
        (Some(policy), None) => PolicyConfig::from_json_value(policy).map_err(|_| other())?,
        (None, Some(name)) => preset(name).ok_or_else(other)?,
        _ => return Err(other()),
    };
    let mut config = match step.get("patch") {
        Some(patch) => base.merge_patch(patch).map_err(|_| other())?,
        None => base,
    };
    config.tokens.format = plan.config.tokens.format;
    if config == plan.config { Ok(()) } else { Err(other()) }
}

/// Headers that are the connection's, or this command's own.
const FRAMING: [&str; 9] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "expect",
    "upgrade",
    "te",
    "trailer",
    "keep-alive",
];

fn request(plan: &Plan, step: &Value) -> Result<Call, Why> {
    if step.get("peek").is_some_and(|peek| *peek == json!(true)) {
        return Err("HTTP has no peek".to_owned());
    }
    if step.get("sender").is_some() || step.get("invalid").is_some() {
        return Err("it says what the host found: sender, invalid".to_owned());
    }
    let text = |name: &str| step.get(name).and_then(Value::as_str).unwrap_or_default();
    let (method, target) = (text("method"), text("target"));
    let plain = |text: &str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let is_token =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b':');
    let is_target = target.starts_with('/') && plain(target) && !target.contains([' ', '#']);
    if !is_token(method) || !is_target || method == "CONNECT" {
        return Err("a request line that HTTP clients do not send".to_owned());
    }
    let mut call = Call::new(method, target).odd();
    for header in step.get("headers").and_then(Value::as_array).into_iter().flatten() {
        let part = |nth: usize| header.get(nth).and_then(Value::as_str).unwrap_or_default();
        let (name, value) = (part(0), part(1));
        let lower = name.to_ascii_lowercase();
        if !is_token(name)
            || !plain(value)
            || value.trim() != value
            || FRAMING.contains(&lower.as_str())
        {
            return Err("a header that HTTP clients do not send".to_owned());
        }
        if matches!(lower.as_str(), "x-forwarded-for" | "forwarded") {
            return Err("it is about source addresses, and this command has one".to_owned());
        }
        call = call.header(name, value);
    }
    call.body = text("body").to_owned().into();
    let path = target.split('?').next().unwrap_or_default();
    let route =
        plan.routes.iter().find(|route| route.method == method && matches(&route.name, path));
    let cost = step.get("cost").and_then(Value::as_u64).map(Amount);
    if cost.is_some() && cost != route.and_then(|route| route.host_price) {
        return Err("a price that only its host knows".to_owned());
    }
    call.route = route.map(|route| route.name.clone());
    Ok(call)
}

/// Whether a path is one of a route; for its price, so that no more than the pattern matters.
fn matches(route: &str, path: &str) -> bool {
    let pattern = route.split_once(' ').map_or("", |(_, pattern)| pattern);
    let mut parts = path.split('/');
    let same = pattern.split('/').all(|segment| {
        parts.next().is_some_and(|part| segment == part || segment.starts_with('{'))
    });
    same && parts.next().is_none()
}

/// A scenario on its way.
struct Running<'s> {
    session: &'s mut Session,
    number: usize,
    subject: String,
    /// The tokens of the gateway, by the scenario's.
    tokens: BTreeMap<String, String>,
}

impl Running<'_> {
    async fn run(&mut self, steps: &[Carried]) -> Checked {
        for step in steps {
            match step {
                Carried::Wait(later) => tokio::time::sleep(*later).await,
                Carried::Provision(step) => self.provision(step).await?,
                Carried::Request(call) => {
                    let call = self.with_tokens(call);
                    self.session.ask_now(&self.subject, &call).await?;
                }
            }
        }
        Ok(())
    }

    async fn provision(&mut self, step: &Value) -> Checked {
        let mut step = step.clone();
        let Value::Object(members) = &mut step else { return Ok(()) };
        for name in ["now_ms", "note", "expect"] {
            members.remove(name);
        }
        for name in ["id", "account"] {
            if let Some(Value::String(account)) = members.get_mut(name) {
                let plain = account.chars().filter(char::is_ascii_alphanumeric).take(16);
                let plain: String = plain.collect();
                *account = self.session.key(&format!("v{}-{plain}", self.number));
            }
        }
        // Here routes may cost something that cost nothing there.
        if members.get("op") == Some(&json!("account")) {
            members.entry("balance").or_insert_with(|| plenty(&self.session.plan).into());
        }
        if let Some(Value::String(token)) = members.get_mut("token") {
            *token = match self.tokens.get(token.as_str()) {
                Some(known) => known.clone(),
                None => {
                    let new = self.session.plan.new_token()?;
                    self.session.redactor.hide(&new);
                    self.tokens.insert(token.clone(), new.clone());
                    new
                }
            };
        }
        let name = self.subject.clone();
        self.session.provide(&name, step).await
    }

    /// The longest first: one may begin another.
    fn with_tokens(&self, call: &Call) -> Call {
        let mut call = call.clone();
        let mut tokens: Vec<(&String, &String)> = self.tokens.iter().collect();
        tokens.sort_by_key(|(known, _)| std::cmp::Reverse(known.len()));
        for (name, value) in &mut call.headers {
            if !name.eq_ignore_ascii_case("authorization") {
                continue;
            }
            if let Some((known, new)) =
                tokens.iter().find(|(known, _)| value.contains(known.as_str()))
            {
                *value = value.replacen(known.as_str(), new, 1);
            }
        }
        call
    }
}
