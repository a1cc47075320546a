//! A server: started, followed, stopped.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::IntoResponse;
use http::StatusCode;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::listen::{self, Bound, Serving, Socket, Stop, Tls};
use crate::options::{Listen, Options, TlsFiles};
use crate::reply::Fault;
use crate::shared::Shared;
use crate::{admin, api, ext_authz, forward, housekeeping, page, policy};

/// Why a server could not be started. The message says what to do, without secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StartError(String);

/// A running server. Dropped, it is aborted; [`stop`](Server::stop) ends it gracefully.
pub struct Server {
    shared: Arc<Shared>,
    bound: Vec<Bound>,
    admin_bound: Option<Bound>,
    stop: watch::Sender<Stop>,
    /// Each connection holds a receiver.
    alive: watch::Sender<()>,
    listeners: Vec<JoinHandle<()>>,
    followers: Vec<JoinHandle<()>>,
    certificates: Vec<Arc<Tls>>,
}

impl Server {
    /// Opens everything and begins to listen.
    ///
    /// # Errors
    /// A policy with errors, a store or a log that cannot be opened, an address that cannot be listened on, a certificate that
    /// cannot be used.
    pub async fn start(options: Options) -> Result<Server, StartError> {
        // Before the policy is loaded: a change in between is a change.
        let seen = match &options.policy_file {
            Some(path) => policy::content(path.clone()).await,
            None => None,
        };
        let opened = tokio::task::spawn_blocking(move || Shared::open(options)).await;
        let shared = opened.map_err(|_| StartError("the store could not be opened".into()))?;
        let shared = Arc::new(shared.map_err(StartError)?);
        let stop = watch::Sender::new(Stop::No);
        let mut server = Server {
            shared: Arc::clone(&shared),
            bound: Vec::new(),
            admin_bound: None,
            stop,
            alive: watch::Sender::new(()),
            listeners: Vec::new(),
            followers: Vec::new(),
            certificates: Vec::new(),
        };
        let options = &shared.options;
        if options.listen.is_empty() {
            return Err(StartError("give at least one address to listen on".into()));
        }
        let connections = Arc::new(Semaphore::new(options.bounds.max_connections));
        let router = with_bounds(&shared, decisions(&shared));
        let tls = server.tls(options.tls.as_ref())?;
        for listen in &options.listen {
            let serving = Serving {
                shared: Arc::clone(&shared),
                router: router.clone(),
                tls: tls.clone(),
                connections: Arc::clone(&connections),
            };
            let bound = server.listen(listen, serving)?;
            server.bound.push(bound);
        }
        if let Some(admin) = &options.admin {
            let serving = Serving {
                shared: Arc::clone(&shared),
                router: with_bounds(&shared, administration(&shared)),
                tls: server.tls(admin.tls.as_ref())?,
                // Its own: an operator gets in when everybody else is too many.
                connections: Arc::new(Semaphore::new(ADMIN_CONNECTIONS)),
            };
            server.admin_bound = Some(server.listen(&admin.listen, serving)?);
        }
        server.follow(seen);
        Ok(server)
    }

    fn tls(&mut self, files: Option<&TlsFiles>) -> Result<Option<Arc<Tls>>, StartError> {
        let Some(files) = files else { return Ok(None) };
        let tls = Arc::new(Tls::open(files).map_err(StartError)?);
        self.certificates.push(Arc::clone(&tls));
        Ok(Some(tls))
    }

    fn listen(&mut self, listen: &Listen, serving: Serving) -> Result<Bound, StartError> {
        let bind = Socket::bind(listen).and_then(|socket| Ok((socket.bound()?, socket)));
        let place = match listen {
            Listen::Tcp(address) => address.to_string(),
            Listen::Unix(path) => path.display().to_string(),
        };
        let (bound, socket) = bind.map_err(|error| StartError(format!("{place}: {error}")))?;
        let (stop, alive) = (self.stop.subscribe(), self.alive.subscribe());
        self.listeners.push(listen::serve(socket, serving, stop, alive));
        Ok(bound)
    }

    fn follow(&mut self, seen: Option<Vec<u8>>) {
        if let Some(path) = &self.shared.options.policy_file {
            let follow = policy::follow(Arc::clone(&self.shared), path.clone(), seen);
            self.followers.push(tokio::spawn(follow));
        }
        for tls in &self.certificates {
            self.followers.push(tokio::spawn(housekeeping::follow_certificate(Arc::clone(tls))));
        }
        self.followers.push(tokio::spawn(housekeeping::ask_store(Arc::clone(&self.shared))));
        self.followers.push(tokio::spawn(housekeeping::expire(Arc::clone(&self.shared))));
        self.followers.push(tokio::spawn(housekeeping::count_money(Arc::clone(&self.shared))));
    }

    /// Where it listens, in the order of the options.
    #[must_use]
    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    /// Where administration listens.
    #[must_use]
    pub fn admin_bound(&self) -> Option<&Bound> {
        self.admin_bound.as_ref()
    }

    /// What SIGHUP means: the policy and the certificates are read again, the decision log is opened anew.
    pub async fn reload(&self) {
        self.shared.log.reopen().await;
        for tls in &self.certificates {
            if let Err(error) = tls.reload() {
                tracing::error!(%error, "the certificate stays as it was");
            }
        }
        // What is wrong is logged.
        let _ = policy::reload(&self.shared).await;
    }

    /// Stops: not ready from now on, still answering for `drain`, then no new connections, and the end once every request
    /// under way is answered.
    pub async fn stop(mut self, drain: Duration) {
        self.shared.stopping.store(true, Ordering::Release);
        tokio::time::sleep(drain).await;
        self.stop.send_replace(Stop::Gently);
        for listener in std::mem::take(&mut self.listeners) {
            let _ = listener.await;
        }
        let grace = self.shared.options.bounds.shutdown_grace;
        if tokio::time::timeout(grace, self.alive.closed()).await.is_err() {
            tracing::warn!("requests that were still under way after the grace are cut off");
        }
        self.stop.send_replace(Stop::Cut);
        self.shared.log.close().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listeners.iter().chain(&self.followers).for_each(JoinHandle::abort);
        self.stop.send_replace(Stop::Cut);
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("bound", &self.bound).finish_non_exhaustive()
    }
}

/// Connections to the administration at once.
const ADMIN_CONNECTIONS: usize = 256;

/// What proxies and services ask.
pub(crate) fn decisions(shared: &Arc<Shared>) -> Router {
    let grpc = tonic::service::Routes::new(ext_authz::service(Arc::clone(shared)));
    let router = forward::router().merge(api::router()).merge(admin::probes());
    router.with_state(Arc::clone(shared)).merge(grpc.into_axum_router().reset_fallback())
}

/// What operators and their machines ask.
pub(crate) fn administration(shared: &Arc<Shared>) -> Router {
    admin::router(shared)
        .merge(admin::probes())
        .route("/metrics", axum::routing::get(admin::metrics))
        .route("/openapi.json", axum::routing::get(async || api::openapi_handle()))
        .with_state(Arc::clone(shared))
        .merge(page::router(shared))
}

pub(crate) fn with_bounds(shared: &Arc<Shared>, router: Router) -> Router {
    let timeout = shared.options.bounds.answer_timeout;
    router
        .fallback(async || {
            Fault::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
                .into_response()
        })
        .method_not_allowed_fallback(async || {
            let message = "this path takes another method";
            Fault::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
                .into_response()
        })
        .layer(middleware::from_fn(move |request: Request, next: Next| async move {
            let answer = tokio::time::timeout(timeout, next.run(request)).await;
            answer.unwrap_or_else(|_| {
                let message = "there was no answer in time; send the same again";
                Fault::new(StatusCode::SERVICE_UNAVAILABLE, "timed_out", message).into_response()
            })
        }))
}
