//! Files of scenarios.

use core::fmt;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::expect::{Mismatch, check};
use crate::runner::{Backend, Runner};
use crate::unique::UniqueKeys;

/// A file of scenarios.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorFile {
    /// What the file is about.
    pub about: String,
    /// What it covers: checks, paragraphs of a contract.
    pub covers: Vec<String>,
    /// The scenarios.
    pub scenarios: Vec<Scenario>,
}

/// Steps that run one after the other, from a fresh start.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name, unique among all files that belong together.
    pub name: String,
    /// The steps, which may have an `expect` each.
    pub steps: Vec<Value>,
}

/// Why a text is no file of scenarios.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError(String);

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for FileError {}

/// How the scenarios of a file went.
#[derive(Clone, Debug, Serialize)]
pub struct FileReport {
    /// One per scenario, in order.
    pub scenarios: Vec<ScenarioReport>,
}

/// How a scenario went.
#[derive(Clone, Debug, Serialize)]
pub struct ScenarioReport {
    /// Its name.
    pub name: String,
    /// How many steps it has.
    pub steps: usize,
    /// The steps whose replies were not as expected.
    pub failures: Vec<StepFailure>,
}

/// A step whose reply was not as expected.
#[derive(Clone, Debug, Serialize)]
pub struct StepFailure {
    /// Its index in the scenario, from 0.
    pub step: usize,
    /// What it does.
    pub op: String,
    /// What differed.
    pub mismatches: Vec<Mismatch>,
    /// The whole reply.
    pub reply: Value,
}

impl VectorFile {
    /// Reads a file's text.
    ///
    /// # Errors
    /// What is not JSON or not such a file, with its line; a member that is there twice; no scenario at
    /// all, one without steps, and two with the same name.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let file: VectorFile =
            serde_json::from_str(text).map_err(|error| FileError(error.to_string()))?;
        serde_json::from_str::<UniqueKeys>(text).map_err(|error| FileError(error.to_string()))?;
        if file.scenarios.is_empty() {
            return Err(FileError("there is no scenario; add one".to_owned()));
        }
        let mut names = BTreeSet::new();
        for scenario in &file.scenarios {
            if !names.insert(&scenario.name) {
                let message = format!("two scenarios are named `{}`; rename one", scenario.name);
                return Err(FileError(message));
            }
            if scenario.steps.is_empty() {
                let message = format!("scenario `{}` has no steps; add some", scenario.name);
                return Err(FileError(message));
            }
        }
        Ok(file)
    }

    /// Runs every scenario on a runner of its own.
    pub fn run<B: Backend>(&self, mut runner: impl FnMut() -> Runner<B>) -> FileReport {
        let scenarios = self.scenarios.iter().map(|scenario| scenario.run(&mut runner())).collect();
        FileReport { scenarios }
    }
}

impl Scenario {
    /// Runs the steps. A step whose reply is not as expected does not end the scenario.
    pub fn run<B: Backend>(&self, runner: &mut Runner<B>) -> ScenarioReport {
        let mut failures = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            let reply = runner.step(step.clone());
            if let Err(mismatches) = check(step, &reply) {
                let op = step.get("op").and_then(Value::as_str).unwrap_or("no op").to_owned();
                failures.push(StepFailure { step: index, op, mismatches, reply });
            }
        }
        ScenarioReport { name: self.name.clone(), steps: self.steps.len(), failures }
    }
}

impl FileReport {
    /// Whether every reply was as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.scenarios.iter().all(ScenarioReport::passed)
    }
}

impl ScenarioReport {
    /// Whether every reply was as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

impl fmt::Display for ScenarioReport {
    /// The name, and each mismatch on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        if self.passed() {
            return write!(f, "passed");
        }
        write!(f, "FAILED")?;
        for failure in &self.failures {
            for mismatch in &failure.mismatches {
                write!(f, "\n  step {} ({}): {mismatch}", failure.step, failure.op)?;
            }
        }
        Ok(())
    }
}
