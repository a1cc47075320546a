//! Steps that run at the same time.

use std::sync::{Barrier, PoisonError, RwLock};
use std::thread;

use serde_json::{Value, json};

use crate::error::StepError;
use crate::fields::{MAX_THREADS, ParallelStep};
use crate::session::Session;
use crate::step::Step;
use crate::surface::Surface;

/// Runs the steps on so many threads, released together. All of them are read before the first runs,
/// so that one which cannot be read changes nothing. Their time, where they give none, is `default_ms`.
/// If one of them is not carried, none counts.
pub(crate) fn run<S: Surface>(
    session: &Session<S>,
    step: ParallelStep,
    default_ms: u64,
) -> Result<Value, StepError> {
    if !(1..=MAX_THREADS).contains(&step.threads) {
        return Err(StepError::new(format!("parallel: `threads` is 1 to {MAX_THREADS}")));
    }
    let count = step.steps.len();
    let mut shares: Vec<Vec<(usize, Step)>> = Vec::new();
    shares.resize_with(step.threads.min(count), Vec::new);
    let mut lanes = (0..shares.len()).cycle();
    for (index, value) in step.steps.into_iter().enumerate() {
        let inner = inner(value)
            .map_err(|error| StepError::new(format!("parallel: steps[{index}]: {error}")))?;
        if let Some(share) = lanes.next().and_then(|lane| shares.get_mut(lane)) {
            share.push((index, inner));
        }
    }
    let replies = released_together(shares, |step| session.perform(step, default_ms))?
        .into_iter()
        .map(|reply| match reply {
            Err(error) if error.is_not_carried() => Err(error),
            reply => Ok(reply.unwrap_or_else(|error| error.to_reply())),
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(json!({ "replies": replies }))
}

fn inner(value: Value) -> Result<Step, StepError> {
    match Step::parse(value)? {
        Step::Policy(_) | Step::Restart | Step::Parallel(_) => Err(StepError::new(
            "a `parallel` step cannot hold `policy`, `restart` or another `parallel`",
        )),
        step => Ok(step),
    }
}

fn released_together(
    shares: Vec<Vec<(usize, Step)>>,
    perform: impl Fn(Step) -> Result<Value, StepError> + Sync,
) -> Result<Vec<Result<Value, StepError>>, StepError> {
    // A thread that cannot be started must not leave the others waiting at the barrier: they pass the
    // gate only once all are there.
    let gate = RwLock::new(false);
    let barrier = Barrier::new(shares.len());
    let run = |share: Vec<(usize, Step)>| {
        if !*gate.read().unwrap_or_else(PoisonError::into_inner) {
            return Vec::new();
        }
        barrier.wait();
        share.into_iter().map(|(index, step)| (index, perform(step))).collect::<Vec<_>>()
    };
    let mut replies = thread::scope(|scope| {
        let mut closed = gate.write().unwrap_or_else(PoisonError::into_inner);
        let threads = shares
            .into_iter()
            .map(|share| thread::Builder::new().spawn_scoped(scope, || run(share)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| {
                StepError::new(format!("parallel: no thread: {error}; ask for fewer"))
            });
        *closed = threads.is_ok();
        drop(closed);
        let mut replies = Vec::new();
        for thread in threads? {
            let share = thread.join().map_err(|_| StepError::new("parallel: a step panicked"))?;
            replies.extend(share);
        }
        Ok::<_, StepError>(replies)
    })?;
    replies.sort_by_key(|(index, _)| *index);
    Ok(replies.into_iter().map(|(_, reply)| reply).collect())
}
