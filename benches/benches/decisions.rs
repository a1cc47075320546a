//! Time per decision. `cargo xtask bench` runs this and draws the table.
//!
//! In each group (`1k`, `1m`: the number of tokens) every token has made a request before anything is
//! measured. `get` and `post` read the text of a random token from a table of all texts; `get-hot`
//! reads it from a small ring, as a server that has just received the request.
#![allow(missing_docs, clippy::unwrap_used, clippy::arithmetic_side_effects)] // measures

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use tollgate_bench::{Composed, Floor, Get, Keys, Post, RING, Tokens, Tollgate, empty_ring};

const SIZES: [(&str, usize); 2] = [("1k", 1_000), ("1m", 1_000_000)];
/// POSTs between two tidyings.
const BATCH: u64 = 1_024;

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn decisions(criterion: &mut Criterion) {
    for (size, count) in SIZES {
        let tokens = Tokens::new(count);
        let floor = Floor::new(count);
        let composed = Composed::new(count);
        let tollgate = Tollgate::new(count);
        let mut group = criterion.benchmark_group(size);
        group
            .warm_up_time(Duration::from_secs(1))
            .measurement_time(Duration::from_secs(2))
            .sample_size(50)
            .nresamples(10_000);
        get(&mut group, "floor", &tokens, &floor);
        get(&mut group, "composed", &tokens, &composed);
        get(&mut group, "tollgate", &tokens, &tollgate);
        post(&mut group, "composed-claim", &tokens, &composed);
        post(&mut group, "tollgate-cycle", &tokens, &tollgate);
        get_threads(&mut group, "get-threads", &tokens, &tollgate);
        get_threads(&mut group, "get-threads-composed", &tokens, &composed);
        group.finish();
    }
}

fn get(group: &mut Group<'_>, name: &str, tokens: &Tokens, contender: &impl Get) {
    let mut tokens = tokens.ordered(1);
    tokens.each(|value, now_ms| assert!(contender.get(value, now_ms)));
    group.bench_function(format!("get/{name}"), |bencher| {
        bencher.iter(|| {
            let (value, now_ms) = tokens.draw();
            assert!(contender.get(black_box(value), now_ms));
        });
    });
    let mut ring = empty_ring();
    group.bench_function(format!("get-hot/{name}"), |bencher| {
        bencher.iter_custom(|iterations| {
            batches(iterations, RING as u64, |batch| {
                tokens.fill(&mut ring);
                let began = Instant::now();
                for (value, now_ms) in ring.iter().take(usize::try_from(batch).unwrap()) {
                    assert!(contender.get(black_box(value), *now_ms));
                }
                began.elapsed()
            })
        });
    });
}

fn post(group: &mut Group<'_>, name: &str, tokens: &Tokens, contender: &impl Post) {
    let mut tokens = tokens.ordered(2);
    let mut keys = Keys::default();
    group.bench_function(format!("post/{name}"), |bencher| {
        bencher.iter_custom(|iterations| {
            batches(iterations, BATCH, |batch| {
                let mut last_ms = 0;
                let began = Instant::now();
                for _ in 0..batch {
                    let (value, now_ms) = tokens.draw();
                    assert!(contender.post(black_box(value), keys.draw(), now_ms));
                    last_ms = now_ms;
                }
                let took = began.elapsed();
                contender.tidy(last_ms);
                took
            })
        });
    });
}

/// The measured part of so many iterations, in batches.
fn batches(iterations: u64, size: u64, mut batch: impl FnMut(u64) -> Duration) -> Duration {
    let whole = (0..iterations / size).map(|_| size);
    whole.chain([iterations % size]).map(&mut batch).sum()
}

fn get_threads(group: &mut Group<'_>, name: &str, tokens: &Tokens, contender: &impl Get) {
    for threads in [1, 2] {
        group.bench_function(format!("{name}/{threads}"), |bencher| {
            bencher.iter_custom(|iterations| parallel(threads, iterations, tokens, contender));
        });
    }
}

/// The time in which `threads` threads make `iterations` decisions each, all over the same tokens.
fn parallel(threads: u64, iterations: u64, tokens: &Tokens, contender: &impl Get) -> Duration {
    let start = Barrier::new(usize::try_from(threads).unwrap());
    std::thread::scope(|scope| {
        let work = |thread| {
            let (mut tokens, start) = (tokens.ordered(3 + thread), &start);
            move || {
                start.wait();
                let began = Instant::now();
                let mut allowed = 0;
                for _ in 0..iterations {
                    let (value, now_ms) = tokens.draw();
                    allowed += u64::from(contender.get(black_box(value), now_ms));
                }
                let took = began.elapsed();
                // A thread that was put to sleep in the middle of a batch of the clock comes back to
                // tokens that have been used in what it takes for the future.
                assert!(iterations - allowed <= 64 + iterations / 100, "{allowed}/{iterations}");
                took
            }
        };
        let handles: Vec<_> = (0..threads).map(|thread| scope.spawn(work(thread))).collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).max().unwrap()
    })
}

criterion_group!(benches, decisions);
criterion_main!(benches);
