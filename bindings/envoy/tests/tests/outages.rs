//! A Redis server that hangs, stops, or is not there: workers go on with what does not need it, and nothing is done twice.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use tollgate_envoy_tests::Fleet;
use tollgate_gateway_tests::{
    POLICY, RedisServer, Response, Upstream, begin_to_pay, send, send_as_account,
};

const DONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";

/// What a worker may take for a request that does not need the store, on a machine that has other work.
const AT_ONCE: Duration = Duration::from_millis(500);

fn upstream() -> Upstream {
    Upstream::answering(DONE)
}

/// Payments under the keys `PREFIX0` …, through each Envoy in turn, on connections that wait for their answers.
fn waiting(
    fleet: &Fleet,
    prefix: &str,
    count: usize,
) -> Vec<std::thread::JoinHandle<(String, Response)>> {
    let ports = fleet.ports().into_iter().cycle().take(count);
    let each = |(number, port): (usize, u16)| {
        let key = format!("{prefix}{number}");
        std::thread::spawn(move || {
            let answer =
                send_as_account(port, "POST", "/pay", &[("Idempotency-Key", &key)], b"{\"to\":1}");
            (key, answer)
        })
    };
    ports.enumerate().map(each).collect()
}

/// Asks every Envoy for what needs no store, for so long; the longest that one took.
fn others_are_served(fleet: &Fleet, how_long: Duration) -> Duration {
    let (begin, mut longest, mut asked) = (Instant::now(), Duration::ZERO, 0);
    while begin.elapsed() < how_long {
        for port in fleet.ports() {
            for (target, status) in [("/plain", 200), ("/read", 401)] {
                let begin = Instant::now();
                assert_eq!(send(port, "GET", target, &[], b"").status, status);
                longest = longest.max(begin.elapsed());
                asked += 1;
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(asked > 20, "{asked}");
    assert!(longest < AT_ONCE, "{longest:?}");
    longest
}

/// Pays under fresh keys until one goes through; how long that took.
fn recovers(fleet: &Fleet, envoy: usize) -> Duration {
    let begin = Instant::now();
    for number in 0.. {
        let answer = fleet.pay(envoy, &format!("recovers-{envoy}-{number}"));
        if answer.status == 200 {
            break;
        }
        assert_eq!((answer.status, answer.code().as_str()), (503, "store_unavailable"));
        assert!(begin.elapsed() < Duration::from_secs(20), "{}", fleet.envoys[envoy].log());
        std::thread::sleep(Duration::from_millis(50));
    }
    begin.elapsed()
}

/// How often each key reached the upstream.
fn carried_out(fleet: &Fleet) -> HashMap<String, usize> {
    let mut times = HashMap::new();
    for request in fleet.upstream.received() {
        let key = request.header("idempotency-key").unwrap_or_default().to_owned();
        *times.entry(key).or_insert(0) += usize::from(request.target == "/pay");
    }
    times
}

#[test]
fn a_server_that_hangs_and_goes_on() {
    let fleet = Fleet::start(2, upstream(), POLICY, &json!({}));
    for envoy in [0, 1] {
        assert_eq!(fleet.pay(envoy, "before").status, 200);
    }
    fleet.expect(0, 5);
    fleet.server.hang();
    let asked = Instant::now();
    let answers = waiting(&fleet, "hangs-", 16);
    let longest = others_are_served(&fleet, Duration::from_millis(1500));
    for answer in answers {
        let (_, answer) = answer.join().unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (503, "store_unavailable"));
    }
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    fleet.server.wake();
    let recovery = [0, 1].map(|envoy| recovers(&fleet, envoy));
    assert_eq!(fleet.pay(1, "before").header("idempotent-replayed"), Some("true"));

    // The server may have admitted a request that was refused for its silence: nobody knows, so that its key is not carried out by another.
    let mut in_flight = 0;
    for number in 0..16 {
        let again = fleet.pay(number % 2, &format!("hangs-{number}"));
        assert!(matches!(again.status, 200 | 409), "{}", again.text());
        in_flight += u64::from(again.status == 409);
    }
    eprintln!(
        "others took {longest:?} at most, refusals {took:?} in all, recovery {recovery:?}, in flight {in_flight}"
    );
    assert!(carried_out(&fleet).values().all(|times| *times <= 1));
    let money = fleet.money();
    assert_eq!(money.balance + money.posted, 1000, "{money:?}");
    // What it holds ends with its lease.
    assert_eq!(money.held, 5 * in_flight, "{money:?}");
    let paid = carried_out(&fleet).values().filter(|times| **times == 1).count();
    assert_eq!(money.posted, 5 * u64::try_from(paid).unwrap(), "{money:?}");
}

#[test]
fn a_client_that_leaves_while_the_server_hangs_pays_nothing() {
    let patient = json!({"response_timeout_ms": 20_000});
    let fleet = Fleet::start(2, upstream(), POLICY, &patient);
    for envoy in [0, 1] {
        assert_eq!(fleet.pay(envoy, "before").status, 200);
    }
    fleet.server.hang();
    let clients: Vec<_> = fleet
        .ports()
        .into_iter()
        .cycle()
        .take(8)
        .enumerate()
        .map(|(number, port)| begin_to_pay(port, &format!("left-{number}")))
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    for client in &clients {
        client.close();
    }
    // The Envoys have seen it before there is an answer for them.
    for envoy in &fleet.envoys {
        let end = Instant::now() + Duration::from_secs(5);
        while envoy.stat("http.http.downstream_rq_active") > 0 {
            assert!(Instant::now() < end);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    fleet.server.wake();
    fleet.expect(0, 5);
    assert_eq!(fleet.upstream.calls(), 1);
    // It was not carried out: whoever comes again is served, and pays.
    for number in 0..8 {
        let again = fleet.pay((number + 1) % 2, &format!("left-{number}"));
        assert_eq!((again.status, again.header("idempotent-replayed")), (200, None));
    }
    fleet.expect(0, 45);
}

#[test]
fn an_envoy_ends_well_while_requests_wait_for_a_server_that_hangs() {
    let patient = json!({"response_timeout_ms": 20_000});
    let mut fleet = Fleet::start(2, upstream(), POLICY, &patient);
    for envoy in [0, 1] {
        assert_eq!(fleet.pay(envoy, "before").status, 200);
    }
    fleet.server.hang();
    let clients: Vec<_> =
        (0..8).map(|number| begin_to_pay(fleet.ports()[1], &format!("ends-{number}"))).collect();
    std::thread::sleep(Duration::from_millis(200));
    let begin = Instant::now();
    assert!(fleet.envoys[1].stop(Signal::TERM), "{}", fleet.envoys[1].log());
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    drop(clients);
    fleet.server.wake();
    // Nothing was sent on, and the other goes on.
    recovers(&fleet, 0);
    assert_eq!(fleet.pay(0, "before").header("idempotent-replayed"), Some("true"));
    assert!(carried_out(&fleet).keys().all(|key| !key.starts_with("ends-")));
}

#[test]
fn a_server_that_stops_and_comes_back() {
    let mut fleet = Fleet::start(2, upstream(), POLICY, &json!({}));
    for envoy in [0, 1] {
        assert_eq!(fleet.pay(envoy, "before").text(), "done");
    }
    fleet.server.stop();
    let answers = waiting(&fleet, "stopped-", 16);
    others_are_served(&fleet, Duration::from_millis(500));
    for answer in answers {
        let (_, answer) = answer.join().unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (503, "store_unavailable"));
    }
    // What is known without the store is still said.
    let nobody = fleet.envoys[0].send("GET", "/read", &[], b"");
    assert_eq!(nobody.code(), "missing_token");
    assert_eq!(fleet.upstream.calls(), 1 + plain_calls(&fleet));

    fleet.server.go_on();
    for envoy in [0, 1] {
        recovers(&fleet, envoy);
        assert_eq!(fleet.pay(envoy, "before").header("idempotent-replayed"), Some("true"));
    }
    // Nothing of what was refused was kept: the keys are new.
    for number in 0..16 {
        let answer = fleet.pay(number % 2, &format!("stopped-{number}"));
        assert_eq!((answer.status, answer.header("idempotent-replayed")), (200, None));
    }
    fleet.expect(0, 95);
}

fn plain_calls(fleet: &Fleet) -> usize {
    fleet.upstream.received().iter().filter(|request| request.target == "/plain").count()
}

#[test]
fn a_server_that_is_not_there_at_the_start() {
    let mut fleet = Fleet::start(0, upstream(), POLICY, &json!({}));
    fleet.server.stop();
    fleet.add(POLICY, &json!({}));
    let refused = fleet.pay(0, "k");
    assert_eq!((refused.status, refused.code().as_str()), (503, "store_unavailable"));
    others_are_served(&fleet, Duration::from_millis(200));
    fleet.server.go_on();
    recovers(&fleet, 0);
    assert_eq!(fleet.pay(0, "k").status, 200);
    assert_eq!(fleet.pay(0, "k").header("idempotent-replayed"), Some("true"));
}

#[test]
fn a_policy_that_leaves_checks_open_passes_what_costs_nothing() {
    let open = POLICY
        .replace("\"window_ms\": 60000", "\"window_ms\": 60000, \"on_store_failure\": \"open\"");
    let fleet = Fleet::start(1, upstream(), &open, &json!({}));
    let read = || send_as_account(fleet.envoys[0].port(), "GET", "/read", &[], b"").status;
    assert_eq!(read(), 200);
    fleet.server.hang();
    let (known, paid) = (read(), fleet.pay(0, "k").status);
    fleet.server.wake();
    assert_eq!((known, paid), (200, 503));
}

#[test]
fn a_server_that_hangs_is_stopped_with_its_test() {
    let server = RedisServer::start();
    let url = server.url();
    server.hang();
    drop(server);
    let address = url.strip_prefix("redis://").unwrap();
    assert!(std::net::TcpStream::connect(address).is_err());
}
