//! The ten checks, one after the other.

use std::net::IpAddr;

use ipnet::IpNet;
use tollgate::{Counts, IdempotencyOverrides, LimitConfig, OnOrphan, Partition, RouteIdempotency};

use super::limits::{Answer, Quota, look};
use super::money::{Reservation, State};
use super::{Cap, Claim, ClaimName, Response, World};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Who {
    Nobody,
    Stranger,
    Token(usize),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Key {
    Absent,
    Malformed,
    Given(String),
}

/// A request, its facts already split.
#[derive(Clone, Debug)]
pub struct Facts {
    pub who: Who,
    /// `METHOD /path`; `None` for what is no route.
    pub route: Option<String>,
    pub target: String,
    pub source: Option<IpAddr>,
    pub key: Key,
    pub body: u8,
    pub cost: Option<u64>,
    pub sender: Option<String>,
    pub invalid: bool,
    pub now_ms: u64,
}

/// What is said to a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    pub code: &'static str,
    pub http: u16,
    /// `X-RateLimit-Limit`, `-Remaining`, `-Reset`.
    pub limit: Option<(u64, u64, u64)>,
    pub retry_after_s: Option<u64>,
    pub replay: Option<Response>,
    pub account: Option<usize>,
    pub reserved: Option<u64>,
    /// The reservation's number, when something must be settled.
    pub number: Option<u64>,
    pub shadow_limits: u64,
    pub shadow_caps: bool,
    pub shadow_networks: bool,
}

impl Said {
    fn code(self, code: &'static str, http: u16) -> Said {
        Said { code, http, ..self }
    }
}

struct Rule<'p> {
    name: &'p str,
    limit: &'p LimitConfig,
    answer: Answer,
    quota: Quota,
    cell: (String, u8, String),
}

struct KeyRule {
    required: bool,
    retention_ms: u64,
    on_orphan: OnOrphan,
}

impl World {
    /// Decides and applies.
    pub fn decide(&mut self, facts: &Facts) -> Said {
        let now_ms = facts.now_ms;
        let said = Said::default();
        let index = match facts.who {
            Who::Nobody => return said.code("missing_token", 401),
            Who::Stranger => return said.code("invalid_token", 401),
            Who::Token(index) => index,
        };
        let token = self.tokens[index].clone();
        if token.revoked || token.expires_ms.is_some_and(|until| until <= now_ms) {
            return said.code("invalid_token", 401);
        }
        let said = Said { account: Some(token.account), ..said };
        let account = &self.accounts[token.account];
        let policy = self.policy.clone();

        let inside = [&account.networks, &token.networks].into_iter().all(|networks| {
            networks.is_empty() || facts.source.is_some_and(|source| contains(networks, source))
        });
        let granted = facts.route.as_ref().is_some_and(|route| {
            policy.scopes.iter().any(|(scope, routes)| {
                routes.contains(route) && token.scopes.iter().any(|own| own == scope)
            })
        });

        // Where each limit stands: those that count requests come first, then by name.
        let costs = facts.route.as_ref().and_then(|route| policy.routes.get(route));
        let overridden = overridden(&self.policy.limits);
        let mut rules: Vec<Rule<'_>> = Vec::new();
        for (name, limit) in &policy.limits {
            let applies = match (&limit.routes, &facts.route) {
                (None, Some(_)) => true,
                (None, None) => limit.counts == Counts::Requests,
                (Some(routes), Some(route)) => routes.contains(route),
                (Some(_), None) => false,
            };
            if !applies {
                continue;
            }
            let cost = costs.and_then(|route| route.limit_costs.get(name)).copied();
            let own = token.quota.filter(|_| overridden.as_deref() == Some(name));
            let quota = Quota::of(limit, own);
            let whose = whose(limit.per, index, token.account, facts.source);
            let cell = (name.clone(), limit.algorithm as u8, whose);
            let answer = look(
                limit.algorithm,
                quota,
                self.cells.get(&cell),
                now_ms,
                cost.unwrap_or(limit.cost),
            );
            rules.push(Rule { name, limit, answer, quota, cell });
        }
        rules.sort_by_key(|rule| (rule.limit.counts, rule.name));

        let mut said = said;
        for (bit, rule) in rules.iter().enumerate() {
            if rule.limit.shadow && rule.answer.refused.is_some() {
                said.shadow_limits |= 1 << bit;
            }
        }
        said.shadow_networks = !inside && policy.source.shadow_networks;
        let told = |said: Said, counted: &dyn Fn(&Rule<'_>) -> bool| {
            let reports = rules.iter().filter(|rule| !rule.limit.shadow).map(|rule| {
                let (remaining, reset_ms) =
                    if counted(rule) { rule.answer.after } else { rule.answer.before };
                (remaining, (rule.quota.units, remaining.min(rule.quota.units), seconds(reset_ms)))
            });
            Said {
                limit: reports.min_by_key(|(remaining, _)| *remaining).map(|(_, told)| told),
                ..said
            }
        };
        if !inside && !policy.source.shadow_networks {
            return told(said, &|_| false).code("ip_not_allowed", 403);
        }
        if !granted {
            return told(said, &|_| false).code("insufficient_scope", 403);
        }
        let route = facts.route.clone().unwrap();
        let settings = policy.routes.get(&route).cloned().unwrap_or_default();
        let key_rule = key_rule(&policy.idempotency, settings.idempotency.as_ref());
        let key = match (&key_rule, &facts.key) {
            (None, _) => None,
            (Some(rule), Key::Absent) => rule.required.then_some(Err(())),
            (Some(_), Key::Malformed) => Some(Err(())),
            (Some(rule), Key::Given(key)) => Some(Ok(((route.clone(), key.clone()), rule))),
        };
        let charge = facts.cost.or(settings.price.map(|price| price.0)).unwrap_or(0);
        let account = &mut self.accounts[token.account];
        if charge > 0 || matches!(key, Some(Ok(_))) {
            account.pass(now_ms);
        }

        if let Some(refusal) = refusal(&rules, Counts::Requests, now_ms) {
            return limited(said, refusal, now_ms);
        }
        let requests = |rule: &Rule<'_>| rule.limit.counts == Counts::Requests;
        let denial = before_executions(account, facts, key.as_ref(), now_ms);
        if denial.is_none()
            && let Some(refusal) = refusal(&rules, Counts::Executions, now_ms)
        {
            return limited(said, refusal, now_ms);
        }
        let denial = denial.or_else(|| {
            if charge == 0 {
                return None;
            }
            let spends_as = token.ancestor.unwrap_or(index);
            let by_token = account.spent_by_token.entry(spends_as).or_default();
            for (caps, spent) in [(&token.caps, &*by_token), (&account.caps, &account.spent)] {
                for Cap { per, amount, shadow } in caps {
                    if spent.within(*per, now_ms) + charge <= *amount {
                        continue;
                    }
                    if !shadow {
                        return Some((Said::default().code("spend_cap_exceeded", 403), None));
                    }
                    said.shadow_caps = true;
                }
            }
            (charge > account.balance() - account.held())
                .then(|| (Said::default().code("insufficient_balance", 402), None))
        });
        if let Some((denial, replay)) = denial {
            // Nobody knows when the first request will end: one second is the least to say.
            let retry_after_s = (denial.http == 409).then_some(1);
            let said = Said { code: denial.code, http: denial.http, replay, retry_after_s, ..said };
            let said = told(said, &requests);
            count(&mut self.cells, rules.iter().filter(|rule| requests(rule)));
            return said;
        }

        if charge > 0 || matches!(key, Some(Ok(_))) {
            account.last_number += 1;
            let number = account.last_number;
            let lease_ms = settings.lease_ms.unwrap_or(policy.reservations.lease_ms);
            let lease_until_ms = now_ms + lease_ms;
            let mut due_ms = lease_until_ms;
            let mut claim_name = None;
            if let Some(Ok((name, rule))) = key {
                let expires_ms = now_ms + rule.retention_ms;
                if charge == 0 {
                    due_ms = expires_ms;
                }
                let request = (facts.target.clone(), facts.body);
                let claim =
                    Claim { request, holder: number, lease_until_ms, expires_ms, response: None };
                account.claims.insert(name.clone(), claim);
                claim_name = Some(name);
            }
            let spends_as = token.ancestor.unwrap_or(index);
            if charge > 0 {
                account.spent.add(number, charge, now_ms);
                account.spent_by_token.entry(spends_as).or_default().add(number, charge, now_ms);
            }
            account.reservations.insert(
                number,
                Reservation {
                    amount: charge,
                    spends_as,
                    on_expiry: settings.on_expiry.unwrap_or(policy.reservations.on_expiry),
                    retention_ms: policy.reservations.retention_ms,
                    due_ms: Some(due_ms),
                    claim: claim_name,
                    state: State::Held,
                },
            );
            said.number = Some(number);
            said.reserved = Some(charge).filter(|charge| *charge > 0);
        }
        let said = told(said, &|_| true).code("allowed", 200);
        count(&mut self.cells, rules.iter());
        said
    }

    /// Decides, and changes nothing: limits are told as they stand, and nothing is reserved.
    pub fn peek(&self, facts: &Facts) -> Said {
        let said = self.clone().decide(facts);
        Said { number: None, reserved: None, limit: None, ..said }
    }
}

type Verdict = (Said, Option<Response>);

fn before_executions(
    account: &super::Account,
    facts: &Facts,
    key: Option<&Result<(ClaimName, &KeyRule), ()>>,
    now_ms: u64,
) -> Option<Verdict> {
    let denied = |code, http| Some((Said::default().code(code, http), None));
    match key {
        None => {}
        Some(Err(())) => return denied("idempotency_key_invalid", 422),
        Some(Ok((name, rule))) => {
            if let Some(claim) = account.claims.get(name) {
                let lost = rule.on_orphan == OnOrphan::Rerun && claim.lease_until_ms <= now_ms;
                if claim.request != (facts.target.clone(), facts.body) {
                    return denied("idempotency_key_reused", 422);
                }
                if let Some(response) = &claim.response {
                    let said = Said::default().code("replayed", response.status);
                    return Some((said, Some(response.clone())));
                }
                if !lost {
                    return denied("idempotency_in_flight", 409);
                }
            }
        }
    }
    if facts.sender.as_ref().is_some_and(|sender| !account.senders.contains(sender)) {
        return denied("sender_not_approved", 422);
    }
    if facts.invalid {
        return denied("validation_failed", 422);
    }
    None
}

/// The enforced limit that refuses for longest, the first of several.
fn refusal<'r, 'p>(
    rules: &'r [Rule<'p>],
    counts: Counts,
    now_ms: u64,
) -> Option<(&'r Rule<'p>, u64)> {
    let mut latest: Option<(&Rule<'_>, u64)> = None;
    for rule in rules.iter().filter(|rule| !rule.limit.shadow && rule.limit.counts == counts) {
        let Some(refused) = rule.answer.refused else { continue };
        let at_ms = refused.unwrap_or(now_ms + rule.quota.window_ms);
        if latest.as_ref().is_none_or(|(_, earlier)| at_ms > *earlier) {
            latest = Some((rule, at_ms));
        }
    }
    // Never too early: not before the last of all that refuse now, whatever they count.
    let all = rules.iter().filter(|rule| !rule.limit.shadow);
    let last_ms = all
        .filter_map(|rule| Some(rule.answer.refused?.unwrap_or(now_ms + rule.quota.window_ms)))
        .max();
    latest.zip(last_ms).map(|((rule, _), last_ms)| (rule, last_ms))
}

fn limited(said: Said, (rule, at_ms): (&Rule<'_>, u64), now_ms: u64) -> Said {
    let (remaining, reset_ms) = rule.answer.before;
    Said {
        limit: Some((rule.quota.units, remaining.min(rule.quota.units), seconds(reset_ms))),
        retry_after_s: Some(seconds(at_ms.saturating_sub(now_ms)).max(1)),
        ..said.code("rate_limited", 429)
    }
}

fn count<'r, 'p: 'r>(
    cells: &mut std::collections::BTreeMap<(String, u8, String), super::Cell>,
    rules: impl Iterator<Item = &'r Rule<'p>>,
) {
    for rule in rules.filter(|rule| rule.answer.refused.is_none()) {
        cells.insert(rule.cell.clone(), rule.answer.next.clone());
    }
}

fn seconds(ms: u64) -> u64 {
    ms.div_ceil(1_000)
}

fn contains(networks: &[IpNet], source: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&source))
}

/// The one limit whose quota a token's own replaces.
fn overridden(limits: &std::collections::BTreeMap<String, LimitConfig>) -> Option<String> {
    if let Some((name, _)) = limits.iter().find(|(_, limit)| limit.token_override == Some(true)) {
        return Some(name.clone());
    }
    let candidates: Vec<&String> = limits
        .iter()
        .filter(|(_, limit)| {
            limit.per == Partition::Token
                && limit.counts == Counts::Requests
                && limit.routes.is_none()
                && limit.token_override.is_none()
        })
        .map(|(name, _)| name)
        .collect();
    match candidates[..] {
        [only] => Some(only.clone()),
        _ => None,
    }
}

fn whose(per: Partition, token: usize, account: usize, source: Option<IpAddr>) -> String {
    let source = match source {
        None => "nowhere".to_owned(),
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => format!("{:x?}", &address.segments()[..4]),
    };
    match per {
        Partition::Token => format!("token {token}"),
        Partition::Account => format!("account {account}"),
        Partition::SourceIp => source,
        Partition::TokenSourceIp => format!("token {token} from {source}"),
        Partition::AccountSourceIp => format!("account {account} from {source}"),
        Partition::Global => "all".to_owned(),
    }
}

fn key_rule(
    defaults: &tollgate::IdempotencyConfig,
    route: Option<&RouteIdempotency>,
) -> Option<KeyRule> {
    let own = match route? {
        RouteIdempotency::Switch(false) => return None,
        RouteIdempotency::Switch(true) => IdempotencyOverrides::default(),
        RouteIdempotency::Settings(own) => own.clone(),
    };
    Some(KeyRule {
        required: own.required.unwrap_or(defaults.required),
        retention_ms: own.retention_ms.unwrap_or(defaults.retention_ms),
        on_orphan: own.on_orphan.unwrap_or(defaults.on_orphan),
    })
}
