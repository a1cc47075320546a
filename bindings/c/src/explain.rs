//! Why a decision would come out as it does, for operators.

use std::sync::Arc;

use serde_json::Value;
use tollgate::{Decision, Engine, Store, TraceStep};

use crate::decision::tollgate_decision_t;
use crate::engine::tollgate_engine_t;
use crate::error::{Error, tollgate_result_t};
use crate::ffi::{borrow, call, free, out, tollgate_str_t, value};
use crate::request::{tollgate_request_t, with_request};
use crate::store::tollgate_store_t;

/// The ordered trace of a decision, of which nothing was consumed.
///
/// Ownership: given by `tollgate_explain`, freed by `tollgate_explanation_free`. Threads: any number may read it at once.
pub struct tollgate_explanation_t {
    steps: Vec<Step>,
    engine: Arc<Engine>,
    decision: Decision,
    store: Arc<dyn Store>,
    now_ms: u64,
}

struct Step {
    check: String,
    result: String,
    step: TraceStep,
}

/// One check. Texts are valid as long as the explanation.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tollgate_trace_step_t {
    /// Which check: `bearer_token`, `credential`, `source_network`, `scope`, `request_limit`, `idempotency`, `validation`,
    /// `execution_limit`, `spend_cap`, `wallet`.
    pub check: tollgate_str_t,
    /// The rule that was applied.
    pub rule: tollgate_str_t,
    /// What it was applied to. Never a secret.
    pub observed: tollgate_str_t,
    /// How it ended: `passed`, `decided`, `shadow`, `would_pass`, `would_fail`.
    pub result: tollgate_str_t,
    /// What would make it pass; empty if it passed.
    pub fix: tollgate_str_t,
}

/// Decides a request without consuming anything, and tells what every check saw.
///
/// `*explanation` is the caller's, to be freed. Errors: as `tollgate_decide`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_explain(
    engine: *const tollgate_engine_t,
    store: *const tollgate_store_t,
    request: *const tollgate_request_t,
    explanation: *mut *mut tollgate_explanation_t,
) -> tollgate_result_t {
    call(|| {
        let engine = borrow(engine, "engine")?.load();
        let store = borrow(store, "store")?.share();
        let explanation = out(explanation, "explanation")?;
        let (explained, now_ms) = with_request(request, |request| {
            Ok((engine.explain(&*store, request), request.now_ms))
        })?;
        let steps = explained.steps.into_iter().map(|step| Step {
            check: name(serde_json::to_value(step.check)),
            result: name(serde_json::to_value(step.result)),
            step,
        });
        explanation.give(tollgate_explanation_t {
            steps: steps.collect(),
            engine,
            decision: explained.decision,
            store,
            now_ms,
        });
        Ok(())
    })
}

/// The name by which the library serializes a value.
fn name(serialized: serde_json::Result<Value>) -> String {
    match serialized {
        Ok(Value::String(name)) => name,
        _ => String::new(),
    }
}

/// How many checks there are. 0 for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_explanation_step_count(
    explanation: *const tollgate_explanation_t,
) -> usize {
    value(0, || Ok(borrow(explanation, "explanation")?.steps.len()))
}

/// Gives a check, by its index from 0, in the order in which they are made.
///
/// Errors: `TOLLGATE_INVALID_ARGUMENT` when there is none with this index.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_explanation_step(
    explanation: *const tollgate_explanation_t,
    index: usize,
    step: *mut tollgate_trace_step_t,
) -> tollgate_result_t {
    call(|| {
        let step = out(step, "step")?;
        let found = borrow(explanation, "explanation")?.steps.get(index);
        let found = found.ok_or_else(|| Error::invalid("there is no step with this index"))?;
        step.set(tollgate_trace_step_t {
            check: tollgate_str_t::of(&found.check),
            rule: tollgate_str_t::of(&found.step.rule),
            observed: tollgate_str_t::of(&found.step.observed),
            result: tollgate_str_t::of(&found.result),
            fix: tollgate_str_t::of(found.step.fix.as_deref().unwrap_or_default()),
        });
        Ok(())
    })
}

/// Gives the decision that would be made. `*decision` is the caller's, to be freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_explanation_decision(
    explanation: *const tollgate_explanation_t,
    decision: *mut *mut tollgate_decision_t,
) -> tollgate_result_t {
    call(|| {
        let (told, decision) = (borrow(explanation, "explanation")?, out(decision, "decision")?);
        let (engine, store) = (Arc::clone(&told.engine), Arc::clone(&told.store));
        decision.give(tollgate_decision_t::new(
            engine,
            told.decision.clone(),
            Some(store),
            told.now_ms,
        ));
        Ok(())
    })
}

/// Frees an explanation; null is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_explanation_free(explanation: *mut tollgate_explanation_t) {
    free(explanation);
}
