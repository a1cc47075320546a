//! Threads that race on one store, with what each was told.

use std::sync::atomic::{AtomicU64, Ordering};

use shuttle::thread;
use tollgate::{MemoryOptions, MemoryStore, Store};
use tollgate_histories::{
    Answer, Call, Ending, History, Key, LookUps, Names, Op, Step, Teller, Verdict, What, judge,
    open_account,
};

/// A store with room for what a race needs, and no more: it is made anew for every schedule.
#[must_use]
pub fn small_store() -> MemoryStore {
    let mut options = MemoryOptions::default();
    options.max_accounts = 4;
    MemoryStore::new(options)
}

/// One command to the first account.
#[must_use]
pub fn command(op: Op) -> Step {
    Step { account: 0, what: What::Command(op) }
}

/// A request of the first account's first token: a look-up and an admission. Leases end with a void.
#[must_use]
pub fn request(route: u8, key: Option<u8>, charge: Option<u64>) -> Step {
    let key = key.map(|number| Key { number, body: 0 });
    let ending = Ending::Void;
    let what = What::Request { token: 0, route, key, charge, ending, late: false, again: false };
    Step { account: 0, what }
}

/// What the threads of a race were told.
#[derive(Clone, Debug)]
pub struct Told(pub Vec<Call>);

impl Told {
    /// The verdicts on admissions, also on those that came with a look-up.
    pub fn verdicts(&self) -> impl Iterator<Item = (&Call, &Verdict)> {
        self.0.iter().filter_map(|call| match &call.answer {
            Answer::Admission(verdict) | Answer::LookedUp { admission: Some(verdict), .. } => {
                Some((call, verdict))
            }
            _ => None,
        })
    }

    /// How many requests were admitted.
    #[must_use]
    pub fn admitted(&self) -> usize {
        let admitted =
            |(_, verdict): &(&Call, &Verdict)| matches!(verdict, Verdict::Admitted { .. });
        self.verdicts().filter(admitted).count()
    }

    /// The calls of this command.
    pub fn calls_of<'t>(&'t self, op: &'t Op) -> impl Iterator<Item = &'t Call> {
        self.0.iter().filter(move |call| call.op == *op)
    }
}

/// Does each thread's steps on a store that was just made, in a schedule that the explorer chooses.
///
/// # Panics
/// When no order of the commands, one after the other, explains what the threads were told.
#[must_use]
pub fn race(threads: &[Vec<Step>]) -> Told {
    race_on(&small_store(), threads)
}

/// The same on this store, whose accounts are made here.
#[must_use]
pub fn race_on(store: &dyn Store, threads: &[Vec<Step>]) -> Told {
    let names = Names(0);
    let accounts = threads.iter().flatten().map(|step| step.account + 1).max().unwrap_or(1);
    for account in 0..accounts {
        open_account(store, names, account).unwrap();
    }
    // The threads run one at a time: a count is a clock.
    let clock = AtomicU64::new(0);
    let between = shuttle::sync::atomic::AtomicBool::new(false);
    let stamp = || {
        let now = clock.fetch_add(1, Ordering::Relaxed);
        // Between two commands of a thread others may go on, whatever the store does.
        between.load(Ordering::SeqCst);
        now
    };
    let by_thread: Vec<Vec<Call>> = thread::scope(|scope| {
        let start = |(number, steps): (u8, &Vec<Step>)| {
            let (stamp, steps) = (&stamp, steps.clone());
            scope.spawn(move || {
                let mut teller = Teller::new(store, names, number, stamp);
                steps.iter().for_each(|step| teller.step(step));
                teller.into_calls()
            })
        };
        let threads: Vec<_> = (0_u8..).zip(threads).map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let history = History { number: 0, calls: by_thread.concat() };
    if let Err(violation) = judge(&history, LookUps::Fresh) {
        panic!("{violation}");
    }
    Told(history.calls)
}
