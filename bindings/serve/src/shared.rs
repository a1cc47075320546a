//! What all of a server's listeners share.

use std::sync::atomic::{AtomicBool, Ordering};

use tollgate::{Engine, LiveEngine};

use crate::clock::Clock;
use crate::forward::Answers;
use crate::latest::Latest;
use crate::log::DecisionLog;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::store::ServedStore;

pub(crate) struct Shared {
    pub live: LiveEngine,
    pub store: ServedStore,
    pub clock: Clock,
    pub metrics: Metrics,
    pub log: DecisionLog,
    pub latest: Latest,
    pub answers: Answers,
    /// No longer ready: it is about to end.
    pub stopping: AtomicBool,
    pub options: Options,
}

impl Shared {
    /// # Errors
    /// A policy with errors, a store that cannot be opened, a log that cannot be written.
    pub(crate) fn open(options: Options) -> Result<Self, String> {
        let policy = (options.load_policy)()?;
        let mut engine = Engine::new(policy);
        if let Some(pepper) = &options.pepper {
            engine = engine.with_pepper(pepper.clone());
        }
        let metrics = Metrics::new();
        let log = DecisionLog::open(&options.decision_log, metrics.log_lines_lost.clone())?;
        Ok(Shared {
            live: LiveEngine::new(engine),
            store: ServedStore::open(&options.store, options.limits_in_memory)?,
            clock: options.clock.clone(),
            metrics,
            log,
            latest: Latest::new(options.traces_per_second),
            answers: Answers::new(options.bounds.max_kept_bytes),
            stopping: AtomicBool::new(false),
            options,
        })
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}
