//! How an admitted request ends, and the guard that sees to it that it does.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use http::response::Parts;
use tokio::runtime::Handle;
use tollgate::{Amount, AsyncStore, Engine, Finish, FinishError, StoredResponse, Ticket};

use crate::carry_on::{BoxFuture, CarryOn};
use crate::options::Shared;

/// How a request ends that was forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It was carried out: all that was reserved is posted, and the response is kept for replays.
    Charge,
    /// It was carried out for less: this much is posted (at most what was reserved), the response kept.
    ChargeAmount(Amount),
    /// It costs nothing; the response is kept for replays.
    Void,
    /// It was not carried out: it costs nothing, and the idempotency key is free again.
    Release,
    /// Nobody knows whether it was carried out: the money stays held and the key in flight until an
    /// operator resolves it or the lease ends.
    Unknown,
}

pub(crate) fn default_rule(response: &Parts) -> Settlement {
    if response.status.is_success() || response.status.is_redirection() {
        Settlement::Charge
    } else {
        Settlement::Void
    }
}

pub(crate) fn default_error_rule(_: &(dyn Any + 'static)) -> Settlement {
    Settlement::Unknown
}

impl Settlement {
    pub(crate) fn finish(self, response: Option<StoredResponse>) -> Finish {
        let response = response.map(Arc::new);
        match self {
            Settlement::Charge => Finish::Settle { amount: None, response },
            Settlement::ChargeAmount(amount) => Finish::Settle { amount: Some(amount), response },
            Settlement::Void => Finish::Void { response },
            Settlement::Release => Finish::Void { response: None },
            Settlement::Unknown => Finish::Unknown,
        }
    }
}

/// Pauses before a settlement is tried again on a store that failed.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(400)];

/// An admitted request that must be settled. It settles exactly once: by [`finish`](Open::finish), or
/// when it is dropped, as not carried out before [`forwarded`](Open::forwarded) and as unknown after.
pub(crate) struct Open {
    settle: Option<Box<dyn FnOnce(Finish) -> BoxFuture<()> + Send>>,
    on_drop: Finish,
    holds_key: bool,
}

impl Open {
    pub(crate) fn new<S: AsyncStore + 'static>(
        shared: &Arc<Shared<S>>,
        engine: &Arc<Engine>,
        ticket: Ticket,
    ) -> Open {
        let (shared, engine) = (Arc::clone(shared), Arc::clone(engine));
        let holds_key = ticket.holds_key;
        let settle = Box::new(move |finish| -> BoxFuture<()> {
            Box::pin(async move { settle(&shared, &engine, &ticket, finish).await })
        });
        Open { settle: Some(settle), on_drop: Finish::Void { response: None }, holds_key }
    }

    /// Whether the response is to be captured.
    pub(crate) fn holds_key(&self) -> bool {
        self.holds_key
    }

    /// From here on the request may have been carried out.
    pub(crate) fn forwarded(&mut self) {
        self.on_drop = Finish::Unknown;
    }

    /// Settles; the future is carried on when it is dropped.
    pub(crate) fn finish(mut self, finish: Finish) -> CarryOn<()> {
        let settle = self.settle.take();
        CarryOn::to_end(async move {
            if let Some(settle) = settle {
                settle(finish).await;
            }
        })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(settle) = self.settle.take() {
            drop(CarryOn::to_end(settle(self.on_drop.clone())));
        }
    }
}

async fn settle<S: AsyncStore>(
    shared: &Shared<S>,
    engine: &Engine,
    ticket: &Ticket,
    finish: Finish,
) {
    let mut pauses = PAUSES.iter();
    loop {
        let now_ms = (shared.options.clock)();
        let done = engine.finish_async(&*shared.store, ticket, finish.clone(), now_ms).await;
        let Err(error) = done else { return };
        // The same outcome again is safe, and a refusal is final.
        let pause = match error {
            FinishError::Store(_) if Handle::try_current().is_ok() => pauses.next(),
            _ => None,
        };
        match pause {
            Some(pause) => tokio::time::sleep(*pause).await,
            None => return (shared.options.on_finish_error)(ticket, &error),
        }
    }
}
