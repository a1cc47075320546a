//! Which decisions are other ones under another policy, and why.

use std::collections::BTreeMap;

use tollgate::{Status, TraceStep};

use super::merge::Place;
use super::sent::Sent;
use super::text::{shown, shown_path};
use super::world::{Decided, World};

/// How many requests are shown of each kind of change.
const EXAMPLES: usize = 3;

/// A decision, with what of the policy made it: a limit's name, whose cap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Label {
    pub(crate) status: Status,
    pub(crate) rule: Option<String>,
}

/// Changes of one kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    pub(crate) count: u64,
    /// By route; requests that no policy found a route for are under none.
    pub(crate) routes: BTreeMap<Option<String>, u64>,
    pub(crate) examples: Vec<Example>,
    /// What was reserved under each policy.
    pub(crate) reserved: [u64; 2],
}

/// One request of a kind, and what decided it under each policy.
#[derive(Clone, Debug)]
pub(crate) struct Example {
    pub(crate) place: Place,
    pub(crate) now_ms: u64,
    pub(crate) caller: Option<usize>,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) why: [Why; 2],
}

/// What decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Nothing held it back, and so much was reserved.
    Passed { reserved: u64 },
    /// The check that decided, as the engine explains it.
    Step(Box<TraceStep>),
    /// The decision alone, where the check would say something else by now.
    Status(Status),
}

/// All changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    pub(crate) kinds: BTreeMap<(Label, Label), Change>,
    pub(crate) total: u64,
}

impl Changes {
    /// Compares what both worlds decided last, which was `sent`.
    pub(crate) fn compare(
        &mut self,
        place: Place,
        sent: &Sent<'_>,
        worlds: [&World; 2],
        decided: [Decided; 2],
    ) {
        let [one, other] = decided;
        if one.status == other.status && one.reserved == other.reserved {
            return;
        }
        self.total = self.total.saturating_add(1);
        let label = |world: &World, decided: Decided| Label {
            status: decided.status,
            rule: world.last_rule(),
        };
        let [a, b] = worlds;
        let change = self.kinds.entry((label(a, one), label(b, other))).or_default();
        change.count = change.count.saturating_add(1);
        for (sum, decided) in change.reserved.iter_mut().zip(decided) {
            *sum = sum.saturating_add(decided.reserved);
        }
        let route = a.route_name(one.route).or_else(|| b.route_name(other.route));
        let count = change.routes.entry(route.map(str::to_owned)).or_default();
        *count = count.saturating_add(1);
        if change.examples.len() < EXAMPLES {
            let record = sent.record;
            change.examples.push(Example {
                place,
                now_ms: record.now_ms,
                caller: sent.caller,
                method: shown(&String::from_utf8_lossy(&record.method)),
                path: shown_path(&record.target),
                why: [why(a, sent, one), why(b, sent, other)],
            });
        }
    }

    /// The kinds, the most frequent first.
    pub(crate) fn by_count(&self) -> Vec<(&(Label, Label), &Change)> {
        let mut kinds: Vec<_> = self.kinds.iter().collect();
        // A stable sort: kinds of one count stay in the order of their statuses.
        kinds.sort_by_key(|(_, change)| std::cmp::Reverse(change.count));
        kinds
    }
}

fn why(world: &World, sent: &Sent<'_>, decided: Decided) -> Why {
    if decided.status == Status::Allowed {
        return Why::Passed { reserved: decided.reserved };
    }
    match world.last_step(sent) {
        Some(step) => Why::Step(Box::new(step)),
        None => Why::Status(decided.status),
    }
}
