//! What was decided, as dynamic metadata of the stream: for access logs, headers and other filters.

use tollgate::{Admin, Decision, Engine, Settled, Shadows, Verdict};

use crate::clock::now_ms;
use crate::host::Stream;
use crate::store::Backend;

/// Sets what a decision says; an entry is absent where there is nothing to say.
pub(crate) fn decided(
    stream: &mut Stream<'_>,
    namespace: &str,
    engine: &Engine,
    backend: &Backend,
    decision: &Decision,
) {
    let number = decision.status().number().to_string();
    let account = account(backend, decision).unwrap_or_default();
    let route = decision.route().and_then(|route| engine.policy().route(route));
    let reserved = decision.reserved().map(|amount| amount.0.to_string()).unwrap_or_default();
    let reservation =
        decision.ticket().map(|ticket| ticket.reservation.0.to_string()).unwrap_or_default();
    let shadow = shadow(decision.shadows());
    let mut entries = vec![
        ("verdict", verdict(decision.verdict())),
        ("code", decision.status().code()),
        ("status", number.as_str()),
        ("account", account.as_str()),
        ("route", route.map_or("", |route| &*route.name)),
        ("reserved", reserved.as_str()),
        ("reservation", reservation.as_str()),
        ("shadow", shadow.as_str()),
    ];
    entries.retain(|(_, value)| !value.is_empty());
    stream.set_metadata(namespace, &entries);
}

/// Sets what was posted.
pub(crate) fn settled(stream: &mut Stream<'_>, namespace: &str, settled: Settled) {
    if let Some(posted) = settled.posted {
        stream.set_metadata(namespace, &[("settled", posted.0.to_string().as_str())]);
    }
}

/// Sets that a request passed undecided, because the store is not open.
pub(crate) fn undecided(stream: &mut Stream<'_>, namespace: &str) {
    let status = tollgate::Status::StoreUnavailable;
    let number = status.number().to_string();
    let entries = [("verdict", "allow"), ("code", status.code()), ("status", number.as_str())];
    stream.set_metadata(namespace, &entries);
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
        Verdict::Replay => "replay",
    }
}

fn account(backend: &Backend, decision: &Decision) -> Option<String> {
    let account = decision.account()?;
    match (account, backend) {
        (tollgate::AccountRef::Id(id), _) => Some(id.as_str().to_owned()),
        // What a number stands for is the store's to tell, and is only read.
        (account, Backend::Here(store) | Backend::Disk { store, .. }) => {
            let id = Admin::new(&**store).account_id(account, now_ms()).ok()?;
            Some(id.as_str().to_owned())
        }
        (_, Backend::Network(_)) => None,
    }
}

fn shadow(shadows: &Shadows) -> String {
    let named = [
        (shadows.limits != 0, "limits"),
        (shadows.spend_caps, "spend_caps"),
        (shadows.networks, "networks"),
    ];
    let named: Vec<&str> = named.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
    named.join(",")
}
