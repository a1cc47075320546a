//! Scenario files, run on any backend.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use tollgate_scenario::{Backend, Runner, ScenarioReport, VectorFile};

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
    /// How many steps were run.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.scenarios.iter().map(|(_, scenario)| scenario.steps).sum()
    }

    /// Those that did not reply as expected.
    pub fn failed(&self) -> impl Iterator<Item = &(PathBuf, ScenarioReport)> {
        self.scenarios.iter().filter(|(_, scenario)| !scenario.passed())
    }

    /// Whether every reply was as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failed().next().is_none()
    }
}

impl fmt::Display for VectorsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (all, failed) = (self.scenarios.len(), self.failed().count());
        write!(f, "{all} scenarios with {} steps, of which {failed} failed", self.steps())?;
        for (path, scenario) in self.failed() {
            write!(f, "\n{}: {scenario}", path.display())?;
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

/// Runs every scenario file of a directory, each scenario on a fresh store of the backend.
///
/// # Errors
/// [`VectorsError`], before any is run. What did not reply as expected is in the report.
pub fn vectors<B: Backend + Copy>(
    directory: &Path,
    backend: B,
) -> Result<VectorsReport, VectorsError> {
    let mut report = VectorsReport::default();
    for (path, file) in vector_files(directory)? {
        let ran = file.run(|| Runner::new(backend));
        report.scenarios.extend(ran.scenarios.into_iter().map(|scenario| (path.clone(), scenario)));
    }
    Ok(report)
}
