//! The latest decisions, and how each came about.

use std::collections::BTreeSet;

use askama::Template;
use http::StatusCode;
use tollgate::{AccountId, CheckResult, TraceStep};

use super::ask::{Answered, Ask, Halt, encoded};
use super::chart::Columns;
use super::figures::Moment;
use super::shell::{self, Shell};
use crate::latest::{KEPT, Kept};
use crate::record::DecisionRecord;

/// Decisions on one page.
const PAGE: usize = 50;

#[derive(Template)]
#[template(path = "decisions.html")]
struct DecisionsPage {
    shell: Shell,
    columns: Columns,
    /// Whether the chart is of the kept decisions alone.
    is_filtered: bool,
    kept: usize,
    rows: Vec<Row>,
    account: String,
    verdict: String,
    code: String,
    codes: Vec<&'static str>,
    next: Option<String>,
}

/// A decision in a list.
pub(super) struct Row {
    pub number: u64,
    pub time: Moment,
    pub verdict: &'static str,
    pub status: u16,
    pub code: &'static str,
    pub method: String,
    pub path: String,
    pub account: Option<String>,
    pub key: String,
    pub source: String,
}

impl Row {
    pub(super) fn new(kept: &Kept) -> Self {
        let record = &kept.record;
        Row {
            number: kept.number,
            time: Moment(record.now_ms),
            verdict: record.verdict,
            status: record.status,
            code: record.code,
            method: record.method.clone(),
            path: record.path.clone(),
            account: record.account.as_ref().map(|account| account.as_str().to_owned()),
            key: record.token.clone().unwrap_or_default(),
            source: record.source.map(|source| source.to_string()).unwrap_or_default(),
        }
    }
}

struct Filter {
    account: Option<AccountId>,
    verdict: String,
    code: String,
}

impl Filter {
    fn lets(&self, record: &DecisionRecord) -> bool {
        self.account.as_ref().is_none_or(|account| record.account.as_ref() == Some(account))
            && (self.verdict.is_empty() || record.verdict == self.verdict)
            && (self.code.is_empty() || record.code == self.code)
    }

    fn is_any(&self) -> bool {
        self.account.is_none() && self.verdict.is_empty() && self.code.is_empty()
    }
}

pub(super) async fn list(ask: Ask) -> Answered {
    let account = ask.query.exact("account").to_owned();
    let filter = Filter {
        account: AccountId::new(&account).ok(),
        verdict: ask.query.get("verdict").to_owned(),
        code: ask.query.get("code").to_owned(),
    };
    let latest = &ask.desk.shared.latest;
    let before = ask.query.get("before").parse().unwrap_or(u64::MAX);
    let mut found = latest
        .list(PAGE.saturating_add(1), |kept| kept.number < before && filter.lets(&kept.record));
    let has_more = found.len() > PAGE;
    found.truncate(PAGE);
    let last = found.last().filter(|_| has_more);
    let next = last.map(|last| {
        let (account, verdict) = (encoded(&account), encoded(&filter.verdict));
        let (code, before) = (encoded(&filter.code), last.number);
        format!(
            "/settings/decisions?account={account}&verdict={verdict}&code={code}&before={before}"
        )
    });
    let mut codes = BTreeSet::new();
    let mut kept = 0_usize;
    latest.each(|decision| {
        codes.insert(decision.record.code);
        kept = kept.saturating_add(1);
    });
    let minutes = match filter.is_any() {
        true => latest.minutes(),
        false => latest.minutes_of(|kept| filter.lets(&kept.record)),
    };
    let page = DecisionsPage {
        shell: ask.shell("Latest decisions", "decisions"),
        columns: Columns::new(&minutes, ask.now_ms),
        is_filtered: !filter.is_any(),
        kept: kept.min(KEPT),
        rows: found.iter().map(Row::new).collect(),
        account,
        verdict: filter.verdict,
        code: filter.code,
        codes: codes.into_iter().collect(),
        next,
    };
    Ok(shell::page(StatusCode::OK, &page))
}

#[derive(Template)]
#[template(path = "decision.html")]
struct DecisionPage {
    shell: Shell,
    row: Row,
    /// Names and values that are not in the row.
    facts: Vec<(&'static str, String)>,
    steps: Option<Vec<Step>>,
    account_query: Option<String>,
}

struct Step {
    check: String,
    result: &'static str,
    class: &'static str,
    rule: String,
    observed: String,
    fix: String,
}

impl Step {
    fn new(step: &TraceStep) -> Self {
        let (result, class) = match step.result {
            CheckResult::Passed => ("passed", "allow"),
            CheckResult::Decided => ("decided", "deny"),
            CheckResult::Shadow => ("shadow", "warn"),
            CheckResult::WouldPass => ("would pass", "none"),
            CheckResult::WouldFail => ("would fail", "none"),
        };
        Step {
            check: step.check.to_string(),
            result,
            class,
            rule: step.rule.clone(),
            observed: step.observed.clone(),
            fix: step.fix.clone().unwrap_or_default(),
        }
    }
}

fn facts(record: &DecisionRecord) -> Vec<(&'static str, String)> {
    let mut facts = vec![("Asked by", record.via.to_owned())];
    let mut add = |name, value: Option<String>| facts.extend(value.map(|value| (name, value)));
    add("Request id", record.id.as_deref().map(str::to_owned));
    add("Route", record.route.as_deref().map(str::to_owned));
    add("Reserved", record.reserved.map(|amount| amount.to_string()));
    add("Idempotency key (hashed)", record.key.clone());
    let limit = record.limit.as_ref();
    add(
        "Closest limit",
        limit.map(|limit| format!("{}: {} of {} left", limit.name, limit.remaining, limit.quota)),
    );
    add("In shadow mode", (!record.shadow.is_empty()).then(|| record.shadow.join(", ")));
    add("Store error", record.store_error.clone());
    add("Only looked", record.peek.then(|| "nothing was consumed".to_owned()));
    add("Took", Some(format!("{} µs", record.duration_us)));
    facts
}

pub(super) async fn show(ask: Ask) -> Answered {
    let number: Option<u64> = ask.query.get("number").parse().ok();
    let found = ask.desk.shared.latest.list(1, |kept| Some(kept.number) == number);
    let Some(kept) = found.first() else {
        return Err(Halt::NotFound("This decision is no longer kept: only the latest are."));
    };
    let row = Row::new(kept);
    let page = DecisionPage {
        shell: ask.shell(format!("Decision {}", row.number), "decisions"),
        facts: facts(&kept.record),
        steps: kept.trace.as_ref().map(|steps| steps.iter().map(Step::new).collect()),
        account_query: row.account.as_ref().map(|name| format!("account={}", encoded(name))),
        row,
    };
    Ok(shell::page(StatusCode::OK, &page))
}
