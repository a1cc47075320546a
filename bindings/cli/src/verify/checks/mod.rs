//! The checks that ask.

mod access;
mod keys;
mod limits;
mod money;
mod tokens;

use super::catalogue::CATALOGUE;
use super::plan::RoutePlan;
use super::session::{Checked, Session, Stop, not_run};
use super::vectors::{self, Vectors};
use crate::exit::Failure;

/// Runs every check of the catalogue that is asked for; what each found is in the session.
pub(super) async fn run(
    session: &mut Session,
    is_asked_for: impl Fn(&str) -> bool,
    vectors: &Vectors,
    mut began: impl FnMut(&'static str),
) -> Result<(), Failure> {
    for info in CATALOGUE.iter().filter(|info| !info.watches) {
        if !is_asked_for(info.name) {
            session.findings.not_run(info.name, "not asked for".to_owned());
            continue;
        }
        if session.is_silent() && info.name != "answers-http" {
            session.findings.not_run(info.name, "the gateway does not answer".to_owned());
            continue;
        }
        let failed = info.after.iter().find(|name| session.findings.has_failed(name));
        if let Some(name) = failed {
            session.findings.not_run(info.name, format!("{name} failed, so this would too"));
            continue;
        }
        began(info.name);
        session.check = info.name;
        match one(session, info.name, vectors).await {
            Ok(()) | Err(Stop::Failed) => {}
            Err(Stop::NotRun(why)) => session.findings.cut_short(info.name, why),
            Err(Stop::Broken(failure)) => return Err(failure),
        }
        if let Some(upstream) = &session.upstream {
            upstream.release();
        }
    }
    Ok(())
}

async fn one(session: &mut Session, name: &str, vectors: &Vectors) -> Checked {
    match name {
        "answers-http" => tokens::answers(session).await,
        "missing-token-is-401" => tokens::missing(session).await,
        "unknown-token-is-401" => tokens::unknown(session).await,
        "known-token-passes" => tokens::known(session).await,
        "scheme-is-case-insensitive" => tokens::scheme(session).await,
        "one-token-in-one-place" => tokens::one_place(session).await,
        "expired-token-is-401" => tokens::expired(session).await,
        "revoked-at-once" => tokens::revoked(session).await,
        "network-allowlist" => access::networks(session).await,
        "forwarded-address-is-not-believed" => access::forwarded(session).await,
        "scope-grants" => access::scope_grants(session).await,
        "scope-outside-is-403" => access::scope_outside(session).await,
        "unknown-route-is-denied" => access::unknown_route(session).await,
        "non-canonical-path-is-denied" => access::non_canonical(session).await,
        "head-is-get" => access::head(session).await,
        "first-failing-check-decides" => access::precedence(session).await,
        "retry-is-replayed-not-executed" => keys::replay(session).await,
        "key-reuse-is-422" => keys::reuse(session).await,
        "malformed-key-is-422" => keys::malformed(session).await,
        "required-key-is-422" => keys::required(session).await,
        "keys-of-accounts-are-apart" => keys::apart(session).await,
        "concurrent-duplicates-one-execution" => keys::duplicates(session).await,
        "empty-wallet-is-402" => money::empty(session).await,
        "wallet-is-never-overdrawn" => money::overdrawn(session).await,
        "replay-is-not-charged" => money::replay(session).await,
        "denial-keeps-no-key" => money::denial_keeps_no_key(session).await,
        "spend-cap" => money::caps(session).await,
        "limit-is-enforced" => limits::enforced(session).await,
        "denial-consumes-nothing" => limits::denial_consumes_nothing(session).await,
        "vectors" => vectors::run(session, vectors).await,
        _ => not_run("there is no such check"),
    }
}

/// The route that holds back least.
fn any_route(session: &Session) -> Checked<RoutePlan> {
    match session.plan.callable().first() {
        Some(route) => Ok((*route).clone()),
        None => not_run("the policy grants no route that may be called"),
    }
}

/// Goes on after what one subject found; a check that cannot be run for one may be for another.
fn go_on(session: &mut Session, subject: &str, done: Checked) -> Checked {
    match done {
        Ok(()) | Err(Stop::Failed) => Ok(()),
        Err(Stop::NotRun(why)) => {
            session.findings.not_run(session.check, format!("{subject}: {why}"));
            Ok(())
        }
        Err(broken) => Err(broken),
    }
}
