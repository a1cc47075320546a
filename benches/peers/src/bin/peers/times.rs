//! Times, by criterion.

use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{Bencher, Criterion};
use tollgate_bench::{Get, Keys, Post, Tokens};
use tollgate_peers::authorizers::Authorizer;
use tollgate_peers::limiters::Limiter;
use tollgate_peers::report::Time;
use tollgate_peers::{Examiner, Id, LIMITER_KEYS, SIZES, SMALL, START_MS, examine};

/// Keys that are at hand when a limiter is asked, as in a server that has just received the requests.
const RING: u64 = 256;
/// POSTs between two tidyings.
const BATCH: u64 = 1_024;

/// Those of everyone; takes some two minutes, or with `quick` some seconds.
pub(crate) fn all(quick: bool) -> Result<Vec<Time>, Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let [warm_up_ms, measurement_ms] = if quick { [20, 50] } else { [500, 1_000] };
    let criterion = Criterion::default()
        .without_plots()
        .output_directory(directory.path())
        .warm_up_time(Duration::from_millis(warm_up_ms))
        .measurement_time(Duration::from_millis(measurement_ms))
        .sample_size(if quick { 10 } else { 40 })
        .nresamples(5_000);
    let mut stopwatch = Stopwatch { criterion, times: Vec::new() };
    examine(&mut stopwatch, if quick { &SMALL } else { &SIZES });
    stopwatch.times.into_iter().map(|(time, at)| read(directory.path(), time, &at)).collect()
}

struct Stopwatch {
    criterion: Criterion,
    /// With the names under which criterion keeps the estimates.
    times: Vec<(Time, [String; 2])>,
}

impl Stopwatch {
    fn time(&mut self, id: Id, order: &str, measured: impl FnMut(&mut Bencher<'_>)) {
        let case = [id.case, order].into_iter().filter(|part| !part.is_empty());
        let case = case.collect::<Vec<_>>().join(", ");
        let [group, name] = [format!("{} {case}", id.question), id.contender.to_owned()];
        self.criterion.benchmark_group(&group).bench_function(&name, measured);
        let time = Time { question: id.question, case, contender: id.contender, ns: f64::NAN };
        self.times.push((time, [group, name]));
    }
}

impl Examiner for Stopwatch {
    fn limiter<L: Limiter>(&mut self, id: Id, keys: usize, new: impl FnOnce() -> L) {
        let limiter = new();
        let all: Vec<L::Key> = (0..keys as u64).map(|number| limiter.key(number)).collect();
        for key in &all {
            assert!(limiter.take(key, START_MS));
        }
        let mut now_ms = START_MS;
        for (order, among) in LIMITER_KEYS {
            let mut draw = Draw { state: 1, below: among.min(keys) };
            self.time(id, order, |bencher| {
                bencher.iter_custom(|iterations| {
                    batches(iterations, RING, |batch| {
                        let ring: Vec<L::Key> =
                            (0..batch).map(|_| all[draw.next()].clone()).collect();
                        now_ms += 1;
                        let began = Instant::now();
                        for key in &ring {
                            assert!(limiter.take(black_box(key), now_ms), "{id}");
                        }
                        began.elapsed()
                    })
                });
            });
        }
    }

    fn authorizer(
        &mut self,
        id: Id,
        questions: &[(String, String)],
        allowed: bool,
        mut authorizer: impl Authorizer,
    ) {
        let mut next = questions.iter().cycle();
        self.time(id, "", |bencher| {
            bencher.iter(|| {
                let (method, path) = next.next().expect("a cycle has no end");
                assert_eq!(authorizer.allows(black_box(method), black_box(path)), allowed, "{id}");
            });
        });
    }

    fn get<C: Get>(&mut self, id: Id, tokens: &Tokens, new: impl FnOnce() -> C) {
        let contender = new();
        let mut tokens = tokens.ordered(1);
        tokens.each(|value, now_ms| assert!(contender.get(value, now_ms)));
        self.time(id, "", |bencher| {
            bencher.iter(|| {
                let (value, now_ms) = tokens.draw();
                assert!(contender.get(black_box(value), now_ms), "{id}");
            });
        });
    }

    fn post<C: Post>(&mut self, id: Id, tokens: &Tokens, new: impl FnOnce() -> C) {
        let contender = new();
        let mut tokens = tokens.ordered(2);
        let mut keys = Keys::default();
        self.time(id, "", |bencher| {
            bencher.iter_custom(|iterations| {
                batches(iterations, BATCH, |batch| {
                    let mut last_ms = START_MS;
                    let began = Instant::now();
                    for _ in 0..batch {
                        let (value, now_ms) = tokens.draw();
                        assert!(contender.post(black_box(value), keys.draw(), now_ms), "{id}");
                        last_ms = now_ms;
                    }
                    let took = began.elapsed();
                    contender.tidy(last_ms);
                    took
                })
            });
        });
    }
}

/// The measured part of so many iterations, in batches.
fn batches(iterations: u64, size: u64, mut batch: impl FnMut(u64) -> Duration) -> Duration {
    let whole = (0..iterations / size).map(|_| size);
    whole.chain([iterations % size]).map(&mut batch).sum()
}

/// xorshift64, scaled without a division: the same numbers every time.
struct Draw {
    state: u64,
    below: usize,
}

impl Draw {
    #[allow(clippy::cast_possible_truncation, reason = "less than `below`")]
    fn next(&mut self) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (((self.state >> 32) * self.below as u64) >> 32) as usize
    }
}

/// The median that criterion left.
fn read(directory: &Path, time: Time, [group, name]: &[String; 2]) -> Result<Time, Box<dyn Error>> {
    let file = directory.join(group).join(name).join("new/estimates.json");
    let text = fs::read_to_string(&file)
        .map_err(|error| format!("criterion left no {}: {error}", file.display()))?;
    let json: serde_json::Value = serde_json::from_str(&text)?;
    let median = json.pointer("/median/point_estimate").and_then(serde_json::Value::as_f64);
    let ns = median.filter(|ns| *ns > 0.0).ok_or("criterion's estimate has no positive median")?;
    Ok(Time { ns, ..time })
}
