//! Is there an order of these calls, each at one instant between its invocation and its return, in which one
//! after the other would have been answered so? The search is Wing and Gong's, with Lowe's memory of what was
//! tried ("Testing for linearizability", 2017).

use std::collections::HashSet;
use std::hash::Hash;

/// A thing that is used by one caller at a time.
pub trait Sequential: Clone + Eq + Hash {
    /// What is asked of it.
    type Op;
    /// What it answers.
    type Answer;

    /// Whether it could give this answer now; then it has changed as the operation says.
    fn accepts(&mut self, op: &Self::Op, answer: &Self::Answer) -> bool;
}

/// An operation that was done, with stamps from before and after it.
#[derive(Clone, Copy, Debug)]
pub struct Done<'h, O, A> {
    /// From before.
    pub invoked: u64,
    /// From after.
    pub returned: u64,
    /// What was asked.
    pub op: &'h O,
    /// What was answered.
    pub answer: &'h A,
}

/// No order explains the answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// The longest beginning of an order that does, as places in the history.
    pub explained: Vec<usize>,
    /// The calls that could have come next, none of which would have been answered so.
    pub not_explained: Vec<usize>,
}

/// The most operations of one history.
const MOST: usize = 128;

/// Gives an order, as places in `done`, that explains the answers of something that began as `initial`.
///
/// # Errors
/// [`Stuck`] when there is none.
///
/// # Panics
/// With more than 128 operations.
pub fn linearize<S: Sequential>(
    initial: &S,
    done: &[Done<'_, S::Op, S::Answer>],
) -> Result<Vec<usize>, Stuck> {
    assert!(done.len() <= MOST, "histories are short: {} calls", done.len());
    let mut search = Search { done, tried: HashSet::new(), order: Vec::new(), best: None };
    if search.go_on(initial, 0) {
        return Ok(search.order);
    }
    Err(search.best.unwrap_or(Stuck { explained: Vec::new(), not_explained: Vec::new() }))
}

struct Search<'s, 'h, S: Sequential> {
    done: &'s [Done<'h, S::Op, S::Answer>],
    /// Sets of calls that were put in an order, with what that order left. Another order of the same calls that
    /// leaves the same leads nowhere else.
    tried: HashSet<(u128, S)>,
    order: Vec<usize>,
    best: Option<Stuck>,
}

impl<S: Sequential> Search<'_, '_, S> {
    /// Puts the rest in an order, after the calls of the set `before` that left `state`.
    fn go_on(&mut self, state: &S, before: u128) -> bool {
        if self.order.len() == self.done.len() {
            return true;
        }
        let next = self.next(before);
        for &place in &next {
            let call = &self.done[place];
            let mut after = state.clone();
            if !after.accepts(call.op, call.answer) {
                continue;
            }
            let ordered = before | (1 << place);
            if !self.tried.insert((ordered, after.clone())) {
                continue;
            }
            self.order.push(place);
            if self.go_on(&after, ordered) {
                return true;
            }
            self.order.pop();
        }
        let longest = self.best.as_ref().map_or(0, |stuck| stuck.explained.len());
        if self.best.is_none() || self.order.len() > longest {
            self.best = Some(Stuck { explained: self.order.clone(), not_explained: next });
        }
        false
    }

    /// The calls that may come next: those that began before any other of the rest had returned.
    fn next(&self, before: u128) -> Vec<usize> {
        let rest = || (0..self.done.len()).filter(|place| before & (1 << place) == 0);
        let first_return = rest().map(|place| self.done[place].returned).min().unwrap_or(0);
        let mut next: Vec<usize> =
            rest().filter(|place| self.done[*place].invoked <= first_return).collect();
        // Who returned first most often came first.
        next.sort_by_key(|place| self.done[*place].returned);
        next
    }
}
