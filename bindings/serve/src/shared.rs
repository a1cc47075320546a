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
    /// Held while the policy is read and put in force.
    pub reloading: tokio::sync::Mutex<()>,
    /// Whether the store answered when it was last asked.
    pub store_answers: AtomicBool,
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
            latest: Latest::new(if options.admin.is_some() {
                options.traces_per_second
            } else {
                0
            }),
            answers: Answers::new(options.bounds.max_kept_bytes),
            reloading: tokio::sync::Mutex::default(),
            store_answers: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            options,
        })
    }

    /// Whether anybody will read a decision's record: writing one down costs more than a decision.
    pub(crate) fn keeps_records(&self) -> bool {
        self.log.is_on() || self.options.admin.is_some()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}
