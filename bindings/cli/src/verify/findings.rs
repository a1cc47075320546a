//! What the checks found.

use std::collections::BTreeMap;

use serde::Serialize;

use super::catalogue::{CATALOGUE, Info};

/// One difference between what is documented and what came.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    /// What it is about: a route, a scope, a limit.
    pub(super) subject: String,
    /// What the documentation says about this request.
    pub(super) documented: String,
    /// What came instead.
    pub(super) got: String,
    /// How to repeat it, as a line of curl.
    pub(super) repeat: String,
}

/// How a check went.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Outcome {
    /// What it looked at.
    pub(super) looked_at: u64,
    pub(super) findings: Vec<Finding>,
    /// What it could not look at, and why.
    pub(super) not_run: Vec<String>,
    /// What else there is to say about it.
    pub(super) note: String,
    /// It did not come to its end, so that what it did look at says little.
    pub(super) is_cut_short: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Passed,
    Failed,
    NotRun,
}

impl Outcome {
    pub(super) fn verdict(&self) -> Verdict {
        match (self.findings.is_empty(), self.looked_at) {
            (false, _) => Verdict::Failed,
            (true, 0) => Verdict::NotRun,
            (true, _) if self.is_cut_short => Verdict::NotRun,
            (true, _) => Verdict::Passed,
        }
    }
}

/// Of all checks.
#[derive(Default)]
pub(super) struct Findings(BTreeMap<&'static str, Outcome>);

impl Findings {
    pub(super) fn of(&self, name: &str) -> Outcome {
        self.0.get(name).cloned().unwrap_or_default()
    }

    pub(super) fn looked(&mut self, name: &'static str) {
        let outcome = self.0.entry(name).or_default();
        outcome.looked_at = outcome.looked_at.saturating_add(1);
    }

    pub(super) fn found(&mut self, name: &'static str, finding: Finding) {
        self.0.entry(name).or_default().findings.push(finding);
    }

    pub(super) fn not_run(&mut self, name: &'static str, why: String) {
        let outcome = self.0.entry(name).or_default();
        if !outcome.not_run.contains(&why) {
            outcome.not_run.push(why);
        }
    }

    pub(super) fn note(&mut self, name: &'static str, note: String) {
        self.0.entry(name).or_default().note = note;
    }

    pub(super) fn cut_short(&mut self, name: &'static str, why: String) {
        self.not_run(name, why);
        self.0.entry(name).or_default().is_cut_short = true;
    }

    pub(super) fn has_failed(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|outcome| !outcome.findings.is_empty())
    }

    /// Every check with its outcome, in the catalogue's order.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static Info, Outcome)> {
        CATALOGUE.iter().map(|info| (info, self.of(info.name)))
    }
}
