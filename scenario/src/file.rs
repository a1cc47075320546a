//! Files of scenarios.

use core::fmt;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::StepError;
use crate::expect::Mismatch;
use crate::expectations::Expectations;
use crate::runner::Runner;
use crate::surface::Surfaces;
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
    /// The step that the surface had no way to carry, where there was one; those after it were not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_carried: Option<NotCarried>,
}

/// A step that a surface had no way to carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotCarried {
    /// Its index in the scenario, from 0.
    pub step: usize,
    /// What it does.
    pub op: String,
    /// Why it was not carried.
    pub reason: String,
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
    pub fn run<H: Surfaces>(&self, mut runner: impl FnMut() -> Runner<H>) -> FileReport {
        let scenarios = self.scenarios.iter().map(|scenario| scenario.run(&mut runner())).collect();
        FileReport { scenarios }
    }
}

impl Scenario {
    /// Runs the steps. A step whose reply is not as expected does not end the scenario; one that the
    /// surface has no way to carry does.
    ///
    /// An allowed request whose reply shows no headers is matched against those that its `finish`
    /// brings, or at last against [`Runner::late_headers`].
    pub fn run<H: Surfaces>(&self, runner: &mut Runner<H>) -> ScenarioReport {
        let mut report = ScenarioReport {
            name: self.name.clone(),
            steps: self.steps.len(),
            failures: Vec::new(),
            not_carried: None,
        };
        let mut expectations = Expectations::default();
        for (index, step) in self.steps.iter().enumerate() {
            let reply = match runner.try_step(step.clone()) {
                Ok(reply) => reply,
                Err(error) if error.is_not_carried() => {
                    report.not_carried = Some(self.not_carried(index, &error));
                    return report;
                }
                Err(error) => error.to_reply(),
            };
            let mismatches = expectations.check(index, step, &reply);
            report.failures.extend(self.failure(index, mismatches, reply));
        }
        for late in expectations.unseen() {
            match late.headers(|id| runner.late_headers(id)) {
                Ok(headers) => {
                    let mismatches = late.matches(&headers);
                    let reply = json!({ "headers": headers });
                    report.failures.extend(self.failure(late.step(), mismatches, reply));
                }
                Err(error) if error.is_not_carried() => {
                    report.not_carried.get_or_insert(self.not_carried(late.step(), &error));
                }
                Err(error) => {
                    let reply = error.to_reply();
                    let mismatches = late.matches(&reply);
                    report.failures.extend(self.failure(late.step(), mismatches, reply));
                }
            }
        }
        report
    }

    fn op(&self, index: usize) -> String {
        let op = self.steps.get(index).and_then(|step| step.get("op")).and_then(Value::as_str);
        op.unwrap_or("no op").to_owned()
    }

    fn not_carried(&self, step: usize, error: &StepError) -> NotCarried {
        NotCarried { step, op: self.op(step), reason: error.to_string() }
    }

    fn failure(&self, step: usize, mismatches: Vec<Mismatch>, reply: Value) -> Option<StepFailure> {
        let op = self.op(step);
        (!mismatches.is_empty()).then_some(StepFailure { step, op, mismatches, reply })
    }
}

impl FileReport {
    /// Whether every scenario passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.scenarios.iter().all(ScenarioReport::passed)
    }
}

impl ScenarioReport {
    /// Whether every step was carried and every reply was as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        !self.failed() && self.not_carried.is_none()
    }

    /// Whether a reply was not as expected.
    #[must_use]
    pub fn failed(&self) -> bool {
        !self.failures.is_empty()
    }
}

impl fmt::Display for ScenarioReport {
    /// The name, and each mismatch on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        match (self.failed(), &self.not_carried) {
            (false, None) => return write!(f, "passed"),
            (false, Some(_)) => write!(f, "not carried")?,
            (true, _) => write!(f, "FAILED")?,
        }
        for failure in &self.failures {
            for mismatch in &failure.mismatches {
                write!(f, "\n  step {} ({}): {mismatch}", failure.step, failure.op)?;
            }
        }
        match &self.not_carried {
            Some(step) => {
                write!(f, "\n  step {} ({}): not carried: {}", step.step, step.op, step.reason)
            }
            None => Ok(()),
        }
    }
}
