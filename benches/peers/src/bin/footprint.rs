//! Allocations and bytes of every contender, as lines of JSON for `peers`; `--quick` leaves out a million keys.
//!
//! The crate allocation-counter replaces the allocator of this program: it adds up sizes as they are asked
//! for, on this thread, and counts a reallocation as an allocation and a deallocation.
#![allow(clippy::print_stdout, reason = "its lines are read by `peers`")]

use allocation_counter::measure;
use tollgate_bench::{Get, Keys, Post, Tokens};
use tollgate_peers::authorizers::Authorizer;
use tollgate_peers::limiters::Limiter;
use tollgate_peers::report::Weight;
use tollgate_peers::{Examiner, Id, SIZES, SMALL, START_MS, examine};

const DECISIONS: u64 = 50_000;

fn main() {
    proof();
    let quick = std::env::args().any(|arg| arg == "--quick");
    examine(&mut Scales, if quick { &SMALL } else { &SIZES });
}

/// An allocator that counted nothing would make every figure a good one.
fn proof() {
    let mut kept = Vec::<u8>::new();
    let counted = measure(|| kept = std::hint::black_box(Vec::with_capacity(1_000)));
    assert_eq!((counted.count_total, counted.bytes_current), (1, 1_000), "nothing is counted");
}

struct Scales;

impl Scales {
    fn weigh(&self, id: Id, bytes: Option<f64>, mut decide: impl FnMut()) {
        // Until what is made once is made.
        (0..1_000).for_each(|_| decide());
        let counted = measure(|| (0..DECISIONS).for_each(|_| decide()));
        let weight = Weight {
            question: id.question.into(),
            case: id.case.into(),
            contender: id.contender.into(),
            allocations: counted.count_total as f64 / DECISIONS as f64,
            bytes,
        };
        println!("{}", serde_json::to_string(&weight).expect("numbers and strings"));
    }
}

impl Examiner for Scales {
    fn limiter<L: Limiter>(&mut self, id: Id, keys: usize, new: impl FnOnce() -> L) {
        let mut made = None;
        let counted = measure(|| {
            let limiter = made.insert(new());
            for number in 0..keys as u64 {
                assert!(limiter.take(&limiter.key(number), START_MS));
            }
        });
        let limiter = made.expect("it was made");
        let bytes = counted.bytes_current as f64 + limiter.mapped_bytes() as f64;
        let ready: Vec<L::Key> = (0..256).map(|number| limiter.key(number)).collect();
        let mut next = ready.iter().cycle();
        self.weigh(id, Some(bytes / keys as f64), || {
            let key = next.next().expect("a cycle has no end");
            assert!(limiter.take(key, START_MS));
        });
    }

    fn authorizer(
        &mut self,
        id: Id,
        questions: &[(String, String)],
        allowed: bool,
        mut authorizer: impl Authorizer,
    ) {
        let mut next = questions.iter().cycle();
        self.weigh(id, None, || {
            let (method, path) = next.next().expect("a cycle has no end");
            assert_eq!(authorizer.allows(method, path), allowed);
        });
    }

    fn get<C: Get>(&mut self, id: Id, tokens: &Tokens, new: impl FnOnce() -> C) {
        let mut tokens = tokens.ordered(1);
        let mut made = None;
        let mut known = 0;
        let counted = measure(|| {
            let contender = made.insert(new());
            tokens.each(|value, now_ms| {
                assert!(contender.get(value, now_ms));
                known += 1;
            });
        });
        let contender = made.expect("it was made");
        self.weigh(id, Some(counted.bytes_current as f64 / f64::from(known)), || {
            let (value, now_ms) = tokens.draw();
            assert!(contender.get(value, now_ms));
        });
    }

    fn post<C: Post>(&mut self, id: Id, tokens: &Tokens, new: impl FnOnce() -> C) {
        let mut tokens = tokens.ordered(2);
        let mut keys = Keys::default();
        let contender = new();
        self.weigh(id, None, || {
            let (value, now_ms) = tokens.draw();
            assert!(contender.post(value, keys.draw(), now_ms));
        });
    }
}
