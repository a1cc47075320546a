//! Where an operation and its host meet: what is asked, and what the host gives.

use core::future::poll_fn;
use core::task::Poll;
use std::sync::Arc;

use parking_lot::Mutex;
use tollgate::{Command, Mode, Outcome, Store, StoreError};
use tollgate_redis::{Call, Nonce, Protocol, Reply};

/// What the operation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    Nothing,
    Lookup,
    Admit { wants_body: bool },
    Settle,
}

/// How the host has a command performed.
pub(crate) enum Given {
    By(Arc<dyn Store>),
    Failed(StoreError),
    Redis(Arc<Protocol>, Nonce),
}

pub(crate) struct Slot {
    pub(crate) asks: Asks,
    pub(crate) given: Option<Given>,
    /// Calls of the round of an exchange that waits for replies.
    pub(crate) calls: Vec<Call>,
    pub(crate) replies: Option<Vec<Reply>>,
    /// The store that was asked last.
    pub(crate) store: Option<Arc<dyn Store>>,
}

/// Shared by an operation and the work that it does.
#[derive(Clone)]
pub(crate) struct Wire(Arc<Mutex<Slot>>);

impl Wire {
    pub(crate) fn new() -> Self {
        Wire(Arc::new(Mutex::new(Slot {
            asks: Asks::Nothing,
            given: None,
            calls: Vec::new(),
            replies: None,
            store: None,
        })))
    }

    pub(crate) fn with<T>(&self, then: impl FnOnce(&mut Slot) -> T) -> T {
        then(&mut self.0.lock())
    }

    /// Asks for a command to be performed.
    pub(crate) async fn perform(
        &self,
        command: &Command<'_>,
        now_ms: u64,
    ) -> Result<Outcome, StoreError> {
        let asks = asks(command);
        self.with(|slot| slot.asks = asks);
        let given = poll_fn(|_| self.with(|slot| ready(slot.given.take()))).await;
        self.with(|slot| slot.asks = Asks::Nothing);
        match given {
            Given::By(store) => {
                let outcome = store.perform(command, now_ms);
                self.with(|slot| slot.store = Some(store));
                outcome
            }
            Given::Failed(error) => Err(error),
            Given::Redis(protocol, nonce) => {
                self.with(|slot| slot.asks = asks);
                let outcome = self.exchange(&protocol, command, now_ms, nonce).await;
                self.with(|slot| slot.asks = Asks::Nothing);
                outcome
            }
        }
    }

    async fn exchange(
        &self,
        protocol: &Protocol,
        command: &Command<'_>,
        now_ms: u64,
        nonce: Nonce,
    ) -> Result<Outcome, StoreError> {
        let mut exchange = protocol.exchange(command, now_ms, nonce);
        while !exchange.calls().is_empty() {
            let calls = exchange.calls().to_vec();
            self.with(|slot| slot.calls = calls);
            let replies = poll_fn(|_| self.with(|slot| ready(slot.replies.take()))).await;
            self.with(|slot| slot.calls.clear());
            exchange.resume(replies);
        }
        exchange.into_outcome()
    }
}

fn ready<T>(value: Option<T>) -> Poll<T> {
    value.map_or(Poll::Pending, Poll::Ready)
}

fn asks(command: &Command<'_>) -> Asks {
    match command {
        Command::Lookup(_) => Asks::Lookup,
        Command::Admit(admit) => {
            let claims = matches!(admit.idempotency, tollgate::Idempotency::Key { .. });
            Asks::Admit { wants_body: claims && admit.mode != Mode::Observe }
        }
        _ => Asks::Settle,
    }
}
