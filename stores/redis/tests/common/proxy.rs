//! A TCP proxy that cuts connections when it is told to.
#![allow(dead_code, reason = "not every test cuts connections")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;

/// Listens on loopback and passes on what it gets, both ways.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    orders: Arc<Orders>,
}

#[derive(Default)]
struct Orders {
    /// Replies to be passed on before one is swallowed with its connection; below zero: all.
    replies: AtomicI64,
    /// How many connections in a row are to be cut so.
    cuts: AtomicI64,
    over: AtomicBool,
}

impl Proxy {
    pub(crate) fn start(server: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let orders = Arc::new(Orders::default());
        let shared = Arc::clone(&orders);
        thread::spawn(move || {
            for client in listener.incoming() {
                if shared.over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { return };
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                pass_on(client, server, &shared);
            }
        });
        Proxy { port, orders }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Lets `replies` replies through, then swallows one and closes its connection.
    pub(crate) fn cut_after(&self, replies: i64) {
        self.orders.replies.store(replies, Ordering::SeqCst);
        self.orders.cuts.store(1, Ordering::SeqCst);
    }

    /// Whether the reply was swallowed.
    pub(crate) fn has_cut(&self) -> bool {
        self.orders.cuts.load(Ordering::SeqCst) == 0
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.orders.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn pass_on(client: TcpStream, server: TcpStream, orders: &Arc<Orders>) {
    let (mut from_client, mut to_server) =
        (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let (mut from_server, mut to_client, orders) = (server, client, Arc::clone(orders));
    thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        loop {
            let read = from_server.read(&mut buffer).unwrap_or(0);
            // One read is one reply here: clients wait for it, and replies are small.
            let cut = read > 0
                && orders.cuts.load(Ordering::SeqCst) > 0
                && orders.replies.fetch_sub(1, Ordering::SeqCst) <= 0;
            if cut {
                orders.cuts.fetch_sub(1, Ordering::SeqCst);
            }
            if read == 0 || cut || to_client.write_all(&buffer[..read]).is_err() {
                let _ = to_client.shutdown(Shutdown::Both);
                let _ = from_server.shutdown(Shutdown::Both);
                return;
            }
        }
    });
}
