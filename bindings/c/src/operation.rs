//! The step form: a decision, or its end, in steps between which the host does the waiting.

use core::ffi::c_char;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use tollgate::{Command, FinishError, Outcome, Settle, Settled, StoreError};

use crate::decision::tollgate_decision_t;
use crate::engine::tollgate_engine_t;
use crate::error::{Error, tollgate_result_t};
use crate::ffi::{borrow, borrow_mut, call, free, optional_text, out, value};
use crate::finish::{Posted, read_finish, tollgate_finish_t};
use crate::operation_redis::Sent;
use crate::request::{OwnedRequest, tollgate_request_t};
use crate::store::tollgate_store_t;
use crate::wire::{Asks, Given, Wire};

/// A decision, or its end, under way: it says what it asks of a store, and the host has that performed, now or later, on any thread, or
/// over a connection of its own.
///
/// ```c
/// tollgate_operation_decide(engine, &request, false, &operation);
/// while (tollgate_operation_command(operation) != TOLLGATE_COMMAND_NONE)
///     tollgate_operation_perform(operation, store);
/// tollgate_operation_decision(operation, &decision);
/// tollgate_operation_free(operation);
/// ```
///
/// Ownership: made by `tollgate_operation_decide` or `_finish`, freed by `tollgate_operation_free` at any time: what was not performed by then is
/// not. It keeps a copy of its request. Threads: one at a time, any.
pub struct tollgate_operation_t {
    pub(crate) wire: Wire,
    work: Option<Pin<Box<dyn Future<Output = Ended> + Send>>>,
    ended: Option<Ended>,
    /// The calls of this round, in their order.
    pub(crate) sent: Vec<Sent>,
}

/// What came of an operation.
enum Ended {
    Decision(Box<tollgate_decision_t>),
    Settled(Result<Settled, FinishError>),
    /// It was given, or lost to a bug.
    Given,
}

/// What an operation asks for: one of `enum tollgate_command`.
pub type tollgate_command_t = u32;

/// What an operation asks for.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum tollgate_command {
    /// Nothing more: the result is there.
    TOLLGATE_COMMAND_NONE = 0,
    /// A token is to be looked up. Where nothing but limits can hold the request back, it is admitted in the same step.
    TOLLGATE_COMMAND_LOOKUP = 1,
    /// A request is to be admitted.
    TOLLGATE_COMMAND_ADMIT = 2,
    /// A request is to be settled.
    TOLLGATE_COMMAND_SETTLE = 3,
}

impl tollgate_operation_t {
    fn start<F>(begin: impl FnOnce(Wire) -> F) -> Self
    where
        F: Future<Output = Ended> + Send + 'static,
    {
        let wire = Wire::new();
        let work = Box::pin(begin(wire.clone()));
        let mut operation =
            tollgate_operation_t { wire, work: Some(work), ended: None, sent: Vec::new() };
        operation.go_on();
        operation
    }

    pub(crate) fn go_on(&mut self) {
        // Gone while it runs: a panic in it leaves an operation that has ended.
        let Some(mut work) = self.work.take() else { return };
        self.ended = Some(Ended::Given);
        match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ended) => self.ended = Some(ended),
            Poll::Pending => (self.work, self.ended) = (Some(work), None),
        }
        self.sent = self.wire.with(|slot| slot.calls.iter().map(Sent::new).collect());
    }

    pub(crate) fn asks(&self) -> Asks {
        if self.ended.is_some() { Asks::Nothing } else { self.wire.with(|slot| slot.asks) }
    }

    pub(crate) fn give(&mut self, given: Given) -> Result<(), Error> {
        if self.ended.is_some() {
            return Err(Error::finished("the operation asks for nothing more; take its result"));
        }
        if self.wire.with(|slot| !slot.calls.is_empty()) {
            return Err(Error::not_ready("the command is under way on Redis; resume that first"));
        }
        self.wire.with(|slot| slot.given = Some(given));
        self.go_on();
        Ok(())
    }

    fn take(&mut self) -> Result<Ended, Error> {
        match self.ended.replace(Ended::Given) {
            None => {
                self.ended = None;
                Err(Error::not_ready("the operation waits for a command to be performed"))
            }
            Some(Ended::Given) => Err(Error::finished("the operation has given its result")),
            Some(ended) => Ok(ended),
        }
    }
}

/// Begins to decide a request, which is copied.
///
/// With `look_up_first` the token is looked up by a command of its own, before which nothing is consumed, so that the host may stop in
/// between: see `tollgate_operation_wants_body`. `*operation` is the caller's, to be freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_operation_decide(
    engine: *const tollgate_engine_t,
    request: *const tollgate_request_t,
    look_up_first: bool,
    operation: *mut *mut tollgate_operation_t,
) -> tollgate_result_t {
    call(|| {
        let operation = out(operation, "operation")?;
        let engine = borrow(engine, "engine")?.load();
        let owned = OwnedRequest::new(request)?;
        operation.give(tollgate_operation_t::start(|wire| async move {
            let now_ms = owned.now_ms;
            let decision = {
                let request = owned.lend();
                let mut evaluation = engine.evaluate(&request);
                if look_up_first {
                    evaluation = evaluation.look_up_first();
                }
                while let Some(command) = evaluation.command() {
                    let outcome = wire.perform(&command, now_ms).await;
                    evaluation.resume(outcome);
                }
                evaluation.into_decision()
            };
            let store = wire.with(|slot| slot.store.take());
            Ended::Decision(Box::new(tollgate_decision_t::new(engine, decision, store, now_ms)))
        }));
        Ok(())
    })
}

/// Begins to finish a request that was allowed: see `tollgate_finish`. Decision, outcome and response are copied.
///
/// `*operation` is the caller's, to be freed. Errors: as `tollgate_finish` for an outcome that cannot be.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_operation_finish(
    decision: *const tollgate_decision_t,
    finish: *const tollgate_finish_t,
    now_ms: u64,
    operation: *mut *mut tollgate_operation_t,
) -> tollgate_result_t {
    call(|| {
        let operation = out(operation, "operation")?;
        let ticket = borrow(decision, "decision")?.ticket().cloned();
        let finish = read_finish(finish)?;
        operation.give(tollgate_operation_t::start(|wire| async move {
            let Some(ticket) = ticket else {
                return Ended::Settled(Ok(Settled { posted: None }));
            };
            let (account, reservation) = (&ticket.account, ticket.reservation);
            let command = Command::Settle(Settle { account, reservation, finish: &finish });
            Ended::Settled(settled(wire.perform(&command, now_ms).await))
        }));
        Ok(())
    })
}

fn settled(outcome: Result<Outcome, StoreError>) -> Result<Settled, FinishError> {
    match outcome? {
        Outcome::Settled(settled) => Ok(settled),
        Outcome::Refused(refusal) => Err(refusal.into()),
        _ => Err(StoreError::WrongOutcome.into()),
    }
}

/// What the operation asks for now. `TOLLGATE_COMMAND_NONE` for null, and when the result is there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_operation_command(
    operation: *const tollgate_operation_t,
) -> tollgate_command_t {
    value(tollgate_command::TOLLGATE_COMMAND_NONE as u32, || {
        Ok(match borrow(operation, "operation")?.asks() {
            Asks::Nothing => tollgate_command::TOLLGATE_COMMAND_NONE,
            Asks::Lookup => tollgate_command::TOLLGATE_COMMAND_LOOKUP,
            Asks::Admit { .. } => tollgate_command::TOLLGATE_COMMAND_ADMIT,
            Asks::Settle => tollgate_command::TOLLGATE_COMMAND_SETTLE,
        } as u32)
    })
}

/// Whether the command would claim an idempotency key, so that the request's body counts. A host that has not read it frees the operation,
/// reads it, and starts anew with it: with `look_up_first`, nothing was consumed, and bodies are read only for requests with a good token, network
/// and scope. False for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_operation_wants_body(
    operation: *const tollgate_operation_t,
) -> bool {
    value(false, || Ok(borrow(operation, "operation")?.asks() == Asks::Admit { wants_body: true }))
}

/// Has the command performed by a store, on this thread, and goes on.
///
/// Errors: `TOLLGATE_FINISHED` when there is no command; `TOLLGATE_NOT_READY` while it is under way on Redis.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_operation_perform(
    operation: *mut tollgate_operation_t,
    store: *const tollgate_store_t,
) -> tollgate_result_t {
    call(|| {
        let operation = borrow_mut(operation, "operation")?;
        operation.give(Given::By(borrow(store, "store")?.share()))
    })
}

/// Says that the command cannot be performed, and goes on: the request is denied with `store_unavailable`, or passes where the policy
/// leaves that open. `reason` is for the operator, UTF-8, without secrets; null: none.
///
/// Errors: as `tollgate_operation_perform`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_operation_fail(
    operation: *mut tollgate_operation_t,
    reason: *const c_char,
    reason_len: usize,
) -> tollgate_result_t {
    call(|| {
        let operation = borrow_mut(operation, "operation")?;
        let reason = optional_text(reason, reason_len, "reason")?;
        let reason = reason.unwrap_or("the host could not ask it").into();
        operation.give(Given::Failed(StoreError::Unavailable { reason }))
    })
}

/// Gives the decision, once. `*decision` is the caller's, to be freed, and outlives the operation.
///
/// Errors: `TOLLGATE_NOT_READY` while a command is asked for; `TOLLGATE_FINISHED` when it was given before;
/// `TOLLGATE_INVALID_ARGUMENT` for an operation that finishes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_operation_decision(
    operation: *mut tollgate_operation_t,
    decision: *mut *mut tollgate_decision_t,
) -> tollgate_result_t {
    call(|| {
        let operation = borrow_mut(operation, "operation")?;
        let decision = out(decision, "decision")?;
        match operation.take()? {
            Ended::Decision(made) => decision.give(*made),
            other => {
                operation.ended = Some(other);
                return Err(Error::invalid("the operation finishes a request; it decides nothing"));
            }
        }
        Ok(())
    })
}

/// Tells what came of `tollgate_operation_finish`, once: see `tollgate_finish`.
///
/// Errors: those of `tollgate_finish`; `TOLLGATE_NOT_READY` while a command is asked for; `TOLLGATE_FINISHED` when it was told
/// before; `TOLLGATE_INVALID_ARGUMENT` for an operation that decides.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_operation_finished(
    operation: *mut tollgate_operation_t,
    has_posted: *mut bool,
    posted: *mut u64,
) -> tollgate_result_t {
    call(|| {
        let operation = borrow_mut(operation, "operation")?;
        let told = Posted::new(has_posted, posted)?;
        match operation.take()? {
            Ended::Settled(settled) => told.set(settled?),
            other => {
                operation.ended = Some(other);
                return Err(Error::invalid("the operation decides a request; it finishes nothing"));
            }
        }
        Ok(())
    })
}

/// Frees an operation; null is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_operation_free(operation: *mut tollgate_operation_t) {
    free(operation);
}

// An operation may be used by one thread after the other.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<tollgate_operation_t>();
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<tollgate_decision_t>();
    is_shared::<tollgate_engine_t>();
    is_shared::<tollgate_store_t>();
    is_shared::<crate::limits::tollgate_limits_t>();
    is_shared::<crate::redis::tollgate_redis_t>();
};
