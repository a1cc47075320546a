//! A request that was let through: the inner service's call, and what its end means.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;

use http::{Method, Response};
use http_body::Body;
use tollgate::{Decision, Engine, Finish};

use crate::capture::{Answered, Capture, Kept};
use crate::convert::{KeptHead, add_headers, upstream_timeout};
use crate::options::{Options, Shared};
use crate::response_body::ResponseBody;
use crate::settlement::Open;

/// What the inner service gave: its result, or nothing in time.
type Called<B, E> = Option<Result<Response<B>, E>>;

async fn in_time<B, E>(
    call: impl Future<Output = Result<Response<B>, E>>,
    options: &Options,
) -> Called<B, E> {
    match options.upstream_timeout {
        None => Some(call.await),
        Some(bound) => tokio::time::timeout(bound, call).await.ok(),
    }
}

/// Forwards a request of which nothing must be settled.
pub(crate) async fn pass<S, B, E>(
    shared: &Shared<S>,
    engine: &Engine,
    decision: &Decision,
    call: impl Future<Output = Result<Response<B>, E>>,
) -> Result<Response<ResponseBody<B>>, E>
where
    B: Body + Send + 'static,
{
    let mut response = match in_time(call, &shared.options).await {
        Some(result) => result?.map(ResponseBody::passed),
        None => upstream_timeout().map(ResponseBody::own),
    };
    add_headers(engine, decision, response.headers_mut());
    Ok(response)
}

/// Forwards a request, and settles it by what comes of it.
pub(crate) async fn settle<S, B, E>(
    shared: Arc<Shared<S>>,
    engine: Arc<Engine>,
    decision: Decision,
    method: Method,
    mut open: Open,
    call: impl Future<Output = Result<Response<B>, E>>,
) -> Result<Response<ResponseBody<B>>, E>
where
    B: Body + Send + 'static,
    E: 'static,
{
    let options = &shared.options;
    open.forwarded();
    let mut response = match in_time(call, options).await {
        None => {
            open.finish(Finish::Unknown).await;
            upstream_timeout().map(ResponseBody::own)
        }
        Some(Err(error)) => {
            let settlement = (options.error_rule)(&error as &dyn Any);
            open.finish(settlement.finish(None)).await;
            return Err(error);
        }
        Some(Ok(response)) => capture(options, &method, open, response).await,
    };
    add_headers(&engine, &decision, response.headers_mut());
    Ok(response)
}

async fn capture<B>(
    options: &Options,
    method: &Method,
    open: Open,
    response: Response<B>,
) -> Response<ResponseBody<B>>
where
    B: Body + Send + 'static,
{
    let (parts, body) = response.into_parts();
    let settlement = (options.rule)(&parts);
    let kept =
        if open.holds_key() { Kept::up_to(options.max_response_body) } else { Kept::nothing() };
    let head = KeptHead::new(&parts, &options.replay_headers);
    let head = match *method {
        Method::HEAD => head.of_head_request(&parts, &body.size_hint()),
        _ => head,
    };
    let answered = Answered { open, head, settlement };
    // Servers do not read the body of an answer to HEAD: its end is here.
    let body = if method == Method::HEAD || body.is_end_stream() {
        answered.finish(Some(Vec::new())).await;
        ResponseBody::passed(body)
    } else {
        ResponseBody::captured(Capture::new(body, answered, kept, options.carry_on))
    };
    Response::from_parts(parts, body)
}
