//! How what a policy decides differs from what was recorded.

use std::collections::BTreeMap;

use tollgate::{Status, Verdict};

use super::merge::Place;
use super::record::{Code, Outcome};

/// What a log says of a decision: the most exact of code, verdict and HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Said {
    Code(Status),
    /// A code that the engine does not give.
    OtherCode,
    Allow,
    Deny,
    Replay,
    Http(u16),
}

/// HTTP statuses that denials have. Of any other the upstream is the author.
const OF_DENIALS: &[u16] = &[401, 402, 403, 409, 422, 429];

impl Said {
    pub(crate) fn of(outcome: &Outcome) -> Option<Self> {
        match (outcome.code, outcome.verdict, outcome.status) {
            (Some(Code::Known(status)), ..) => Some(Said::Code(status)),
            (Some(Code::Other), ..) => Some(Said::OtherCode),
            (None, Some(Verdict::Allow), _) => Some(Said::Allow),
            (None, Some(Verdict::Deny), _) => Some(Said::Deny),
            (None, Some(Verdict::Replay), _) => Some(Said::Replay),
            (None, None, Some(status)) => Some(Said::Http(status)),
            (None, None, None) => None,
        }
    }

    /// Whether a decision is what the log says.
    fn agrees(self, decided: Status) -> bool {
        match self {
            Said::Code(status) => status == decided,
            Said::OtherCode => false,
            Said::Allow => decided == Status::Allowed,
            Said::Deny => decided.is_denial(),
            Said::Replay => decided == Status::Replayed,
            Said::Http(status) if decided.is_denial() => status == decided.http(),
            Said::Http(status) => !OF_DENIALS.contains(&status),
        }
    }

    pub(crate) fn name(self) -> String {
        match self {
            Said::Code(status) => status.code().to_owned(),
            Said::OtherCode => "another code".to_owned(),
            Said::Allow => "allow".to_owned(),
            Said::Deny => "deny".to_owned(),
            Said::Replay => "replay".to_owned(),
            Said::Http(status) => format!("HTTP {status}"),
        }
    }
}

/// The comparison so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorded {
    pub(crate) compared: u64,
    pub(crate) differing: u64,
    /// How many differ in one way, and where the first of them is.
    pub(crate) kinds: BTreeMap<(Said, Status), (u64, Place)>,
}

impl Recorded {
    pub(crate) fn compare(&mut self, place: Place, outcome: &Outcome, decided: Status) {
        let Some(said) = Said::of(outcome) else { return };
        self.compared = self.compared.saturating_add(1);
        if said.agrees(decided) {
            return;
        }
        self.differing = self.differing.saturating_add(1);
        let (count, _) = self.kinds.entry((said, decided)).or_insert((0, place));
        *count = count.saturating_add(1);
    }

    /// The kinds, the most frequent first.
    pub(crate) fn by_count(&self) -> Vec<((Said, Status), u64, Place)> {
        let mut kinds: Vec<_> =
            self.kinds.iter().map(|(kind, (count, place))| (*kind, *count, *place)).collect();
        kinds.sort_by_key(|(_, count, _)| std::cmp::Reverse(*count));
        kinds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(code: Option<&str>, verdict: Option<Verdict>, status: Option<u16>) -> Outcome {
        Outcome { status, verdict, code: code.map(Code::of) }
    }

    #[test]
    fn the_most_exact_word_counts() {
        let allow = Some(Verdict::Allow);
        for (outcome, decided, agrees) in [
            (outcome(Some("rate_limited"), None, Some(429)), Status::RateLimited, true),
            (outcome(Some("rate_limited"), None, Some(429)), Status::SpendCapExceeded, false),
            (outcome(Some("quota_gone"), None, Some(429)), Status::RateLimited, false),
            (outcome(None, allow, Some(500)), Status::Allowed, true),
            (outcome(None, allow, Some(200)), Status::Replayed, false),
            (outcome(None, Some(Verdict::Deny), None), Status::InvalidToken, true),
            (outcome(None, Some(Verdict::Replay), None), Status::Replayed, true),
            (outcome(None, None, Some(404)), Status::Allowed, true),
            (outcome(None, None, Some(429)), Status::Allowed, false),
            (outcome(None, None, Some(429)), Status::RateLimited, true),
            (outcome(None, None, Some(200)), Status::RateLimited, false),
        ] {
            let mut recorded = Recorded::default();
            recorded.compare((0, 1), &outcome, decided);
            assert_eq!(
                (recorded.compared, recorded.differing),
                (1, u64::from(!agrees)),
                "{outcome:?}"
            );
        }
        let mut recorded = Recorded::default();
        recorded.compare((0, 1), &Outcome::default(), Status::Allowed);
        assert_eq!(recorded.compared, 0);
    }
}
