//! The checks of a request, one after the other.

use std::fmt;

use tollgate::{
    Amount, CapHolder, Counts, Denial, LimitReport, OnExpiry, Partition, Quota, Shadows,
};

use super::limits::{Answer, look};
use super::money::{Reservation, State};
use super::{Account, Claim, Model, Token};
use crate::catalogue::{
    Definition, IN_NETWORK, KEY_TEXTS, LIMITS, LimitRule, NEEDS_WRITE, NOWHERE, ROUTES, RouteRule,
    Rules, SENDERS, SOURCE_PARTITIONS, SOURCES,
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Who {
    Nobody,
    Stranger,
    Token(usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Key {
    Absent,
    Malformed,
    Given(u8),
}

/// A request, its facts already split.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) who: Who,
    pub(crate) route: usize,
    pub(crate) source: usize,
    pub(crate) key: Key,
    pub(crate) body: u8,
    pub(crate) cost: Option<u64>,
    pub(crate) sender: Option<u8>,
    pub(crate) invalid: bool,
    pub(crate) peek: bool,
    pub(crate) policy: usize,
    pub(crate) now_ms: u64,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.who {
            Who::Nobody => f.write_str("nobody")?,
            Who::Stranger => f.write_str("a stranger")?,
            Who::Token(token) => write!(f, "token {token}")?,
        }
        let (method, target, _) = ROUTES[self.route];
        write!(f, " from {}: {method} {target}", SOURCES[self.source].unwrap_or("nowhere"))?;
        match self.key {
            Key::Absent => {}
            Key::Malformed => f.write_str(", a key that is none")?,
            Key::Given(key) => write!(f, ", {}", KEY_TEXTS[usize::from(key)])?,
        }
        write!(f, ", body {}", self.body)?;
        if let Some(cost) = self.cost {
            write!(f, ", cost {cost}")?;
        }
        if let Some(sender) = self.sender {
            write!(f, ", sender {}", SENDERS[usize::from(sender)])?;
        }
        if self.invalid {
            f.write_str(", invalid")?;
        }
        if self.peek {
            f.write_str(", peek")?;
        }
        write!(f, " (policy {}, at {})", self.policy, self.now_ms)
    }
}

/// What the token and its account say of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Standing {
    Dead,
    Outside,
    NotGranted,
    Fine { shadow_networks: bool },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    Admitted { number: Option<u64> },
    Replay(u8),
    Denied(Denial),
}

/// What comes of an admission.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Said {
    pub(crate) verdict: Verdict,
    pub(crate) tightest: Option<LimitReport>,
    pub(crate) shadows: Shadows,
    /// What is held.
    pub(crate) reserved: u64,
}

struct Looked<'r> {
    rule: &'r LimitRule,
    limit: &'static Definition,
    partition: u32,
    answer: Answer,
}

impl RouteRule {
    /// The claim's rule and key, nothing, or a key that will not do.
    fn key_of(&self, key: Key) -> Result<Option<(crate::catalogue::KeyRule, u8)>, Denial> {
        match (self.key, key) {
            (None, _) => Ok(None),
            (Some(rule), Key::Absent) if !rule.required => Ok(None),
            (Some(rule), Key::Given(key)) => Ok(Some((rule, key))),
            _ => Err(Denial::KeyInvalid),
        }
    }
}

pub(crate) fn charge(rules: &Rules, asked: &Asked) -> u64 {
    asked.cost.unwrap_or(rules.routes[asked.route].price)
}

impl Model {
    /// Checks 2 to 4.
    pub(crate) fn standing(&self, token: usize, rules: &Rules, asked: &Asked) -> Standing {
        let token = &self.tokens[token];
        if !token.is_live(asked.now_ms) {
            return Standing::Dead;
        }
        let restricted = token.networks || self.accounts[token.account].networks;
        let outside = restricted && !IN_NETWORK[asked.source];
        if outside && !rules.shadow_networks {
            return Standing::Outside;
        }
        let granted = asked.route != NOWHERE && (token.may_write || !NEEDS_WRITE[asked.route]);
        if !granted {
            return Standing::NotGranted;
        }
        Standing::Fine { shadow_networks: outside }
    }

    /// Checks 5 to 10; a request that was denied before them only sees where its limits stand.
    pub(crate) fn admit(
        &mut self,
        token: usize,
        rules: &Rules,
        asked: &Asked,
        observes: bool,
    ) -> Said {
        let now_ms = asked.now_ms;
        let looked = self.look(token, rules, asked);
        let mut shadows = Shadows::default();
        for (bit, one) in looked.iter().enumerate() {
            if one.rule.shadow && one.answer.refused.is_some() {
                shadows.limits |= 1 << bit;
            }
        }
        let said = |verdict, counted: Option<Counts>, shadows| Said {
            tightest: tightest(&looked, &verdict, counted),
            verdict,
            shadows,
            reserved: 0,
        };
        if observes {
            return said(Verdict::Admitted { number: None }, None, shadows);
        }
        let holder = self.tokens[token].clone();
        let charge = charge(rules, asked);
        let route = &rules.routes[asked.route];
        let key = route.key_of(asked.key);
        let mut foreseen = None;
        let account = &mut self.accounts[holder.account];
        if charge > 0 || matches!(key, Ok(Some(_))) {
            if asked.peek {
                // What fell due is over, but a peek does not write it down.
                foreseen = Some(account.clone());
            }
            foreseen.as_mut().unwrap_or(account).pass(now_ms);
        }
        let account = foreseen.as_ref().unwrap_or(&self.accounts[holder.account]);

        if let Some(denial) = refusal(&looked, Counts::Requests) {
            return said(Verdict::Denied(denial), None, shadows);
        }
        let verdict = before_executions(account, asked, &key);
        if verdict.is_none()
            && let Some(denial) = refusal(&looked, Counts::Executions)
        {
            return said(Verdict::Denied(denial), None, shadows);
        }
        let spends_as = holder.ancestor.unwrap_or(token);
        let verdict = verdict.or_else(|| {
            let denial = money(account, &holder, spends_as, charge, &mut shadows, now_ms)?;
            Some(Verdict::Denied(denial))
        });
        if let Some(verdict) = verdict {
            let counted = (!asked.peek).then_some(Counts::Requests);
            let said = said(verdict, counted, shadows);
            self.count(&looked, counted);
            return said;
        }
        if asked.peek {
            return said(Verdict::Admitted { number: None }, None, shadows);
        }
        let key = key.unwrap_or(None);
        let number = (charge > 0 || key.is_some()).then(|| {
            let account = &mut self.accounts[holder.account];
            hold(account, asked, route, rules.retention_ms, key, charge, spends_as)
        });
        let counted = Some(Counts::Executions);
        let said =
            Said { reserved: charge, ..said(Verdict::Admitted { number }, counted, shadows) };
        self.count(&looked, counted);
        said
    }

    fn look<'r>(&self, token: usize, rules: &'r Rules, asked: &Asked) -> Vec<Looked<'r>> {
        let account = self.tokens[token].account;
        let rules = rules.routes[asked.route].limits.iter();
        rules
            .map(|rule| {
                let limit = &LIMITS[rule.definition];
                let partition = partition(limit.per, token, account, asked.source);
                let cell = self.cells.get(&(rule.definition, partition));
                let answer = look(limit, cell, asked.now_ms, rule.cost);
                Looked { rule, limit, partition, answer }
            })
            .collect()
    }

    fn count(&mut self, looked: &[Looked<'_>], counted: Option<Counts>) {
        for one in looked {
            if is_counted(one.limit, counted) && one.answer.refused.is_none() {
                let cell = (one.rule.definition, one.partition);
                self.cells.insert(cell, one.answer.next.clone());
            }
        }
    }

    /// Whether one more claim or reservation of an account would be over the store's bounds.
    pub(crate) fn is_full(&self, account: usize, asked: &Asked, rules: &Rules) -> bool {
        let bounds = self.bounds;
        let of = |count: fn(&Account) -> usize| {
            (self.accounts.iter().map(count).sum::<usize>(), count(&self.accounts[account]))
        };
        let (claims, own_claims) = of(|account| account.claims.len());
        let (reservations, own_reservations) = of(|account| account.reservations.len());
        let key = rules.routes[asked.route].key_of(asked.key).unwrap_or(None);
        let fresh = |key| self.accounts[account].claim(asked.route, key).is_none();
        let more_claims = key.is_some_and(|(_, key)| fresh(key));
        (more_claims && (claims >= bounds.claims || own_claims >= bounds.per_account))
            || reservations >= bounds.reservations
            || own_reservations >= bounds.per_account
    }
}

fn partition(per: Partition, token: usize, account: usize, source: usize) -> u32 {
    let (token, account, source) = (token as u32, account as u32, SOURCE_PARTITIONS[source]);
    match per {
        Partition::Token => token,
        Partition::Account => account,
        Partition::SourceIp => source,
        Partition::TokenSourceIp => token * 8 + source,
        Partition::AccountSourceIp => account * 8 + source,
        Partition::Global => 0,
    }
}

/// Executions count everywhere, other requests where requests count.
fn is_counted(limit: &Definition, counted: Option<Counts>) -> bool {
    match counted {
        None => false,
        Some(Counts::Requests) => limit.counts == Counts::Requests,
        Some(Counts::Executions) => true,
    }
}

/// The enforced limit that refuses for longest. Never too early: not before the last of all that refuse.
fn refusal(looked: &[Looked<'_>], counts: Counts) -> Option<Denial> {
    let refusing = || {
        let enforced = looked.iter().enumerate().filter(|(_, one)| !one.rule.shadow);
        enforced.filter_map(|(index, one)| Some((index, one, one.answer.refused?)))
    };
    let longest = refusing().filter(|(_, one, _)| one.limit.counts == counts).map(|(.., at)| at);
    let longest = longest.max()?;
    let (limit, ..) =
        refusing().find(|(_, one, at)| one.limit.counts == counts && *at == longest)?;
    let retry_at_ms = refusing().map(|(.., at)| at).max()?;
    Some(Denial::RateLimited { limit: limit as u16, retry_at_ms })
}

fn tightest(
    looked: &[Looked<'_>],
    verdict: &Verdict,
    counted: Option<Counts>,
) -> Option<LimitReport> {
    let reports = looked.iter().enumerate().filter(|(_, one)| !one.rule.shadow);
    let mut reports = reports.map(|(index, one)| {
        let Definition { units, window_ms, burst, .. } = *one.limit;
        let counted = is_counted(one.limit, counted);
        let left = if counted { one.answer.after } else { one.answer.before };
        LimitReport { limit: index as u16, quota: Quota { units, window_ms, burst }, left }
    });
    match verdict {
        Verdict::Denied(Denial::RateLimited { limit, .. }) => {
            reports.find(|report| report.limit == *limit)
        }
        _ => reports.min_by_key(|report| report.left.remaining),
    }
}

fn before_executions(
    account: &Account,
    asked: &Asked,
    key: &Result<Option<(crate::catalogue::KeyRule, u8)>, Denial>,
) -> Option<Verdict> {
    match key {
        Err(denial) => return Some(Verdict::Denied(denial.clone())),
        Ok(None) => {}
        Ok(Some((rule, key))) => {
            if let Some(claim) = account.claim(asked.route, *key) {
                let lost = rule.rerun && claim.lease_until_ms <= asked.now_ms;
                match claim.response {
                    _ if claim.body != asked.body => {
                        return Some(Verdict::Denied(Denial::KeyReused));
                    }
                    Some(response) => return Some(Verdict::Replay(response)),
                    None if !lost => return Some(Verdict::Denied(Denial::InFlight)),
                    None => {}
                }
            }
        }
    }
    if asked.sender.is_some_and(|sender| account.senders & (1 << sender) == 0) {
        return Some(Verdict::Denied(Denial::SenderNotApproved));
    }
    asked.invalid.then_some(Verdict::Denied(Denial::ValidationFailed))
}

/// Caps, the token's before the account's, then the wallet.
fn money(
    account: &Account,
    token: &Token,
    spends_as: usize,
    charge: u64,
    shadows: &mut Shadows,
    now_ms: u64,
) -> Option<Denial> {
    if charge == 0 {
        return None;
    }
    let by_token = account.spent_by_token.get(&spends_as);
    let holders = [
        (CapHolder::Token, &token.caps, by_token),
        (CapHolder::Account, &account.caps, Some(&account.spent)),
    ];
    for (holder, caps, spent) in holders {
        for cap in caps {
            let spent = spent.map_or(0, |spent| spent.within(cap.per, now_ms));
            if spent + charge <= cap.amount.0 {
                continue;
            }
            if !cap.shadow {
                let left = Amount(cap.amount.0.saturating_sub(spent));
                return Some(Denial::SpendCapExceeded { holder, per: cap.per, left });
            }
            shadows.spend_caps = true;
        }
    }
    let available = account.balance() - account.held();
    let denial = Denial::InsufficientBalance { available: Amount(available) };
    (charge > available).then_some(denial)
}

/// Holds the price and claims the key. Gives the number under which both end.
fn hold(
    account: &mut Account,
    asked: &Asked,
    route: &RouteRule,
    retention_ms: u64,
    key: Option<(crate::catalogue::KeyRule, u8)>,
    charge: u64,
    spends_as: usize,
) -> u64 {
    let now_ms = asked.now_ms;
    account.last_number += 1;
    let number = account.last_number;
    let lease_until_ms = now_ms + route.lease_ms;
    let mut due_ms = lease_until_ms;
    if let Some((rule, key)) = key {
        let expires_ms = now_ms + rule.retention_ms;
        // Without money a late outcome harms nobody: it is taken for as long as the key is kept.
        if charge == 0 {
            due_ms = expires_ms;
        }
        let (route, body) = (asked.route, asked.body);
        account.claims.retain(|claim| (claim.route, claim.key) != (route, key));
        account.claims.push(Claim {
            route,
            key,
            body,
            holder: number,
            lease_until_ms,
            expires_ms,
            response: None,
        });
    }
    if charge > 0 {
        account.spent.add(number, charge, now_ms);
        account.spent_by_token.entry(spends_as).or_default().add(number, charge, now_ms);
    }
    let on_expiry: OnExpiry = route.on_expiry;
    account.reservations.push(Reservation {
        number,
        amount: charge,
        spends_as,
        on_expiry,
        retention_ms,
        due_ms: Some(due_ms),
        claim: key.map(|(_, key)| (asked.route, key)),
        state: State::Held,
    });
    number
}
