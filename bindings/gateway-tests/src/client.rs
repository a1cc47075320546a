//! A client that sends the bytes that it is given.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::accounts::TOKEN;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Headers, as they came.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Body, without its framing.
    pub body: Vec<u8>,
    /// Whether the body came to its end.
    pub whole: bool,
}

impl Response {
    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        named.and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The `code` of a denial's body.
    #[must_use]
    pub fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }
}

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// A connection.
pub struct Client {
    stream: BufReader<Box<dyn Stream>>,
    close: Box<dyn Fn() + Send>,
}

impl Client {
    /// Connected to this port of 127.0.0.1.
    #[must_use]
    pub fn connect(port: u16) -> Client {
        Client::try_connect(port).unwrap()
    }

    /// The same, where nobody may listen.
    ///
    /// # Errors
    /// The connection's.
    pub fn try_connect(port: u16) -> io::Result<Client> {
        let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.set_nodelay(true)?;
        let other = stream.try_clone()?;
        let close = move || drop(other.shutdown(std::net::Shutdown::Both));
        Ok(Client { stream: BufReader::new(Box::new(stream)), close: Box::new(close) })
    }

    /// Connected to this socket.
    #[must_use]
    pub fn connect_unix(path: &Path) -> Client {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let other = stream.try_clone().unwrap();
        let close = move || drop(other.shutdown(std::net::Shutdown::Both));
        Client { stream: BufReader::new(Box::new(stream)), close: Box::new(close) }
    }

    /// Writes.
    pub fn write(&mut self, bytes: &[u8]) {
        // A server that answers early may have closed its side.
        let _ = self.stream.get_mut().write_all(bytes);
        let _ = self.stream.get_mut().flush();
    }

    /// What closes the connection, from any thread.
    pub fn close(&self) {
        (self.close)();
    }

    /// Reads an answer to a request with this method.
    ///
    /// # Errors
    /// The connection's, before there was a head.
    pub fn read(&mut self, method: &str) -> io::Result<Response> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let headers = self.read_headers()?;
        let mut response = Response { status, headers, body: Vec::new(), whole: true };
        if method == "HEAD" || status == 204 || status == 304 {
            return Ok(response);
        }
        let length =
            response.header("content-length").map(|length| length.parse::<usize>().unwrap());
        if response.header("transfer-encoding") == Some("chunked") {
            response.whole = self.read_chunks(&mut response.body).is_ok();
        } else if let Some(length) = length {
            let mut body = vec![0; length];
            let mut read = 0;
            while read < length {
                match self.stream.read(&mut body[read..]) {
                    Ok(0) | Err(_) => break,
                    Ok(more) => read += more,
                }
            }
            body.truncate(read);
            response.whole = read == length;
            response.body = body;
        } else {
            response.whole = self.stream.read_to_end(&mut response.body).is_ok();
        }
        Ok(response)
    }

    fn read_headers(&mut self) -> io::Result<Vec<(String, Vec<u8>)>> {
        let mut headers = Vec::new();
        loop {
            let mut line = Vec::new();
            if self.stream.read_until(b'\n', &mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            while matches!(line.last(), Some(b'\r' | b'\n')) {
                line.pop();
            }
            if line.is_empty() {
                return Ok(headers);
            }
            let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            let value = line.get(colon + 1..).unwrap_or_default().trim_ascii().to_vec();
            headers.push((String::from_utf8_lossy(&line[..colon]).into_owned(), value));
        }
    }

    fn read_chunks(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let size =
                usize::from_str_radix(line.trim(), 16).map_err(|_| io::ErrorKind::InvalidData)?;
            let mut chunk = vec![0; size + 2];
            self.stream.read_exact(&mut chunk)?;
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                return Ok(());
            }
        }
    }
}

/// One request on a connection of its own: `method`, target, headers, body.
#[must_use]
pub fn send(
    port: u16,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let mut client = Client::connect(port);
    client.write(&request(method, target, headers, body));
    client.read(method).unwrap_or_else(|error| panic!("{method} {target}: {error}"))
}

/// The same with the token of the account `acme`.
#[must_use]
pub fn send_as_account(
    port: u16,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let token = format!("Bearer {TOKEN}");
    let mut all = vec![("Authorization", token.as_str())];
    all.extend_from_slice(headers);
    send(port, method, target, &all, body)
}

/// A payment of that account's under a key, sent on a connection that is left open.
#[must_use]
pub fn begin_to_pay(port: u16, key: &str) -> Client {
    let mut client = Client::connect(port);
    let token = format!("Bearer {TOKEN}");
    let headers = [("Authorization", token.as_str()), ("Idempotency-Key", key)];
    client.write(&request("POST", "/pay", &headers, b"{\"to\":1}"));
    client
}

/// The bytes of a request.
#[must_use]
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("{method} {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    let framed = headers.iter().any(|(name, _)| {
        name.eq_ignore_ascii_case("content-length")
            || name.eq_ignore_ascii_case("transfer-encoding")
    });
    if !body.is_empty() && !framed {
        bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}
