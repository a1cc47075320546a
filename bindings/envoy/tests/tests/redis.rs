//! Two Envoys over one Redis server: what holds for one holds for both together.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

use std::collections::HashMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use tollgate::{Admin, Engine, PolicyConfig, TokenFormat, TokenText};
use tollgate_envoy_tests::Fleet;
use tollgate_gateway_tests::{
    Client, POLICY, TOKEN, Upstream, begin_to_pay, request, send_as_account,
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Sends something through every port of the fleet's in turn, all at once.
fn at_once<T: Send + 'static>(
    fleet: &Fleet,
    count: usize,
    ask: impl Fn(u16) -> T + Clone + Send + 'static,
) -> Vec<T> {
    let start = Arc::new(Barrier::new(count));
    let threads: Vec<_> = fleet
        .ports()
        .into_iter()
        .cycle()
        .take(count)
        .map(|port| {
            let (start, ask) = (Arc::clone(&start), ask.clone());
            std::thread::spawn(move || {
                start.wait();
                ask(port)
            })
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

fn pay_at(port: u16, key: &str) -> tollgate_gateway_tests::Response {
    send_as_account(port, "POST", "/pay", &[("Idempotency-Key", key)], b"{\"to\":1}")
}

/// What was carried out under each key: the bodies of the answers.
type Done = Arc<Mutex<HashMap<String, Vec<String>>>>;

/// Answers each request with a number of its own, after a pause.
fn numbering(pause: Duration) -> (Upstream, Done) {
    let done = Done::default();
    let (kept, next) = (Arc::clone(&done), AtomicUsize::new(0));
    let upstream = Upstream::start(move |request, mut stream| {
        let key = request.header("idempotency-key").unwrap_or_default().to_owned();
        let body = format!("done {}", next.fetch_add(1, Ordering::Relaxed));
        kept.lock().unwrap().entry(key).or_default().push(body.clone());
        std::thread::sleep(pause);
        let length = body.len();
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
    });
    (upstream, done)
}

#[test]
fn a_quota_is_exact_over_both() {
    // Nothing refills meanwhile that would matter.
    let policy =
        POLICY.replace("\"quota\": 1000000", "\"quota\": 100").replace("60000", "3600000000");
    let fleet = Fleet::start(2, Upstream::answering(OK), &policy, &json!({}));
    let statuses: Vec<_> = at_once(&fleet, 40, |port| {
        (0..10).map(|_| send_as_account(port, "GET", "/read", &[], b"").status).collect::<Vec<_>>()
    })
    .concat();
    let count = |status| statuses.iter().filter(|got| **got == status).count();
    assert_eq!((count(200), count(429)), (100, 300));
    assert_eq!(fleet.upstream.calls(), 100);
    // Both had a part in it.
    for envoy in &fleet.envoys {
        assert_eq!(envoy.stat("http.http.downstream_rq_total"), 200);
    }
}

#[test]
fn duplicates_at_both_are_carried_out_once() {
    let (upstream, done) = numbering(Duration::from_millis(20));
    let fleet = Fleet::start(2, upstream, POLICY, &json!({}));
    for round in 0..5 {
        let key = format!("k{round}");
        let same = key.clone();
        let answers = at_once(&fleet, 64, move |port| pay_at(port, &same));
        let mut seen = 0;
        for answer in &answers {
            match answer.status {
                200 => seen += 1,
                409 => assert_eq!(answer.code(), "idempotency_in_flight"),
                other => panic!("{other}: {}", answer.text()),
            }
        }
        assert!(seen >= 1, "round {round}");
        let first = done.lock().unwrap()[&key].clone();
        assert_eq!(first.len(), 1, "round {round}");
        assert!(answers.iter().all(|answer| answer.status == 409 || answer.text() == first[0]));
        let replays =
            answers.iter().filter(|answer| answer.header("idempotent-replayed") == Some("true"));
        assert_eq!(replays.count(), seen - 1, "round {round}");
    }
    assert_eq!(fleet.upstream.calls(), 5);
    fleet.expect(0, 25);
}

/// Answers in this shape, in pieces.
fn shaped(shape: &'static [&'static str]) -> Upstream {
    Upstream::start(move |_, mut stream| {
        for piece in shape {
            let _ = stream.write_all(piece.as_bytes());
            std::thread::sleep(Duration::from_millis(1));
        }
    })
}

#[test]
fn who_has_a_whole_answer_from_one_finds_it_replayed_by_either() {
    for shape in [
        &["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone"][..],
        &["HTTP/1.1 201 Created\r\nContent-Length: 8\r\n\r\n", "half", "more"][..],
        &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "4\r\ndone\r\n", "0\r\n\r\n"][..],
        &["HTTP/1.1 204 No Content\r\n\r\n"][..],
    ] {
        let fleet = Fleet::start(2, shaped(shape), POLICY, &json!({}));
        for round in 0..50 {
            let key = format!("k{round}");
            let (here, other) = (round % 2, (round / 2) % 2);
            // The connection stays open: what was read is all there is to go by.
            let mut client = begin_to_pay(fleet.ports()[here], &key);
            let first = client.read("POST").unwrap();
            let again = fleet.pay(other, &key);
            assert!(first.whole && matches!(first.status, 200 | 201 | 204), "{shape:?} {round}");
            assert_eq!(
                (again.status, &again.body, again.header("idempotent-replayed")),
                (first.status, &first.body, Some("true")),
                "{shape:?} {round}: {here} and {other}"
            );
        }
        assert_eq!(fleet.upstream.calls(), 50);
        fleet.expect(0, 250);
    }
}

#[test]
fn money_is_conserved_under_load_at_both() {
    // Every third request costs less than what was reserved.
    let next = AtomicUsize::new(0);
    let posted = Arc::new(AtomicU64::new(0));
    let sum = Arc::clone(&posted);
    let upstream = Upstream::start(move |_, mut stream| {
        let charge = if next.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) { 2 } else { 5 };
        sum.fetch_add(charge, Ordering::SeqCst);
        let _ =
            write!(stream, "HTTP/1.1 200 OK\r\nX-Charge: {charge}\r\nContent-Length: 2\r\n\r\nok");
    });
    let fleet = Arc::new(Fleet::start(2, upstream, POLICY, &json!({})));
    let stop = Arc::new(AtomicBool::new(false));
    // What is paid in grows by 40 until 2,000 are reached; each look at the wallet is at some instant between two looks at that.
    let paid = Arc::new(AtomicU64::new(1000));
    let paying = {
        let (fleet, paid) = (Arc::clone(&fleet), Arc::clone(&paid));
        std::thread::spawn(move || {
            for _ in 0..25 {
                std::thread::sleep(Duration::from_millis(20));
                fleet.deposit(40);
                paid.fetch_add(40, Ordering::SeqCst);
            }
        })
    };
    let watching = {
        let (fleet, paid, stop) = (Arc::clone(&fleet), Arc::clone(&paid), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut looks = 0;
            while !stop.load(Ordering::Relaxed) {
                let before = paid.load(Ordering::SeqCst);
                let money = fleet.money();
                let after = paid.load(Ordering::SeqCst);
                assert!(money.held <= money.balance, "{money:?}");
                let all = money.balance + money.posted;
                assert!((before..=after + 40).contains(&all), "{before} {money:?} {after}");
                looks += 1;
            }
            looks
        })
    };
    let next = Arc::new(AtomicUsize::new(0));
    let statuses: Vec<u16> = at_once(&fleet, 16, move |port| {
        (0..60)
            .map(|_| pay_at(port, &format!("k{}", next.fetch_add(1, Ordering::Relaxed))).status)
            .collect::<Vec<_>>()
    })
    .concat();
    paying.join().unwrap();
    stop.store(true, Ordering::Relaxed);
    assert!(watching.join().unwrap() > 20);
    let count = |status| statuses.iter().filter(|got| **got == status).count();
    assert_eq!(count(200) + count(402), 960, "{statuses:?}");
    assert_eq!(count(200), fleet.upstream.calls());
    let posted = posted.load(Ordering::SeqCst);
    fleet.expect(0, posted);
    let money = fleet.money();
    assert_eq!(money.balance + posted, 2000, "{money:?}");
    // The wallet was the bound: 2,000 are not enough for 960 of them.
    assert!(count(402) > 0 && posted <= 2000, "{money:?}");
}

/// One answer of a load.
struct Answer {
    key: String,
    port: u16,
    status: u16,
    body: String,
    whole: bool,
}

/// Pays under fresh keys, each sent to all ports, from several threads, until told to stop.
fn load(ports: &[u16], stop: &Arc<AtomicBool>) -> Vec<std::thread::JoinHandle<Vec<Answer>>> {
    let next = Arc::new(AtomicUsize::new(0));
    let thread = |number: usize| {
        let (stop, next, mut ports) = (Arc::clone(stop), Arc::clone(&next), ports.to_vec());
        ports.rotate_left(number % 2);
        std::thread::spawn(move || {
            let mut answers = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let key = format!("k{}", next.fetch_add(1, Ordering::Relaxed));
                for port in &ports {
                    let token = format!("Bearer {TOKEN}");
                    let headers = [("Authorization", token.as_str()), ("Idempotency-Key", &key)];
                    let bytes = request("POST", "/pay", &headers, b"{\"to\":1}");
                    let answer = Client::try_connect(*port).and_then(|mut client| {
                        client.write(&bytes);
                        client.read("POST")
                    });
                    let (status, body, whole) = answer.map_or((0, String::new(), false), |got| {
                        (got.status, got.text(), got.whole)
                    });
                    answers.push(Answer { key: key.clone(), port: *port, status, body, whole });
                }
            }
            answers
        })
    };
    (0..8).map(thread).collect()
}

#[test]
fn when_one_is_killed_the_other_goes_on_and_nothing_is_lost() {
    let (upstream, done) = numbering(Duration::from_millis(100));
    let mut fleet = Fleet::start(2, upstream, POLICY, &json!({}));
    fleet.deposit(999_000);
    let stop = Arc::new(AtomicBool::new(false));
    let ports = fleet.ports();
    let threads = load(&ports, &stop);
    std::thread::sleep(Duration::from_millis(800));
    let before = fleet.upstream.calls();
    fleet.envoys[1].stop(Signal::KILL);
    std::thread::sleep(Duration::from_millis(1200));
    stop.store(true, Ordering::Relaxed);
    let answers: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let calls = fleet.upstream.calls();
    assert!(before > 20 && calls > before + 20, "{before} calls before, {calls} in all");

    // The other never failed; what the killed one was at is in flight for it.
    for answer in answers.iter().filter(|answer| answer.port == ports[0]) {
        assert!(matches!(answer.status, 200 | 409), "{}: {}", answer.status, answer.body);
    }
    let lost = answers.iter().filter(|answer| answer.port == ports[1] && answer.status == 0);
    assert!(lost.count() > 0, "nothing was under way at the one that was killed");
    let done = done.lock().unwrap().clone();
    assert!(done.values().all(|bodies| bodies.len() == 1), "a key was carried out twice");
    let seen: HashMap<_, _> = answers
        .iter()
        .filter(|answer| answer.status == 200 && answer.whole)
        .map(|answer| (&answer.key, &answer.body))
        .collect();
    for (key, body) in &seen {
        assert_eq!(done[*key], [(*body).clone()], "{key}");
        let again = fleet.pay(0, key);
        assert_eq!(
            (again.status, &again.text(), again.header("idempotent-replayed")),
            (200, *body, Some("true")),
            "{key}"
        );
    }
    assert_eq!(fleet.upstream.calls(), calls);

    // What was done and not settled stays held, so that it can be charged or given back.
    let money = fleet.money();
    assert_eq!(money.balance + money.posted, 1_000_000, "{money:?}");
    let (posted, held) = (money.posted / 5, money.held / 5);
    assert!(held > 0 && held <= 8, "{money:?}");
    let (seen, done) = (u64::try_from(seen.len()).unwrap(), u64::try_from(done.len()).unwrap());
    assert!(posted >= seen && posted <= done && done <= posted + held, "{money:?} {seen} {done}");
}

#[test]
fn a_token_that_is_revoked_is_refused_by_both_at_once() {
    let fleet = Fleet::start(2, Upstream::answering(OK), POLICY, &json!({}));
    let revoked = Arc::new(Mutex::new(None::<Instant>));
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = fleet
        .ports()
        .into_iter()
        .cycle()
        .take(8)
        .map(|port| {
            let (revoked, stop) = (Arc::clone(&revoked), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut after = 0;
                while !stop.load(Ordering::Relaxed) {
                    let is_revoked = revoked.lock().unwrap().is_some();
                    let answer = send_as_account(port, "GET", "/read", &[], b"");
                    assert!(matches!(answer.status, 200 | 401), "{}", answer.text());
                    assert!(!is_revoked || answer.code() == "invalid_token", "let in after that");
                    after += usize::from(is_revoked);
                }
                after
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    assert!(fleet.upstream.calls() > 20);
    let policy = PolicyConfig::from_json("{}").unwrap().compile().unwrap();
    let digest = Engine::new(policy).digest(&TokenText::parse(TokenFormat::Opaque, TOKEN).unwrap());
    Admin::new(&fleet.store).revoke_token(&digest, 1_700_000_000_000).unwrap();
    *revoked.lock().unwrap() = Some(Instant::now());
    std::thread::sleep(Duration::from_millis(300));
    stop.store(true, Ordering::Relaxed);
    assert!(threads.into_iter().all(|thread| thread.join().unwrap() > 0));
}
