//! TLS, and sockets in the file system.

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tollgate_gateway_tests::signal;

use super::clients::{Certificate, Place, Tally, ask_over_http1, ask_over_http2};
use super::process::Serving;

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_http_and_a_certificate_that_is_replaced_under_load() {
    let files = Certificate::new();
    let mut server = Serving::start(&files.arguments());
    server.add_account("acme", 0, "t-1");
    let tally = Arc::new(Tally::default());
    let (old, old_http2) = (files.connector(), files.connector_for(b"h2"));
    let mut clients = Vec::new();
    for connector in [old.clone(), files.connector_for(b"http/1.1")] {
        let place = Place::Tls(server.place, connector);
        clients.push(tokio::spawn(ask_over_http1(place, Arc::clone(&tally))));
    }
    let place = Place::Tls(server.place, old_http2);
    clients.push(tokio::spawn(ask_over_http2(place, 4, Arc::clone(&tally))));
    tokio::time::sleep(Duration::from_millis(300)).await;
    // A certificate without its key changes nothing.
    let key = fs::read(files.key()).unwrap();
    files.renew();
    let new_key = fs::read(files.key()).unwrap();
    fs::write(files.key(), key).unwrap();
    server.tell(Signal::HUP);
    server.until_said("the certificate stays as it was");
    fs::write(files.key(), new_key).unwrap();
    server.tell(Signal::HUP);
    let new = Place::Tls(server.place, files.connector());
    let mut tries = 0;
    while new.connect().await.is_err() {
        tries += 1;
        assert!(tries < 200, "the new certificate is not used");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(Place::Tls(server.place, old).connect().await.is_err());
    let before = tally.answered().len();
    while tally.answered().len() < before + 100 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tally.stop();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(tally.lost(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_left_over_is_replaced_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tollgate.sock");
    let listen = format!("unix:{}", path.display());
    let mut first = Serving::start(&["--listen", &listen]);
    signal(first.child.id(), Signal::KILL);
    first.ended();
    assert!(path.exists());
    // Killed, it leaves its socket, at which nobody answers.
    let second = Serving::start(&["--listen", &listen]);
    UnixStream::connect(&path).unwrap();
    let refused = |words: &str| {
        let ran = super::arguments::refused(&["--listen", &listen]);
        assert!(ran.contains(path.to_str().unwrap()) && ran.contains(words), "{ran}");
    };
    refused("in use");
    UnixStream::connect(&path).unwrap();
    drop(second);
    fs::remove_file(&path).unwrap();
    // What is no socket is somebody's.
    fs::write(&path, "mine").unwrap();
    refused("in use");
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    refused("in use");
    drop(other);
}
