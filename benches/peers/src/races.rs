//! Races of 16 threads, released together: what is admitted above a quota, lost between two limits,
//! executed twice.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;

use crate::START_MS;
use crate::idempotency::{Key, Once};
use crate::limiters::{Limiter, Terms};
use crate::pairs::{FIRST, Pair, SECOND};

/// Threads of a race.
pub const THREADS: usize = 16;
/// The quota in a race for units: so many an hour, so that none comes back meanwhile.
pub const QUOTA: Terms = Terms { units: 120, window_s: 3_600 };
/// How often each thread tries in a round.
const TRIES: usize = 32;
/// Idempotency keys of a round. All threads go through them in the same order: who comes late finds what is
/// claimed more quickly than the first claims, and catches up.
const KEYS: usize = 64;

/// What came of a number of rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Race {
    /// Rounds.
    pub rounds: usize,
    /// Rounds in which it went wrong.
    pub wrong: usize,
    /// By how much it went wrong in the worst round.
    pub worst: usize,
}

impl Race {
    fn of(excesses: impl ExactSizeIterator<Item = usize> + Clone) -> Self {
        Race {
            rounds: excesses.len(),
            wrong: excesses.clone().filter(|excess| *excess > 0).count(),
            worst: excesses.max().unwrap_or(0),
        }
    }
}

/// Units admitted above the quota, each round on a fresh key.
///
/// # Panics
/// When a limiter admits fewer than its quota.
pub fn over_admission<L: Limiter>(limiter: &L, rounds: usize) -> Race {
    let keys: Vec<L::Key> = (0..rounds as u64).map(|number| limiter.key(number)).collect();
    let admitted: Vec<AtomicUsize> = keys.iter().map(|_| AtomicUsize::new(0)).collect();
    race(rounds, |round, _| {
        let (Some(key), Some(admitted)) = (keys.get(round), admitted.get(round)) else { return };
        let taken = (0..TRIES).filter(|_| limiter.take(key, START_MS)).count();
        admitted.fetch_add(taken, Ordering::Relaxed);
    });
    Race::of(admitted.iter().map(|admitted| above(admitted, QUOTA.units as usize)))
}

/// Executions beyond the first, each round on fresh keys.
///
/// # Panics
/// When a key is not executed at all.
pub fn double_execution(once: &impl Once, rounds: usize) -> Race {
    let executed: Vec<AtomicUsize> = (0..rounds * KEYS).map(|_| AtomicUsize::new(0)).collect();
    let keys: Vec<Key> = (0..executed.len()).map(key).collect();
    race(rounds, |round, thread| {
        let places = keys.iter().zip(&executed).skip(round * KEYS).take(KEYS);
        for (index, (key, executed)) in places.enumerate() {
            if once.executes(key, thread + index, round) {
                executed.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let rounds = executed.chunks(KEYS);
    Race::of(rounds.map(|keys| keys.iter().map(|executed| above(executed, 1)).sum()))
}

/// What became of the units of two limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Units {
    /// Requests that the second limit refused.
    pub refused: usize,
    /// Units of the first limit that these took.
    pub lost: usize,
}

/// Asks for more than the second limit has, and then finds out what is left of the first.
///
/// # Panics
/// When the limits are not what they are said to be.
pub fn half_consumption(pair: &impl Pair) -> Units {
    const EACH: usize = 50;
    let admitted = AtomicUsize::new(0);
    race(1, |_, _| {
        let through = (0..EACH).filter(|_| pair.both()).count();
        admitted.fetch_add(through, Ordering::Relaxed);
    });
    let admitted = admitted.into_inner();
    let (first, second) = (FIRST as usize, SECOND as usize);
    assert!(admitted >= second, "{admitted} of {second} were admitted");
    let left = (0..first).take_while(|_| pair.first()).count();
    Units { refused: THREADS * EACH - admitted, lost: (first - admitted).saturating_sub(left) }
}

/// Calls `work` with every round and every thread; the threads of a round are released together, and no
/// round begins before the one before has ended.
fn race(rounds: usize, work: impl Fn(usize, usize) + Sync) {
    let start = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (start, work) = (&start, &work);
            scope.spawn(move || {
                for round in 0..rounds {
                    start.wait();
                    work(round, thread);
                }
            });
        }
    });
}

fn above(count: &AtomicUsize, due: usize) -> usize {
    let count = count.load(Ordering::Relaxed);
    assert!(count >= due, "{count} instead of {due}: a contender refuses too much");
    count - due
}

fn key(number: usize) -> Key {
    format!("{number:r>24}").into_bytes().try_into().expect("24 bytes")
}
