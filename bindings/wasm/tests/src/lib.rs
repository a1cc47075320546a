//! Scenarios through JavaScript: a program that is started once, and speaks JSON lines.
//!
//! It gets `{"n", "session", "step"}`, and replies `{"n", "reply"}` in any order; `{"n", "session", "explain"}` is replied with the
//! `steps` too, `restart` and `end` stand for a step of their own. Numbers above 2^53 - 1 are strings of digits.

mod program;
mod surface;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tollgate::PolicyConfig;
use tollgate_conformance::{vectors, vectors_beside};
use tollgate_scenario::{Backend, StepError, Surfaces};

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

/// Runs every scenario step by step beside the library, with every reply and every explanation the same.
///
/// # Panics
/// When one is another one.
#[allow(clippy::panic, clippy::unwrap_used, clippy::print_stdout, reason = "a test")]
pub fn replies_as_the_library<B: Backend>(surfaces: &JsSurfaces, library: impl Fn() -> B) {
    let compared = vectors_beside(&vector_directory(), || surfaces, library).unwrap();
    println!("{compared} replies compared");
    assert!(compared > 3_500, "{compared}");
}
