//! Thousands of clients that mean no good, and a few that do.
//!
//! In a run of all tests one kind comes ten thousand times and the others five hundred times; `TOLLGATE_CONNECTIONS` is another number for
//! all of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::clients::{Certificate, Place, Tally, ask_over_http1, ask_over_http2};
use super::process::Serving;

/// What a client does that means no good. Each gives up when its connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Connects and says nothing.
    Silent,
    /// Sends a byte of a head every second.
    SlowHead,
    /// Sends a byte of a body every second.
    SlowBody,
    /// Begins a handshake of TLS and says nothing more.
    HalfHandshake,
    /// Sends a head of a megabyte.
    LongHead,
    /// Sends a body of eight megabytes.
    LongBody,
    /// The same without saying how long it is.
    ChunkedBody,
    /// Asks for much, again and again, and reads nothing.
    NeverReads,
    /// HTTP/2: a head that is continued without end.
    Continuations,
    /// HTTP/2: ten thousand streams whose requests do not end.
    ManyStreams,
    /// HTTP/2: ten thousand requests that are taken back at once.
    Resets,
    /// HTTP/2: requests whose answers may not be sent.
    NoWindow,
    /// HTTP/2: pings and settings without end.
    Pings,
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A head for this path, without a table of headers.
fn get(path: &str) -> Vec<u8> {
    let mut head = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
    head.extend(path.as_bytes());
    head.extend(b"\x01\x01a");
    head
}

impl Kind {
    /// What is sent first.
    fn opening(self) -> Vec<u8> {
        let http2 = |settings: &[u8]| [PREFACE, &frame(SETTINGS, 0, 0, settings)].concat();
        match self {
            Kind::Silent => Vec::new(),
            Kind::HalfHandshake => vec![22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3],
            Kind::SlowHead => b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec(),
            Kind::LongHead => b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec(),
            Kind::SlowBody => {
                b"POST /v1/decide HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n".to_vec()
            }
            Kind::LongBody => {
                b"POST /v1/decide HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 8388608\r\n\r\n".to_vec()
            }
            Kind::ChunkedBody => {
                b"POST /v1/decide HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()
            }
            Kind::NeverReads => b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n".repeat(500),
            Kind::Continuations => [http2(&[]), frame(HEADERS, 0, 1, &get("/healthz"))].concat(),
            // The initial window is nothing.
            Kind::NoWindow => http2(&[0, 4, 0, 0, 0, 0]),
            Kind::ManyStreams | Kind::Resets | Kind::Pings => http2(&[]),
        }
    }

    /// What is sent next, for the `n`th time; nothing: no more.
    fn next(self, n: u32) -> Vec<u8> {
        let stream = n * 2 + 1;
        match self {
            Kind::Silent | Kind::HalfHandshake | Kind::NeverReads => Vec::new(),
            Kind::SlowHead | Kind::SlowBody => b"x".to_vec(),
            Kind::LongHead if n < 64 => vec![b'x'; 16 << 10],
            Kind::LongBody if n < 512 => vec![b' '; 16 << 10],
            Kind::ChunkedBody if n < 512 => [b"4000\r\n", &[b' '; 16 << 10][..], b"\r\n"].concat(),
            Kind::Continuations if n < 512 => {
                frame(CONTINUATION, 0, 1, &b"\x00\x01a\x01b".repeat(800))
            }
            Kind::ManyStreams if n < 10_000 => {
                frame(HEADERS, END_HEADERS, stream, &get("/v1/decide"))
            }
            Kind::Resets if n < 10_000 => [
                frame(HEADERS, END_HEADERS | END_STREAM, stream, &get("/healthz")),
                frame(RESET, 0, stream, &[0, 0, 0, 8]),
            ]
            .concat(),
            Kind::NoWindow if n < 256 => {
                frame(HEADERS, END_HEADERS | END_STREAM, stream, &get("/openapi.json"))
            }
            Kind::Pings if n < 10_000 => {
                [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, 0, 0, &[])].concat()
            }
            _ => Vec::new(),
        }
    }

    async fn attack(self, server: SocketAddr) {
        // A server that has too many resets it, which is its right.
        let Ok(stream) = TcpStream::connect(server).await else { return };
        let (mut reads, mut writes) = stream.into_split();
        let write = async {
            writes.write_all(&self.opening()).await?;
            for n in 0.. {
                let bytes = self.next(n);
                if bytes.is_empty() {
                    std::future::pending::<()>().await;
                }
                writes.write_all(&bytes).await?;
                if matches!(self, Kind::SlowHead | Kind::SlowBody) {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
            Ok::<_, std::io::Error>(())
        };
        let read = async {
            if self == Kind::NeverReads {
                std::future::pending::<()>().await;
            }
            let mut buffer = [0; 4096];
            while reads.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
        };
        tokio::select! {
            _ = write => {}
            () = read => {}
            () = tokio::time::sleep(HOLDS) => {}
        }
    }
}

/// How long a connection is kept that the server does not close.
const HOLDS: Duration = Duration::from_secs(3);

/// How long honest clients ask at least.
const AT_LEAST: Duration = Duration::from_secs(2);

fn connections(usually: usize) -> usize {
    let given = std::env::var("TOLLGATE_CONNECTIONS");
    given.map_or(usually, |number| number.parse().expect("TOLLGATE_CONNECTIONS is a number"))
}

/// A server whose clients have two seconds for what they send.
const BOUNDS: [&str; 8] = [
    // A machine that is busy with other tests must not make an answer late.
    "--answer-timeout-ms",
    "60000",
    "--receive-timeout-ms",
    "2000",
    "--idle-timeout-ms",
    "60000",
    "--max-connections",
    "12000",
];

fn server() -> Serving {
    let server = Serving::start(&BOUNDS);
    server.add_account("acme", 0, "t-1");
    server
}

/// So many connections of a kind at once, while honest clients go on.
async fn flood(server: &Serving, place: &Place, kind: Kind, count: usize) {
    let tally = Arc::new(Tally::default());
    let mut honest = Vec::new();
    for _ in 0..8 {
        honest.push(tokio::spawn(ask_over_http1(place.clone(), Arc::clone(&tally))));
    }
    honest.push(tokio::spawn(ask_over_http2(place.clone(), 8, Arc::clone(&tally))));
    let (before_kib, began) = (server.resident_kib(), Instant::now());
    let mut attackers = JoinSet::new();
    for started in 0..count {
        attackers.spawn(kind.attack(server.place));
        if started % 256 == 255 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let mut most = 0.0;
    let (mut peak_kib, mut ended) = (0, 0);
    while ended < count {
        tokio::select! {
            done = attackers.join_next() => {
                done.unwrap().unwrap();
                ended += 1;
            }
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
        if ended % 500 == 0 {
            most = f64::max(most, server.metric("tollgate_connections"));
            peak_kib = peak_kib.max(server.resident_kib());
        }
    }
    let took = began.elapsed();
    tokio::time::sleep(AT_LEAST.saturating_sub(took)).await;
    tally.stop();
    for client in honest {
        client.await.unwrap();
    }
    assert_eq!(tally.lost(), [], "{kind:?}");
    let [least, middle, late, last] = tally.latencies();
    let answered = tally.answered().len();
    assert_recovered(server).await;
    let after_kib = server.resident_kib();
    println!(
        "{count} {kind:?}: {took:.1?}, {most} at once; honest: {answered} of {answered}, {least:.1?} {middle:.1?} {late:.1?} {last:.1?}; \
         KiB {before_kib} {peak_kib} {after_kib}"
    );
    assert!(answered > 20, "{kind:?}: {answered}");
}

/// Nobody is connected any more but who asks for the metrics.
async fn assert_recovered(server: &Serving) {
    let began = Instant::now();
    while server.metric("tollgate_connections") > 1.0 {
        assert!(began.elapsed() < Duration::from_secs(90), "connections stay");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn kinds(count: usize, kinds: &[Kind]) {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let server = server();
    let place = Place::Tcp(server.place);
    for kind in kinds {
        flood(&server, &place, *kind, count).await;
    }
    let first_kib = server.resident_kib();
    // The same again needs no more memory than the first time.
    if let Some(kind) = kinds.last() {
        flood(&server, &place, *kind, count).await;
    }
    let last_kib = server.resident_kib();
    assert!(last_kib < first_kib + first_kib / 4 + 32_768, "{first_kib} {last_kib}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_silent_connections_keep_nobody_from_being_served() {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let server = server();
    flood(&server, &Place::Tcp(server.place), Kind::Silent, connections(10_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_do_not_end_keep_nobody_from_being_served() {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let files = Certificate::new();
    let server = Serving::start(&[&BOUNDS[..], &files.arguments()].concat());
    server.add_account("acme", 0, "t-1");
    let place = Place::Tls(server.place, files.connector());
    flood(&server, &place, Kind::HalfHandshake, connections(500)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_keep_nobody_from_being_served() {
    kinds(connections(500), &[Kind::SlowHead, Kind::SlowBody, Kind::NeverReads]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_send_too_much_keep_nobody_from_being_served() {
    kinds(connections(500), &[Kind::LongHead, Kind::LongBody, Kind::ChunkedBody]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_clients_that_mean_no_good_keep_nobody_from_being_served() {
    let all = [Kind::Continuations, Kind::ManyStreams, Kind::Resets, Kind::NoWindow, Kind::Pings];
    kinds(connections(500), &all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_over_the_bound_are_refused_and_counted_and_there_is_room_again() {
    let server = Serving::start(&["--max-connections", "50", "--receive-timeout-ms", "60000"]);
    let mut held = Vec::new();
    for _ in 0..50 {
        held.push(TcpStream::connect(server.place).await.unwrap());
    }
    while server.metric("tollgate_connections") < 51.0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..10 {
        let mut refused = TcpStream::connect(server.place).await.unwrap();
        assert!(matches!(refused.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    }
    // Operators get in.
    assert!((server.metric("tollgate_connections_refused_total") - 10.0).abs() < 0.1);
    held.truncate(40);
    let began = Instant::now();
    while call_ready(&server).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(30), "there is no room again");
    }
}

async fn call_ready(server: &Serving) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(server.place).await?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 200"), "{answer}");
    if answer.is_empty() { Err(std::io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
}
