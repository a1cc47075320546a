//! Which call of a store goes wrong, and how.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tollgate::{Command, StoreError};

use crate::world::splitmix;

/// What goes wrong with one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It fails, and is not performed.
    Before,
    /// It is performed, and the answer is lost.
    After,
    /// It is performed two times, as by a network that tries again; the second answer is given.
    Twice,
    /// It is performed, and answered with another command's outcome.
    WrongOutcome,
    /// It takes long: the store's hook is called first.
    Slow,
}

/// All faults.
pub const FAULTS: [Fault; 5] =
    [Fault::Before, Fault::After, Fault::Twice, Fault::WrongOutcome, Fault::Slow];

/// What a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// [`Command::Lookup`].
    LookUp,
    /// [`Command::Admit`].
    Admit,
    /// [`Command::Settle`].
    Settle,
    /// [`Command::Administer`].
    Administer,
    /// A command that this version of the suite does not know.
    Other,
}

impl Kind {
    /// The kind of a command.
    #[must_use]
    pub fn of(command: &Command<'_>) -> Self {
        match command {
            Command::Lookup(_) => Kind::LookUp,
            Command::Admit(_) => Kind::Admit,
            Command::Settle(_) => Kind::Settle,
            Command::Administer(_) => Kind::Administer,
            _ => Kind::Other,
        }
    }
}

/// Says for each call, by its number from 0 and its kind, what goes wrong with it. The same calls in the
/// same order meet the same faults.
#[derive(Clone)]
pub struct Plan(Arc<dyn Fn(u64, Kind) -> Option<Fault> + Send + Sync>);

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plan")
    }
}

impl Plan {
    /// What this function says.
    pub fn new(plan: impl Fn(u64, Kind) -> Option<Fault> + Send + Sync + 'static) -> Self {
        Plan(Arc::new(plan))
    }

    /// Nothing goes wrong.
    #[must_use]
    pub fn none() -> Self {
        Plan::new(|_, _| None)
    }

    /// These faults, one call after the other; then nothing goes wrong.
    #[must_use]
    pub fn list(faults: Vec<Option<Fault>>) -> Self {
        Plan::new(move |number, _| {
            let place = usize::try_from(number).ok()?;
            faults.get(place).copied().flatten()
        })
    }

    /// One call meets a fault.
    #[must_use]
    pub fn nth(nth: u64, fault: Fault) -> Self {
        Plan::new(move |number, _| (number == nth).then_some(fault))
    }

    /// Every call of a kind meets a fault.
    #[must_use]
    pub fn every(kind: Kind, fault: Fault) -> Self {
        Plan::new(move |_, of| (of == kind).then_some(fault))
    }

    /// One call in `one_in` meets one of these faults, by a seed.
    #[must_use]
    pub fn seeded(seed: u64, one_in: u64, faults: &'static [Fault]) -> Self {
        Plan::new(move |number, _| {
            let random = splitmix(seed ^ splitmix(number));
            let place = usize::try_from(random / one_in.max(1)).ok()?;
            let fault = faults.get(place.checked_rem(faults.len())?).copied();
            fault.filter(|_| random.checked_rem(one_in) == Some(0))
        })
    }
}

/// A plan that is under way.
#[derive(Debug)]
pub(crate) struct Faults {
    plan: Mutex<Plan>,
    calls: AtomicU64,
    met: Mutex<Vec<(Kind, Fault)>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Faults {
    pub(crate) fn new(plan: Plan) -> Self {
        Faults { plan: Mutex::new(plan), calls: AtomicU64::new(0), met: Mutex::default() }
    }

    /// Begins another plan; calls are counted from 0 again.
    pub(crate) fn follow(&self, plan: Plan) {
        *locked(&self.plan) = plan;
        self.calls.store(0, Ordering::SeqCst);
        locked(&self.met).clear();
    }

    pub(crate) fn next(&self, command: &Command<'_>) -> Option<Fault> {
        let kind = Kind::of(command);
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let plan = locked(&self.plan).clone();
        let fault = (plan.0)(number, kind)?;
        locked(&self.met).push((kind, fault));
        Some(fault)
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn met(&self) -> Vec<(Kind, Fault)> {
        locked(&self.met).clone()
    }
}

/// What a command that went wrong is answered.
pub(crate) fn no_answer() -> StoreError {
    StoreError::Unavailable { reason: "a fault of the plan".into() }
}
