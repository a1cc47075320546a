//! Streams whose events come in any order that Envoy could bring, on a worker of their own or on several.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use serde_json::json;

use super::fixture::{Bank, Kept, request};
use super::log;
use super::proxy::Proxy;
use super::stream::{End, Stream, Upstream};

/// What happens next. Streams are counted from the last that began.
#[derive(Clone, Debug)]
enum Step {
    Begin(Begin),
    Body {
        stream: usize,
        pieces: Vec<&'static [u8]>,
        end: bool,
    },
    Trailers(usize),
    Connects(usize),
    Answers {
        stream: usize,
        status: u16,
        charge: Option<u64>,
        end: bool,
    },
    Sends {
        stream: usize,
        pieces: Vec<&'static [u8]>,
        end: bool,
    },
    SendsTrailers(usize),
    Breaks(usize),
    TimesOut(usize),
    Leaves(usize),
    IsDestroyed(usize),
    IsOver(usize),
    /// It comes as far as it can without its client and its upstream.
    GetsOn(usize),
    /// It comes to its end as usual.
    Completes(usize),
    /// One of the streams that are to be woken is.
    Wake(usize),
    /// All that are to be woken never will be.
    Forget,
    /// The module's threads get on.
    Pause(u64),
    /// The configuration is made anew.
    Update,
}

#[derive(Clone, Debug)]
struct Begin {
    account: usize,
    /// Method, path and price.
    route: (&'static str, &'static str, u64),
    key: Option<&'static str>,
    upstream: Upstream,
    end: bool,
    ends_at_once: bool,
}

/// The usual one: requests with the same key should often be the same.
const BODY: &[u8] = b"ab";

const ROUTES: [(&str, &str, u64); 8] = [
    ("POST", "/pay", 5),
    ("POST", "/pay", 5),
    ("POST", "/pay", 5),
    ("POST", "/must", 5),
    ("POST", "/free", 0),
    ("HEAD", "/paid", 3),
    ("POST", "/sent", 7),
    ("GET", "/read", 0),
];

fn begin() -> impl Strategy<Value = Step> {
    let upstream = prop_oneof![
        8 => Just(Upstream::Reached),
        2 => Just(Upstream::Connecting),
        1 => Just(Upstream::None),
        1 => prop::sample::select(vec![204, 301, 410]).prop_map(|status| Upstream::Direct(status, b"")),
        1 => Just(Upstream::Direct(503, b"maintenance")),
    ];
    let route = prop::sample::select(ROUTES.to_vec());
    let key = prop::option::weighted(0.9, prop::sample::select(vec!["1", "2"]));
    (0..2_usize, route, key, upstream, any::<bool>(), any::<bool>()).prop_map(
        |(account, route, key, upstream, end, ends_at_once)| {
            let end = end || matches!(route.0, "HEAD" | "GET");
            Step::Begin(Begin { account, route, key, upstream, end, ends_at_once })
        },
    )
}

fn pieces() -> impl Strategy<Value = Vec<&'static [u8]>> {
    prop_oneof![
        3 => Just(vec![BODY]),
        1 => prop::collection::vec(prop::sample::select(vec![b"a".as_slice(), b"b", b""]), 0..3),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let stream = || 0..6_usize;
    let statuses = prop::sample::select(vec![200, 200, 201, 302, 404, 500]);
    let charge = prop::option::weighted(0.3, 0..8_u64);
    prop_oneof![
        12 => begin(),
        4 => (stream(), pieces(), any::<bool>()).prop_map(|(stream, pieces, end)| Step::Body { stream, pieces, end }),
        1 => stream().prop_map(Step::Trailers),
        2 => stream().prop_map(Step::Connects),
        6 => (stream(), statuses, charge, any::<bool>())
            .prop_map(|(stream, status, charge, end)| Step::Answers { stream, status, charge, end }),
        5 => (stream(), pieces(), any::<bool>()).prop_map(|(stream, pieces, end)| Step::Sends { stream, pieces, end }),
        1 => stream().prop_map(Step::SendsTrailers),
        1 => stream().prop_map(Step::Breaks),
        1 => stream().prop_map(Step::TimesOut),
        2 => stream().prop_map(Step::Leaves),
        1 => stream().prop_map(Step::IsDestroyed),
        2 => stream().prop_map(Step::IsOver),
        8 => stream().prop_map(Step::GetsOn),
        8 => stream().prop_map(Step::Completes),
        6 => stream().prop_map(Step::Wake),
        1 => Just(Step::Forget),
        2 => (0..3_u64).prop_map(Step::Pause),
        1 => Just(Step::Update),
    ]
}

/// A stream of a story, with what began it.
struct Actor {
    stream: Rc<Stream>,
    begin: Begin,
    /// What its upstream said that it costs.
    charge: Option<u64>,
    /// What its upstream has sent.
    sent: Vec<u8>,
    /// It was to be woken, perhaps, and never will be.
    forgotten: bool,
}

impl Actor {
    /// Whether it cannot go on without being woken.
    fn waits(&self) -> bool {
        let state = self.stream.state();
        let asks =
            state.decode.begun && state.decode.ended && !state.decode.passed && !state.encode.begun;
        !self.stream.is_gone()
            && !self.forgotten
            && (asks || (state.encode.ended && !state.client.ended))
    }
}

/// A story on one worker.
struct Story<'b> {
    bank: &'b Bank,
    proxy: Proxy,
    accounts: [String; 2],
    actors: Vec<Actor>,
}

impl<'b> Story<'b> {
    fn new(bank: &'b Bank, accounts: &[String; 2]) -> Story<'b> {
        Story { bank, proxy: bank.proxy(), accounts: accounts.clone(), actors: Vec::new() }
    }

    fn tell(&mut self, step: &Step) {
        match step {
            Step::Begin(begin) => self.begin(begin),
            Step::Wake(nth) => drop(self.proxy.wake_one(*nth)),
            Step::Forget => {
                self.proxy.forget_wakes();
                self.actors.iter_mut().for_each(|actor| actor.forgotten = true);
            }
            Step::Pause(ms) => std::thread::sleep(Duration::from_millis(*ms)),
            Step::Update => self.proxy.update(self.bank.config(&json!({})).unwrap()),
            _ if self.actors.is_empty() => {}
            Step::Body { stream, .. }
            | Step::Trailers(stream)
            | Step::Connects(stream)
            | Step::Answers { stream, .. }
            | Step::Sends { stream, .. }
            | Step::SendsTrailers(stream)
            | Step::Breaks(stream)
            | Step::TimesOut(stream)
            | Step::Leaves(stream)
            | Step::IsDestroyed(stream)
            | Step::IsOver(stream)
            | Step::GetsOn(stream)
            | Step::Completes(stream) => {
                let last = self.actors.len() - 1;
                self.act(last - stream % self.actors.len(), step);
            }
        }
    }

    fn act(&mut self, nth: usize, step: &Step) {
        match step {
            Step::GetsOn(_) => self.gets_on(nth),
            Step::Completes(_) => {
                let usual = [
                    Step::Body { stream: 0, pieces: vec![BODY], end: true },
                    Step::GetsOn(0),
                    Step::Connects(0),
                    Step::Answers { stream: 0, status: 200, charge: None, end: false },
                    Step::Sends { stream: 0, pieces: vec![b"do", b"ne"], end: true },
                    Step::GetsOn(0),
                    Step::IsOver(0),
                ];
                usual.iter().for_each(|step| self.act(nth, step));
            }
            _ => act(&mut self.actors[nth], step),
        }
    }

    fn gets_on(&self, nth: usize) {
        let actor = &self.actors[nth];
        self.proxy.until("the stream goes on", || !actor.waits());
    }

    fn begin(&mut self, begin: &Begin) {
        let stream = self.proxy.stream();
        stream.change().upstream = begin.upstream.clone();
        stream.change().ends_at_once = begin.ends_at_once;
        let key = begin.key.map(|key| ("idempotency-key", key));
        let (method, path, _) = begin.route;
        let more: Vec<_> = key.into_iter().collect();
        let head = request(method, path, &self.accounts[begin.account], &more);
        let (begin, stream_too) = (begin.clone(), Rc::clone(&stream));
        let end = begin.end;
        self.actors.push(Actor {
            stream: stream_too,
            begin,
            charge: None,
            sent: Vec::new(),
            forgotten: false,
        });
        stream.sends_head(head, end);
    }

    /// Everybody who waits is woken, and nobody waits for ever. Then the clients leave whose requests have not ended.
    fn comes_to_its_end(self) -> Vec<Past> {
        for nth in 0..self.actors.len() {
            self.gets_on(nth);
        }
        for actor in &self.actors {
            actor.stream.is_over();
            actor.stream.leaves();
            assert!(actor.stream.is_gone());
        }
        let past = self.actors.iter().map(|actor| Past::of(actor, &self.accounts)).collect();
        self.proxy.ends();
        past
    }
}

/// What came of a stream.
#[derive(Debug)]
struct Past {
    account: usize,
    /// Account, path and key, where that path takes one.
    key: Option<(String, &'static str, &'static str)>,
    passed: bool,
    end: End,
    price: u64,
    /// What its upstream said that it costs, if it may cost that.
    charge: Option<u64>,
    /// What its upstream has sent.
    sent: Vec<u8>,
    replays: bool,
    /// What its client got: the status, and all of the body.
    status: Option<u16>,
    body: Option<Vec<u8>>,
}

impl Past {
    fn of(actor: &Actor, accounts: &[String; 2]) -> Past {
        let state = actor.stream.state();
        let (_, path, price) = actor.begin.route;
        let takes_key = !matches!(path, "/sent" | "/read");
        let key = actor.begin.key.filter(|_| takes_key);
        Past {
            account: actor.begin.account,
            key: key.map(|key| (accounts[actor.begin.account].clone(), path, key)),
            passed: state.decode.passed,
            end: state.end,
            price,
            charge: actor.charge.filter(|charge| *charge <= price),
            sent: actor.sent.clone(),
            replays: actor.stream.said("verdict") == "replay",
            status: state.encode.begun.then(|| state.status()),
            body: state.client.ended.then(|| state.client.body.clone()),
        }
    }

    fn reserved(&self) -> u64 {
        if self.end == End::Unknown { self.price } else { 0 }
    }

    fn posted(&self) -> u64 {
        match self.end {
            End::Whole(200..=399) | End::ClientLeft(200..=399) => self.charge.unwrap_or(self.price),
            _ => 0,
        }
    }
}

fn act(actor: &mut Actor, step: &Step) {
    let stream = &actor.stream;
    match step {
        Step::Body { pieces, end, .. } => stream.sends_body(pieces, *end),
        Step::Trailers(_) => stream.sends_trailers(),
        Step::Connects(_) => stream.upstream_connects(),
        Step::Answers { status, charge, end, .. } if stream.may_answer() => {
            let end = *end || actor.begin.route.0 == "HEAD";
            let text = charge.map(|charge| charge.to_string());
            let more: Vec<_> = text.iter().map(|text| ("x-charge", text.as_str())).collect();
            actor.charge = *charge;
            stream.upstream_answers(*status, &more, end);
        }
        Step::Sends { pieces, end, .. } if stream.may_go_on() => {
            actor.sent.extend(pieces.concat());
            stream.upstream_sends(pieces, *end);
        }
        Step::SendsTrailers(_) => stream.upstream_sends_trailers(),
        Step::Breaks(_) => stream.upstream_breaks(),
        Step::TimesOut(_) => stream.times_out(),
        Step::Leaves(_) => stream.leaves(),
        Step::IsDestroyed(_) => stream.is_destroyed(),
        Step::IsOver(_) => stream.is_over(),
        _ => {}
    }
}

/// Nothing with a key was done twice, and what is replayed is what was answered.
fn keys_hold(past: &[Past]) {
    let mut done: HashMap<_, &Past> = HashMap::new();
    for one in past.iter().filter(|one| one.passed && one.end != End::NotDone) {
        let Some(key) = &one.key else { continue };
        assert!(done.insert(key, one).is_none(), "{key:?} was done twice: {past:#?}");
    }
    // A wake-up may have been lost, or the client had left.
    for one in past.iter().filter(|one| one.replays && one.status.is_some()) {
        let first =
            one.key.as_ref().and_then(|key| done.get(key)).expect("only what was done is replayed");
        match first.end {
            End::Whole(status) | End::ClientLeft(status) => assert_eq!(one.status, Some(status)),
            end => panic!("{end:?} is replayed"),
        }
        if let (End::Whole(_), Some(body)) = (first.end, &one.body) {
            assert_eq!(*body, first.sent);
        }
    }
}

/// Checks the money of the accounts. What the streams came to is all that there is.
fn money_holds(bank: &Bank, accounts: &[String; 2], past: &[Past]) {
    let proxy = bank.proxy();
    for (nth, account) in accounts.iter().enumerate() {
        let own = || past.iter().filter(|one| one.account == nth);
        let posted = own().map(Past::posted).sum();
        bank.expect(&proxy, account, own().map(Past::reserved).sum(), posted);
        assert_eq!(bank.money(account).balance, DEPOSIT - posted);
    }
}

const DEPOSIT: u64 = 60;

/// Two accounts that nobody else has.
fn accounts(bank: &Bank) -> [String; 2] {
    static ACCOUNTS: AtomicU64 = AtomicU64::new(0);
    let names =
        ["a", "b"].map(|name| format!("{name}{}", ACCOUNTS.fetch_add(1, Ordering::Relaxed)));
    names.iter().for_each(|name| bank.account(name, DEPOSIT));
    names
}

/// So many stories, unless the environment says how many; each has so many workers, which share accounts.
fn stories(kept: Kept, workers: usize, cases: u32) {
    let charge = json!({ "charge": { "header": "x-charge" } });
    let bank = Bank::with(&format!("stories of {workers}"), kept, &charge);
    let usual = Cases::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { usual.cases } else { cases };
    let settings = Cases { cases, failure_persistence: None, max_shrink_time: 60_000, ..usual };
    let one = prop::collection::vec(step(), 1..120);
    let told = TestRunner::new(settings).run(&prop::collection::vec(one, workers), |stories| {
        let accounts = accounts(&bank);
        let tell = |steps: &Vec<Step>| {
            let mut story = Story::new(&bank, &accounts);
            steps.iter().for_each(|step| story.tell(step));
            story.comes_to_its_end()
        };
        let past: Vec<Past> = match stories.as_slice() {
            [steps] => tell(steps),
            _ => std::thread::scope(|scope| {
                let threads: Vec<_> =
                    stories.iter().map(|steps| scope.spawn(|| tell(steps))).collect();
                threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
            }),
        };
        money_holds(&bank, &accounts, &past);
        keys_hold(&past);
        Ok(())
    });
    assert!(!log::anybody_said("was not settled"));
    told.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn streams_in_any_order_in_memory() {
    stories(Kept::Memory, 1, 128);
}

#[test]
fn streams_in_any_order_where_the_store_answers_at_once() {
    stories(Kept::Never, 1, 128);
}

#[test]
fn streams_in_any_order_where_the_store_waits_for_the_disk() {
    stories(Kept::EveryCommit, 1, 64);
}

#[test]
fn streams_in_any_order_where_only_writing_waits() {
    stories(Kept::LimitsInMemory, 1, 64);
}

#[test]
fn streams_of_several_workers_where_the_store_answers_at_once() {
    stories(Kept::Memory, 3, 64);
}

#[test]
fn streams_of_several_workers_where_the_store_waits_for_the_disk() {
    stories(Kept::EveryCommit, 3, 32);
}
