//! A host that loses messages.

use std::sync::Mutex;

use tollgate::{Command, Outcome, Store, StoreError};
use tollgate_objects::{Call, Lost, Reply};

use super::Caller;

/// What becomes of one try to send a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrives,
    /// It never arrives.
    IsLost,
    /// It is performed, and its answer never arrives.
    IsLostAfter,
}

type Fates = dyn FnMut(&Call) -> Fate + Send;

/// A caller whose messages fare as something says. A repeatable one that was lost is sent once again.
pub(crate) struct Lossy {
    pub(crate) caller: Caller,
    fates: Mutex<Box<Fates>>,
}

impl Lossy {
    pub(crate) fn new(caller: Caller, fates: impl FnMut(&Call) -> Fate + Send + 'static) -> Self {
        Lossy { caller, fates: Mutex::new(Box::new(fates)) }
    }

    fn try_send(&self, call: &Call, now_ms: u64) -> Reply {
        let fate = (self.fates.lock().unwrap())(call);
        if fate == Fate::IsLost {
            return Err(Lost::new("the message was lost"));
        }
        let reply = self.caller.world.send(call, now_ms);
        if fate == Fate::Arrives { reply } else { Err(Lost::new("the answer was lost")) }
    }

    fn send(&self, call: &Call, now_ms: u64) -> Reply {
        match self.try_send(call, now_ms) {
            Err(_) if call.repeatable => self.try_send(call, now_ms),
            reply => reply,
        }
    }
}

impl Store for Lossy {
    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        let mut exchange = self.caller.store.start(command, now_ms);
        while !exchange.calls().is_empty() {
            let replies = exchange.calls().iter().map(|call| self.send(call, now_ms)).collect();
            exchange.resume(replies);
        }
        exchange.into_outcome()
    }
}
