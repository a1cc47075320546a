//! Many threads, several callers, and an object at a time: limits that span accounts let nobody through too
//! often, and what is given back is there again.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects, reason = "small numbers")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use common::{Caller, World};
use tollgate::{Algorithm, Mode, Partition};
use tollgate_conformance::Verdict;
use tollgate_conformance::world::*;

const THREADS: u64 = 8;
const REQUESTS: u64 = 60;

#[test]
fn limits_of_many_accounts_are_exact_among_threads() {
    for algorithm in ALGORITHMS {
        let world = Arc::new(World::default());
        let callers = [Caller::new(&world), Caller::without_cache(&world)];
        // Money for 30 of the 40 of everybody, and of these 25 for each address.
        for number in 1..=4 {
            Desk::new(&callers[0]).open(number, if number == 4 { 0 } else { 100 });
        }
        let limits = [
            named("seen", limit_of(Partition::Global, Algorithm::FixedWindow, 400, 3_600_000)),
            executions(named("all", limit_of(Partition::Global, algorithm, 40, 3_600_000))),
            executions(named("one", limit_of(Partition::SourceIp, algorithm, 25, 3_600_000))),
        ];
        let [admitted, seen] = [(); 2].map(|()| [(); 2].map(|()| AtomicU64::new(0)));
        thread::scope(|scope| {
            for number in 0..THREADS {
                let desk = Desk::new(&callers[usize::from(number.is_multiple_of(2))]);
                let (limits, admitted, seen) = (&limits, &admitted, &seen);
                scope.spawn(move || {
                    let mut random = splitmix(number);
                    for _ in 0..REQUESTS {
                        random = splitmix(random);
                        let from = random / 5 % 2;
                        // Some are refused by their account, after they were taken elsewhere.
                        let ask = Ask::new(token(random % 4 + 1)).limits(limits).charge(10);
                        let ask = Ask { source: Some(address(from)), ..ask };
                        let place = usize::from(from == 1);
                        match desk.verdict(&ask, NOW_MS) {
                            Verdict::Admitted(_) => {
                                admitted[place].fetch_add(1, Ordering::Relaxed);
                                seen[place].fetch_add(1, Ordering::Relaxed);
                            }
                            Verdict::Denied(tollgate::Denial::RateLimited { .. }) => {}
                            Verdict::Denied(_) => {
                                seen[place].fetch_add(1, Ordering::Relaxed);
                            }
                            other => panic!("{other:?}"),
                        }
                    }
                });
            }
        });
        let desk = Desk::new(&callers[0]);
        let left = |limit: usize, from: u64| {
            let peek =
                Ask { mode: Mode::Peek, ..Ask::new(token(1)).limits(&limits[limit..=limit]) };
            let peek = Ask { source: Some(address(from)), ..peek };
            desk.admitted(&peek, NOW_MS).tightest.unwrap().left.remaining
        };
        let [admitted, seen] =
            [admitted, seen].map(|counts| counts.map(|count| count.load(Ordering::Relaxed)));
        assert_eq!(400 - left(0, 0), seen[0] + seen[1], "{algorithm:?}");
        // GCRA keeps of what is given back what may have refilled in a second.
        let slack = if algorithm == Algorithm::Gcra { 5 } else { 0 };
        let is_exact = |left: u64, quota: u64, admitted: u64| {
            let counted = quota - left;
            assert!(admitted <= counted && counted <= admitted + slack, "{algorithm:?}");
        };
        is_exact(left(1, 0), 40, admitted[0] + admitted[1]);
        is_exact(left(2, 0), 25, admitted[0]);
        is_exact(left(2, 1), 25, admitted[1]);
        assert!(admitted[0] + admitted[1] > 20 && seen[0] + seen[1] > 60, "{admitted:?} {seen:?}");
        for number in 1..=3 {
            assert!(desk.money(number).1 <= 100);
        }
        world.verify();
    }
}
