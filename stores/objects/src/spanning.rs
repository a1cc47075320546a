//! The caller's half of limits that span accounts, and count in an object of their own: those by source
//! address, and global ones.
//!
//! They are taken first; the account's object is told how they stood; and what does not count in the end
//! is given back. What is lost in between stays counted until it refills: less is let through than may be,
//! never more.

use tollgate::{Admit, Cell, CellKey, Limit, Mode, Partition, StoreError};

use crate::answer::Answer;
use crate::exchange::Io;
use crate::message::{Counter, Message, Taken};
use crate::name;

/// Whether a limit's cells are in the account's object.
pub(crate) fn is_of_account(limit: &Limit) -> bool {
    !matches!(limit.partition, Partition::SourceIp | Partition::Global)
}

/// The limits of a request that one object keeps.
pub(crate) struct Group<'a> {
    object: String,
    limits: Vec<(&'a Limit, Counter)>,
    /// Each cell before, and whether it was counted in; none: nothing was answered.
    cells: Vec<(Option<Cell>, bool)>,
    /// The object's own clock then.
    at_ms: u64,
}

/// The limits of a request that other objects keep, one group for each object.
pub(crate) fn groups<'a>(admit: &Admit<'a>) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for limit in admit.limits.iter().filter(|limit| !is_of_account(limit)) {
        let key = limit.cell_key(admit.token, admit.account, admit.source);
        let counter = Counter {
            key,
            algorithm: limit.algorithm,
            quota: limit.quota_for(admit.own_quota()),
            cost: limit.cost,
            counts: limit.counts,
            enforced: !limit.shadow,
        };
        let object = match limit.partition {
            Partition::Global => name::GLOBAL.to_owned(),
            _ => name::source(&key),
        };
        match groups.iter_mut().find(|group| group.object == object) {
            Some(group) => group.limits.push((limit, counter)),
            None => {
                let limits = vec![(limit, counter)];
                groups.push(Group { object, limits, cells: Vec::new(), at_ms: 0 });
            }
        }
    }
    groups
}

impl Group<'_> {
    fn counters(&self) -> Vec<Counter> {
        self.limits.iter().map(|(_, counter)| *counter).collect()
    }

    /// The cells as they stood before.
    pub(crate) fn before(&self) -> impl Iterator<Item = (CellKey, Option<Cell>)> {
        self.limits.iter().zip(&self.cells).map(|((_, counter), (cell, _))| (counter.key, *cell))
    }
}

/// Reads the cells; and where the request is to be applied, counts in them.
///
/// # Errors
/// The first; what was counted is to be given back then.
pub(crate) async fn take(io: &Io, groups: &mut [Group<'_>], mode: Mode) -> Result<(), StoreError> {
    let message = |group: &Group<'_>| match mode {
        Mode::Apply => Message::Take { counters: group.counters() },
        Mode::Peek | Mode::Observe => Message::Read { counters: group.counters() },
    };
    let messages = groups.iter().map(|group| (group.object.clone(), message(group))).collect();
    let mut failed = None;
    for (group, answer) in groups.iter_mut().zip(io.round(messages).await) {
        match answer {
            Ok(Answer::Cells { cells, at_ms }) if cells.len() == group.limits.len() => {
                (group.cells, group.at_ms) = (cells, at_ms);
            }
            Ok(other) => failed = failed.or(Some(other.unexpected())),
            Err(error) => failed = failed.or(Some(error.into())),
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Gives back what was counted in some of the limits.
pub(crate) async fn give_back(io: &Io, groups: &[Group<'_>], which: impl Fn(&Limit) -> bool) {
    let mut messages = Vec::new();
    for group in groups {
        let taken: Vec<Taken> = group
            .limits
            .iter()
            .zip(&group.cells)
            .filter(|((limit, _), (_, taken))| *taken && which(limit))
            .map(|((_, counter), (before, _))| Taken { counter: *counter, before: *before })
            .collect();
        if !taken.is_empty() {
            let message = Message::GiveBack { taken, at_ms: group.at_ms };
            messages.push((group.object.clone(), message));
        }
    }
    // One that fails leaves its units counted: less is let through than may be, never more.
    let _ = io.round(messages).await;
}
