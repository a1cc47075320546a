//! Clients that ask all the time, over either version of HTTP, and know what became of each request.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

/// Where a server is asked.
#[derive(Clone)]
pub(super) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
    Tls(SocketAddr, TlsConnector),
}

/// A certificate for `localhost`, in files.
pub(super) struct Certificate {
    _directory: TempDir,
    files: [String; 2],
}

impl Certificate {
    pub(super) fn new() -> Certificate {
        let directory = tempfile::tempdir().unwrap();
        let files = ["certificate.pem", "key.pem"]
            .map(|name| directory.path().join(name).to_str().unwrap().to_owned());
        let certificate = Certificate { _directory: directory, files };
        certificate.renew();
        certificate
    }

    /// Puts another one in its place.
    pub(super) fn renew(&self) {
        let made = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
        std::fs::write(&self.files[0], made.cert.pem()).unwrap();
        std::fs::write(&self.files[1], made.signing_key.serialize_pem()).unwrap();
    }

    pub(super) fn certificate(&self) -> &str {
        &self.files[0]
    }

    pub(super) fn key(&self) -> &str {
        &self.files[1]
    }

    pub(super) fn arguments(&self) -> [&str; 4] {
        ["--tls-cert", &self.files[0], "--tls-key", &self.files[1]]
    }

    /// Trusts it alone.
    pub(super) fn connector(&self) -> TlsConnector {
        self.connector_for(b"")
    }

    /// The same, for one version of HTTP.
    pub(super) fn connector_for(&self, protocol: &[u8]) -> TlsConnector {
        let mut trusted = RootCertStore::empty();
        trusted.add(CertificateDer::from_pem_file(self.certificate()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(trusted)
            .with_no_client_auth();
        if !protocol.is_empty() {
            config.alpn_protocols = vec![protocol.to_vec()];
        }
        TlsConnector::from(Arc::new(config))
    }
}

pub(super) trait Both: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Both for T {}

impl Place {
    pub(super) async fn connect(&self) -> io::Result<Box<dyn Both>> {
        Ok(match self {
            Place::Tcp(address) => Box::new(TcpStream::connect(address).await?),
            Place::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Place::Tls(address, connector) => {
                let name = ServerName::try_from("localhost").unwrap();
                Box::new(connector.connect(name, TcpStream::connect(address).await?).await?)
            }
        })
    }
}

/// What became of all requests, which are numbered.
#[derive(Default)]
pub(super) struct Tally {
    next: AtomicU64,
    stop: AtomicBool,
    answered: Mutex<Vec<u64>>,
    took: Mutex<Vec<Duration>>,
    /// The server said that it does not answer these, or they were never sent.
    refused: Mutex<Vec<u64>>,
    lost: Mutex<Vec<(u64, String)>>,
}

impl Tally {
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    fn begin(&self) -> (u64, Instant) {
        (self.next.fetch_add(1, Ordering::SeqCst), Instant::now())
    }

    fn answer(&self, (number, began): (u64, Instant)) {
        self.answered.lock().unwrap().push(number);
        self.took.lock().unwrap().push(began.elapsed());
    }

    fn refuse(&self, (number, _): (u64, Instant)) {
        self.refused.lock().unwrap().push(number);
    }

    fn lose(&self, (number, _): (u64, Instant), error: String) {
        self.lost.lock().unwrap().push((number, error));
    }

    pub(super) fn answered(&self) -> Vec<u64> {
        self.answered.lock().unwrap().clone()
    }

    pub(super) fn refused(&self) -> Vec<u64> {
        self.refused.lock().unwrap().clone()
    }

    pub(super) fn lost(&self) -> Vec<(u64, String)> {
        self.lost.lock().unwrap().clone()
    }

    /// How long the fastest, the middle, the slowest but one in a hundred, and the slowest took.
    pub(super) fn latencies(&self) -> [Duration; 4] {
        let mut took = self.took.lock().unwrap().clone();
        took.sort_unstable();
        [0, took.len() / 2, took.len() * 99 / 100, took.len() - 1].map(|place| took[place])
    }
}

fn body(number: u64) -> String {
    format!(
        r#"{{"id":"r-{number}","method":"GET","target":"/free","headers":[["authorization","Bearer t-1"]],"peer":"192.0.2.1"}}"#
    )
}

/// Asks over HTTP/1.1 until the tally stops. One that is told that its connection closes, or sees it closed, connects anew.
pub(super) async fn ask_over_http1(place: Place, tally: Arc<Tally>) {
    while tally.goes_on() {
        let Ok(mut stream) = place.connect().await else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        while tally.goes_on() && !is_closed(&mut stream).await {
            let request = tally.begin();
            let body = body(request.0);
            let text = format!(
                "POST /v1/decide HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            if stream.write_all(text.as_bytes()).await.is_err() {
                tally.refuse(request);
                break;
            }
            match answer(&mut stream).await {
                Ok(closes) => {
                    tally.answer(request);
                    if closes {
                        break;
                    }
                }
                Err(error) => {
                    tally.lose(request, error.to_string());
                    break;
                }
            }
        }
    }
}

async fn is_closed(stream: &mut Box<dyn Both>) -> bool {
    tokio::select! {
        biased;
        _ = stream.read_u8() => true,
        () = std::future::ready(()) => false,
    }
}

/// Reads an answer that allows; gives whether it is the last one of its connection.
async fn answer(stream: &mut Box<dyn Both>) -> io::Result<bool> {
    let mut answer = Vec::new();
    loop {
        if stream.read_buf(&mut answer).await? == 0 {
            let text = format!("it ended after {} bytes", answer.len());
            return Err(io::Error::other(text));
        }
        let text = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
        if body.len() < length.parse().unwrap() {
            continue;
        }
        if !head.starts_with("http/1.1 200") || !body.contains("\"allow\"") {
            return Err(io::Error::other(text));
        }
        return Ok(head.contains("connection: close"));
    }
}

/// The same over HTTP/2, so many requests at once.
pub(super) async fn ask_over_http2(place: Place, at_once: usize, tally: Arc<Tally>) {
    while tally.goes_on() {
        let Ok(stream) = place.connect().await else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let shaken = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let Ok((sender, connection)) = shaken else { continue };
        let connection = tokio::spawn(connection);
        let streams: Vec<_> = (0..at_once)
            .map(|_| tokio::spawn(ask_on(sender.clone(), Arc::clone(&tally))))
            .collect();
        drop(sender);
        for stream in streams {
            stream.await.unwrap();
        }
        connection.abort();
    }
}

async fn ask_on(mut sender: http2::SendRequest<Full<Bytes>>, tally: Arc<Tally>) {
    while tally.goes_on() && sender.ready().await.is_ok() {
        let numbered = tally.begin();
        let request = http::Request::post("http://a/v1/decide")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body(numbered.0))))
            .unwrap();
        let answer = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            Ok::<_, hyper::Error>((status, answer.into_body().collect().await?.to_bytes()))
        };
        match answer.await {
            Ok((status, body)) if status == 200 && body.windows(7).any(|is| is == b"\"allow\"") => {
                tally.answer(numbered);
            }
            Ok((status, body)) => tally.lose(numbered, format!("{status} {body:?}")),
            // Never sent, or behind the last one that the server said it answers.
            Err(error) if error.is_canceled() || is_goodbye(&error) => {
                tally.refuse(numbered);
                return;
            }
            Err(error) => {
                tally.lose(numbered, format!("{error:?}"));
                return;
            }
        }
    }
}

fn is_goodbye(error: &hyper::Error) -> bool {
    let text = format!("{error:?}");
    text.contains("GoAway") && text.contains("NO_ERROR") && text.contains("Remote")
}

/// One request over HTTP/2, and the status of its answer.
pub(super) async fn get_over_http2(place: &Place, path: &str, headers: &[(&str, &str)]) -> u16 {
    let stream = place.connect().await.unwrap();
    let shaken = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.unwrap();
    let connection = tokio::spawn(connection);
    let mut request = http::Request::get(format!("http://a{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = sender.send_request(request.body(Full::<Bytes>::default()).unwrap()).await;
    let status = answer.unwrap().status().as_u16();
    connection.abort();
    status
}
