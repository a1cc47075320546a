//! Runs steps one after the other.

use std::sync::Arc;

use serde_json::{Value, json};
use tollgate::{MemoryStore, Store, StoreError};

use crate::convert::config;
use crate::error::StepError;
use crate::session::{Explained, Session};
use crate::step::Step;
use crate::surface::Surfaces;

/// Makes the stores that scenarios run on, through the library.
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
pub struct Runner<H: Surfaces = MemoryBackend> {
    surfaces: H,
    session: Option<Session<H::Surface>>,
}

impl Runner {
    /// Through the library, on stores in memory.
    #[must_use]
    pub fn in_memory() -> Self {
        Runner::new(MemoryBackend)
    }
}

impl<H: Surfaces> Runner<H> {
    /// Through these surfaces; with a [`Backend`], through the library on its stores.
    pub fn new(surfaces: H) -> Self {
        Runner { surfaces, session: None }
    }

    /// Runs a step and gives its reply: `{"error": …}` if it failed, and then it changed nothing.
    pub fn step(&mut self, step: Value) -> Value {
        self.try_step(step).unwrap_or_else(|error| error.to_reply())
    }

    /// Runs a step.
    ///
    /// # Errors
    /// Why it failed. It changed nothing; but if a `restart` could not reopen the store, there is no
    /// state until the next `policy` step. A step that is not carried
    /// ([`StepError::is_not_carried`]) may have been carried in part, if it is `parallel` or `restart`.
    pub fn try_step(&mut self, step: Value) -> Result<Value, StepError> {
        match Step::parse(step)? {
            Step::Policy(step) => {
                let surface = self.surfaces.start(config(&step)?)?;
                self.session = Some(Session::new(surface));
                Ok(json!({}))
            }
            Step::Restart => {
                let session = self.session.take().ok_or_else(no_policy)?;
                self.session = Some(session.restarted(&self.surfaces)?);
                Ok(json!({}))
            }
            step => {
                let session = self.session()?;
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
        self.session()?.explain(&step)
    }

    /// The headers of a request that was allowed, in a list as replies show them; for one whose reply
    /// had none because the surface did not see them then.
    ///
    /// This may finish the request, and so is for the end of a scenario.
    ///
    /// # Errors
    /// There is no such request, or the surface never saw its headers.
    pub fn late_headers(&self, id: &str) -> Result<Value, StepError> {
        self.session()?.late_headers(id)
    }

    fn session(&self) -> Result<&Session<H::Surface>, StepError> {
        self.session.as_ref().ok_or_else(no_policy)
    }
}

fn no_policy() -> StepError {
    StepError::new("there is no policy yet; send a `policy` step first")
}
