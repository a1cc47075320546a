//! Checks 5 and 8: rate limits.

use std::time::Duration;

use tollgate::{Limit, Verdict};

use super::go_on;
use crate::verify::needs::fresh;
use crate::verify::plan::{RoutePlan, capacity, is_shared};
use crate::verify::session::{Checked, Session, Stop, not_run};

/// Larger limits are not used up: that would be a flood.
const MAX_CAPACITY: u64 = 500;

pub(super) async fn enforced(session: &mut Session) -> Checked {
    let mut names: Vec<String> = session.plan.config.limits.keys().cloned().collect();
    // What others use too comes last: after it they have nothing left.
    names.sort_by_key(|name| on(session, name).is_some_and(|(_, limit)| is_shared(&limit)));
    if names.is_empty() {
        return not_run("the policy has no limits");
    }
    for name in names {
        let done = used_up(session, &name).await;
        go_on(session, &name, done)?;
    }
    Ok(())
}

/// A route on which a limit can be used up, and the limit as it applies there.
fn on(session: &Session, name: &str) -> Option<(RoutePlan, Limit)> {
    let routes = session.plan.callable().into_iter();
    let found = routes.filter_map(|route| {
        let limit = route.limits.iter().find(|limit| *limit.name == *name)?;
        // Where another one ends earlier it cannot be seen.
        let is_first = route
            .limits
            .iter()
            .filter(|other| !other.shadow)
            .all(|other| other.name == limit.name || capacity(other) > capacity(limit));
        Some((!is_first, route, limit))
    });
    let (_, route, limit) = found.min_by_key(|(is_late, ..)| *is_late)?;
    Some((route.clone(), limit.clone()))
}

async fn used_up(session: &mut Session, name: &str) -> Checked {
    let Some((route, limit)) = on(session, name) else {
        return not_run("no route that may be called counts in it");
    };
    if limit.shadow {
        return not_run("the policy only reports it: shadow");
    }
    let most = capacity(&limit);
    if most > MAX_CAPACITY || most.saturating_add(8) > session.client.left() {
        return not_run(format!("it would take {most} requests to use it up"));
    }
    // A token without a quota of its own; under a limit of others, one that holds back nothing.
    let token = if limit.token_override { fresh(name) } else { large(session, name) };
    let first = session.call(&route, &token).await?;
    session.make_room(&first).await?;
    for _ in 0..most.saturating_mul(3).saturating_add(8) {
        let call = session.call(&route, &token).await?;
        let asked = session.ask_now(name, &call).await?;
        if asked.is_limited() {
            return told(session, name, &limit, asked.told_limit.as_deref());
        }
        if asked.verdict == Verdict::Deny {
            return not_run(format!("another check decides: {}", asked.reply.status));
        }
    }
    not_run("it refills as quickly as requests can be made")
}

fn large(session: &Session, name: &str) -> String {
    if session.plan.has_own_quotas() { "headers".to_owned() } else { fresh(name) }
}

/// Whether it was this limit that ended.
fn told(session: &mut Session, name: &str, limit: &Limit, told: Option<&str>) -> Checked {
    let units = limit.quota.units.to_string();
    match told {
        Some(told) if told != units => {
            let why = format!("{name}: another limit ends first, of {told} units");
            session.findings.not_run(session.check, why);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Denied so often while it waits.
const DENIALS: usize = 4;

pub(super) async fn denial_consumes_nothing(session: &mut Session) -> Checked {
    let (route, token) = small(session)?;
    let first = session.call(&route, &token).await?;
    session.make_room(&first).await?;
    let mut denials = 0_usize;
    for _ in 0..32 {
        if denials >= DENIALS {
            break;
        }
        let call = session.call(&route, &token).await?;
        let asked = session.ask_now("while nothing is left", &call).await?;
        match asked.is_limited() {
            true => denials = denials.saturating_add(1),
            false if asked.verdict == Verdict::Deny => return not_run("another check decides"),
            false => denials = 0,
        }
    }
    if denials < DENIALS {
        return not_run("it refills as quickly as requests can be made");
    }
    let call = session.call(&route, &token).await?;
    session.make_room(&call).await?;
    // Rounding on the way.
    tokio::time::sleep(Duration::from_millis(20)).await;
    match session.ask_now("after waiting as told", &call).await {
        Ok(_) => Ok(()),
        Err(Stop::Failed) => Err(Stop::Failed),
        Err(other) => Err(other),
    }
}

/// A limit that is used up quickly, and soon has something again: a token's own small quota, or else the least
/// limit.
fn small(session: &Session) -> Checked<(RoutePlan, String)> {
    let own = session
        .plan
        .callable()
        .into_iter()
        .find(|route| route.limits.iter().any(|limit| limit.token_override && !limit.shadow));
    if let Some(route) = own {
        return Ok((route.clone(), "small-quota".to_owned()));
    }
    let mut found: Vec<(u64, String, RoutePlan)> = Vec::new();
    for name in session.plan.config.limits.keys() {
        let Some((route, limit)) = on(session, name) else { continue };
        let window_s = limit.quota.window_ms.div_ceil(1_000);
        let is_quick = capacity(&limit) <= 64 && window_s <= session.wait().as_secs();
        if is_quick && !limit.shadow && !is_shared(&limit) {
            found.push((capacity(&limit), name.clone(), route));
        }
    }
    found.sort_by_key(|(capacity, ..)| *capacity);
    match found.into_iter().next() {
        Some((_, name, route)) => Ok((route, fresh(&name))),
        None => not_run("no limit is small and short enough: --wait says what may be waited for"),
    }
}
