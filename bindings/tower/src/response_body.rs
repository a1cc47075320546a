//! The response body that a client is sent.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::capture::Capture;
use crate::request_body::to_bytes;

pin_project! {
    /// The body of a response: the layer's own (a denial, a replay), or the inner service's as it comes.
    pub struct ResponseBody<B>
    where
        B: Body,
        B: Send,
        B: 'static,
    {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<B>
    where
        B: Body,
        B: Send,
        B: 'static,
    {
        Own { data: Bytes },
        Passed { #[pin] body: B },
        Captured { capture: Capture<B> },
    }
}

impl<B: Body + Send + 'static> ResponseBody<B> {
    pub(crate) fn own(data: Bytes) -> Self {
        ResponseBody { kind: Kind::Own { data } }
    }

    pub(crate) fn passed(body: B) -> Self {
        ResponseBody { kind: Kind::Passed { body } }
    }

    pub(crate) fn captured(capture: Capture<B>) -> Self {
        ResponseBody { kind: Kind::Captured { capture } }
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body + Send + 'static,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProjection::Own { data } if data.is_empty() => Poll::Ready(None),
            KindProjection::Own { data } => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(data)))))
            }
            KindProjection::Passed { body } => Poll::Ready(
                ready!(body.poll_frame(cx))
                    .map(|frame| frame.map(|frame| frame.map_data(to_bytes))),
            ),
            KindProjection::Captured { capture } => capture.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Own { data } => data.is_empty(),
            Kind::Passed { body } => body.is_end_stream(),
            Kind::Captured { capture } => capture.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Own { data } => {
                SizeHint::with_exact(u64::try_from(data.len()).unwrap_or(u64::MAX))
            }
            Kind::Passed { body } => body.size_hint(),
            Kind::Captured { capture } => capture.size_hint(),
        }
    }
}

impl<B: Body + Send + 'static> std::fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Bodies carry customers' data.
        f.debug_struct("ResponseBody").finish_non_exhaustive()
    }
}
