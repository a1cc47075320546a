//! Time per decision. `cargo xtask bench` runs this and draws the table.
#![allow(missing_docs, clippy::unwrap_used, clippy::arithmetic_side_effects)]
#![allow(clippy::indexing_slicing)]

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use tollgate_bench::{Composed, Floor, KEYS, Tokens, Tollgate, keys};

const SIZES: [(&str, usize); 2] = [("1k", 1_000), ("1m", 1_000_000)];

fn decisions(criterion: &mut Criterion) {
    for (size, count) in SIZES {
        let tokens = Tokens::new(count);
        let floor = Floor::new(count);
        let composed = Composed::new(count);
        let tollgate = Tollgate::new(count);
        let keys = keys();
        let mut group = criterion.benchmark_group(size);
        group.warm_up_time(Duration::from_secs(2)).measurement_time(Duration::from_secs(5));

        group.bench_function("get/floor", |bencher| {
            let mut tokens = tokens.reordered(1);
            bencher.iter(|| assert!(floor.get(black_box(&mut tokens))));
        });
        group.bench_function("get/composed", |bencher| {
            let mut tokens = tokens.reordered(1);
            bencher.iter(|| assert!(composed.get(black_box(&mut tokens))));
        });
        group.bench_function("get/tollgate", |bencher| {
            let mut tokens = tokens.reordered(1);
            bencher.iter(|| assert!(tollgate.get(black_box(&mut tokens))));
        });
        let mut next = 0;
        group.bench_function("post/composed-claim", |bencher| {
            let mut tokens = tokens.reordered(2);
            bencher.iter(|| {
                next = (next + 1) % KEYS;
                assert!(composed.post_claim(black_box(&mut tokens), &keys[next]));
            });
        });
        // Its time goes on across samples: the store never sees the clock run backwards.
        let mut post_tokens = tokens.reordered(2);
        let mut next = 0;
        group.bench_function("post/tollgate-cycle", |bencher| {
            bencher.iter(|| {
                next = (next + 1) % KEYS;
                assert!(tollgate.post(black_box(&mut post_tokens), &keys[next]));
            });
        });
        for threads in [1, 2] {
            group.bench_function(format!("get-threads/{threads}"), |bencher| {
                bencher.iter_custom(|iterations| parallel(threads, iterations, &tokens, &tollgate));
            });
        }
        for threads in [1, 2] {
            group.bench_function(format!("get-threads-composed/{threads}"), |bencher| {
                bencher.iter_custom(|iterations| {
                    parallel_composed(threads, iterations, &tokens, &composed)
                });
            });
        }
        group.finish();
    }
}

/// The time in which `threads` threads make `iterations` decisions each, all over the same tokens.
fn parallel(threads: u64, iterations: u64, tokens: &Tokens, tollgate: &Tollgate) -> Duration {
    timed(threads, |thread| {
        let mut tokens = tokens.reordered(0x1234_5678 + (thread << 32));
        move || {
            (0..iterations).for_each(|_| {
                black_box(tollgate.get(&mut tokens));
            })
        }
    })
}

fn parallel_composed(
    threads: u64,
    iterations: u64,
    tokens: &Tokens,
    composed: &Composed,
) -> Duration {
    timed(threads, |thread| {
        let mut tokens = tokens.reordered(0x1234_5678 + (thread << 32));
        move || {
            (0..iterations).for_each(|_| {
                black_box(composed.get(&mut tokens));
            })
        }
    })
}

fn timed<W: FnOnce() + Send>(threads: u64, work: impl Fn(u64) -> W) -> Duration {
    let start = Barrier::new(usize::try_from(threads).unwrap() + 1);
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|thread| {
                let (work, start) = (work(thread), &start);
                scope.spawn(move || {
                    start.wait();
                    let began = Instant::now();
                    work();
                    began.elapsed()
                })
            })
            .collect();
        start.wait();
        handles.into_iter().map(|handle| handle.join().unwrap()).max().unwrap()
    })
}

criterion_group!(benches, decisions);
criterion_main!(benches);
