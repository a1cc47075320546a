//! Where the limits of an account's keys stand. Looking consumes nothing.

use std::net::IpAddr;
use std::sync::Arc;

use askama::Template;
use http::StatusCode;
use tollgate::{
    AccountRef, Admit, AdmitDetail, CapHolder, Command, CompiledPolicy, Counts, Limit,
    MAX_LIMITS_PER_ROUTE, Mode, Outcome, Partition, Route, Store, StoreError, Token, TokenDigest,
};

use super::ask::{Account, Answered, Ask, Halt};
use super::chart::Meter;
use super::draft::Draft;
use super::figures::{self, CapRow, Moment};
use super::keys::{self, Tokens};
use super::shell::{self, Shell};
use crate::admin::token_state;
use crate::record::short;

/// Keys on one page: each is a question to the store.
const PAGE: usize = 20;

#[derive(Template)]
#[template(path = "limits.html")]
struct LimitsPage {
    shell: Shell,
    account: Account,
    /// Limits that do not tell keys apart.
    shared: Vec<Row>,
    keys: Vec<KeyLimits>,
    /// Whether a limit counts by address.
    by_address: bool,
    next: Option<String>,
    draft: Draft,
}

struct KeyLimits {
    short: String,
    rows: Vec<Row>,
}

/// Where a limit stands.
struct Row {
    name: String,
    partition: &'static str,
    counts: &'static str,
    shadow: bool,
    /// `None`: it counts by address, and no address was given.
    stands: Option<Stands>,
}

struct Stands {
    quota: String,
    remaining: u64,
    meter: Meter,
    reset: Moment,
    is_whole: bool,
}

/// Every limit of the policy once, those that count requests first, as a route has them.
fn limits_of(policy: &CompiledPolicy) -> Vec<Limit> {
    let mut limits: Vec<Limit> = Vec::new();
    let of_routes = policy.routes().iter().flat_map(Route::limits);
    for limit in of_routes.chain(policy.limits(None)) {
        if !limits.iter().any(|known| known.id == limit.id) {
            limits.push(limit.clone());
        }
    }
    limits.sort_by_key(|limit| limit.counts);
    limits
}

/// Asks where limits stand, and what was spent.
fn observe(
    store: &dyn Store,
    account: &AccountRef,
    (digest, token): (&TokenDigest, &Token),
    limits: &[Limit],
    source: Option<IpAddr>,
    now_ms: u64,
) -> Result<AdmitDetail, StoreError> {
    let admit = Admit {
        mode: Mode::Observe,
        token_record: Some(token),
        source,
        detail: true,
        ..Admit::limits_only(digest, account, limits)
    };
    match store.perform(&Command::Admit(admit), now_ms)? {
        Outcome::Admission(admission) => {
            Ok(admission.detail.map(|detail| *detail).unwrap_or_default())
        }
        _ => Err(StoreError::WrongOutcome),
    }
}

/// What each key stands at, in the order of the keys.
async fn observe_all(
    ask: &Ask,
    account: &Account,
    tokens: Tokens,
    limits: Arc<[Limit]>,
    source: Option<IpAddr>,
) -> Result<Vec<(TokenDigest, Vec<AdmitDetail>)>, Halt> {
    let (account, now_ms) = (AccountRef::Id(account.id.clone()), ask.now_ms);
    let work = move |store: &dyn Store| {
        let of_key = |(digest, token): (TokenDigest, Arc<Token>)| {
            // As many limits at once as a request may have; without any, the caps alone.
            let mut parts: Vec<&[Limit]> = limits.chunks(MAX_LIMITS_PER_ROUTE).collect();
            if parts.is_empty() {
                parts.push(&[]);
            }
            let details = parts
                .into_iter()
                .map(|part| observe(store, &account, (&digest, &*token), part, source, now_ms));
            Ok((digest, details.collect::<Result<Vec<_>, StoreError>>()?))
        };
        tokens.into_iter().map(of_key).collect::<Result<Vec<_>, StoreError>>()
    };
    let asked = ask.desk.shared.store.perform_as_operator(work).await;
    let asked = asked.unwrap_or(Err(StoreError::WrongOutcome));
    asked.map_err(|error| Halt::Admin(error.into()))
}

/// The caps of keys, with what was spent.
pub(super) async fn key_caps(
    ask: &Ask,
    account: &Account,
    mut tokens: Tokens,
) -> Result<Vec<CapRow>, Halt> {
    tokens.retain(|(_, token)| is_live(token, ask.now_ms) && !token.spend_caps.is_empty());
    tokens.truncate(PAGE);
    let seen = observe_all(ask, account, tokens, Arc::new([]), None).await?;
    let mut rows = Vec::new();
    for (digest, details) in seen {
        let caps = details.iter().flat_map(|detail| &detail.spend_caps);
        let own = caps.filter(|(holder, ..)| *holder == CapHolder::Token);
        rows.extend(own.map(|(_, cap, spent)| CapRow::new(&short(&digest), cap, spent.0)));
    }
    Ok(rows)
}

fn is_live(token: &Token, now_ms: u64) -> bool {
    matches!(token_state(token, now_ms), "live" | "expires")
}

pub(super) async fn show(ask: Ask) -> Answered {
    let (account, _) = ask.account("limits").await?;
    let mut draft = Draft::of(ask.query.clone());
    let address = draft.text("address");
    let source: Option<IpAddr> = address.parse().ok().map(|address: IpAddr| address.to_canonical());
    if source.is_none() && !address.is_empty() {
        draft.wrong("address", "Give an address, such as 192.0.2.7 or 2001:db8::1.");
    }
    let (own, shared): (Vec<Limit>, Vec<Limit>) =
        limits_of(ask.desk.shared.live.load().policy()).into_iter().partition(tells_keys_apart);
    let by_address = own.iter().chain(&shared).any(Limit::needs_source);
    let (own, shared): (Arc<[Limit]>, Arc<[Limit]>) = (own.into(), shared.into());
    // A token that is none: these limits do not look at it.
    let nobody =
        (TokenDigest::new([0; 32]), Arc::new(Token::plain(account.id.clone(), Vec::new())));
    let seen = observe_all(&ask, &account, vec![nobody], Arc::clone(&shared), source).await?;
    let shared = seen.iter().flat_map(|(_, details)| rows(&shared, details, source, ask.now_ms));
    let shared = shared.collect();
    let mut tokens = keys::of(&ask, &account).await?;
    tokens.retain(|(_, token)| is_live(token, ask.now_ms));
    let skipped = ask.query.get("skip").parse().unwrap_or(0_usize);
    let end = skipped.saturating_add(PAGE);
    let query = &account.query;
    let next = (tokens.len() > end).then(|| {
        let address = super::ask::encoded(draft.text("address"));
        format!("/settings/limits?{query}&address={address}&skip={end}")
    });
    let shown: Tokens = tokens.into_iter().skip(skipped).take(PAGE).collect();
    let seen = observe_all(&ask, &account, shown, Arc::clone(&own), source).await?;
    let keys = seen.iter().map(|(digest, details)| KeyLimits {
        short: short(digest),
        rows: rows(&own, details, source, ask.now_ms),
    });
    let page = LimitsPage {
        shell: ask.shell(format!("Limits of {}", account.name()), "accounts"),
        shared,
        keys: keys.collect(),
        by_address,
        next,
        draft,
        account,
    };
    Ok(shell::page(StatusCode::OK, &page))
}

fn tells_keys_apart(limit: &Limit) -> bool {
    // A key's own quota takes the place of the limit's, whoever is counted together.
    limit.token_override || matches!(limit.partition, Partition::Token | Partition::TokenSourceIp)
}

fn rows(
    limits: &[Limit],
    details: &[AdmitDetail],
    source: Option<IpAddr>,
    now_ms: u64,
) -> Vec<Row> {
    let reports = details.iter().flat_map(|detail| &detail.limits).map(|(report, _)| report);
    let row = |(limit, report): (&Limit, _)| {
        let is_known = source.is_some() || !limit.needs_source();
        Row::new(limit, is_known.then_some(report), now_ms)
    };
    limits.iter().zip(reports).map(row).collect()
}

impl Row {
    fn new(limit: &Limit, report: Option<&tollgate::LimitReport>, now_ms: u64) -> Self {
        let stands = report.map(|report| {
            // What could be taken at once: for GCRA that is the burst.
            let whole = report.quota.burst.max(report.left.remaining);
            Stands {
                quota: figures::quota(&report.quota),
                remaining: report.left.remaining,
                meter: Meter::new(whole.saturating_sub(report.left.remaining), whole),
                reset: Moment(report.left.reset_ms),
                is_whole: report.left.reset_ms <= now_ms,
            }
        });
        Row {
            name: limit.name.to_string(),
            partition: match limit.partition {
                Partition::Token => "each key",
                Partition::Account => "the account",
                Partition::SourceIp => "each address",
                Partition::TokenSourceIp => "each key and address",
                Partition::AccountSourceIp => "the account, each address",
                Partition::Global => "everybody together",
            },
            counts: match limit.counts {
                Counts::Requests => "requests",
                Counts::Executions => "executions",
            },
            shadow: limit.shadow,
            stands,
        }
    }
}
