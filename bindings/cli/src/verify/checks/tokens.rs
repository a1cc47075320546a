//! Checks 1 and 2: the bearer token.

use serde_json::json;
use tollgate::TokenFormat;

use super::{any_route, go_on};
use crate::verify::session::{Checked, Session};

/// Whether anything answers, and what its clock says.
pub(super) async fn answers(session: &mut Session) -> Checked {
    let route = any_route(session)?;
    let reply = session.send("first request", &route.call()).await?;
    session.set_clock(&reply);
    Ok(())
}

pub(super) async fn missing(session: &mut Session) -> Checked {
    let route = any_route(session)?;
    session.ask("no Authorization", &route.call()).await?;
    let basic = route.call().header("Authorization", "Basic dXNlcjpwYXNz");
    session.ask("another scheme", &basic).await?;
    Ok(())
}

pub(super) async fn unknown(session: &mut Session) -> Checked {
    let route = any_route(session)?;
    let unknown = session.plan.new_token()?;
    session.redactor.hide(&unknown);
    session.ask("a token that nobody has", &route.call().bearer(&unknown)).await?;
    if session.plan.format == TokenFormat::Native {
        let malformed = route.call().bearer("tg_live_typo");
        session.ask("a token that is malformed", &malformed).await?;
    }
    Ok(())
}

pub(super) async fn known(session: &mut Session) -> Checked {
    let route = any_route(session)?;
    let call = session.call(&route, "tokens").await?;
    session.ask(&route.name, &call).await?;
    Ok(())
}

pub(super) async fn scheme(session: &mut Session) -> Checked {
    let route = any_route(session)?;
    for scheme in ["bearer", "BEARER", "bEaReR"] {
        let mut call = session.call(&route, "tokens").await?;
        let token = session.token("tokens").await?;
        for (name, value) in &mut call.headers {
            if name == "Authorization" {
                *value = format!("{scheme} {token}");
            }
        }
        session.ask(scheme, &call).await?;
    }
    Ok(())
}

pub(super) async fn one_place(session: &mut Session) -> Checked {
    let route = any_route(session)?;
    let token = session.token("tokens").await?;
    let mut query = route.call();
    query.target = format!("{}?access_token={token}", query.target);
    session.ask("in the query", &query).await?;
    let twice = route.call().bearer(&token).bearer(&token).odd();
    let subject = "in two headers";
    let done = session.ask(subject, &twice).await.map(|_| ());
    go_on(session, subject, done)
}

pub(super) async fn expired(session: &mut Session) -> Checked {
    let route = any_route(session)?;
    let call = session.call(&route, "expired").await?;
    session.ask("expired in 2001", &call).await?;
    Ok(())
}

/// A gateway that looks tokens up now and then would let the first requests pass.
const ASKED_AFTER_REVOCATION: u32 = 3;

pub(super) async fn revoked(session: &mut Session) -> Checked {
    // Whether a retry replays is seen on a route that takes keys.
    let keyed = session.plan.idempotent().cloned();
    let is_keyed = keyed.is_some();
    let route = keyed.map_or_else(|| any_route(session), Ok)?;
    let token = session.token("revoked").await?;
    let call = route.call().bearer(&token);
    let call = if is_keyed { call.key(&session.key("revoked")) } else { call };
    session.ask("before it is revoked", &call).await?;
    session.provide("revoked", json!({ "op": "revoke", "token": token })).await?;
    for _ in 0..ASKED_AFTER_REVOCATION {
        session.ask("after it was revoked", &call).await?;
    }
    Ok(())
}
