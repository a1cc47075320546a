//! Runs steps one after the other.

use std::sync::Arc;

use serde_json::{Value, json};
use tollgate::{Engine, MemoryStore, Store, StoreError};

use crate::convert::config;
use crate::error::StepError;
use crate::session::{Explained, Session};
use crate::step::Step;

/// Makes the stores that scenarios run on.
pub trait Backend {
    /// An empty store.
    ///
    /// # Errors
    /// When there is none to be had.
    fn fresh(&self) -> Result<Arc<dyn Store>, StoreError>;

    /// The store after a restart of what it lives in: what it keeps durably is there, the rest is gone.
    /// Nobody else holds `store`.
    ///
    /// # Errors
    /// When it cannot be opened again.
    fn reopen(&self, store: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError>;

    /// Whether reservations outlive [`reopen`](Self::reopen), so that requests from before can still be
    /// finished.
    fn keeps_state(&self) -> bool;
}

/// Makes [`MemoryStore`]s, which lose everything with a restart.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryBackend;

impl Backend for MemoryBackend {
    fn fresh(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(MemoryStore::default()))
    }

    fn reopen(&self, _: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
        self.fresh()
    }

    fn keeps_state(&self) -> bool {
        false
    }
}

/// Runs the steps of a scenario.
///
/// It remembers every request by its `id` until the next `policy` step; a pipe that runs for long
/// uses ids again, which forgets the earlier request.
pub struct Runner<B = MemoryBackend> {
    backend: B,
    session: Option<Session>,
}

impl Runner {
    /// On stores in memory.
    #[must_use]
    pub fn in_memory() -> Self {
        Runner::new(MemoryBackend)
    }
}

impl<B: Backend> Runner<B> {
    /// On stores of this backend.
    pub fn new(backend: B) -> Self {
        Runner { backend, session: None }
    }

    /// Runs a step and gives its reply: `{"error": …}` if it failed, and then it changed nothing.
    pub fn step(&mut self, step: Value) -> Value {
        self.try_step(step).unwrap_or_else(|error| error.to_reply())
    }

    /// Runs a step.
    ///
    /// # Errors
    /// Why it failed. It changed nothing; but if a `restart` could not reopen the store, there is no
    /// state until the next `policy` step.
    pub fn try_step(&mut self, step: Value) -> Result<Value, StepError> {
        match Step::parse(step)? {
            Step::Policy(step) => {
                let engine = Engine::new(config(&step)?.compile().map_err(StepError::of)?);
                let store = self.backend.fresh().map_err(StepError::of)?;
                self.session = Some(Session::new(engine, store));
                Ok(json!({}))
            }
            Step::Restart => {
                let session = self.session.take().ok_or_else(no_policy)?;
                let reopen = |store| self.backend.reopen(store);
                self.session = Some(session.restarted(self.backend.keeps_state(), reopen)?);
                Ok(json!({}))
            }
            step => {
                let session = self.session.as_ref().ok_or_else(no_policy)?;
                session.perform(step, session.latest_ms())
            }
        }
    }

    /// Explains a `request` step: what would be decided, and why. Nothing is consumed.
    ///
    /// # Errors
    /// Another step, one that cannot be read, or no `policy` step before it.
    pub fn explain(&self, step: Value) -> Result<Explained, StepError> {
        let Step::Request(step) = Step::parse(step)? else {
            return Err(StepError::new("only a `request` step can be explained"));
        };
        Ok(self.session.as_ref().ok_or_else(no_policy)?.explain(&step))
    }
}

fn no_policy() -> StepError {
    StepError::new("there is no policy yet; send a `policy` step first")
}
