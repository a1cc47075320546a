//! What a replay found, as data: the terminal, JSON and HTML show the same.

use serde::Serialize;
use tollgate::{CheckResult, Partition, STATUS_TABLE, Status};

use super::changes::{Change, Example, Label, Why};
use super::merge::{Merge, Place};
use super::meters::{CapOf, Meters, STATUSES, permille};
use super::playback::Replay;
use super::text::shown;
use super::world::{World, period_name};

/// How many rows the lists of callers, accounts and caps have.
const TOP: usize = 20;
/// How many routes are named for one kind of change.
const ROUTES: usize = 3;

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) logs: Vec<LogReport>,
    pub(crate) lines: Lines,
    pub(crate) callers: CallerCounts,
    /// Policy A, and B if there is one.
    pub(crate) policies: Vec<PolicyReport>,
    /// With `--against`.
    pub(crate) changes: Option<ChangesReport>,
    /// How policy A differs from what the logs say.
    pub(crate) recorded: Option<RecordedReport>,
    pub(crate) timeline: TimelineReport,
}

#[derive(Debug, Serialize)]
pub(crate) struct LogReport {
    pub(crate) name: String,
    pub(crate) lines: u64,
    /// The first bad lines.
    pub(crate) bad: Vec<BadLineReport>,
}

#[derive(Debug, Serialize)]
pub(crate) struct BadLineReport {
    pub(crate) line: u64,
    pub(crate) why: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Lines {
    pub(crate) read: u64,
    pub(crate) decided: u64,
    pub(crate) blank: u64,
    pub(crate) not_http: u64,
    pub(crate) bad: u64,
    /// Left out, because later lines were decided already.
    pub(crate) late: u64,
    pub(crate) late_shown: Vec<String>,
    pub(crate) first_ms: Option<u64>,
    pub(crate) last_ms: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct CallerCounts {
    pub(crate) tokens: usize,
    pub(crate) accounts: usize,
    pub(crate) requests_without_token: u64,
    pub(crate) requests_with_invalid_token: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct PolicyReport {
    pub(crate) policy: String,
    pub(crate) allow: u64,
    pub(crate) deny: u64,
    pub(crate) replay: u64,
    /// Those that occurred.
    pub(crate) codes: Vec<CodeCount>,
    pub(crate) reserved: u64,
    pub(crate) posted: u64,
    pub(crate) unsettled: u64,
    pub(crate) near_limits: Vec<NearLimit>,
    pub(crate) spend: Vec<AccountSpend>,
    pub(crate) caps: Vec<CapSpend>,
}

#[derive(Debug, Serialize)]
pub(crate) struct CodeCount {
    pub(crate) code: &'static str,
    pub(crate) status: u16,
    pub(crate) count: u64,
}

/// A caller, and the limit that it came closest to.
#[derive(Debug, Serialize)]
pub(crate) struct NearLimit {
    pub(crate) caller: String,
    pub(crate) account: String,
    pub(crate) limit: String,
    /// Whose units it counts together: those of other callers may be among them.
    pub(crate) per: Partition,
    pub(crate) used: u64,
    pub(crate) capacity: u64,
    pub(crate) permille: u64,
    pub(crate) at_ms: u64,
    pub(crate) requests: u64,
    pub(crate) rate_limited: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct AccountSpend {
    pub(crate) account: String,
    pub(crate) posted: u64,
    pub(crate) spend_cap_exceeded: u64,
    pub(crate) insufficient_balance: u64,
}

/// The period in which most was spent against a cap.
#[derive(Debug, Serialize)]
pub(crate) struct CapSpend {
    pub(crate) holder: String,
    pub(crate) account: String,
    pub(crate) per: &'static str,
    pub(crate) cap: u64,
    pub(crate) shadow: bool,
    pub(crate) peak: u64,
    pub(crate) permille: u64,
    pub(crate) at_ms: u64,
    pub(crate) refused: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct ChangesReport {
    pub(crate) changed: u64,
    pub(crate) same: u64,
    pub(crate) kinds: Vec<ChangeReport>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ChangeReport {
    pub(crate) from: LabelReport,
    pub(crate) to: LabelReport,
    pub(crate) count: u64,
    pub(crate) reserved: [u64; 2],
    /// The most frequent ones; `null` is no route.
    pub(crate) routes: Vec<(Option<String>, u64)>,
    pub(crate) more_routes: usize,
    pub(crate) examples: Vec<ExampleReport>,
}

#[derive(Debug, Serialize)]
pub(crate) struct LabelReport {
    pub(crate) code: &'static str,
    /// The limit, whose cap, or that only the price is another one.
    pub(crate) rule: Option<String>,
}

impl NearLimit {
    pub(crate) fn limit_text(&self) -> String {
        let per = match self.per {
            Partition::Token => "token",
            Partition::Account => "account",
            Partition::SourceIp => "source address",
            Partition::TokenSourceIp => "token and source address",
            Partition::AccountSourceIp => "account and source address",
            Partition::Global => "everybody",
        };
        format!("{}, per {per}", self.limit)
    }
}

impl LabelReport {
    pub(crate) fn text(&self) -> String {
        match &self.rule {
            Some(rule) => format!("{} ({rule})", self.code),
            None => self.code.to_owned(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct ExampleReport {
    pub(crate) place: String,
    pub(crate) now_ms: u64,
    pub(crate) caller: Option<String>,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) a: WhyReport,
    pub(crate) b: WhyReport,
}

#[derive(Debug, Serialize)]
pub(crate) struct WhyReport {
    /// The check that decided; none where all passed.
    pub(crate) check: Option<String>,
    /// What it was about, in one sentence.
    pub(crate) text: String,
    pub(crate) fix: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct RecordedReport {
    pub(crate) compared: u64,
    pub(crate) differing: u64,
    pub(crate) kinds: Vec<DifferenceReport>,
}

#[derive(Debug, Serialize)]
pub(crate) struct DifferenceReport {
    pub(crate) recorded: String,
    pub(crate) decided: &'static str,
    pub(crate) count: u64,
    pub(crate) first: String,
}

/// Decisions by code over time.
#[derive(Debug, Serialize)]
pub(crate) struct TimelineReport {
    pub(crate) width_ms: u64,
    pub(crate) codes: Vec<&'static str>,
    pub(crate) steps: Vec<StepReport>,
}

#[derive(Debug, Serialize)]
pub(crate) struct StepReport {
    pub(crate) begin_ms: u64,
    /// By policy, then by code.
    pub(crate) counts: Vec<Vec<u64>>,
}

impl Report {
    pub(crate) fn of(replay: &Replay, merge: &Merge) -> Self {
        let places = Places(merge.logs().map(|log| shown(&log.name())).collect());
        let any = replay.decided > 0;
        let sum = |count: fn(&super::log::LineCounts) -> u64| {
            merge.logs().map(|log| count(&log.counts)).fold(0, u64::saturating_add)
        };
        Report {
            logs: merge.logs().map(log_report).collect(),
            lines: Lines {
                read: sum(|counts| counts.read),
                decided: replay.decided,
                blank: sum(|counts| counts.blank),
                not_http: sum(|counts| counts.not_http),
                bad: sum(|counts| counts.bad),
                late: merge.late,
                late_shown: merge.late_shown.iter().map(|place| places.name(*place)).collect(),
                first_ms: any.then_some(replay.first_ms),
                last_ms: any.then_some(replay.last_ms),
            },
            callers: CallerCounts {
                tokens: replay.callers.count(),
                accounts: replay.callers.account_count(),
                requests_without_token: replay.unauthenticated.without,
                requests_with_invalid_token: replay.unauthenticated.invalid,
            },
            policies: replay.worlds.iter().map(|world| policy_report(world, replay)).collect(),
            changes: (replay.worlds.len() > 1).then(|| changes_report(replay, &places)),
            recorded: (replay.recorded.compared > 0).then(|| recorded_report(replay, &places)),
            timeline: timeline_report(replay),
        }
    }
}

/// Names of lines: by number alone where there is one log.
struct Places(Vec<String>);

impl Places {
    fn name(&self, (log, line): Place) -> String {
        match self.0.get(log) {
            Some(name) if self.0.len() > 1 => format!("{name}:{line}"),
            _ => format!("line {line}"),
        }
    }
}

fn log_report(log: &super::log::Log) -> LogReport {
    let bad = log.bad.iter().map(|(line, why)| BadLineReport { line: *line, why: why.to_string() });
    LogReport { name: shown(&log.name()), lines: log.counts.read, bad: bad.collect() }
}

fn policy_report(world: &World, replay: &Replay) -> PolicyReport {
    let meters = &world.meters;
    let count = |status| meters.by_status.get(super::meters::row_of(status)).copied().unwrap_or(0);
    let (allow, replayed) = (count(Status::Allowed), count(Status::Replayed));
    let codes = STATUS_TABLE
        .iter()
        .zip(meters.by_status)
        .filter(|(_, count)| *count > 0)
        .map(|(row, count)| CodeCount { code: row.code, status: row.http, count })
        .collect();
    PolicyReport {
        policy: shown(&world.name),
        allow,
        deny: replay.decided.saturating_sub(allow).saturating_sub(replayed),
        replay: replayed,
        codes,
        reserved: meters.reserved,
        posted: meters.posted,
        unsettled: world.unsettled,
        near_limits: near_limits(meters, replay),
        spend: spend(meters, replay),
        caps: caps(meters, replay),
    }
}

fn near_limits(meters: &Meters, replay: &Replay) -> Vec<NearLimit> {
    let mut callers: Vec<usize> = (0..meters.callers.len()).collect();
    let key = |number: &usize| {
        let meter = meters.callers.get(*number).copied().unwrap_or_default();
        let highest_first = (meter.peak.permille(), meter.limited, meter.requests);
        (std::cmp::Reverse(highest_first), *number)
    };
    callers.sort_by_key(key);
    let row = |number: usize| {
        let meter = meters.callers.get(number)?;
        let caller = replay.callers.get(number)?;
        let (limit, per) = meters.limits.get(usize::from(meter.peak.limit))?;
        (meter.peak.capacity > 0).then(|| NearLimit {
            caller: caller.shown_name(),
            account: account_name(replay, caller.account),
            limit: limit.to_string(),
            per: *per,
            used: meter.peak.used,
            capacity: meter.peak.capacity,
            permille: meter.peak.permille(),
            at_ms: meter.peak.at_ms,
            requests: meter.requests,
            rate_limited: meter.limited,
        })
    };
    callers.into_iter().filter_map(row).take(TOP).collect()
}

fn spend(meters: &Meters, replay: &Replay) -> Vec<AccountSpend> {
    let mut accounts: Vec<usize> = (0..meters.accounts.len()).collect();
    let key = |number: &usize| {
        let meter = meters.accounts.get(*number).copied().unwrap_or_default();
        (std::cmp::Reverse((meter.posted, meter.capped, meter.unfunded)), *number)
    };
    accounts.sort_by_key(key);
    let row = |number: usize| {
        let meter = meters.accounts.get(number)?;
        let any = meter.posted > 0 || meter.capped > 0 || meter.unfunded > 0;
        any.then(|| AccountSpend {
            account: account_name(replay, number),
            posted: meter.posted,
            spend_cap_exceeded: meter.capped,
            insufficient_balance: meter.unfunded,
        })
    };
    accounts.into_iter().filter_map(row).take(TOP).collect()
}

fn caps(meters: &Meters, replay: &Replay) -> Vec<CapSpend> {
    let mut caps: Vec<&super::meters::CapMeter> = meters.caps.iter().collect();
    let share = |cap: &super::meters::CapMeter| permille(cap.peak, cap.cap.amount.0);
    caps.sort_by_key(|cap| (std::cmp::Reverse((share(cap), cap.refused)), cap.of, cap.cap.per));
    let row = |cap: &super::meters::CapMeter| {
        let (holder, account) = match cap.of {
            CapOf::Account(number) => (account_name(replay, number), number),
            CapOf::Caller(number) => {
                let caller = replay.callers.get(number)?;
                (format!("token {}", caller.shown_name()), caller.account)
            }
        };
        Some(CapSpend {
            holder,
            account: account_name(replay, account),
            per: period_name(cap.cap.per),
            cap: cap.cap.amount.0,
            shadow: cap.cap.shadow,
            peak: cap.peak,
            permille: share(cap),
            at_ms: cap.peak_ms,
            refused: cap.refused,
        })
    };
    caps.into_iter().filter_map(row).take(TOP).collect()
}

fn account_name(replay: &Replay, number: usize) -> String {
    replay.callers.account(number).map(|id| shown(id.as_str())).unwrap_or_default()
}

fn changes_report(replay: &Replay, places: &Places) -> ChangesReport {
    let changes = &replay.changes;
    let kinds = changes.by_count().into_iter().map(|((from, to), change)| {
        let (routes, more_routes) = top_routes(change);
        let example = |example: &Example| example_report(example, replay, places);
        ChangeReport {
            from: label_report(from),
            to: LabelReport {
                // The price alone makes the difference.
                rule: if from == to { Some("another price".to_owned()) } else { to.rule.clone() },
                ..label_report(to)
            },
            count: change.count,
            reserved: change.reserved,
            routes,
            more_routes,
            examples: change.examples.iter().map(example).collect(),
        }
    });
    ChangesReport {
        changed: changes.total,
        same: replay.decided.saturating_sub(changes.total),
        kinds: kinds.collect(),
    }
}

fn label_report(label: &Label) -> LabelReport {
    LabelReport { code: label.status.code(), rule: label.rule.clone() }
}

fn top_routes(change: &Change) -> (Vec<(Option<String>, u64)>, usize) {
    let mut routes: Vec<(Option<String>, u64)> =
        change.routes.iter().map(|(route, count)| (route.clone(), *count)).collect();
    routes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let more = routes.len().saturating_sub(ROUTES);
    routes.truncate(ROUTES);
    (routes, more)
}

fn example_report(example: &Example, replay: &Replay, places: &Places) -> ExampleReport {
    let caller = example.caller.and_then(|number| replay.callers.get(number));
    let [a, b] = &example.why;
    ExampleReport {
        place: places.name(example.place),
        now_ms: example.now_ms,
        caller: caller.map(super::callers::Caller::shown_name),
        method: example.method.clone(),
        path: example.path.clone(),
        a: why_report(a),
        b: why_report(b),
    }
}

fn why_report(why: &Why) -> WhyReport {
    match why {
        Why::Passed { reserved: 0 } => {
            WhyReport { check: None, text: "every check passed".to_owned(), fix: None }
        }
        Why::Passed { reserved } => {
            let text = format!("every check passed, {reserved} reserved");
            WhyReport { check: None, text, fix: None }
        }
        Why::Step(step) => {
            debug_assert_eq!(step.result, CheckResult::Decided);
            WhyReport {
                check: Some(step.check.to_string()),
                text: format!("{}; {}", shown(&step.rule), shown(&step.observed)),
                fix: step.fix.as_deref().map(shown),
            }
        }
        Why::Status(status) => {
            WhyReport { check: None, text: status.row().message.to_owned(), fix: None }
        }
    }
}

fn recorded_report(replay: &Replay, places: &Places) -> RecordedReport {
    let kinds = replay.recorded.by_count().into_iter().map(|((said, decided), count, first)| {
        DifferenceReport {
            recorded: said.name(),
            decided: decided.code(),
            count,
            first: places.name(first),
        }
    });
    RecordedReport {
        compared: replay.recorded.compared,
        differing: replay.recorded.differing,
        kinds: kinds.collect(),
    }
}

/// Only the codes that occur.
fn timeline_report(replay: &Replay) -> TimelineReport {
    let steps = replay.timeline.steps();
    let mut occurs = [false; STATUSES];
    for counts in steps.iter().flat_map(|(_, step)| step) {
        for (occurs, count) in occurs.iter_mut().zip(counts) {
            *occurs |= *count > 0;
        }
    }
    let used = |counts: &[u64; STATUSES]| -> Vec<u64> {
        counts.iter().zip(occurs).filter(|(_, occurs)| *occurs).map(|(count, _)| *count).collect()
    };
    let rows = STATUS_TABLE.iter().zip(occurs).filter(|(_, occurs)| *occurs);
    TimelineReport {
        width_ms: replay.timeline.width_ms,
        codes: rows.map(|(row, _)| row.code).collect(),
        steps: steps
            .iter()
            .map(|(begin_ms, step)| StepReport {
                begin_ms: *begin_ms,
                counts: step.iter().take(replay.worlds.len()).map(used).collect(),
            })
            .collect(),
    }
}
