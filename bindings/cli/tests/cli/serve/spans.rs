//! Spans by OTLP, and collectors that are no help.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use rustix::process::Signal;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::process::{Serving, call};

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans.into_iter();
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        self.0.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn decide(server: &Serving) {
    let asked = r#"{"method":"GET","target":"/free","headers":[["authorization","Bearer t-1"]]}"#;
    assert_eq!(call(server.place, None, "POST", "/v1/decide", asked).0, 200);
}

fn serving(collector: SocketAddr) -> Serving {
    let server = Serving::start(&["--otlp", &format!("http://{collector}")]);
    server.add_account("acme", 0, "t-1");
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn each_decision_is_a_span_and_nothing_else_is() {
    let collector = Collector::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap();
    let service = TraceServiceServer::new(collector.clone());
    let running =
        Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener));
    let running = tokio::spawn(running);
    let mut server = serving(place);
    for _ in 0..20 {
        decide(&server);
    }
    server.tell(Signal::TERM);
    assert_eq!(server.ended().code(), Some(0), "{}", server.said());
    running.abort();
    let spans = collector.0.lock().unwrap().clone();
    assert_eq!(spans.len(), 20, "{:?}", spans.iter().map(|span| &span.name).collect::<Vec<_>>());
    for span in spans {
        assert_eq!(span.name, "decide");
        let text = format!("{:?}", span.attributes);
        for words in ["via", "api", "verdict", "allow", "route", "GET /free"] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!text.contains("t-1"), "{text}");
    }
}

#[test]
fn a_collector_that_is_down_or_hangs_holds_nobody_up() {
    // One does not listen, the other accepts and says nothing.
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let down = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for place in [hangs.local_addr().unwrap(), down] {
        let mut server = serving(place);
        let began = Instant::now();
        for _ in 0..200 {
            decide(&server);
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        server.tell(Signal::TERM);
        assert_eq!(server.ended().code(), Some(0), "{}", server.said());
    }
}
