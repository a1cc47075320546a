//! Check 6: idempotency keys.

use std::time::Duration;

use futures_util::future::join_all;

use super::go_on;
use crate::verify::call::Call;
use crate::verify::client::Reply;
use crate::verify::judge::shown;
use crate::verify::plan::RoutePlan;
use crate::verify::session::{Checked, Session, Stop, not_run};
use crate::verify::upstream::Upstream;

fn idempotent(session: &Session) -> Checked<RoutePlan> {
    match session.plan.idempotent() {
        Some(route) => Ok(route.clone()),
        None => not_run("the policy has no route that takes an Idempotency-Key"),
    }
}

/// A call with a key of the check's own.
async fn keyed(session: &mut Session, route: &RoutePlan, token: &str, key: &str) -> Checked<Call> {
    let token = session.token(token).await?;
    Ok(route.call().bearer(&token).key(&session.key(key)))
}

pub(super) async fn replay(session: &mut Session) -> Checked {
    let first = idempotent(session)?;
    let mut routes: Vec<RoutePlan> =
        session.plan.callable().into_iter().filter(|route| route.takes_key).cloned().collect();
    routes.sort_by_key(|route| route.name != first.name);
    for (index, route) in routes.iter().enumerate() {
        let done = replayed(session, route, &format!("replay-{index}")).await;
        go_on(session, &route.name, done)?;
    }
    Ok(())
}

async fn replayed(session: &mut Session, route: &RoutePlan, key: &str) -> Checked {
    let call = keyed(session, route, "keys", key).await?;
    session.ask(&route.name, &call).await?;
    session.ask(&format!("{}, again", route.name), &call).await?;
    session.ask(&format!("{}, once more", route.name), &call).await?;
    Ok(())
}

pub(super) async fn reuse(session: &mut Session) -> Checked {
    let route = idempotent(session)?;
    let call = keyed(session, &route, "keys", "reuse").await?;
    session.ask("first request", &call).await?;
    session.ask("another body", &call.clone().with_other_body()).await?;
    let mut other = call;
    other.target.push_str("?verify=1");
    session.ask("another query", &other).await?;
    Ok(())
}

pub(super) async fn malformed(session: &mut Session) -> Checked {
    let route = idempotent(session)?;
    let token = session.token("keys").await?;
    let key = session.key("malformed");
    let call = || route.call().bearer(&token);
    let cases = [
        ("with a blank", call().key(&format!("{key} b"))),
        ("256 characters", call().key(&"k".repeat(256))),
        ("sent twice", call().key(&key).key(&key).odd()),
    ];
    for (subject, call) in cases {
        let done = session.ask(subject, &call).await.map(|_| ());
        go_on(session, subject, done)?;
    }
    Ok(())
}

pub(super) async fn required(session: &mut Session) -> Checked {
    let found = session.plan.callable().into_iter().find(|route| route.needs_key).cloned();
    let Some(route) = found else { return not_run("the policy requires no Idempotency-Key") };
    let token = session.token("keys").await?;
    session.ask(&route.name, &route.call().bearer(&token)).await?;
    Ok(())
}

pub(super) async fn apart(session: &mut Session) -> Checked {
    let route = idempotent(session)?;
    for token in ["keys", "keys-of-another"] {
        let call = keyed(session, &route, token, "apart").await?;
        session.ask(&format!("by {token}"), &call).await?;
    }
    Ok(())
}

const DUPLICATES: usize = 6;
/// For those that must not wait for the first.
const PATIENCE: Duration = Duration::from_secs(5);

type Replies = Vec<Result<Reply, crate::verify::client::ClientError>>;

pub(super) async fn duplicates(session: &mut Session) -> Checked {
    let route = idempotent(session)?;
    let call = keyed(session, &route, "duplicates", "duplicates").await?;
    session.make_room(&call).await?;
    let before = session.upstream.as_ref().map(Upstream::calls);
    let replies = at_once(session, &call).await;
    let executed = session.upstream.as_ref().map(Upstream::calls).zip(before);
    let executed = executed.map(|(after, before)| after.saturating_sub(before));
    session.findings.looked(session.check);
    let mut carried_out: Vec<Reply> = Vec::new();
    for reply in replies {
        match reply {
            Err(error) => return session.no_reply("duplicates", &call, &error),
            Ok(reply) if reply.status == 409 => in_flight(session, &route, &call, &reply)?,
            Ok(reply) if reply.header("idempotent-replayed").is_some() => {}
            Ok(reply) => carried_out.push(reply),
        }
    }
    let distinct = {
        let mut bodies: Vec<&[u8]> = carried_out.iter().map(|reply| &reply.body[..]).collect();
        bodies.sort_unstable();
        bodies.dedup();
        bodies.len()
    };
    let documented = "one is carried out; the others get 409 idempotency_in_flight or the replay";
    let got = match (executed, carried_out.first()) {
        (Some(executed), _) if executed != 1 => format!("the API was called {executed} times"),
        (_, None) => "none was carried out".to_owned(),
        (_, Some(first)) if distinct > 1 => {
            format!("{} different answers, one of them {}", carried_out.len(), shown(first))
        }
        (_, Some(first)) if !(200..400).contains(&first.status) => shown(first),
        (_, Some(first)) => {
            let first = first.clone();
            session.tell_reference(&call, &first)?;
            return Ok(());
        }
    };
    session.found(session.check, &route.name, &call, documented, &got);
    Err(Stop::Failed)
}

/// A duplicate's 409.
fn in_flight(session: &mut Session, route: &RoutePlan, call: &Call, reply: &Reply) -> Checked {
    session.findings.looked("retry-after-on-409");
    if reply.header("retry-after") != Some("1") {
        let got = format!("{:?}", reply.header("retry-after"));
        session.found("retry-after-on-409", &route.name, call, "Retry-After: 1", &got);
    }
    if reply.code().as_deref() == Some("idempotency_in_flight") {
        return Ok(());
    }
    session.found(session.check, &route.name, call, "409 idempotency_in_flight", &shown(reply));
    Err(Stop::Failed)
}

/// Sends the call several times at once. Where the API is this command, it holds the first until the others
/// were answered, or one of them came through too.
async fn at_once(session: &Session, call: &Call) -> Replies {
    let send = || session.client.send(call);
    let Some(upstream) = &session.upstream else {
        return join_all((0..DUPLICATES).map(|_| send())).await;
    };
    let before = upstream.calls();
    upstream.hold();
    let first = send();
    let rest = async {
        let _ = tokio::time::timeout(PATIENCE, upstream.arrival()).await;
        let others = join_all((1..DUPLICATES).map(|_| send()));
        let second = async {
            while upstream.calls().saturating_sub(before) < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::pin!(others);
        let early = tokio::select! {
            replies = &mut others => Some(replies),
            () = second => None,
            () = tokio::time::sleep(PATIENCE) => None,
        };
        upstream.release();
        match early {
            Some(replies) => replies,
            None => others.await,
        }
    };
    let (first, mut replies) = tokio::join!(first, rest);
    replies.push(first);
    replies
}
