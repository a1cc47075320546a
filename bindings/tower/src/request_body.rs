//! The request body as the inner service sees it: the original bytes, whether they were read or not.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use pin_project_lite::pin_project;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

pin_project! {
    /// The body of a request that was let through: what the client sent, unchanged, trailers included.
    #[derive(Debug)]
    pub struct RequestBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = KindProjection]
    enum Kind<B> {
        Streamed { #[pin] body: B },
        Read { data: Bytes, trailers: Option<HeaderMap> },
    }
}

impl<B: Body> RequestBody<B> {
    pub(crate) fn streamed(body: B) -> Self {
        RequestBody { kind: Kind::Streamed { body } }
    }

    pub(crate) fn read(read: ReadBody) -> Self {
        RequestBody { kind: Kind::Read { data: read.data, trailers: read.trailers } }
    }
}

/// A body that was read to its end.
#[derive(Default)]
pub(crate) struct ReadBody {
    pub data: Bytes,
    trailers: Option<HeaderMap>,
}

/// Reads a body of at most `max` bytes.
///
/// # Errors
/// A message for the client: it is too long, or did not come whole.
pub(crate) async fn read<B>(body: B, max: usize) -> Result<ReadBody, String>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let too_long = || format!("The request body is over {max} bytes. Send a shorter one.");
    if body.size_hint().lower() > u64::try_from(max).unwrap_or(u64::MAX) {
        return Err(too_long());
    }
    match Limited::new(body, max).collect().await {
        Ok(collected) => {
            let trailers = collected.trailers().cloned();
            Ok(ReadBody { data: collected.to_bytes(), trailers })
        }
        Err(error) if error.is::<LengthLimitError>() => Err(too_long()),
        Err(_) => Err("The request body did not come to its end. Send it again.".into()),
    }
}

impl<B: Body> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProjection::Streamed { body } => Poll::Ready(
                ready!(body.poll_frame(cx))
                    .map(|frame| frame.map(|frame| frame.map_data(to_bytes))),
            ),
            KindProjection::Read { data, .. } if !data.is_empty() => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(data)))))
            }
            KindProjection::Read { trailers, .. } => {
                Poll::Ready(trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Streamed { body } => body.is_end_stream(),
            Kind::Read { data, trailers } => data.is_empty() && trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Streamed { body } => body.size_hint(),
            Kind::Read { data, .. } => {
                SizeHint::with_exact(u64::try_from(data.len()).unwrap_or(u64::MAX))
            }
        }
    }
}

/// What is left of a buffer; free of copies for [`Bytes`].
pub(crate) fn to_bytes(mut data: impl Buf) -> Bytes {
    data.copy_to_bytes(data.remaining())
}
