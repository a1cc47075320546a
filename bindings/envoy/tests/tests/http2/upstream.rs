//! A service that speaks HTTP/2.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::server::SendResponse;
use http::Request;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tollgate_envoy_tests::Options;

/// Listens as long as it is there.
pub(crate) struct Http2Upstream {
    _runtime: Runtime,
    port: u16,
    calls: Arc<AtomicUsize>,
}

impl Http2Upstream {
    /// Gives each request to the handler, which answers it.
    pub(crate) fn start<F>(
        handler: impl Fn(Request<h2::RecvStream>, SendResponse<Bytes>) -> F + Send + Sync + 'static,
    ) -> Http2Upstream
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (calls, handler) = (Arc::new(AtomicUsize::new(0)), Arc::new(handler));
        let counter = Arc::clone(&calls);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (counter, handler) = (Arc::clone(&counter), Arc::clone(&handler));
                tokio::spawn(async move {
                    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        counter.fetch_add(1, Ordering::SeqCst);
                        tokio::spawn(handler(request, respond));
                    }
                });
            }
        });
        Http2Upstream { _runtime: runtime, port, calls }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

/// Has the gateway speak HTTP/2 to its upstream.
pub(crate) fn speaks_http2(options: &mut Options) {
    options.edit(
        "explicit_http_config: { http_protocol_options: { allow_custom_methods: true } }",
        "explicit_http_config: { http2_protocol_options: { } }",
    );
}
