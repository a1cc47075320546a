//! Connections under a clock that the tests move.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::Stop;
use super::connection::run;
use crate::caller::Caller;
use crate::options::Bounds;

const HOUR: Duration = Duration::from_secs(3600);

/// The far end of a served connection.
struct Client {
    stream: DuplexStream,
    served: JoinHandle<()>,
    stop: watch::Sender<Stop>,
    began: Instant,
}

impl Client {
    /// With patience of 10 seconds for a request, 30 for an answer, 120 between requests.
    fn connect(buffer: usize) -> Client {
        let bounds = Bounds {
            receive_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(120),
            ..Bounds::default()
        };
        let (stream, server) = duplex(buffer);
        let (stop, stopping) = watch::channel(Stop::No);
        let served = tokio::spawn(run(server, router(), Caller::Unix, bounds, stopping));
        Client { stream, served, stop, began: Instant::now() }
    }

    async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Writes a byte a second until nobody reads any more.
    async fn trickle(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().cycle() {
            sleep(Duration::from_secs(1)).await;
            if self.stream.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    }

    /// Reads an answer whose body is `hi`.
    async fn answer(&mut self) -> String {
        let mut answer = Vec::new();
        while !answer.ends_with(b"hi") {
            answer.push(timeout(HOUR, self.stream.read_u8()).await.unwrap().unwrap());
        }
        String::from_utf8(answer).unwrap()
    }

    async fn ask(&mut self) -> String {
        self.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        self.answer().await
    }

    /// When the server ended the connection, in whole seconds.
    async fn ended(self) -> u64 {
        timeout(HOUR, self.served).await.unwrap().unwrap();
        self.began.elapsed().as_secs()
    }
}

fn router() -> Router {
    let slow = async || {
        sleep(Duration::from_secs(25)).await;
        "hi"
    };
    Router::new()
        .route("/", get(async || "hi"))
        .route("/slow", get(slow))
        .route("/big", get(async || "x".repeat(1 << 20)))
        .route("/body", post(async |_: Bytes| "hi"))
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_cut_off() {
    assert_eq!(Client::connect(1 << 16).ended().await, 10);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_in_is_cut_off() {
    let preface = "PRI * HTTP/2.0\r\n\r\nSM";
    for (begins, goes_on) in [("GET / HTTP/1.1\r\n", "a: b\r\n"), ("P", "X"), ("P", &preface[1..])]
    {
        let mut client = Client::connect(1 << 16);
        client.write(begins).await;
        client.trickle(goes_on.as_bytes()).await;
        let ended = client.ended().await;
        assert!((10..=11).contains(&ended), "{begins}: {ended}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_head_has_its_own_time() {
    let mut client = Client::connect(1 << 16);
    client.ask().await;
    sleep(Duration::from_secs(60)).await;
    client.write("GET / HTTP/1.1\r\n").await;
    client.trickle(b"a: b\r\n").await;
    let ended = client.ended().await;
    assert!((70..=71).contains(&ended), "{ended}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_in_is_cut_off() {
    let mut client = Client::connect(1 << 16);
    client.write("POST /body HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n").await;
    client.trickle(b"x").await;
    let ended = client.ended().await;
    assert!((40..=41).contains(&ended), "{ended}");
}

#[tokio::test(start_paused = true)]
async fn connections_are_kept_between_requests_and_not_for_ever() {
    let mut client = Client::connect(1 << 16);
    for _ in 0..3 {
        assert!(!client.ask().await.contains("connection: close"));
        sleep(Duration::from_secs(119)).await;
    }
    client.ask().await;
    assert_eq!(client.ended().await, 3 * 119 + 120);
}

#[tokio::test(start_paused = true)]
async fn a_body_is_no_second_head() {
    let mut client = Client::connect(1 << 16);
    client.write("POST /body HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\na").await;
    sleep(Duration::from_secs(5)).await;
    client.write("b").await;
    client.answer().await;
    assert_eq!(client.ended().await, 5 + 120);
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_take_longer_than_a_request() {
    let mut client = Client::connect(1 << 16);
    client.write("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.answer().await;
    assert_eq!(client.began.elapsed().as_secs(), 25);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_cut_off() {
    let mut client = Client::connect(1024);
    client.write("GET /big HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.ended().await, 10);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_too_slowly_is_cut_off() {
    let mut client = Client::connect(1024);
    client.write("GET /big HTTP/1.1\r\nhost: a\r\n\r\n").await;
    while client.stream.read_u8().await.is_ok() {
        sleep(Duration::from_secs(1)).await;
    }
    let ended = client.ended().await;
    // What it had not read of the last bytes it still may.
    assert!((40..=1200).contains(&ended), "{ended}");
}

type Sender = http2::SendRequest<Empty<bytes::Bytes>>;

/// The same over HTTP/2; the client answers pings, and updates windows as it reads.
async fn http2() -> (Sender, JoinHandle<hyper::Result<()>>, JoinHandle<()>, watch::Sender<Stop>) {
    let Client { stream, served, stop, .. } = Client::connect(1 << 16);
    let builder = http2::Builder::new(TokioExecutor::new()).timer(TokioTimer::new()).clone();
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    (sender, tokio::spawn(connection), served, stop)
}

async fn get_by(sender: &mut Sender, path: &str) -> hyper::Result<usize> {
    sender.ready().await?;
    let request = http::Request::get(format!("http://a{path}")).body(Empty::new()).unwrap();
    let answer = sender.send_request(request).await?;
    Ok(answer.into_body().collect().await?.to_bytes().len())
}

#[tokio::test(start_paused = true)]
async fn http2_connections_are_kept_between_requests_and_not_for_ever() {
    let (mut sender, connection, served, _stop) = http2().await;
    let began = Instant::now();
    // Large answers, so that the client has windows to update after them.
    for path in ["/big", "/", "/big"] {
        get_by(&mut sender, path).await.unwrap();
        sleep(Duration::from_secs(119)).await;
    }
    get_by(&mut sender, "/slow").await.unwrap();
    // It is told, which is no error.
    timeout(HOUR, connection).await.unwrap().unwrap().unwrap();
    timeout(HOUR, served).await.unwrap().unwrap();
    assert_eq!(began.elapsed().as_secs(), 3 * 119 + 25 + 120);
}

#[tokio::test(start_paused = true)]
async fn http2_heads_that_trickle_in_are_no_requests() {
    let mut client = Client::connect(1 << 16);
    client.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    // Settings, then a head of 16,383 bytes, of which one a second comes.
    client.stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    client.stream.write_all(&[0, 0x3f, 0xff, 1, 4, 0, 0, 0, 1]).await.unwrap();
    client.trickle(b"x").await;
    let ended = client.ended().await;
    assert!((10..=131).contains(&ended), "{ended}");
}

#[tokio::test(start_paused = true)]
async fn http2_answers_that_are_not_taken_are_cut_off() {
    let (mut sender, _connection, served, _stop) = http2().await;
    let began = Instant::now();
    sender.ready().await.unwrap();
    let request = http::Request::get("http://a/big").body(Empty::new()).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    timeout(HOUR, served).await.unwrap().unwrap();
    // The answer is in the connection's buffer, which goes with the connection.
    let ended = began.elapsed().as_secs();
    assert!((40..=131).contains(&ended), "{ended}");
    drop(answer);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_answers_a_last_request() {
    let mut client = Client::connect(1 << 16);
    client.ask().await;
    client.stop.send(Stop::Gently).unwrap();
    sleep(Duration::from_millis(900)).await;
    assert!(client.ask().await.contains("connection: close"));
    assert_eq!(client.ended().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_closes_who_asks_nothing() {
    for asks in [false, true] {
        let mut client = Client::connect(1 << 16);
        if asks {
            client.ask().await;
        }
        client.stop.send(Stop::Gently).unwrap();
        assert_eq!(client.ended().await, 1, "{asks}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_waits_for_what_is_under_way() {
    let mut client = Client::connect(1 << 16);
    client.write("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    sleep(Duration::from_secs(1)).await;
    client.stop.send(Stop::Gently).unwrap();
    assert!(client.answer().await.contains("connection: close"));
    assert_eq!(client.ended().await, 25);
    // A head of which the rest is on its way.
    let mut client = Client::connect(1 << 16);
    client.ask().await;
    client.write("GET / HTTP/1.1\r\n").await;
    client.stop.send(Stop::Gently).unwrap();
    sleep(Duration::from_secs(5)).await;
    client.write("host: a\r\n\r\n").await;
    assert!(client.answer().await.contains("connection: close"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_tells_http2_clients_which_requests_it_answers() {
    let (mut sender, connection, served, stop) = http2().await;
    let slow = sender.clone();
    let slow = tokio::spawn(async move { get_by(&mut { slow }, "/slow").await });
    sleep(Duration::from_secs(1)).await;
    stop.send(Stop::Gently).unwrap();
    sleep(Duration::from_millis(100)).await;
    assert!(get_by(&mut sender, "/").await.is_err());
    assert_eq!(slow.await.unwrap().unwrap(), 2);
    connection.await.unwrap().unwrap();
    served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn whoever_forgets_the_server_cuts_it_off() {
    let mut client = Client::connect(1 << 16);
    client.ask().await;
    // The listener's sender is gone: nobody could say any more that it stops.
    let Client { stop, served, .. } = client;
    drop(stop);
    timeout(Duration::from_secs(2), served).await.unwrap().unwrap();
}
