//! Checks 9 and 10: spend caps and the wallet.

use futures_util::future::join_all;
use serde_json::json;
use tollgate::Amount;

use super::go_on;
use crate::verify::judge::shown;
use crate::verify::plan::RoutePlan;
use crate::verify::session::{Checked, Session, Stop, not_run};

fn priced(session: &Session) -> Checked<(RoutePlan, u64)> {
    match session.plan.priced().and_then(|route| Some((route, route.price?))) {
        Some((route, Amount(price))) => Ok((route.clone(), price)),
        None => not_run("no price is known: give `price` of a route with --requests"),
    }
}

fn priced_with_key(session: &Session) -> Checked<RoutePlan> {
    let (route, _) = priced(session)?;
    if route.takes_key { Ok(route) } else { not_run("no charged route takes an Idempotency-Key") }
}

pub(super) async fn empty(session: &mut Session) -> Checked {
    let (route, _) = priced(session)?;
    let call = session.call(&route, "wallet-empty").await?;
    session.ask(&route.name, &call).await?;
    Ok(())
}

const AT_ONCE: usize = 6;

pub(super) async fn overdrawn(session: &mut Session) -> Checked {
    let (route, price) = priced(session)?;
    let mut calls = Vec::new();
    for index in 0..AT_ONCE {
        let call = route.call().bearer(&session.token("wallet-two").await?);
        let key = session.key(&format!("wallet-{index}"));
        calls.push(if route.needs_key { call.key(&key) } else { call });
    }
    let Some(first) = calls.first().cloned() else { return Ok(()) };
    session.make_room(&first).await?;
    let replies = join_all(calls.iter().map(|call| session.client.send(call))).await;
    session.findings.looked(session.check);
    let mut paid = Vec::new();
    for reply in replies {
        match reply {
            Err(error) => return session.no_reply(&route.name, &first, &error),
            Ok(reply) if (200..400).contains(&reply.status) => paid.push(reply),
            Ok(reply) if reply.status == 402 => {}
            Ok(reply) => return not_run(format!("the API does not take it: {}", shown(&reply))),
        }
    }
    let passed = paid.len();
    for reply in paid.iter().take(2) {
        session.tell_reference(&first, reply)?;
    }
    if passed == 2 {
        return Ok(());
    }
    let balance = price.saturating_mul(3).saturating_sub(1);
    let documented = format!(
        "of {AT_ONCE} calls at once for {price} each, 2 are let through with {balance} in the wallet"
    );
    session.found(session.check, &route.name, &first, &documented, &format!("{passed} were"));
    Err(Stop::Failed)
}

pub(super) async fn replay(session: &mut Session) -> Checked {
    let route = priced_with_key(session)?;
    let token = session.token("wallet-replay").await?;
    let call = |session: &Session, key: &str| route.call().bearer(&token).key(&session.key(key));
    let first = call(session, "paid-1");
    session.ask("the first of two that can be paid", &first).await?;
    session.ask("its replay", &first).await?;
    session.ask("its replay", &first).await?;
    let second = call(session, "paid-2");
    session.ask("the second of two that can be paid", &second).await?;
    Ok(())
}

pub(super) async fn denial_keeps_no_key(session: &mut Session) -> Checked {
    let (_, price) = priced(session)?;
    let route = priced_with_key(session)?;
    let token = session.token("wallet-empty").await?;
    let call = route.call().bearer(&token).key(&session.key("denied"));
    session.ask("with an empty wallet", &call).await?;
    let account = session.account("wallet-empty");
    let step = json!({ "op": "deposit", "account": account, "amount": price });
    session.provide("wallet-empty", step).await?;
    session.ask("the same again, after a deposit", &call).await?;
    Ok(())
}

pub(super) async fn caps(session: &mut Session) -> Checked {
    let (route, _) = priced(session)?;
    for name in ["cap-of-token", "cap-of-account"] {
        let done = capped(session, &route, name).await;
        go_on(session, name, done)?;
    }
    Ok(())
}

async fn capped(session: &mut Session, route: &RoutePlan, name: &str) -> Checked {
    for subject in ["within it", "above it"] {
        let call = session.call(route, name).await?;
        session.ask(&format!("{name}, {subject}"), &call).await?;
    }
    Ok(())
}
