//! How a server ends.

use std::collections::HashMap;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tollgate_gateway_tests::RedisServer;

use super::clients::{Place, Tally, ask_over_http1, ask_over_http2};
use super::process::{Serving, call, decisions};

/// Clients of both versions of HTTP.
fn load(place: &Place, tally: &Arc<Tally>) -> Vec<tokio::task::JoinHandle<()>> {
    let mut clients = Vec::new();
    for _ in 0..16 {
        clients.push(tokio::spawn(ask_over_http1(place.clone(), Arc::clone(tally))));
    }
    for _ in 0..4 {
        clients.push(tokio::spawn(ask_over_http2(place.clone(), 8, Arc::clone(tally))));
    }
    clients
}

/// Every answered request is in the log once, and none that the server did not take.
fn assert_logged_once(tally: &Tally, logs: &[&Path]) {
    assert_eq!(tally.lost(), [], "requests that were sent and not answered");
    let mut times: HashMap<String, usize> = HashMap::new();
    for decision in logs.iter().flat_map(|log| decisions(log)) {
        *times.entry(decision["id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    for number in tally.answered() {
        assert_eq!(times.remove(&format!("r-{number}")), Some(1), "r-{number}");
    }
    assert_eq!(times.len(), 0, "decided, and nobody got the answer: {times:?}");
}

async fn a_signal_under_load_loses_nothing(how: Signal) {
    let mut server = Serving::start(&["--decision-log", "decisions.json"]);
    server.add_account("acme", 0, "t-1");
    let tally = Arc::new(Tally::default());
    let clients = load(&Place::Tcp(server.place), &tally);
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.tell(how);
    let status = server.ended();
    assert_eq!(status.code(), Some(0), "{}", server.said());
    tally.stop();
    for client in clients {
        client.await.unwrap();
    }
    let answered = tally.answered().len();
    assert!(answered > 100, "{answered}");
    assert_logged_once(&tally, &[&server.directory.path().join("decisions.json")]);
    println!("{how:?}: {answered} answered, {} not taken", tally.refused().len());
    assert!(server.said().contains("stopped"), "{}", server.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_loses_nothing() {
    for _ in 0..3 {
        a_signal_under_load_loses_nothing(Signal::TERM).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_under_load_loses_nothing() {
    a_signal_under_load_loses_nothing(Signal::INT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_takes_a_socket_over_under_load() {
    let sockets = tempfile::tempdir().unwrap();
    let path = sockets.path().join("tollgate.sock");
    let listen = format!("unix:{}", path.display());
    let store = format!("lmdb:{}", sockets.path().join("db").display());
    let start = || {
        let arguments = ["--listen", &listen, "--decision-log", "decisions.json"];
        Serving::with(&["--store", &store, "--sync", "never"], &arguments, &[])
    };
    let mut first = start();
    first.add_account("acme", 0, "t-1");
    let tally = Arc::new(Tally::default());
    let clients = load(&Place::Unix(path.clone()), &tally);
    tokio::time::sleep(Duration::from_millis(500)).await;
    first.tell(Signal::TERM);
    // The name goes first, the server when all is answered.
    while path.exists() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let second = start();
    assert_eq!(first.ended().code(), Some(0));
    let before = tally.answered().len();
    while tally.answered().len() < before + 100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(path.exists(), "the first one took the second one's socket away");
    tally.stop();
    for client in clients {
        client.await.unwrap();
    }
    let log = |server: &Serving| server.directory.path().join("decisions.json");
    let mut second = second;
    second.tell(Signal::TERM);
    assert_eq!(second.ended().code(), Some(0));
    assert_logged_once(&tally, &[&log(&first), &log(&second)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_slow_store_is_answered() {
    let redis = RedisServer::start();
    let url = redis.url();
    let log = ["--decision-log", "decisions.json"];
    let mut server = Serving::with(&["--store", &url], &log, &[]);
    server.add_account("acme", 0, "t-1");
    let tally = Arc::new(Tally::default());
    let clients = load(&Place::Tcp(server.place), &tally);
    tokio::time::sleep(Duration::from_millis(500)).await;
    redis.hang();
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.tell(Signal::TERM);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(server.child.try_wait().unwrap().is_none(), "it ended before it answered");
    redis.wake();
    assert_eq!(server.ended().code(), Some(0), "{}", server.said());
    tally.stop();
    for client in clients {
        client.await.unwrap();
    }
    assert_logged_once(&tally, &[&server.directory.path().join("decisions.json")]);
}

/// A request that waits for a store that does not answer.
fn ask_in_vain(server: &Serving) -> TcpStream {
    let asked = r#"{"method":"GET","target":"/free","headers":[["authorization","Bearer t-1"]]}"#;
    let request = format!(
        "POST /v1/decide HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{asked}",
        asked.len()
    );
    let mut stream = TcpStream::connect(server.place).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

#[test]
fn the_grace_has_an_end_and_a_second_signal_is_one() {
    for how in [None, Some(Signal::TERM), Some(Signal::INT)] {
        let redis = RedisServer::start();
        let url = redis.url();
        let grace = if how.is_none() { "500" } else { "3600000" };
        let arguments = ["--grace-ms", grace, "--answer-timeout-ms", "3600000"];
        let mut server = Serving::with(&["--store", &url], &arguments, &[]);
        server.add_account("acme", 0, "t-1");
        redis.hang();
        let _waiting = ask_in_vain(&server);
        while server.metric("tollgate_connections") < 1.0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let began = Instant::now();
        server.tell(Signal::TERM);
        server.until_said("stopping: ");
        if let Some(how) = how {
            server.tell(how);
        }
        // Redis itself gives up after some seconds; this is long before.
        assert_eq!(server.ended().code(), Some(0), "{}", server.said());
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        let last = if how.is_none() { "cut off" } else { "stopped at once" };
        assert!(server.said().contains(last), "{}", server.said());
    }
}

#[test]
fn a_server_that_drains_answers_and_is_not_ready() {
    let mut server = Serving::start(&["--drain-ms", "2000"]);
    server.add_account("acme", 0, "t-1");
    while call(server.place, None, "GET", "/readyz", "").0 != 200 {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.tell(Signal::TERM);
    server.until_said("stopping: ");
    while call(server.place, None, "GET", "/readyz", "") != (503, "stopping\n".to_owned()) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(call(server.place, None, "GET", "/healthz", "").0, 200);
    let asked = r#"{"method":"GET","target":"/free","headers":[["authorization","Bearer t-1"]]}"#;
    assert!(call(server.place, None, "POST", "/v1/decide", asked).1.contains("\"allow\""));
    assert_eq!(server.ended().code(), Some(0));
}
