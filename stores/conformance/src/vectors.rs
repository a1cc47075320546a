//! Scenario files, run through any surface.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use tollgate_scenario::{NotCarried, Runner, ScenarioReport, Surfaces, VectorFile};

/// Why a directory of scenarios could not be run.
#[derive(Debug, thiserror::Error)]
pub enum VectorsError {
    /// A directory or file could not be read.
    #[error("{} could not be read: {error}; give a directory with scenario files", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file is no scenario file.
    #[error("{}: {error}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Why.
        error: tollgate_scenario::FileError,
    },
    /// There is no file to run.
    #[error("{} has no .json files; a run of nothing proves nothing", path.display())]
    Empty {
        /// Where.
        path: PathBuf,
    },
}

/// How the scenarios of a directory went.
#[derive(Clone, Debug, Default)]
pub struct VectorsReport {
    /// Each scenario with its file.
    pub scenarios: Vec<(PathBuf, ScenarioReport)>,
}

impl VectorsReport {
    /// How many steps the scenarios have that were carried to their end.
    #[must_use]
    pub fn steps(&self) -> usize {
        let carried = self.scenarios.iter().filter(|(_, scenario)| scenario.not_carried.is_none());
        carried.map(|(_, scenario)| scenario.steps).sum()
    }

    /// Those that did not reply as expected.
    pub fn failed(&self) -> impl Iterator<Item = &(PathBuf, ScenarioReport)> {
        self.scenarios.iter().filter(|(_, scenario)| scenario.failed())
    }

    /// Those that the surface had no way to carry, with the step that it could not; they did not pass.
    /// A caller whose surface has such scenarios says which, or how many.
    pub fn not_carried(&self) -> impl Iterator<Item = (&ScenarioReport, &NotCarried)> {
        self.scenarios
            .iter()
            .filter_map(|(_, scenario)| Some((scenario, scenario.not_carried.as_ref()?)))
    }

    /// How many scenarios were not carried, by the reason.
    #[must_use]
    pub fn not_carried_by_reason(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for (_, step) in self.not_carried() {
            let count: &mut usize = counts.entry(step.reason.as_str()).or_default();
            *count = count.saturating_add(1);
        }
        counts
    }

    /// Whether every scenario was carried and every reply was as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.scenarios.iter().all(|(_, scenario)| scenario.passed())
    }
}

impl fmt::Display for VectorsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (all, failed) = (self.scenarios.len(), self.failed().count());
        write!(f, "{all} scenarios with {} steps, of which {failed} failed", self.steps())?;
        for (path, scenario) in self.failed() {
            write!(f, "\n{}: {scenario}", path.display())?;
        }
        for (reason, count) in self.not_carried_by_reason() {
            write!(f, "\n{count} not carried: {reason}")?;
        }
        Ok(())
    }
}

/// The scenario files of a directory, by name.
///
/// # Errors
/// [`VectorsError`].
pub fn vector_files(directory: &Path) -> Result<Vec<(PathBuf, VectorFile)>, VectorsError> {
    let unreadable = |path: &Path| {
        let path = path.to_path_buf();
        move |error| VectorsError::Unreadable { path, error }
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable(directory))? {
        let path = entry.map_err(unreadable(directory))?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(VectorsError::Empty { path: directory.to_path_buf() });
    }
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).map_err(unreadable(&path))?;
        match VectorFile::parse(&text) {
            Ok(file) => files.push((path, file)),
            Err(error) => return Err(VectorsError::Malformed { path, error }),
        }
    }
    Ok(files)
}

/// Runs every scenario file of a directory, each scenario on a fresh surface; for a
/// [`Backend`](tollgate_scenario::Backend), that is the library on a fresh store.
///
/// # Errors
/// [`VectorsError`], before any is run. What did not reply as expected is in the report.
pub fn vectors<H: Surfaces + Copy>(
    directory: &Path,
    surfaces: H,
) -> Result<VectorsReport, VectorsError> {
    let mut report = VectorsReport::default();
    for (path, file) in vector_files(directory)? {
        let ran = file.run(|| Runner::new(surfaces));
        report.scenarios.extend(ran.scenarios.into_iter().map(|scenario| (path.clone(), scenario)));
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use tollgate_scenario::StepFailure;

    use super::*;

    fn report(failures: usize, not_carried: Option<&str>) -> (PathBuf, ScenarioReport) {
        let failure = StepFailure {
            step: 0,
            op: "inspect".to_owned(),
            mismatches: Vec::new(),
            reply: tollgate_scenario::StepError::new("x").to_reply(),
        };
        let not_carried = not_carried.map(|reason| NotCarried {
            step: 0,
            op: "request".to_owned(),
            reason: reason.to_owned(),
        });
        let failures = vec![failure; failures];
        let name = "s".to_owned();
        ("f.json".into(), ScenarioReport { name, steps: 2, failures, not_carried })
    }

    #[test]
    fn what_is_not_carried_neither_passed_nor_failed() {
        let mut all = VectorsReport { scenarios: vec![report(0, None)] };
        assert!(all.passed());
        all.scenarios.push(report(0, Some("no peek")));
        assert!(!all.passed());
        assert_eq!((all.failed().count(), all.not_carried().count(), all.steps()), (0, 1, 2));
        all.scenarios.extend([report(0, Some("no peek")), report(1, Some("no peer"))]);
        assert_eq!((all.failed().count(), all.not_carried().count(), all.steps()), (1, 3, 2));
        assert_eq!(all.not_carried_by_reason(), [("no peek", 2), ("no peer", 1)].into());
        assert!(all.to_string().ends_with("\n2 not carried: no peek\n1 not carried: no peer"));
    }
}
