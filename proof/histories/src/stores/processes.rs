//! Two processes on one store. This program starts itself twice; each process does the steps of every second
//! thread, from the same instant on, and sends back what it did.

use std::io::{BufRead as _, BufReader, Write as _};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use serde::{Deserialize, Serialize};
use tollgate::Store;

use super::{Failure, RedisServer, THREADS, broken, lmdb, look_at, redis_server};
use crate::account::LookUps;
use crate::call::Call;
use crate::names::{Names, open_account};
use crate::record::{History, stamp};
use crate::story::Story;
use crate::teller::Teller;
use crate::verdict::Report;

const PROCESSES: usize = 2;
/// Time for both to get ready.
const AHEAD_NS: u64 = 200_000;

/// The first word of a worker's command line.
pub const WORKER: &str = "--worker";

/// What a worker is told.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Order {
    number: u64,
    /// The stamp at which to begin.
    at: u64,
}

/// A process that does its part of stories.
struct Worker {
    child: Child,
    orders: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
}

impl Worker {
    fn start(program: &Path, store: &str, location: &str, process: usize) -> Result<Self, Failure> {
        let mut child = Command::new(program)
            .args([WORKER, store, location, &process.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(broken)?;
        let orders = child.stdin.take();
        let replies = child.stdout.take().map(BufReader::new);
        let replies = replies.ok_or_else(|| broken("a worker has no output"))?;
        Ok(Worker { child, orders, replies })
    }

    fn order(&mut self, order: Order) -> Result<(), Failure> {
        let orders = self.orders.as_mut().ok_or_else(|| broken("a worker has no input"))?;
        let line = serde_json::to_string(&order).map_err(broken)?;
        writeln!(orders, "{line}").map_err(broken)
    }

    fn reply(&mut self) -> Result<Vec<Call>, Failure> {
        let mut line = String::new();
        self.replies.read_line(&mut line).map_err(broken)?;
        serde_json::from_str(&line)
            .map_err(|error| broken(format!("a worker ended or said {line:?}: {error}")))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.orders.take());
        let _ = self.child.wait();
    }
}

/// On LMDB, by two processes; `program` runs [`work`] when its first argument is [`WORKER`].
///
/// # Errors
/// [`Failure`].
pub fn lmdb_processes(program: &Path, numbers: Range<u64>) -> Result<Report, Failure> {
    let directory = tempfile::tempdir().map_err(broken)?;
    let store = lmdb::open(directory.path())?;
    let location = directory.path().to_string_lossy();
    together(program, numbers, LookUps::Fresh, &store, ("lmdb", &location))
}

/// On Redis, by two processes.
///
/// # Errors
/// [`Failure`].
pub fn redis_processes(program: &Path, numbers: Range<u64>) -> Result<Report, Failure> {
    let server = RedisServer::start()?;
    let store = redis_server::open(&server.url())?;
    together(program, numbers, LookUps::MayBeStale, &store, ("redis", &server.url()))
}

fn together(
    program: &Path,
    numbers: Range<u64>,
    look_ups: LookUps,
    store: &dyn Store,
    (kind, location): (&str, &str),
) -> Result<Report, Failure> {
    let start = |process| Worker::start(program, kind, location, process);
    let mut workers = (0..PROCESSES).map(start).collect::<Result<Vec<_>, _>>()?;
    let mut report = Report::default();
    for number in numbers {
        let story = Story::new(number, THREADS);
        (0..story.accounts)
            .try_for_each(|account| open_account(store, Names(number), account))
            .map_err(broken)?;
        let order = Order { number, at: stamp() + AHEAD_NS };
        workers.iter_mut().try_for_each(|worker| worker.order(order))?;
        let mut calls = Vec::new();
        for worker in &mut workers {
            calls.extend(worker.reply()?);
        }
        look_at(&History { number, calls }, look_ups, &mut report)?;
    }
    Ok(report)
}

/// A worker's whole life: does what comes in, until nothing more does.
///
/// # Errors
/// [`Failure::Broken`].
pub fn work(store: &str, location: &str, process: usize) -> Result<(), Failure> {
    match store {
        "lmdb" => work_on(&lmdb::open(Path::new(location))?, process),
        "redis" => work_on(&redis_server::open(location)?, process),
        other => Err(broken(format!("no store {other:?}"))),
    }
}

fn work_on(store: &dyn Store, process: usize) -> Result<(), Failure> {
    thread::scope(|scope| {
        let start = |number: usize| {
            let (orders, incoming) = mpsc::channel::<Order>();
            let (outgoing, replies) = mpsc::channel();
            scope.spawn(move || {
                for order in incoming {
                    if outgoing.send(part(store, order, number)).is_err() {
                        return;
                    }
                }
            });
            (orders, replies)
        };
        let threads: Vec<_> = (process..THREADS).step_by(PROCESSES).map(start).collect();
        for line in std::io::stdin().lines() {
            let order: Order = serde_json::from_str(&line.map_err(broken)?).map_err(broken)?;
            threads.iter().try_for_each(|(orders, _)| orders.send(order)).map_err(broken)?;
            let mut calls: Vec<Call> = Vec::new();
            for (_, replies) in &threads {
                calls.extend(replies.recv().map_err(broken)?);
            }
            let reply = serde_json::to_string(&calls).map_err(broken)?;
            writeln!(std::io::stdout(), "{reply}").map_err(broken)?;
        }
        Ok(())
    })
}

/// What one thread does of a story.
fn part(store: &dyn Store, order: Order, number: usize) -> Vec<Call> {
    let story = Story::new(order.number, THREADS);
    let mut teller = Teller::new(store, Names(order.number), number as u8, &stamp).dawdling();
    while stamp() < order.at {
        thread::yield_now();
    }
    for step in story.threads.get(number).into_iter().flatten() {
        teller.step(step);
    }
    teller.into_calls()
}
