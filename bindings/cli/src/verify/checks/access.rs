//! Checks 3 and 4: networks, scopes, and how paths and methods are read.

use std::collections::BTreeSet;

use tollgate::ForwardedHeader;

use super::{any_route, go_on};
use crate::verify::needs::{NOWHERE_ADDRESS, lacking, only};
use crate::verify::plan::RoutePlan;
use crate::verify::session::{Checked, Session, not_run};

pub(super) async fn networks(session: &mut Session) -> Checked {
    if session.plan.config.source.shadow_networks {
        return not_run("the policy only reports networks: source.shadow_networks");
    }
    let route = any_route(session)?;
    for name in ["network-of-token", "network-of-account", "network-any"] {
        let call = session.call(&route, name).await?;
        session.ask(name, &call).await?;
    }
    Ok(())
}

pub(super) async fn forwarded(session: &mut Session) -> Checked {
    if session.plan.config.source.shadow_networks {
        return not_run("the policy only reports networks: source.shadow_networks");
    }
    let route = any_route(session)?;
    let address = NOWHERE_ADDRESS;
    let policy = session.plan.config.source.forwarded_header;
    let both = [
        ("X-Forwarded-For", address.to_owned(), ForwardedHeader::XForwardedFor),
        ("Forwarded", format!("for={address}"), ForwardedHeader::Forwarded),
    ];
    for (name, value, header) in both {
        let call = session.call(&route, "network-of-token").await?.header(name, &value);
        let subject = if header == policy { name.to_owned() } else { format!("{name}, not read") };
        session.ask(&subject, &call).await?;
    }
    Ok(())
}

pub(super) async fn scope_grants(session: &mut Session) -> Checked {
    for route in session.plan.routes.clone() {
        let subject = route.name.clone();
        if !route.may_run {
            let why = format!("{subject}: --requests says never to call it");
            session.findings.not_run(session.check, why);
            continue;
        }
        for scope in &route.granted_by {
            let done = granted(session, &route, scope).await;
            go_on(session, &subject, done)?;
        }
    }
    Ok(())
}

async fn granted(session: &mut Session, route: &RoutePlan, scope: &str) -> Checked {
    let call = session.call(route, &only(scope)).await?;
    session.ask(&format!("{} with {scope}", route.name), &call).await?;
    Ok(())
}

pub(super) async fn scope_outside(session: &mut Session) -> Checked {
    for route in session.plan.routes.clone() {
        let name = match route.granted_by.is_empty() {
            true => "tokens".to_owned(),
            false => lacking(&route.granted_by),
        };
        let done = denied(session, &route, &name).await;
        go_on(session, &route.name, done)?;
    }
    Ok(())
}

async fn denied(session: &mut Session, route: &RoutePlan, token: &str) -> Checked {
    let token_name = token;
    let token = session.token(token).await?;
    let subject = format!("{} with {token_name}", route.name);
    session.ask(&subject, &route.call().bearer(&token)).await?;
    Ok(())
}

pub(super) async fn unknown_route(session: &mut Session) -> Checked {
    let route = any_route(session)?;
    let token = session.token("paths").await?;
    let mut call = route.call().bearer(&token);
    call.route = None;
    call.target = format!("{}/verify-there-is-no-such-path/at/all", call.target);
    session.ask("a path that is no route", &call).await?;
    let mut call = route.call().bearer(&token);
    call.route = None;
    let others = ["DELETE", "PUT", "PATCH", "POST"];
    let taken: BTreeSet<&str> = session
        .plan
        .routes
        .iter()
        .filter(|other| other.path == route.path)
        .map(|other| other.method.as_str())
        .collect();
    let Some(method) = others.into_iter().find(|method| !taken.contains(method)) else {
        return Ok(());
    };
    call.method = method.to_owned();
    session.ask("a method that is no route", &call).await?;
    Ok(())
}

/// Paths that somebody could take for this one.
fn variants(path: &str) -> Vec<String> {
    let (head, last) = path.rsplit_once('/').unwrap_or(("", path));
    let mut variants = vec![
        format!("/{path}"),
        format!("{head}//{last}"),
        format!("/.{path}"),
        format!("/x/..{path}"),
        format!("{path};a=b"),
        format!("{path}/"),
    ];
    if !head.is_empty() {
        variants.push(format!("{head}%2f{last}"));
    }
    if let Some(first) = last.bytes().next().filter(u8::is_ascii_alphanumeric) {
        // An unreserved character that need not be encoded (RFC 3986, section 6.2.2.2).
        let rest = last.get(1..).unwrap_or_default();
        variants.push(format!("{head}/%{first:02x}{rest}"));
    }
    variants.retain(|variant| variant != path);
    variants.dedup();
    variants
}

pub(super) async fn non_canonical(session: &mut Session) -> Checked {
    // The more there is of a path, the more ways there are to write it.
    let callable = session.plan.callable();
    let longest = callable.into_iter().max_by_key(|route| route.path.matches('/').count());
    let Some(route) = longest.cloned() else { return not_run("the policy grants no route") };
    let token = session.token("paths").await?;
    for path in variants(&route.path) {
        let mut call = route.call().bearer(&token);
        call.target.clone_from(&path);
        call.is_odd = true;
        let done = session.ask(&path, &call).await.map(|_| ());
        go_on(session, &path, done)?;
    }
    Ok(())
}

pub(super) async fn head(session: &mut Session) -> Checked {
    let found = session.plan.callable().into_iter().find(|route| route.method == "GET").cloned();
    let Some(route) = found else { return not_run("the policy grants no GET") };
    let mut call = session.call(&route, "methods").await?;
    call.method = "HEAD".to_owned();
    let asked = session.ask(&route.name, &call).await?;
    if !asked.reply.body.is_empty() {
        session.found(session.check, &route.name, &call, "no body", "a body");
    }
    let mut call = route.call();
    call.method = "HEAD".to_owned();
    session.ask("without a token", &call).await?;
    Ok(())
}

pub(super) async fn precedence(session: &mut Session) -> Checked {
    let route = any_route(session)?;
    if !session.plan.config.source.shadow_networks {
        let call = session.call(&route, "network-no-scope").await?;
        session.ask("networks come before scopes", &call).await?;
    }
    let mut no_token = route.call();
    no_token.route = None;
    no_token.target = format!("/{}", no_token.target);
    session.ask("the token comes before the route", &no_token).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_other_paths() {
        let found = variants("/sms/send");
        assert_eq!(
            found,
            [
                "//sms/send",
                "/sms//send",
                "/./sms/send",
                "/x/../sms/send",
                "/sms/send;a=b",
                "/sms/send/",
                "/sms%2fsend",
                "/sms/%73end"
            ]
        );
        assert!(!variants("/balance").iter().any(|path| path.contains("%2f")));
    }
}
