//! The layer and its service.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tollgate::{AsyncStore, LiveEngine, Verdict};
use tower_layer::Layer;
use tower_service::Service;

use crate::admission::{Admitted, Decided, decide};
use crate::carry_on::{BoxFuture, CarryOn};
use crate::convert;
use crate::forward;
use crate::options::{Shared, TollgateLayerBuilder};
use crate::request_body::RequestBody;
use crate::response_body::ResponseBody;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A [`Layer`] that lets requests through as an engine decides; see the crate's documentation.
///
/// `S` is where state lives. Cloning is cheap, and clones share engine and store.
pub struct TollgateLayer<S> {
    shared: Arc<Shared<S>>,
}

impl<S> TollgateLayer<S> {
    /// A layer with the default options.
    #[must_use]
    pub fn new(live: Arc<LiveEngine>, store: Arc<S>) -> Self {
        TollgateLayer::builder(live, store).build()
    }

    /// A layer with options.
    #[must_use]
    pub fn builder(live: Arc<LiveEngine>, store: Arc<S>) -> TollgateLayerBuilder<S> {
        TollgateLayerBuilder::new(live, store)
    }

    pub(crate) fn from_shared(shared: Shared<S>) -> Self {
        TollgateLayer { shared: Arc::new(shared) }
    }
}

impl<S> Clone for TollgateLayer<S> {
    fn clone(&self) -> Self {
        TollgateLayer { shared: Arc::clone(&self.shared) }
    }
}

impl<S> std::fmt::Debug for TollgateLayer<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TollgateLayer").finish_non_exhaustive()
    }
}

impl<Inner, S> Layer<Inner> for TollgateLayer<S> {
    type Service = TollgateService<Inner, S>;

    fn layer(&self, inner: Inner) -> Self::Service {
        TollgateService { inner, shared: Arc::clone(&self.shared) }
    }
}

/// The service that [`TollgateLayer`] puts around an inner one.
pub struct TollgateService<Inner, S> {
    inner: Inner,
    shared: Arc<Shared<S>>,
}

impl<Inner: Clone, S> Clone for TollgateService<Inner, S> {
    fn clone(&self) -> Self {
        TollgateService { inner: self.inner.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<Inner, S> std::fmt::Debug for TollgateService<Inner, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TollgateService").finish_non_exhaustive()
    }
}

impl<Inner, S, B, R> Service<Request<B>> for TollgateService<Inner, S>
where
    Inner: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone + Send + 'static,
    Inner::Future: Send + 'static,
    Inner::Error: Send + 'static,
    S: AsyncStore + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
    R: Body + Send + 'static,
    R::Error: Send,
{
    type Response = Response<ResponseBody<R>>;
    type Error = Inner::Error;
    type Future = BoxFuture<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The clone stays behind: it is the one polled here that is ready.
        let next = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, next);
        let shared = Arc::clone(&self.shared);
        Box::pin(handle(shared, inner, request))
    }
}

async fn handle<Inner, S, B, R>(
    shared: Arc<Shared<S>>,
    mut inner: Inner,
    request: Request<B>,
) -> Result<Response<ResponseBody<R>>, Inner::Error>
where
    Inner: Service<Request<RequestBody<B>>, Response = Response<R>> + Send + 'static,
    Inner::Future: Send + 'static,
    Inner::Error: Send + 'static,
    S: AsyncStore + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
    R: Body + Send + 'static,
    R::Error: Send,
{
    // One policy from here to the settlement, whatever is loaded meanwhile.
    let engine = shared.live.load();
    let (parts, body) = request.into_parts();
    let Decided { parts, body, decision, open } = decide(&shared, &engine, parts, body).await;
    if decision.verdict() != Verdict::Allow {
        return Ok(convert::response(engine.answer(&decision)).map(ResponseBody::own));
    }
    let mut request = Request::from_parts(parts, body);
    if let Some(admitted) = Admitted::new(&engine, &decision) {
        request.extensions_mut().insert(admitted);
    }
    let method = request.method().clone();
    match open {
        None => forward::pass(&shared, &engine, &decision, inner.call(request)).await,
        Some(open) => {
            let carry_on = shared.options.carry_on;
            let call = async move { inner.call(request).await };
            let work = forward::settle(shared, engine, decision, method, open, call);
            CarryOn::within(work, carry_on).await
        }
    }
}
