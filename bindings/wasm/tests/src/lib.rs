//! Scenarios through JavaScript: a program that is started once, and speaks JSON lines.
//!
//! It gets `{"n", "session", "step"}`, and replies `{"n", "reply"}` in any order; `{"n", "session", "explain"}` is replied with the
//! `steps` too, `restart` and `end` stand for a step of their own. Numbers above 2^53 - 1 are strings of digits.

mod program;
mod surface;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use tollgate::PolicyConfig;
use tollgate_conformance::{vector_files, vectors};
use tollgate_scenario::{Backend, Explained, Runner, StepError, Surfaces};

pub use program::Program;
pub use surface::JsSurface;

/// Starts sessions in a program.
pub struct JsSurfaces {
    program: Arc<Program>,
    sessions: AtomicU64,
    keeps_state: bool,
}

impl JsSurfaces {
    /// In this program. With `keeps_state` what it keeps outlives a `restart`.
    #[must_use]
    pub fn new(program: Program, keeps_state: bool) -> Self {
        JsSurfaces { program: Arc::new(program), sessions: AtomicU64::new(0), keeps_state }
    }
}

impl Surfaces for &JsSurfaces {
    type Surface = JsSurface;

    fn start(&self, policy: PolicyConfig) -> Result<JsSurface, StepError> {
        let session = self.sessions.fetch_add(1, Ordering::Relaxed);
        let surface = JsSurface::new(Arc::clone(&self.program), session);
        surface.policy("policy", &policy)?;
        Ok(surface)
    }

    fn restart(&self, surface: JsSurface) -> Result<JsSurface, StepError> {
        surface.restart()?;
        Ok(surface)
    }

    fn keeps_state(&self) -> bool {
        self.keeps_state
    }
}

/// The files of vectors.
#[must_use]
pub fn vector_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/vectors")
}

/// Runs every scenario as it is: all of them pass, and none is left out.
///
/// # Panics
/// When one does not pass.
#[allow(clippy::panic, clippy::unwrap_used, clippy::print_stdout, reason = "a test")]
pub fn replies_as_expected(surfaces: &JsSurfaces) {
    let report = vectors(&vector_directory(), surfaces).unwrap();
    println!("{report}");
    assert!(report.passed(), "{report}");
    assert!(report.scenarios.len() >= 600, "only {} scenarios", report.scenarios.len());
}

/// Runs every scenario step by step beside the library, with every reply the same, and every explanation of a request before it is
/// made. There `parallel` steps run on one thread, for with more the winner of a race is not always the same.
///
/// # Panics
/// When a reply is another one.
#[allow(clippy::panic, clippy::unwrap_used, clippy::print_stdout, reason = "a test")]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test")]
pub fn replies_as_the_library<B: Backend>(surfaces: &JsSurfaces, library: impl Fn() -> B) {
    let mut compared = 0_u64;
    for (path, file) in vector_files(&vector_directory()).unwrap() {
        for scenario in file.scenarios {
            let (mut in_js, mut by_library) = (Runner::new(surfaces), Runner::new(library()));
            for (index, mut step) in scenario.steps.into_iter().enumerate() {
                let threads = step["threads"].as_u64();
                if step["op"] == "parallel" && threads.is_some_and(|it| (1..=256).contains(&it)) {
                    step["threads"] = json!(1);
                }
                let at = format!("{}: {}: step {index}", path.display(), scenario.name);
                if step["op"] == "request" {
                    let explained = (in_js.explain(step.clone()), by_library.explain(step.clone()));
                    same_explanations(explained, &at);
                }
                let (ours, theirs) = (in_js.step(step.clone()), by_library.step(step.clone()));
                assert_eq!(ours, theirs, "{at}: {step}");
                compared += 1;
            }
        }
    }
    println!("{compared} replies compared");
    assert!(compared > 3_500, "{compared}");
}

fn same_explanations(
    explained: (Result<Explained, StepError>, Result<Explained, StepError>),
    at: &str,
) {
    match explained {
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(ours.reply, theirs.reply, "{at}, explained");
            assert_eq!(ours.steps, theirs.steps, "{at}, explained");
        }
        (ours, theirs) => assert_eq!(ours.err(), theirs.err(), "{at}, explained"),
    }
}
