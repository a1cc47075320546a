//! Scenario files, run through two surfaces side by side.

use std::path::Path;

use serde_json::{Value, json};
use tollgate_scenario::{Explained, MAX_THREADS, Runner, StepError, Surfaces};

use crate::vectors::{VectorsError, vector_files};

/// Runs every scenario step by step through both, and gives how many replies were compared. Every reply must be the same, errors and their
/// texts included, and every explanation of a request before it is made.
///
/// `parallel` steps run on one thread: with more the winner of a race is not always the same.
///
/// # Errors
/// The first difference, with its place; or files that cannot be read.
pub fn vectors_beside<A: Surfaces, B: Surfaces>(
    directory: &Path,
    ours: impl Fn() -> A,
    theirs: impl Fn() -> B,
) -> Result<u64, String> {
    let files = vector_files(directory).map_err(|error: VectorsError| error.to_string())?;
    let mut compared = 0_u64;
    for (path, file) in files {
        for scenario in file.scenarios {
            let (mut one, mut other) = (Runner::new(ours()), Runner::new(theirs()));
            for (index, step) in scenario.steps.into_iter().enumerate() {
                let step = on_one_thread(step);
                let explains = step.get("op").is_some_and(|op| op == "request");
                let differs = |what: &str, ours: String, theirs: String| {
                    let place = format!("{}: {}: step {index}", path.display(), scenario.name);
                    format!("{place}: {what} of {step}\n one: {ours}\n other: {theirs}")
                };
                if explains {
                    let explained = (one.explain(step.clone()), other.explain(step.clone()));
                    if !is_same(&explained) {
                        let (ours, theirs) = explained;
                        let texts = (format!("{ours:?}"), format!("{theirs:?}"));
                        return Err(differs("the explanation", texts.0, texts.1));
                    }
                }
                let (ours, theirs) = (one.step(step.clone()), other.step(step.clone()));
                if ours != theirs {
                    return Err(differs("the reply", ours.to_string(), theirs.to_string()));
                }
                compared = compared.saturating_add(1);
            }
        }
    }
    Ok(compared)
}

fn on_one_thread(mut step: Value) -> Value {
    let is_parallel = step.get("op").is_some_and(|op| op == "parallel");
    let threads = step.get_mut("threads").filter(|_| is_parallel);
    let in_range =
        |threads: &u64| usize::try_from(*threads).is_ok_and(|it| (1..=MAX_THREADS).contains(&it));
    if let Some(threads) = threads
        && threads.as_u64().as_ref().is_some_and(in_range)
    {
        *threads = json!(1);
    }
    step
}

fn is_same(explained: &(Result<Explained, StepError>, Result<Explained, StepError>)) -> bool {
    match explained {
        (Ok(ours), Ok(theirs)) => ours.reply == theirs.reply && ours.steps == theirs.steps,
        (Err(ours), Err(theirs)) => ours == theirs,
        _ => false,
    }
}
