//! Clients that speak HTTP/2: many streams on one connection, which is one worker's.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use serde_json::json;
use tokio::runtime::Runtime;
use tollgate_envoy_tests::{Gateway, Writes};
use tollgate_gateway_tests::{POLICY, TOKEN, Upstream};

const DONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";

/// A connection.
struct Client {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
}

/// An answer.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

fn request(method: &str, path: &str, key: Option<&str>) -> Request<()> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://test{path}"))
        .header("authorization", format!("Bearer {TOKEN}"));
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    request.body(()).unwrap()
}

async fn whole(response: Response<RecvStream>) -> Result<Answer, h2::Error> {
    let (head, mut stream) = response.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    stream.trailers().await?;
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
}

impl Client {
    fn connect(gateway: &Gateway) -> Client {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let port = gateway.envoy.port();
        let sender = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let (sender, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            sender.ready().await.unwrap()
        });
        Client { runtime, sender }
    }

    /// Requests that are all sent before an answer is read, each with a body in frames of this many bytes, and with trailers behind it.
    fn ask(&self, requests: Vec<Request<()>>, body: &[u8], frame: usize) -> Vec<Answer> {
        let within = async {
            let mut responses = Vec::new();
            for request in requests {
                let mut sender = self.sender.clone().ready().await.unwrap();
                let (response, mut stream) = sender.send_request(request, false).unwrap();
                for data in body.chunks(frame) {
                    // One that is answered already takes no more.
                    let _ = stream.send_data(Bytes::copy_from_slice(data), false);
                }
                let _ = stream.send_trailers(HeaderMap::new());
                responses.push(response);
            }
            let mut answers = Vec::new();
            for response in responses {
                answers.push(whole(response.await.unwrap()).await.unwrap());
            }
            answers
        };
        self.runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(60), within).await.unwrap()
        })
    }

    fn pay(&self, key: &str, body: &[u8], frame: usize) -> Answer {
        self.ask(vec![request("POST", "/pay", Some(key))], body, frame).remove(0)
    }
}

#[test]
fn a_quota_and_a_key_hold_within_one_connection() {
    for writes in Writes::BOTH {
        let upstream = Upstream::start(|_, mut stream| {
            std::thread::sleep(Duration::from_millis(50));
            let _ = stream.write_all(DONE.as_bytes());
        });
        let mut options = Gateway::options(writes, upstream.port(), &json!({}));
        let policy = POLICY.replace("\"quota\": 1000000", "\"quota\": 60");
        options.files[0].1 = policy.replace("60000", "3600000000");
        let gateway = Gateway::with(options, upstream);
        let client = Client::connect(&gateway);
        let pays = (0..40).map(|_| request("POST", "/pay", Some("one"))).collect();
        let mut codes = HashMap::new();
        for answer in client.ask(pays, b"hello", 2) {
            *codes.entry(answer.status).or_insert(0) += 1;
        }
        assert!(codes[&200] >= 1 && codes.values().sum::<usize>() == 40, "{writes:?} {codes:?}");
        assert!(codes.keys().all(|status| [200, 409].contains(status)), "{codes:?}");
        assert_eq!(gateway.upstream.calls(), 1);
        gateway.accounts.expect(0, 5);
        let reads = (0..40).map(|_| request("GET", "/read", None)).collect();
        let answers = client.ask(reads, b"", 1);
        let allowed = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!((allowed, gateway.upstream.calls()), (20, 21), "{writes:?}");
    }
}

#[test]
fn bodies_and_answers_are_whole() {
    let body: Vec<u8> = (0..=250_u8).cycle().take(2_000_000).collect();
    for writes in Writes::BOTH {
        let upstream = Upstream::start(|request, mut stream| {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            for part in request.body.chunks(30_000) {
                let _ = write!(stream, "{:x}\r\n", part.len());
                let _ = stream.write_all(&[part, b"\r\n"].concat());
            }
            let _ = stream.write_all(b"0\r\n\r\n");
        });
        let filter = json!({"max_request_body": 2_000_000, "max_response_body": 2_000_000});
        let gateway = Gateway::start(writes, upstream, &filter);
        let client = Client::connect(&gateway);
        let first = client.pay("k", &body, 16_000);
        assert_eq!((first.status, first.body == body), (200, true), "{writes:?}");
        assert_eq!(gateway.accounts.money("acme").posted, 5);
        let again = client.pay("k", &body, 5_000);
        assert_eq!((again.status, again.body == body), (200, true), "{writes:?}");
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        let other = client.pay("k", &body[1..], 16_000);
        assert_eq!(other.status, 422);
        // Over HTTP/1.1 it is the same request.
        let old = gateway.ask("POST", "/pay", &[("Idempotency-Key", "k")], &body);
        assert_eq!(old.header("idempotent-replayed"), Some("true"));
        let long = client.pay("l", &[&body[..], b"x"].concat(), 16_000);
        assert_eq!(long.status, 413);
        assert_eq!(gateway.upstream.calls(), 1);
        gateway.accounts.expect(0, 5);
    }
}

#[test]
fn a_stream_that_is_reset() {
    for writes in Writes::BOTH {
        let (arrived, arrival) = mpsc::channel();
        let (go, gone) = mpsc::channel::<()>();
        let (arrived, gone) = (Mutex::new(arrived), Mutex::new(gone));
        let upstream = Upstream::start(move |_, mut stream| {
            let _ = arrived.lock().unwrap().send(());
            for part in ["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndo", "ne"] {
                let _ = gone.lock().unwrap().recv_timeout(Duration::from_secs(20));
                let _ = stream.write_all(part.as_bytes());
            }
        });
        let gateway = Gateway::start(writes, upstream, &json!({}));
        let client = Client::connect(&gateway);
        let begin = |key: &str| {
            client.runtime.block_on(async {
                let mut sender = client.sender.clone().ready().await.unwrap();
                sender.send_request(request("POST", "/pay", Some(key)), true).unwrap()
            })
        };
        // Amid its answer: the head was good, and its body was not read to the end.
        let (response, mut stream) = begin("amid");
        arrival.recv_timeout(Duration::from_secs(20)).unwrap();
        go.send(()).unwrap();
        let response = client.runtime.block_on(response).unwrap();
        assert_eq!(response.status(), 200);
        stream.send_reset(Reason::CANCEL);
        drop(response);
        gateway.accounts.expect(0, 5);
        go.send(()).unwrap();
        let again = client.pay("amid", b"", 1);
        assert_eq!((again.status, again.body.len()), (200, 0), "{writes:?}");
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        // Before it: nobody knows.
        let (response, mut stream) = begin("before");
        arrival.recv_timeout(Duration::from_secs(20)).unwrap();
        stream.send_reset(Reason::CANCEL);
        drop(response);
        std::thread::sleep(Duration::from_millis(100));
        go.send(()).unwrap();
        go.send(()).unwrap();
        gateway.accounts.expect(5, 5);
        assert_eq!(client.pay("before", b"", 1).status, 409);
        assert_eq!(gateway.upstream.calls(), 2);
    }
}
