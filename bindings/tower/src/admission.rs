//! From a request to a decision: facts, body, store.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http_body::Body;
use tollgate::{
    AccountRef, Amount, AsyncStore, Command, Decision, Engine, Idempotency, Mode, Request, RouteId,
};

use crate::carry_on::CarryOn;
use crate::convert::ByName;
use crate::options::{Facts, FactsHook, Shared};
use crate::request_body::{ReadBody, RequestBody, read};
use crate::settlement::Open;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What was decided about a request that was let through; a request extension for handlers.
#[derive(Clone, Debug)]
pub struct Admitted {
    engine: Arc<Engine>,
    route: Option<RouteId>,
    /// The account that is charged. Its name is the store's to tell
    /// ([`Admin::account_id`](tollgate::Admin::account_id)).
    pub account: AccountRef,
    /// What was reserved, in the ledger's minor unit; zero for what costs nothing.
    pub reserved: Amount,
}

impl Admitted {
    pub(crate) fn new(engine: &Arc<Engine>, decision: &Decision) -> Option<Admitted> {
        Some(Admitted {
            engine: Arc::clone(engine),
            route: decision.route(),
            account: decision.account()?.clone(),
            reserved: decision.reserved().unwrap_or(Amount::ZERO),
        })
    }

    /// The route that matched, as the policy names it: `POST /sms/send`.
    #[must_use]
    pub fn route(&self) -> Option<&str> {
        let route = self.engine.policy().route(self.route?)?;
        Some(&route.name)
    }
}

/// A decided request.
pub(crate) struct Decided<B> {
    pub parts: Parts,
    pub body: RequestBody<B>,
    pub decision: Decision,
    /// There when something must be settled.
    pub open: Option<Open>,
}

/// What is known of a request's body.
enum Payload {
    /// It was not read.
    Unread,
    /// All of it.
    Whole(Bytes),
    /// It could not be read; the message for the client.
    Unreadable(String),
}

/// Decides a request, reading its body only where the decision needs it and nothing else refuses it.
pub(crate) async fn decide<S, B>(
    shared: &Arc<Shared<S>>,
    engine: &Arc<Engine>,
    parts: Parts,
    body: B,
) -> Decided<B>
where
    S: AsyncStore + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    if body.is_end_stream() {
        let payload = Payload::Whole(Bytes::new());
        let (parts, decision, open) = ask(shared, engine, parts, payload).await;
        return Decided { parts, body: RequestBody::streamed(body), decision, open };
    }
    let (parts, decided) = ask_without_body(shared, engine, parts).await;
    if let Some((decision, open)) = decided {
        return Decided { parts, body: RequestBody::streamed(body), decision, open };
    }
    let (payload, body) = match read(body, shared.options.max_request_body).await {
        Ok(body) => (Payload::Whole(body.data.clone()), body),
        Err(message) => (Payload::Unreadable(message), ReadBody::default()),
    };
    let (parts, decision, open) = ask(shared, engine, parts, payload).await;
    Decided { parts, body: RequestBody::read(body), decision, open }
}

/// Decides. When the client goes away meanwhile, what was reserved is voided.
async fn ask<S: AsyncStore + 'static>(
    shared: &Arc<Shared<S>>,
    engine: &Arc<Engine>,
    parts: Parts,
    payload: Payload,
) -> (Parts, Decision, Option<Open>) {
    let (shared, engine) = (Arc::clone(shared), Arc::clone(engine));
    let work = async move {
        let asked = Asked::new(&shared, &parts, &payload);
        let headers = ByName(&parts.headers);
        let request = asked.request(&parts, &headers, &payload);
        let decision = engine.decide_async(&*shared.store, &request).await;
        let open = decision.ticket().map(|ticket| Open::new(&shared, &engine, ticket.clone()));
        (parts, decision, open)
    };
    CarryOn::to_end(work).await
}

/// Decides as far as that goes without the request's body; no decision means that it is needed.
async fn ask_without_body<S: AsyncStore + 'static>(
    shared: &Arc<Shared<S>>,
    engine: &Arc<Engine>,
    parts: Parts,
) -> (Parts, Option<(Decision, Option<Open>)>) {
    let (shared, engine) = (Arc::clone(shared), Arc::clone(engine));
    let work = async move {
        let asked = Asked::new(&shared, &parts, &Payload::Unread);
        let headers = ByName(&parts.headers);
        let request = asked.request(&parts, &headers, &Payload::Unread);
        let hook_reads = matches!(shared.options.facts, FactsHook::Body(_));
        let decision = decide_until_body(&engine, &*shared.store, &request, hook_reads).await;
        let decided = decision.map(|decision| {
            let open = decision.ticket().map(|ticket| Open::new(&shared, &engine, ticket.clone()));
            (decision, open)
        });
        (parts, decided)
    };
    CarryOn::to_end(work).await
}

async fn decide_until_body<S: AsyncStore>(
    engine: &Engine,
    store: &S,
    request: &Request<'_>,
    hook_reads: bool,
) -> Option<Decision> {
    let mut evaluation = engine.evaluate(request).look_up_first();
    while let Some(command) = evaluation.command() {
        if let Command::Admit(admit) = &command
            && admit.mode == Mode::Apply
            && (hook_reads || matches!(admit.idempotency, Idempotency::Key { .. }))
        {
            return None;
        }
        let outcome = store.perform_async(&command, request.now_ms).await;
        evaluation.resume(outcome);
    }
    Some(evaluation.into_decision())
}

/// What is asked about a request beside what its head says.
struct Asked {
    now_ms: u64,
    peer: Option<IpAddr>,
    facts: Facts,
}

impl Asked {
    fn new<S>(shared: &Shared<S>, parts: &Parts, payload: &Payload) -> Asked {
        let options = &shared.options;
        let mut facts = match (&options.facts, payload) {
            (FactsHook::Head(hook), _) => hook(parts),
            (FactsHook::Body(hook), Payload::Whole(body)) => hook(parts, body),
            (FactsHook::Body(_), _) | (FactsHook::None, _) => Facts::default(),
        };
        if let Payload::Unreadable(message) = payload {
            facts.invalid = Some(message.clone());
        }
        Asked { now_ms: (options.clock)(), peer: (options.peer)(parts), facts }
    }

    fn request<'a>(
        &'a self,
        parts: &'a Parts,
        headers: &'a ByName<'a>,
        payload: &'a Payload,
    ) -> Request<'a> {
        let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
        Request {
            peer: self.peer,
            body: match payload {
                Payload::Whole(body) => tollgate::Body::Bytes(body),
                // The digest of no known body, so that it is like no request that was carried out.
                Payload::Unread | Payload::Unreadable(_) => tollgate::Body::Sha256([0; 32]),
            },
            cost: self.facts.cost,
            sender: self.facts.sender.as_deref(),
            invalid: self.facts.invalid.as_deref(),
            ..Request::new(parts.method.as_str().as_bytes(), target.as_bytes(), self.now_ms)
                .with_headers(headers)
        }
    }
}
