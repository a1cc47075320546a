//! A server that is not there, closes, talks nonsense or takes its time: fail closed.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use tollgate_gateway_tests::Client;
use tollgate_serve_proxies::{Kind, Setup, Stand};

pub(crate) fn all(kind: Kind) {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    refuses(kind, nobody, "nobody listens");
    for (what, answer) in [
        ("it closes", ""),
        ("it talks nonsense", "hello\r\n\r\n"),
        (
            "it is somebody else",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ),
        ("it fails", "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        (
            "it sends elsewhere",
            "HTTP/1.1 302 Found\r\nLocation: /read\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ),
    ] {
        let stub = Stub::start(answer);
        refuses(kind, stub.port, what);
    }
    comes_back(kind);
}

fn refuses(kind: Kind, asked: u16, what: &str) {
    let stand = Stand::with(kind, Setup { asked: Some(asked), ..Setup::default() });
    let answer = stand.ask("t-acme", "GET", "/read", &[], b"");
    // nginx takes what is no HTTP for a body, and gives it.
    assert!(!(200..300).contains(&answer.status), "{kind:?}, {what}: {}", answer.status);
    assert_eq!(stand.upstream.calls(), 0, "{kind:?}, {what}");
}

/// One that was restarted is asked again, with connections that the old one has closed.
fn comes_back(kind: Kind) {
    let mut stand = Stand::start(kind);
    for _ in 0..3 {
        assert_eq!(stand.ask("t-acme", "GET", "/read", &[], b"").status, 200);
    }
    stand.serve.stop();
    let calls = stand.upstream.calls();
    assert!(stand.ask("t-acme", "GET", "/read", &[], b"").status >= 500, "{kind:?}");
    assert_eq!(stand.upstream.calls(), calls);
    stand.serve.go_on();
    // A store in memory is a new one.
    let answer = stand.ask("t-acme", "GET", "/read", &[], b"");
    assert_eq!((answer.status, answer.code().as_str()), (401, "invalid_token"), "{kind:?}");
}

#[test]
fn a_server_that_takes_its_time_is_not_waited_for() {
    let kinds = Kind::ALL.into_iter().filter(|kind| !kind.is_traefik());
    let waits: Vec<_> = kinds.map(|kind| std::thread::spawn(move || slow(kind))).collect();
    for wait in waits {
        wait.join().unwrap();
    }
}

fn slow(kind: Kind) {
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = deaf.local_addr().unwrap().port();
    let stand = Stand::with(kind, Setup { asked: Some(port), ..Setup::default() });
    let answer = stand.ask("t-acme", "GET", "/read", &[], b"");
    assert!(matches!(answer.status, 500 | 502 | 503 | 504), "{kind:?}: {}", answer.status);
    assert_eq!(stand.upstream.calls(), 0, "{kind:?}");
    drop(deaf);
}

/// Traefik waits for 30 seconds, and nothing passes meanwhile.
#[test]
fn traefik_lets_nothing_pass_while_it_waits() {
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = deaf.local_addr().unwrap().port();
    let stand = Stand::with(Kind::Traefik, Setup { asked: Some(port), ..Setup::default() });
    let mut client = Client::connect(stand.port());
    client.write(&Stand::bytes("GET", "/read", &[], b""));
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(stand.upstream.calls(), 0);
    client.close();
}

/// Answers everybody the same; ends when dropped.
struct Stub {
    port: u16,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Stub {
    fn start(answer: &'static str) -> Stub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = std::sync::Arc::<std::sync::atomic::AtomicBool>::default();
        let ended = std::sync::Arc::clone(&stop);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(std::sync::atomic::Ordering::SeqCst) {
                    return;
                }
                let Ok(mut stream) = stream else { continue };
                let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Stub { port, stop }
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}
