//! How an admitted request ends, and the guard that sees to it that it does.

use std::sync::Arc;
use std::time::Duration;

use tollgate::{AsyncStore, Decision, Engine, Finish, FinishError, Settled, Ticket};

use crate::clock::now_ms;
use crate::mailbox::Mailbox;
use crate::store::Backend;
use crate::{log, threads};

/// Pauses before a settlement is tried again on a store that failed.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(400)];

/// An admitted request that must be settled. It is settled once: by [`begin`](Open::begin) or [`end`](Open::end), or when it is dropped: as not carried out before
/// [`forwarded`](Open::forwarded), as unknown after.
pub(crate) struct Open {
    parts: Option<Parts>,
    ticket: Ticket,
    forwarded: bool,
}

struct Parts {
    engine: Arc<Engine>,
    backend: Backend,
}

/// What the store made of it; `None` when it would not have it.
pub(crate) type Ended = Option<Settled>;

impl Open {
    /// What must be settled of a decision, if anything.
    pub(crate) fn of(decision: &Decision, engine: &Arc<Engine>, backend: &Backend) -> Option<Open> {
        let ticket = decision.ticket()?.clone();
        let parts = Parts { engine: Arc::clone(engine), backend: backend.clone() };
        Some(Open { parts: Some(parts), ticket, forwarded: false })
    }

    /// From here on the request may have been carried out.
    pub(crate) fn forwarded(&mut self) {
        self.forwarded = true;
    }

    /// What was reserved, and whether a response is to be captured.
    pub(crate) fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// Settles, if that waits for nothing.
    ///
    /// # Errors
    /// What is left to do on the module's threads.
    pub(crate) fn begin(mut self, finish: Finish) -> Result<Ended, Pending> {
        let Some(parts) = self.parts.take() else { return Ok(None) };
        let pending = Pending { parts, ticket: self.ticket.clone(), finish };
        let Backend::Here(store) = &pending.parts.backend else { return Err(pending) };
        let engine = &pending.parts.engine;
        match engine.finish(&**store, &pending.ticket, pending.finish.clone(), now_ms()) {
            Ok(settled) => Ok(Some(settled)),
            Err(FinishError::Store(_)) => Err(pending),
            Err(refused) => {
                lost(&refused);
                Ok(None)
            }
        }
    }

    /// Settles; nobody waits for it.
    pub(crate) fn end(self, finish: Finish) {
        if let Err(pending) = self.begin(finish) {
            pending.go_on(None);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Some(parts) = self.parts.take() else { return };
        let finish = if self.forwarded { Finish::Unknown } else { Finish::Void { response: None } };
        let open = Open { parts: Some(parts), ticket: self.ticket.clone(), forwarded: false };
        open.end(finish);
    }
}

/// A settlement that waits for a disk or a network, or for a store that failed.
pub(crate) struct Pending {
    parts: Parts,
    ticket: Ticket,
    finish: Finish,
}

impl Pending {
    /// Settles on the module's threads, and tells who waits.
    pub(crate) fn go_on(self, mailbox: Option<Arc<Mailbox<Ended>>>) {
        let work = threads::Work::begin();
        threads::spawn(async move {
            let ended = self.settle().await;
            drop(work);
            if let Some(mailbox) = mailbox {
                // Who waited may be gone; the settlement is done all the same.
                let _ = mailbox.deliver(ended);
            }
        });
    }

    async fn settle(self) -> Ended {
        let this = Arc::new(self);
        let mut pauses = PAUSES.iter();
        loop {
            // The same outcome again is safe, and a refusal is final.
            match (Pending::once(&this).await, pauses.as_slice().is_empty()) {
                (Ok(settled), _) => return Some(settled),
                (Err(FinishError::Store(_)), false) => {}
                (Err(error), _) => {
                    lost(&error);
                    return None;
                }
            }
            if let Some(pause) = pauses.next() {
                tokio::time::sleep(*pause).await;
            }
        }
    }

    async fn once(this: &Arc<Pending>) -> Result<Settled, FinishError> {
        match &this.parts.backend {
            Backend::Network(store) => this.ask(&**store).await,
            Backend::Here(store) | Backend::Disk { store, .. } => {
                let (this, store) = (Arc::clone(this), Arc::clone(store));
                let work = move || {
                    let finish = this.finish.clone();
                    this.parts.engine.finish(&*store, &this.ticket, finish, now_ms())
                };
                let waited = tokio::task::spawn_blocking(work).await;
                waited.unwrap_or(Err(FinishError::Store(tollgate::StoreError::WrongOutcome)))
            }
        }
    }

    async fn ask<S: AsyncStore + ?Sized>(&self, store: &S) -> Result<Settled, FinishError> {
        let finish = self.finish.clone();
        self.parts.engine.finish_async(store, &self.ticket, finish, now_ms()).await
    }
}

fn lost(error: &FinishError) {
    log::error(&format!("a request was not settled: {error}; it ends with its lease"));
}
