//! A response on its way to the client: copied for replays, and settled when it ends.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::runtime::Handle;
use tollgate::Finish;

use crate::carry_on::CarryOn;
use crate::convert::KeptHead;
use crate::request_body::to_bytes;
use crate::settlement::{Open, Settlement};

/// What settles a request whose upstream answered.
pub(crate) struct Answered {
    pub open: Open,
    pub head: KeptHead,
    pub settlement: Settlement,
}

impl Answered {
    /// With the response's body, where it came whole and within the bound.
    pub(crate) fn finish(self, body: Option<Vec<u8>>) -> CarryOn<()> {
        let response = self.open.holds_key().then(|| self.head.with_body(body));
        self.open.finish(self.settlement.finish(response))
    }
}

/// The first bytes of a body, until there are too many.
pub(crate) struct Kept {
    bytes: Option<Vec<u8>>,
    max: usize,
}

impl Kept {
    /// Keeps bodies of at most `max` bytes.
    pub(crate) fn up_to(max: usize) -> Kept {
        Kept { bytes: Some(Vec::new()), max }
    }

    /// Keeps none.
    pub(crate) fn nothing() -> Kept {
        Kept { bytes: None, max: 0 }
    }

    fn add(&mut self, data: &[u8]) {
        let Some(bytes) = &mut self.bytes else { return };
        if bytes.len().saturating_add(data.len()) > self.max {
            self.bytes = None;
        } else {
            bytes.extend_from_slice(data);
        }
    }
}

/// A response body that settles its request before its last frame is handed on, so that a client that
/// has the whole answer finds it replayed from then on.
pub(crate) struct Capture<B: Body + Send + 'static> {
    body: Option<Pin<Box<B>>>,
    answered: Option<Answered>,
    kept: Kept,
    settling: Option<CarryOn<()>>,
    /// What is handed on once the settlement is done; `Some(None)` is the end.
    next: Option<Option<Result<Frame<Bytes>, B::Error>>>,
    carry_on: Duration,
    polling: bool,
}

impl<B: Body + Send + 'static> Capture<B> {
    pub(crate) fn new(body: B, answered: Answered, kept: Kept, carry_on: Duration) -> Self {
        Capture {
            body: Some(Box::pin(body)),
            answered: Some(answered),
            kept,
            settling: None,
            next: None,
            carry_on,
            polling: false,
        }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        loop {
            if let Some(settling) = &mut self.settling {
                ready!(Pin::new(settling).poll(cx));
                self.settling = None;
            }
            if let Some(next) = self.next.take() {
                return Poll::Ready(next);
            }
            let Some(body) = &mut self.body else { return Poll::Ready(None) };
            // Stays true when the body panics.
            self.polling = true;
            let polled = body.as_mut().poll_frame(cx);
            self.polling = false;
            let frame = ready!(polled).map(|frame| frame.map(|frame| frame.map_data(to_bytes)));
            if let Some(Ok(frame)) = &frame
                && let Some(data) = frame.data_ref()
            {
                self.kept.add(data);
            }
            let ended = match &frame {
                None | Some(Err(_)) => true,
                Some(Ok(_)) => body.is_end_stream(),
            };
            if !ended {
                return Poll::Ready(frame);
            }
            self.body = None;
            self.settling = self.answered.take().map(|answered| match &frame {
                // The upstream broke off: what it has done nobody knows.
                Some(Err(_)) => answered.open.finish(Finish::Unknown),
                _ => answered.finish(self.kept.bytes.take()),
            });
            self.next = Some(frame);
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.body.is_none() && matches!(self.next, None | Some(None))
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match (&self.body, &self.next) {
            (Some(body), _) => body.size_hint(),
            (None, Some(Some(Ok(frame)))) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            (None, _) => SizeHint::with_exact(0),
        }
    }
}

impl<B: Body + Send + 'static> Drop for Capture<B> {
    fn drop(&mut self) {
        let Some(answered) = self.answered.take() else { return };
        if self.polling {
            // The body panicked, and the guard in `answered` says that the end is unknown.
            return;
        }
        let carry_on = self.carry_on;
        match self.body.take() {
            Some(body)
                if self.kept.bytes.is_some()
                    && !carry_on.is_zero()
                    && Handle::try_current().is_ok() =>
            {
                let kept = std::mem::replace(&mut self.kept, Kept::nothing());
                let rest = read_rest(body, answered, kept, carry_on);
                drop(CarryOn::to_end(rest));
            }
            _ => drop(answered.finish(None)),
        }
    }
}

/// The client left before the end: its retry is to find the whole response.
async fn read_rest<B: Body + Send + 'static>(
    mut body: Pin<Box<B>>,
    answered: Answered,
    mut kept: Kept,
    bound: Duration,
) {
    let read = async {
        while kept.bytes.is_some() {
            match body.frame().await {
                None => return Ok(()),
                Some(Err(_)) => return Err(()),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        kept.add(&to_bytes(data));
                    }
                }
            }
        }
        Ok(())
    };
    let read = tokio::time::timeout(bound, read).await;
    match read {
        Ok(Ok(())) => answered.finish(kept.bytes).await,
        Ok(Err(())) => answered.open.finish(Finish::Unknown).await,
        Err(_) => answered.finish(None).await,
    }
}
