//! Decisions, ends and administration on a store in objects elsewhere: in rounds, between which JavaScript carries the messages.

use core::cell::RefCell;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::rc::Rc;
use std::sync::Arc;

use tollgate::{AccountId, Command, Decision, Engine};
use tollgate_objects::{Call, ObjectsOptions, ObjectsStore, Reply};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::admin::{self, administer};
use crate::buffer::{with_input, write_output};
use crate::engine::{RawEngine, steps_json};
use crate::error::Fault;
use crate::flat::{FlatRequest, read_ending, write_decision};
use crate::flat_calls::{read_replies, write_calls};
use crate::work::{Answered, Ask, Decided, decide, explain, finish};

/// The caller's half of a store in objects: which tokens it knows.
#[wasm_bindgen]
#[derive(Debug)]
pub struct RawObjectsStore {
    store: Rc<ObjectsStore>,
}

#[wasm_bindgen]
impl RawObjectsStore {
    /// With room for so many tokens.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new(cached_tokens: usize) -> RawObjectsStore {
        let mut options = ObjectsOptions::default();
        options.cached_tokens = cached_tokens;
        RawObjectsStore { store: Rc::new(ObjectsStore::new(&options)) }
    }
}

/// The work's end of the wire.
struct Wire {
    store: Rc<ObjectsStore>,
    round: Rc<RefCell<Round>>,
}

#[derive(Default)]
struct Round {
    calls: Vec<Call>,
    replies: Option<Vec<Reply>>,
}

impl Wire {
    async fn send(&self, calls: Vec<Call>) -> Vec<Reply> {
        self.round.borrow_mut().calls = calls;
        poll_fn(|_| match self.round.borrow_mut().replies.take() {
            Some(replies) => Poll::Ready(replies),
            None => Poll::Pending,
        })
        .await
    }
}

impl Ask for Wire {
    async fn ask(&self, command: &Command<'_>, now_ms: u64) -> Answered {
        let mut exchange = self.store.start(command, now_ms);
        while !exchange.calls().is_empty() {
            let replies = self.send(exchange.calls().to_vec()).await;
            exchange.resume(replies);
        }
        exchange.into_outcome()
    }
}

/// What an operation came to.
enum Done {
    Decided {
        engine: Arc<Engine>,
        decision: Box<Decision>,
        account: Option<AccountId>,
        steps: String,
    },
    Posted(Option<u64>),
    Told(String),
}

type Work = Pin<Box<dyn Future<Output = Result<Done, Fault>>>>;

/// An operation under way.
#[wasm_bindgen]
pub struct RawOperation {
    work: Option<Work>,
    round: Rc<RefCell<Round>>,
    done: Option<Result<Done, Fault>>,
}

impl core::fmt::Debug for RawOperation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RawOperation")
            .field("is_done", &self.done.is_some())
            .finish_non_exhaustive()
    }
}

impl RawOperation {
    fn start<F>(store: &RawObjectsStore, begin: impl FnOnce(Wire) -> F) -> Self
    where
        F: Future<Output = Result<Done, Fault>> + 'static,
    {
        let round = Rc::new(RefCell::new(Round::default()));
        let wire = Wire { store: Rc::clone(&store.store), round: Rc::clone(&round) };
        let mut operation = RawOperation { work: Some(Box::pin(begin(wire))), round, done: None };
        operation.go_on();
        operation
    }

    fn go_on(&mut self) {
        let Some(work) = &mut self.work else { return };
        if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            self.done = Some(done);
            self.work = None;
        }
    }
}

#[wasm_bindgen]
impl RawOperation {
    /// Begins to decide the request in the input.
    #[must_use]
    pub fn decide(engine: &RawEngine, store: &RawObjectsStore, len: usize) -> RawOperation {
        let (engine, bytes) = (engine.engine(), with_input(len, <[u8]>::to_vec));
        RawOperation::start(store, |wire| async move {
            let request = FlatRequest::read(&bytes)?;
            let Decided { decision, account } = decide(&engine, &request.lend(), &wire).await;
            let decision = Box::new(decision);
            Ok(Done::Decided { engine, decision, account, steps: String::new() })
        })
    }

    /// Begins to explain the request in the input.
    #[must_use]
    pub fn explain(engine: &RawEngine, store: &RawObjectsStore, len: usize) -> RawOperation {
        let (engine, bytes) = (engine.engine(), with_input(len, <[u8]>::to_vec));
        RawOperation::start(store, |wire| async move {
            let request = FlatRequest::read(&bytes)?;
            let (explanation, account) = explain(&engine, &request.lend(), &wire).await;
            let steps = steps_json(&explanation.steps);
            let decision = Box::new(explanation.decision);
            Ok(Done::Decided { engine, decision, account, steps })
        })
    }

    /// Begins to finish a request as the input says.
    #[must_use]
    pub fn finish(store: &RawObjectsStore, len: usize) -> RawOperation {
        let ending = with_input(len, read_ending);
        RawOperation::start(store, |wire| async move {
            Ok(Done::Posted(finish(&ending?, &wire).await?))
        })
    }

    /// Begins what the JSON says.
    #[must_use]
    pub fn administer(
        engine: &RawEngine,
        store: &RawObjectsStore,
        call: &str,
        now_ms: u64,
        len: usize,
    ) -> RawOperation {
        let call = admin::Call::read(call, &engine.engine(), len);
        RawOperation::start(store, |wire| async move {
            Ok(Done::Told(administer(call?, now_ms, &wire).await?))
        })
    }

    /// Writes what is to be sent now to the output; gives its length, 0 when the operation is done.
    #[must_use]
    pub fn calls(&self) -> usize {
        if self.done.is_some() {
            return 0;
        }
        write_output(|output| write_calls(output, &self.round.borrow().calls))
    }

    /// Takes what came of the calls from the input, and goes on.
    ///
    /// # Errors
    /// Bytes that are no replies.
    pub fn resume(&mut self, len: usize) -> Result<(), JsValue> {
        let replies = with_input(len, read_replies)?;
        self.round.borrow_mut().replies = Some(replies);
        self.go_on();
        Ok(())
    }

    /// The result of a decision or an explanation: it goes to the output, and the checks are given as JSON.
    ///
    /// # Errors
    /// Why it failed.
    pub fn decided(&mut self) -> Result<String, JsValue> {
        match self.take()? {
            Done::Decided { engine, decision, account, steps } => {
                write_output(|out| write_decision(out, &engine, &decision, account.as_ref()));
                Ok(steps)
            }
            _ => Err(out_of_turn().into()),
        }
    }

    /// The result of a finish: what was posted.
    ///
    /// # Errors
    /// Why it failed.
    pub fn posted(&mut self) -> Result<Option<u64>, JsValue> {
        match self.take()? {
            Done::Posted(posted) => Ok(posted),
            _ => Err(out_of_turn().into()),
        }
    }

    /// The result of an administration, as JSON.
    ///
    /// # Errors
    /// Why it failed.
    pub fn told(&mut self) -> Result<String, JsValue> {
        match self.take()? {
            Done::Told(answer) => Ok(answer),
            _ => Err(out_of_turn().into()),
        }
    }
}

impl RawOperation {
    fn take(&mut self) -> Result<Done, Fault> {
        self.done.take().unwrap_or_else(|| Err(out_of_turn()))
    }
}

fn out_of_turn() -> Fault {
    Fault::invalid("the operation has no such result now")
}
