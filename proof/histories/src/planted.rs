//! Stores with a fault, over one without: the checker must find each.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tollgate::{
    AccountId, Administration, Admission, Admit, AdmitVerdict, Command, LookedUp, Lookup, Mode,
    Outcome, Store, StoreError,
};

/// Lets others go on. A test with real threads yields; under a scheduler it is the scheduler's.
type Pause = fn();

/// Checks first, and acts later: what was admitted by the check is admitted, whatever is so by then.
#[derive(Debug)]
pub struct CheckThenAct<S> {
    /// The store without the fault.
    pub store: S,
    /// Called between the check and the act.
    pub pause: Pause,
}

impl<S: Store> Store for CheckThenAct<S> {
    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        match command {
            Command::Admit(admit) => self.admit(admit, now_ms).map(Outcome::Admission),
            _ => self.store.perform(command, now_ms),
        }
    }

    fn look_up(&self, lookup: &Lookup<'_>, now_ms: u64) -> Result<LookedUp, StoreError> {
        // The admission follows, in two commands.
        self.store.look_up(&Lookup { plain: None, ..*lookup }, now_ms)
    }

    fn admit(&self, admit: &Admit<'_>, now_ms: u64) -> Result<Admission, StoreError> {
        let checked = self.store.admit(&Admit { mode: Mode::Peek, ..*admit }, now_ms)?;
        (self.pause)();
        let acted = self.store.admit(admit, now_ms)?;
        Ok(match (&checked.verdict, &acted.verdict) {
            (AdmitVerdict::Admitted { .. }, AdmitVerdict::Denied(_)) => checked,
            _ => acted,
        })
    }
}

/// Admits under a credential without a look at whether it is still in force.
#[derive(Debug)]
pub struct NoRevision<S>(
    /// The store without the fault.
    pub S,
);

impl<S: Store> Store for NoRevision<S> {
    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        match command {
            Command::Admit(admit) => self.admit(admit, now_ms).map(Outcome::Admission),
            _ => self.0.perform(command, now_ms),
        }
    }

    fn look_up(&self, lookup: &Lookup<'_>, now_ms: u64) -> Result<LookedUp, StoreError> {
        self.0.look_up(lookup, now_ms)
    }

    fn admit(&self, admit: &Admit<'_>, now_ms: u64) -> Result<Admission, StoreError> {
        self.0.admit(&Admit { revision: None, ..*admit }, now_ms)
    }
}

/// Shows every second time what it showed the time before.
#[derive(Debug)]
pub struct StaleReads<S> {
    store: S,
    seen: Mutex<BTreeMap<AccountId, Outcome>>,
}

impl<S> StaleReads<S> {
    /// Over this store.
    pub fn new(store: S) -> Self {
        StaleReads { store, seen: Mutex::default() }
    }
}

impl<S: Store> Store for StaleReads<S> {
    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        let Command::Administer(Administration::Inspect { account }) = command else {
            return self.store.perform(command, now_ms);
        };
        if let Some(seen) = self.seen.lock().unwrap().remove(*account) {
            return Ok(seen);
        }
        let outcome = self.store.perform(command, now_ms)?;
        self.seen.lock().unwrap().insert((*account).clone(), outcome.clone());
        Ok(outcome)
    }

    fn look_up(&self, lookup: &Lookup<'_>, now_ms: u64) -> Result<LookedUp, StoreError> {
        self.store.look_up(lookup, now_ms)
    }

    fn admit(&self, admit: &Admit<'_>, now_ms: u64) -> Result<Admission, StoreError> {
        self.store.admit(admit, now_ms)
    }
}
