//! Every interleaving of a few threads, with every value that the memory model lets them read (loom).
//!
//! Each test goes on for at most `TOLLGATE_LOOM_SECONDS`, and says how far it came. 0: to the end.

use std::env;
use std::sync::atomic::AtomicU64 as PlainWord;
use std::time::{Duration, Instant};

use loom::model::Builder;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

use super::{Ask, assert_sound, layout, view, words};
use crate::code::state;
use crate::layout::Layout;
use crate::word::Word;

/// Only the words that matter are explored.
#[derive(Debug)]
enum TestWord {
    Model(AtomicU64),
    Plain(PlainWord),
}

impl Word for TestWord {
    fn load(&self) -> u64 {
        match self {
            TestWord::Model(word) => word.load(Ordering::Acquire),
            TestWord::Plain(word) => Word::load(word),
        }
    }

    fn store(&self, value: u64) {
        match self {
            TestWord::Model(word) => word.store(value, Ordering::Release),
            TestWord::Plain(word) => Word::store(word, value),
        }
    }

    fn swap(&self, value: u64) -> u64 {
        match self {
            TestWord::Model(word) => word.swap(value, Ordering::AcqRel),
            TestWord::Plain(word) => Word::swap(word, value),
        }
    }

    fn exchange(&self, old: u64, new: u64) -> bool {
        match self {
            TestWord::Model(word) => {
                word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).is_ok()
            }
            TestWord::Plain(word) => Word::exchange(word, old, new),
        }
    }

    fn set_bits(&self, bits: u64) -> u64 {
        match self {
            TestWord::Model(word) => word.fetch_or(bits, Ordering::AcqRel),
            TestWord::Plain(word) => Word::set_bits(word, bits),
        }
    }

    fn clear_bits(&self, bits: u64) -> u64 {
        match self {
            TestWord::Model(word) => word.fetch_and(!bits, Ordering::AcqRel),
            TestWord::Plain(word) => Word::clear_bits(word, bits),
        }
    }
}

/// What the threads were told: a unit, none, or that there is no room.
type Told = Option<bool>;

struct Shared {
    words: Vec<TestWord>,
    layout: Layout,
}

impl Shared {
    fn take(&self, owner: u32, ask: &Ask) -> Told {
        ask.take(&view(&self.words, &self.layout, owner)).ok()
    }

    fn remaining(&self, ask: &Ask) -> u64 {
        ask.remaining(&view(&self.words, &self.layout, 1))
    }
}

/// By default so few that all of it takes less than a minute, however slow the machine.
fn seconds() -> u64 {
    env::var("TOLLGATE_LOOM_SECONDS").map_or(6, |seconds| seconds.parse().unwrap())
}

/// Asks one after the other first, then all of `together` at once; `judge` sees what they were told.
fn explore(
    preemptions: usize,
    windows: usize,
    first: Vec<Ask>,
    together: Vec<Ask>,
    judge: impl Fn(&Shared, &[Told]) + Send + Sync + 'static,
) {
    let threads = u32::try_from(together.len()).unwrap();
    let act =
        move |shared: &Shared, thread: u32| shared.take(thread + 2, &together[thread as usize]);
    explore_acts(preemptions, windows, first, (threads, act), judge);
}

fn explore_acts(
    preemptions: usize,
    windows: usize,
    first: Vec<Ask>,
    (threads, act): (u32, impl Fn(&Shared, u32) -> Told + Send + Sync + 'static),
    judge: impl Fn(&Shared, &[Told]) + Send + Sync + 'static,
) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 100_000;
    // How often the time is looked at.
    builder.checkpoint_interval = 200;
    let seconds = seconds();
    builder.max_duration = (seconds > 0).then(|| Duration::from_secs(seconds));
    let act = std::sync::Arc::new(act);
    let runs = std::sync::Arc::new(PlainWord::new(0));
    let (counted, started) = (runs.clone(), Instant::now());
    let initial = words(&layout(windows), |matters, value| (matters, value));
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        let layout = layout(windows);
        let word = |(matters, value): &(bool, u64)| {
            if *matters {
                TestWord::Model(AtomicU64::new(*value))
            } else {
                TestWord::Plain(PlainWord::new(*value))
            }
        };
        let shared = Arc::new(Shared { words: initial.iter().map(word).collect(), layout });
        for ask in &first {
            assert_eq!(shared.take(1, ask), Some(true));
        }
        let handles: Vec<_> = (0..threads)
            .map(|number| {
                let (shared, act) = (shared.clone(), act.clone());
                thread::spawn(move || act(&shared, number))
            })
            .collect();
        let told: Vec<Told> = handles.into_iter().map(|handle| handle.join().unwrap()).collect();
        assert_sound(&view(&shared.words, &shared.layout, 1));
        judge(&shared, &told);
    });
    let (count, took) = (runs.load(Ordering::Relaxed), started.elapsed());
    let all = if seconds == 0 || took.as_secs() < seconds { "all" } else { "the first" };
    println!("{all} {count} interleavings in {took:.1?}");
}

const FAR: u64 = 100_000;

#[test]
fn two_first_takes_of_one_key_count_in_one_cell() {
    let ask = Ask::gcra(1, 1, FAR);
    explore(3, 0, vec![], vec![ask, ask], move |shared, told| {
        let taken = told.iter().filter(|told| **told == Some(true)).count();
        assert_eq!((taken, shared.remaining(&ask)), (1, 0), "{told:?}");
    });
}

#[test]
fn first_takes_of_two_keys_both_count() {
    let asks = vec![Ask::gcra(1, 1, FAR), Ask::gcra(2, 1, FAR)];
    explore(3, 0, vec![], asks.clone(), move |shared, told| {
        assert_eq!(told, [Some(true), Some(true)]);
        assert!(asks.iter().all(|ask| shared.remaining(ask) == 0));
    });
}

#[test]
fn a_take_is_not_lost_when_its_expired_cell_is_replaced() {
    // Both cells of the group have expired, and may be replaced at need.
    let first = vec![Ask::gcra(1, 1, FAR - 10), Ask::gcra(9, 1, FAR - 10)];
    let asks = vec![Ask::gcra(1, 1, FAR), Ask::gcra(2, 1, FAR)];
    explore(2, 0, first, asks.clone(), move |shared, told| {
        assert_eq!(told, [Some(true), Some(true)]);
        assert!(asks.iter().all(|ask| shared.remaining(ask) == 0));
    });
}

#[test]
fn three_threads_with_two_keys_count_in_two_cells() {
    let asks = vec![Ask::gcra(1, 1, FAR), Ask::gcra(2, 1, FAR), Ask::gcra(1, 1, FAR)];
    explore(1, 0, vec![], asks.clone(), move |shared, told| {
        let taken = [told[0], told[2]].iter().filter(|told| **told == Some(true)).count();
        assert_eq!((taken, shared.remaining(&asks[0])), (1, 0), "{told:?}");
        assert_eq!((told[1], shared.remaining(&asks[1])), (Some(true), 0));
    });
}

#[test]
fn of_two_keys_for_one_place_each_that_counts_is_kept() {
    // One cell has expired, the other lives for long.
    let first = vec![Ask::gcra(1, 1, FAR - 10), Ask { cost: 50, ..Ask::gcra(9, 99, FAR) }];
    let asks = vec![Ask::gcra(1, 1, FAR), Ask::gcra(2, 1, FAR)];
    explore(2, 0, first, asks.clone(), move |shared, told| {
        for (ask, told) in asks.iter().zip(told) {
            if told.is_some() {
                assert_eq!((*told, shared.remaining(ask)), (Some(true), 0));
            }
        }
        assert!(told.iter().any(Option::is_some), "nobody got on");
    });
}

#[test]
fn a_take_in_the_cell_of_a_key_that_came_instead_is_taken_anew() {
    // The cell of key 1 ends at 100,010. A process whose clock is later takes it out and dies; then key 3 comes, by a
    // clock that is not, with a cell that ends at 100,010 too. Whoever takes for key 1, between reading and
    // writing, cannot tell the two apart.
    let lasting = Ask { cost: 50, ..Ask::gcra(9, 99, FAR) };
    let first = vec![Ask { cost: 2, ..Ask::gcra(1, 7, FAR) }, lasting];
    let one = Ask { cost: 5, ..Ask::gcra(1, 7, FAR) };
    let other = Ask { cost: 2, ..Ask::gcra(3, 7, FAR) };
    let act = move |shared: &Shared, thread: u32| {
        if thread == 0 {
            return shared.take(2, &one);
        }
        let view = view(&shared.words, &shared.layout, 3);
        if let Some(slot) = view.find(&one.key(&shared.layout)).unwrap()
            && state::time_expires_ms(slot.state) <= FAR + 20
        {
            view.take_out(&view.words[slot.at + 1], slot.name, slot.state).unwrap();
        }
        shared.take(3, &other)
    };
    explore_acts(2, 0, first, (2, act), move |shared, told| {
        // It lasts until 100,025 at least, so nobody may have thrown it out.
        if told[0] == Some(true) {
            assert!(shared.remaining(&Ask { now_ms: FAR + 20, ..one }) < 7, "{told:?}");
        }
    });
}

#[test]
fn takes_in_a_window_all_count() {
    let ask = Ask::window(1, 3, FAR);
    explore(3, 2, vec![ask], vec![ask, ask], move |shared, told| {
        assert_eq!(told, [Some(true), Some(true)]);
        assert_eq!(shared.remaining(&ask), 0);
    });
}

/// Two takes bring the first block back into the slot: under another tag, or who read it before would write over
/// what was counted meanwhile.
#[test]
fn a_take_in_a_window_is_not_lost_when_its_block_comes_again() {
    let ask = Ask::window(1, 4, FAR);
    let act = move |shared: &Shared, thread: u32| {
        let first = shared.take(thread + 2, &ask);
        if thread == 0 { first } else { first.and_then(|_| shared.take(thread + 2, &ask)) }
    };
    explore_acts(2, 2, vec![ask], (2, act), move |shared, told| {
        assert_eq!(told, [Some(true), Some(true)]);
        assert_eq!(shared.remaining(&ask), 0);
    });
}

#[test]
fn first_takes_in_a_window_count_in_one_cell() {
    let ask = Ask::window(1, 1, FAR);
    explore(2, 2, vec![], vec![ask, ask], move |shared, told| {
        let taken = told.iter().filter(|told| **told == Some(true)).count();
        assert_eq!((taken, shared.remaining(&ask)), (1, 0), "{told:?}");
    });
}

#[test]
fn a_take_in_a_window_is_not_lost_when_its_expired_cell_is_replaced() {
    let first = vec![Ask::window(1, 1, FAR - 200), Ask::window(9, 1, FAR)];
    let asks = vec![Ask::window(1, 1, FAR), Ask::window(2, 1, FAR)];
    explore(2, 2, first, asks.clone(), move |shared, told| {
        for (ask, told) in asks.iter().zip(told) {
            if told.is_some() {
                assert_eq!((*told, shared.remaining(ask)), (Some(true), 0));
            }
        }
        assert!(told.iter().any(Option::is_some), "nobody got on");
    });
}
