//! Counters in Envoy's statistics: decisions by code, and how requests ended.

use tollgate::Status;

use crate::host::Stream;

/// How a request ended, for the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Something was posted, or it was carried out free of charge.
    Settled,
    /// It costs nothing.
    Voided,
    /// Nobody knows.
    Unknown,
    /// The store would not have it.
    Failed,
}

const ENDINGS: [(Ending, &str); 4] = [
    (Ending::Settled, "tollgate.settled"),
    (Ending::Voided, "tollgate.voided"),
    (Ending::Unknown, "tollgate.unknown"),
    (Ending::Failed, "tollgate.settlement_failed"),
];

/// The counters of a configuration, by what they count.
#[derive(Default)]
pub(crate) struct Counters {
    decisions: Vec<(Status, usize)>,
    endings: Vec<(Ending, usize)>,
}

impl Counters {
    /// Defines them; one that Envoy does not take is not counted.
    pub(crate) fn define(mut define: impl FnMut(&str) -> Option<usize>) -> Counters {
        let mut counters = Counters::default();
        for row in tollgate::STATUS_TABLE {
            let name = format!("tollgate.decision.{}", row.code);
            counters.decisions.extend(define(&name).map(|id| (row.status, id)));
        }
        for (ending, name) in ENDINGS {
            counters.endings.extend(define(name).map(|id| (ending, id)));
        }
        counters
    }

    /// Counts a decision.
    pub(crate) fn decided(&self, stream: &Stream<'_>, status: Status) {
        if let Some((_, id)) = self.decisions.iter().find(|(counted, _)| *counted == status) {
            stream.count(*id);
        }
    }

    /// Counts an ending.
    pub(crate) fn ended(&self, stream: &Stream<'_>, ending: Ending) {
        if let Some((_, id)) = self.endings.iter().find(|(counted, _)| *counted == ending) {
            stream.count(*id);
        }
    }
}
