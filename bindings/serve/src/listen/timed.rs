//! A stream that does not wait for ever: for a request that trickles in, for the first one of a connection, for the next one, or
//! for a client that does not read.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long each wait may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// From a request's first byte to its last, and for a new connection's first byte.
    pub receive: Duration,
    /// Between an answer and the next request.
    pub idle: Duration,
}

/// What is waited for on the reading side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// The first byte of a connection, or the rest of a request.
    Request,
    /// The next request, after an answer.
    Idle,
}

/// A stream with patience. hyper has one time-out for a head, which idle connections share; this has three, and bodies count.
pub(super) struct Timed<S> {
    inner: S,
    patience: Patience,
    waiting: Waiting,
    since: Instant,
    read_timer: Pin<Box<Sleep>>,
    /// Since when a write waits for the client to read.
    blocked: Option<Pin<Box<Sleep>>>,
}

impl<S> Timed<S> {
    pub(super) fn new(inner: S, patience: Patience) -> Self {
        let now = Instant::now();
        Timed {
            inner,
            patience,
            waiting: Waiting::Request,
            since: now,
            read_timer: Box::pin(sleep_until(at(now, patience.receive))),
            blocked: None,
        }
    }

    fn deadline(&self) -> Instant {
        match self.waiting {
            Waiting::Request => at(self.since, self.patience.receive),
            Waiting::Idle => at(self.since, self.patience.idle),
        }
    }

    /// Whether the wait is over. The timer is set anew only when it fires, which is seldom.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let deadline = self.deadline();
            if self.read_timer.deadline() > deadline {
                self.read_timer.as_mut().reset(deadline);
            }
            ready!(self.read_timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            self.read_timer.as_mut().reset(deadline);
        }
    }

    fn written(&mut self) {
        self.waiting = Waiting::Idle;
        self.since = Instant::now();
        self.blocked = None;
    }

    fn poll_blocked(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let deadline = at(Instant::now(), self.patience.receive);
        let timer = self.blocked.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(late("the client does not read its answer")))
    }
}

fn at(since: Instant, patience: Duration) -> Instant {
    since.checked_add(patience).unwrap_or(since)
}

fn late(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, message)
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let filled = buf.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.inner).poll_read(cx, buf) {
            if buf.filled().len() > filled && this.waiting == Waiting::Idle {
                this.waiting = Waiting::Request;
                this.since = Instant::now();
            }
            return Poll::Ready(read);
        }
        ready!(this.poll_late(cx));
        Poll::Ready(Err(late("the client does not send its request")))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match Pin::new(&mut this.inner).poll_write(cx, buf) {
            Poll::Ready(written) => {
                this.written();
                Poll::Ready(written)
            }
            Poll::Pending => this.poll_blocked(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match Pin::new(&mut this.inner).poll_write_vectored(cx, bufs) {
            Poll::Ready(written) => {
                this.written();
                Poll::Ready(written)
            }
            Poll::Pending => this.poll_blocked(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
