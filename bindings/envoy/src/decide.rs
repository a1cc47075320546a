//! Asking for a decision: on Envoy's thread where the store answers at once, on the module's where it waits.

use std::sync::Arc;

use tollgate::{
    AsyncStore, Body, Command, Decision, Engine, Evaluation, Finish, Idempotency, Mode, Request,
    Store,
};
use tollgate_redis::AsyncRedisStore;

use crate::facts::{KeptFacts, KeptHeaders};
use crate::mailbox::Mailbox;
use crate::settlement::Open;
use crate::store::Backend;
use crate::threads;

/// What asking came to.
pub(crate) enum Asked {
    /// A decision.
    Decided(Decision),
    /// Nothing refuses the request so far, nothing is consumed, and its body is needed.
    NeedsBody,
    /// Nothing is consumed, and what is left to ask waits for a disk.
    Waits,
}

/// Asks a store that answers at once, or where it may be waited for. `until_body`: the body is not there yet.
pub(crate) fn whole(
    engine: &Engine,
    store: &dyn Store,
    request: &Request<'_>,
    until_body: bool,
) -> Asked {
    match until_body {
        false => Asked::Decided(engine.decide(store, request)),
        true => ask(engine, store, request, until_body, |_| false),
    }
}

/// Asks a store as far as it only reads, or counts limits in this process's memory.
pub(crate) fn without_waiting(
    engine: &Engine,
    store: &dyn Store,
    request: &Request<'_>,
    until_body: bool,
) -> Asked {
    let waits = |command: &Command<'_>| matches!(command, Command::Admit(admit) if admit.mode == Mode::Apply);
    ask(engine, store, request, until_body, waits)
}

fn ask(
    engine: &Engine,
    store: &dyn Store,
    request: &Request<'_>,
    until_body: bool,
    waits: impl Fn(&Command<'_>) -> bool,
) -> Asked {
    let mut evaluation = begin(engine, request, until_body);
    while let Some(command) = evaluation.command() {
        if until_body && needs_body(&command) {
            return Asked::NeedsBody;
        }
        if waits(&command) {
            return Asked::Waits;
        }
        let outcome = store.perform(&command, request.now_ms);
        evaluation.resume(outcome);
    }
    Asked::Decided(evaluation.into_decision())
}

fn begin<'a>(engine: &'a Engine, request: &'a Request<'a>, until_body: bool) -> Evaluation<'a> {
    let evaluation = engine.evaluate(request);
    if until_body { evaluation.look_up_first() } else { evaluation }
}

fn needs_body(command: &Command<'_>) -> bool {
    matches!(
        command,
        Command::Admit(admit)
            if admit.mode == Mode::Apply && matches!(admit.idempotency, Idempotency::Key { .. })
    )
}

/// The digest of no bytes.
pub(crate) const EMPTY_BODY: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// A question for the module's threads.
pub(crate) struct Question {
    pub(crate) engine: Arc<Engine>,
    pub(crate) backend: Backend,
    pub(crate) facts: KeptFacts,
    /// The digest of the body; `None` while it is not there.
    pub(crate) body: Option<[u8; 32]>,
}

/// What they answer, with the engine that decided.
pub(crate) struct Reply {
    pub(crate) asked: Asked,
    pub(crate) open: Option<Open>,
}

impl Question {
    /// Asks on the module's threads. A request that is gone by then is voided: nothing was sent on.
    pub(crate) fn ask(self, mailbox: Arc<Mailbox<Reply>>) {
        let work = threads::Work::begin();
        match self.backend.clone() {
            Backend::Here(store) | Backend::Disk { store, .. } => {
                threads::spawn_blocking(move || {
                    let headers = self.facts.headers();
                    let until_body = self.body.is_none();
                    let asked = whole(&self.engine, &*store, &self.request(&headers), until_body);
                    self.reply(asked, &mailbox);
                    drop(work);
                });
            }
            Backend::Network(store) => threads::spawn(async move {
                let asked = self.decide(&store).await;
                self.reply(asked, &mailbox);
                drop(work);
            }),
        }
    }

    /// Of a body that is not there, the digest of no known one: what needs it stops before that.
    fn request<'a>(&'a self, headers: &'a KeptHeaders<'a>) -> Request<'a> {
        self.facts.request(headers, Body::Sha256(self.body.unwrap_or_default()))
    }

    async fn decide(&self, store: &AsyncRedisStore) -> Asked {
        let (headers, until_body) = (self.facts.headers(), self.body.is_none());
        let request = self.request(&headers);
        let mut evaluation = begin(&self.engine, &request, until_body);
        while let Some(command) = evaluation.command() {
            if until_body && needs_body(&command) {
                return Asked::NeedsBody;
            }
            let outcome = store.perform_async(&command, request.now_ms).await;
            evaluation.resume(outcome);
        }
        Asked::Decided(evaluation.into_decision())
    }

    fn reply(self, asked: Asked, mailbox: &Mailbox<Reply>) {
        let open = match &asked {
            Asked::Decided(decision) => Open::of(decision, &self.engine, &self.backend),
            Asked::NeedsBody | Asked::Waits => None,
        };
        if let Err(Reply { open: Some(open), .. }) = mailbox.deliver(Reply { asked, open }) {
            open.end(Finish::Void { response: None });
        }
    }
}
