//! What was found, as tables, as a plot and as JSON.

mod facts;
mod place;
mod plot;
mod tables;

use serde::{Deserialize, Serialize};

use crate::races::{Race, Units};

pub use facts::Facts;
pub use place::{PlaceError, place};
pub use plot::plot;
pub use tables::{duration, markdown};

/// Everything that one run found.
#[derive(Debug)]
pub struct Figures {
    /// On what, with what.
    pub facts: Facts,
    /// Times.
    pub times: Vec<Time>,
    /// Memory.
    pub weights: Vec<Weight>,
    /// Races.
    pub races: Vec<RaceFigure>,
    /// Half-consumption.
    pub pairs: Vec<PairFigure>,
}

/// How long a contender takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Time {
    /// `limit`, `authorize`, `get` or `post`.
    pub question: &'static str,
    /// The number of keys or tokens, and the order; or the answer.
    pub case: String,
    /// Who.
    pub contender: &'static str,
    /// Nanoseconds per decision, median.
    pub ns: f64,
}

/// What memory a contender takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Weight {
    /// As in [`Time`].
    pub question: String,
    /// The number of keys or tokens, or the answer.
    pub case: String,
    /// Who.
    pub contender: String,
    /// Allocations per decision.
    pub allocations: f64,
    /// Bytes per key or token, where there are such.
    pub bytes: Option<f64>,
}

/// How a race went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RaceFigure {
    /// `over-admission` or `double execution`.
    pub race: &'static str,
    /// Who.
    pub contender: &'static str,
    /// What came of it.
    #[serde(flatten)]
    pub came: Race,
}

/// What two limits lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PairFigure {
    /// Who.
    pub contender: &'static str,
    /// What became of the units.
    #[serde(flatten)]
    pub units: Units,
}

impl Figures {
    /// One line of JSON for each figure.
    ///
    /// # Errors
    /// When a figure is no JSON, such as a time that is not a number.
    pub fn json(&self) -> serde_json::Result<String> {
        let mut lines = vec![serde_json::to_string(&self.facts)?];
        for time in &self.times {
            lines.push(serde_json::to_string(time)?);
        }
        for weight in &self.weights {
            lines.push(serde_json::to_string(weight)?);
        }
        for race in &self.races {
            lines.push(serde_json::to_string(race)?);
        }
        for pair in &self.pairs {
            lines.push(serde_json::to_string(pair)?);
        }
        Ok(lines.join("\n"))
    }
}
