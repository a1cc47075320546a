//! Hot reload: a new policy takes the place of the old one between two requests.

use alloc::sync::Arc;

#[cfg(not(tollgate_shuttle))]
use arc_swap::ArcSwap;
#[cfg(tollgate_shuttle)]
use scheduled::ArcSwap;

use crate::engine::Engine;
use crate::policy::CompiledPolicy;

/// An engine whose policy can be replaced while requests are decided.
///
/// [`load`](Self::load) takes no lock. A request that began under one policy ends under it: keep the
/// engine that `load` gave for as long as the request lasts. A policy that does not compile never gets
/// here, so a failed reload changes nothing.
#[derive(Debug)]
pub struct LiveEngine(ArcSwap<Engine>);

impl LiveEngine {
    /// Starts with this engine.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        LiveEngine(ArcSwap::from_pointee(engine))
    }

    /// The engine of now, for one request.
    #[must_use]
    pub fn load(&self) -> Arc<Engine> {
        self.0.load_full()
    }

    /// Runs `with` on the engine of now; quicker than [`load`](Self::load) where many threads decide.
    pub fn with<T>(&self, with: impl FnOnce(&Engine) -> T) -> T {
        with(&self.0.load())
    }

    /// Replaces the policy for all requests that begin from now on. The pepper stays.
    pub fn reload(&self, policy: CompiledPolicy) {
        let next = Arc::new(self.0.load().with_policy(policy));
        self.0.store(next);
    }
}

/// An [`arc_swap::ArcSwap`] whose loads and stores are points at which a scheduler may let another thread go on.
/// How this type is used is tested with it (`proof/schedules`), not arc-swap itself.
#[cfg(tollgate_shuttle)]
mod scheduled {
    use alloc::sync::Arc;

    use shuttle_parking_lot::Mutex;

    #[derive(Debug)]
    pub(super) struct ArcSwap<T>(Mutex<Arc<T>>);

    impl<T> ArcSwap<T> {
        pub(super) fn from_pointee(value: T) -> Self {
            ArcSwap(Mutex::new(Arc::new(value)))
        }

        pub(super) fn load(&self) -> Arc<T> {
            self.load_full()
        }

        pub(super) fn load_full(&self) -> Arc<T> {
            Arc::clone(&self.0.lock())
        }

        pub(super) fn store(&self, value: Arc<T>) {
            *self.0.lock() = value;
        }
    }
}
