//! Scenario files.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tollgate_scenario::{Runner, ScenarioReport, VectorFile};

use crate::exit::{Done, Exit, Failure};
use crate::store::Scratch;
use crate::table::visible;

#[derive(Serialize)]
struct Report {
    passed: usize,
    failed: usize,
    steps: usize,
    files: Vec<FileEntry>,
}

#[derive(Serialize)]
struct FileEntry {
    file: String,
    scenarios: Vec<ScenarioReport>,
}

pub(crate) fn run(paths: &[PathBuf], backend: &Scratch, json: bool, out: &mut dyn Write) -> Done {
    let mut read = Vec::new();
    for file in listed(paths)? {
        let text = fs::read_to_string(&file).map_err(|error| Failure::at(file.display(), error))?;
        let vectors =
            VectorFile::parse(&text).map_err(|error| Failure::at(file.display(), error))?;
        read.push((file.display().to_string(), vectors));
    }
    let mut report = Report { passed: 0, failed: 0, steps: 0, files: Vec::new() };
    for (file, vectors) in read {
        let scenarios = vectors.run(|| Runner::new(backend)).scenarios;
        if !json {
            write_file(out, &file, &scenarios)?;
        }
        for scenario in &scenarios {
            let count = if scenario.passed() { &mut report.passed } else { &mut report.failed };
            *count = count.saturating_add(1);
            report.steps = report.steps.saturating_add(scenario.steps);
        }
        report.files.push(FileEntry { file, scenarios });
    }
    if json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        let Report { passed, failed, steps, .. } = &report;
        writeln!(out, "{passed} scenarios passed, {failed} failed, {steps} steps")?;
    }
    Ok(Exit::yes_if(report.failed == 0))
}

fn write_file(
    out: &mut dyn Write,
    file: &str,
    scenarios: &[ScenarioReport],
) -> Result<(), Failure> {
    let failed: Vec<&ScenarioReport> =
        scenarios.iter().filter(|scenario| !scenario.passed()).collect();
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    writeln!(out, "{file}: {word}, {} scenarios", scenarios.len())?;
    for scenario in failed {
        writeln!(out, "  {}", visible(&scenario.name))?;
        for failure in &scenario.failures {
            for mismatch in &failure.mismatches {
                let text = visible(&mismatch.to_string());
                writeln!(out, "    step {} ({}): {text}", failure.step, visible(&failure.op))?;
            }
        }
    }
    // Each file as it is done: a directory of them may take a while.
    Ok(out.flush()?)
}

/// The files themselves, and the .json files of directories, by name.
fn listed(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut found = json_files(path).map_err(|error| Failure::at(path.display(), error))?;
        if found.is_empty() {
            return Err(Failure::at(path.display(), "the directory has no .json files"));
        }
        found.sort();
        files.append(&mut found);
    }
    Ok(files)
}

fn json_files(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path()));
    let is_json = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    paths.filter(|path| path.as_ref().map_or(true, is_json)).collect()
}
