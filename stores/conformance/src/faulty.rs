//! Stores that fail by plan.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use tollgate::{AsyncStore, Command, Outcome, Store, StoreError};

use crate::faults::{Fault, Faults, Kind, Plan, no_answer};

/// What no command but `Expire` is answered, and that one with less.
const WRONG: Outcome = Outcome::Expired(u64::MAX);

/// A store that fails by plan, and answers as the store behind it where the plan lets it.
pub struct FaultyStore<S> {
    store: S,
    faults: Faults,
    slow: Box<dyn Fn() + Send + Sync>,
}

impl<S: fmt::Debug> fmt::Debug for FaultyStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStore")
            .field("store", &self.store)
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

impl<S> FaultyStore<S> {
    /// Before this store, with this plan.
    pub fn new(store: S, plan: Plan) -> Self {
        FaultyStore { store, faults: Faults::new(plan), slow: Box::new(|| ()) }
    }

    /// What is called for [`Fault::Slow`], before the command is performed.
    #[must_use]
    pub fn slow(self, slow: impl Fn() + Send + Sync + 'static) -> Self {
        FaultyStore { slow: Box::new(slow), ..self }
    }

    /// The store behind it, which does not fail.
    pub fn inner(&self) -> &S {
        &self.store
    }

    /// Follows another plan from now on; calls are counted from 0 again.
    pub fn follow(&self, plan: Plan) {
        self.faults.follow(plan);
    }

    /// How many calls there were under this plan.
    pub fn calls(&self) -> u64 {
        self.faults.calls()
    }

    /// The faults that calls have met under this plan, in their order.
    pub fn met(&self) -> Vec<(Kind, Fault)> {
        self.faults.met()
    }
}

impl<S: Store> Store for FaultyStore<S> {
    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        match self.faults.next(command) {
            None => self.store.perform(command, now_ms),
            Some(Fault::Slow) => {
                (self.slow)();
                self.store.perform(command, now_ms)
            }
            Some(Fault::Before) => Err(no_answer()),
            Some(Fault::After) => {
                let _ = self.store.perform(command, now_ms);
                Err(no_answer())
            }
            Some(Fault::Twice) => {
                let _ = self.store.perform(command, now_ms);
                self.store.perform(command, now_ms)
            }
            Some(Fault::WrongOutcome) => {
                self.store.perform(command, now_ms)?;
                Ok(WRONG)
            }
        }
    }
}

/// What a slow store waits for.
pub type Delay = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The same for stores that answer later.
pub struct FaultyAsyncStore<S> {
    store: S,
    faults: Faults,
    slow: Box<dyn Fn() -> Delay + Send + Sync>,
}

impl<S: fmt::Debug> fmt::Debug for FaultyAsyncStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyAsyncStore")
            .field("store", &self.store)
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

impl<S> FaultyAsyncStore<S> {
    /// Before this store, with this plan.
    pub fn new(store: S, plan: Plan) -> Self {
        let slow = || -> Delay { Box::pin(std::future::ready(())) };
        FaultyAsyncStore { store, faults: Faults::new(plan), slow: Box::new(slow) }
    }

    /// What is awaited for [`Fault::Slow`], before the command is performed.
    #[must_use]
    pub fn slow(self, slow: impl Fn() -> Delay + Send + Sync + 'static) -> Self {
        FaultyAsyncStore { slow: Box::new(slow), ..self }
    }

    /// The store behind it, which does not fail.
    pub fn inner(&self) -> &S {
        &self.store
    }

    /// Follows another plan from now on; calls are counted from 0 again.
    pub fn follow(&self, plan: Plan) {
        self.faults.follow(plan);
    }

    /// How many calls there were under this plan.
    pub fn calls(&self) -> u64 {
        self.faults.calls()
    }

    /// The faults that calls have met under this plan, in their order.
    pub fn met(&self) -> Vec<(Kind, Fault)> {
        self.faults.met()
    }
}

impl<S: AsyncStore> AsyncStore for FaultyAsyncStore<S> {
    fn perform_async(
        &self,
        command: &Command<'_>,
        now_ms: u64,
    ) -> impl Future<Output = Result<Outcome, StoreError>> + Send {
        let fault = self.faults.next(command);
        async move {
            match fault {
                None => self.store.perform_async(command, now_ms).await,
                Some(Fault::Slow) => {
                    (self.slow)().await;
                    self.store.perform_async(command, now_ms).await
                }
                Some(Fault::Before) => Err(no_answer()),
                Some(Fault::After) => {
                    let _ = self.store.perform_async(command, now_ms).await;
                    Err(no_answer())
                }
                Some(Fault::Twice) => {
                    let _ = self.store.perform_async(command, now_ms).await;
                    self.store.perform_async(command, now_ms).await
                }
                Some(Fault::WrongOutcome) => {
                    self.store.perform_async(command, now_ms).await?;
                    Ok(WRONG)
                }
            }
        }
    }
}
