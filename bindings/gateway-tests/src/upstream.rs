//! The service behind the gateway: a test says what it does with each request.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request as it arrived.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Received {
    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        named.and_then(|(_, value)| std::str::from_utf8(value).ok())
    }
}

type Handler = dyn Fn(&Received, TcpStream) + Send + Sync;

/// A server with a thread for each connection, of which each carries one request.
pub struct Upstream {
    port: u16,
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Upstream {
    /// Gives each request, and the connection to answer it on, to the handler. What it drops is closed.
    #[must_use]
    pub fn start(handler: impl Fn(&Received, TcpStream) + Send + Sync + 'static) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = Arc::new(AtomicBool::new(false));
        let calls = Arc::new(AtomicUsize::new(0));
        let received = Arc::new(Mutex::new(Vec::new()));
        let handler: Arc<Handler> = Arc::new(handler);
        let upstream = Upstream {
            port,
            stop: Arc::clone(&stop),
            calls: Arc::clone(&calls),
            received: Arc::clone(&received),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (handler, calls) = (Arc::clone(&handler), Arc::clone(&calls));
                let received = Arc::clone(&received);
                std::thread::spawn(move || {
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
                    let _ = stream.set_nodelay(true);
                    if let Some(request) = read(&stream) {
                        calls.fetch_add(1, Ordering::SeqCst);
                        received.lock().unwrap().push(request.clone());
                        handler(&request, stream);
                    }
                });
            }
        });
        upstream
    }

    /// Always this answer.
    #[must_use]
    pub fn answering(answer: &'static str) -> Upstream {
        Upstream::start(move |_, mut stream| drop(stream.write_all(answer.as_bytes())))
    }

    /// Tells when a request is there, and sends the next part of its answer whenever it is told.
    #[must_use]
    pub fn waiting<P: Into<String>>(
        answer: impl IntoIterator<Item = P>,
    ) -> (Upstream, Receiver<()>, Sender<()>) {
        let answer: Vec<String> = answer.into_iter().map(Into::into).collect();
        let (arrived, arrival) = channel();
        let (go, gone) = channel::<()>();
        let (arrived, gone) = (Mutex::new(arrived), Mutex::new(gone));
        let upstream = Upstream::start(move |_, mut stream| {
            let _ = arrived.lock().unwrap().send(());
            for part in &answer {
                let _ = gone.lock().unwrap().recv_timeout(Duration::from_secs(20));
                let _ = stream.write_all(part.as_bytes());
            }
            let _ = stream.shutdown(Shutdown::Write);
        });
        (upstream, arrival, go)
    }

    /// Where it listens, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many requests came.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// The requests that came.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn read(stream: &TcpStream) -> Option<Received> {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).ok()?;
    let line = String::from_utf8_lossy(&line).into_owned();
    let mut words = line.split_whitespace();
    let mut request = Received {
        method: words.next()?.to_owned(),
        target: words.next()?.to_owned(),
        ..Received::default()
    };
    loop {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).ok()?;
        let line = line.trim_ascii();
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = String::from_utf8_lossy(&line[..colon]).into_owned();
        request.headers.push((name, line[colon + 1..].trim_ascii().to_vec()));
    }
    if let Some(length) = request.header("content-length") {
        request.body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut request.body).ok()?;
    } else if request.header("transfer-encoding").is_some() {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let size = usize::from_str_radix(line.trim(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            request.body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                break;
            }
        }
    }
    Some(request)
}
