//! Any request at all: no panic, no 5xx that is not documented, and errors in the documented form.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use proptest::prelude::*;
use serde_json::Value;
use tollgate::CompiledPolicy;
use tower::ServiceExt;

use crate::caller::Caller;
use crate::options::{AdminOptions, FactHeaders, Listen, Options};
use crate::secret::Secret;
use crate::server::{administration, decisions, with_bounds};
use crate::shared::Shared;

const ADMIN: &str = "operator-operator-operator";

const POLICY: &str = r#"{
    "tokens": {"format": "opaque"},
    "source": {"trusted_proxies": ["10.0.0.0/8"]},
    "scopes": {"all": ["GET /free", "POST /pay"]},
    "limits": {"token": {"per": "token", "quota": 100, "window_ms": 60000}},
    "routes": {"POST /pay": {"idempotency": true, "price": 5}}
}"#;

fn routers() -> [Router; 2] {
    let mut options = Options::new(Arc::new(|| {
        CompiledPolicy::from_json(POLICY).map_err(|errors| errors.to_string())
    }));
    let token = Secret::new(ADMIN).unwrap();
    let listen = Listen::Tcp(([127, 0, 0, 1], 0).into());
    options.admin = Some(AdminOptions { listen, tls: None, token });
    let name = |name| Some(http::HeaderName::from_static(name));
    options.facts =
        FactHeaders { cost: name("x-cost"), sender: name("x-sender"), invalid: name("x-invalid") };
    let shared = Arc::new(Shared::open(options).unwrap());
    [with_bounds(&shared, decisions(&shared)), with_bounds(&shared, administration(&shared))]
}

async fn ask(router: &Router, request: Request<Body>) -> (StatusCode, Option<String>, Vec<u8>) {
    let mut request = request;
    request.extensions_mut().insert(Caller::Unix);
    let answer = router.clone().oneshot(request).await.unwrap();
    let (head, body) = answer.into_parts();
    let media_type = head.headers.get("content-type").map(|value| value.to_str().unwrap().into());
    (head.status, media_type, body.collect().await.unwrap().to_bytes().to_vec())
}

const PATHS: [&str; 26] = [
    "/",
    "/v1/decide",
    "/v1/settle",
    "/openapi.json",
    "/healthz",
    "/readyz",
    "/metrics",
    "/forward-auth",
    "/forward-auth/caddy",
    "/forward-auth/nginx",
    "/forward-auth/answer",
    "/forward-auth/accel/api",
    "/ext-authz/free",
    "/ext-authz//pay?x",
    "/envoy.service.auth.v3.Authorization/Check",
    "/api/accounts",
    "/api/accounts?limit=2&after=a",
    "/api/accounts?limit=-1",
    "/api/accounts/acme",
    "/api/accounts/%ff",
    "/api/accounts/acme/deposits",
    "/api/accounts/acme/tokens",
    "/api/accounts/acme/reservations/1/resolve",
    "/api/accounts/acme/reservations/x/refunds",
    "/api/tokens/00",
    "/api/tokens/%00/rotate",
];

const NAMES: [&str; 17] = [
    "authorization",
    "idempotency-key",
    "x-forwarded-for",
    "x-forwarded-method",
    "x-forwarded-uri",
    "x-original-method",
    "x-original-uri",
    "x-cost",
    "x-sender",
    "x-invalid",
    "x-request-id",
    "x-tollgate-answer",
    "content-type",
    "content-length",
    "x-envoy-auth-partial-body",
    "te",
    "cookie",
];

/// Pieces of what is documented, and what is not.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"Bearer operator-operator-operator".to_vec()),
        Just(b"Bearer t-1".to_vec()),
        Just(b"application/json".to_vec()),
        Just(b"application/grpc".to_vec()),
        Just(b"POST".to_vec()),
        Just(b"/pay?a=b".to_vec()),
        Just(b"192.0.2.1, 10.0.0.1".to_vec()),
        Just(b"18446744073709551616".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..40),
    ]
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("1".to_owned()),
        Just("-1".to_owned()),
        Just("1e999".to_owned()),
        Just("18446744073709551616".to_owned()),
        Just("\"\\ud800\"".to_owned()),
        "[ -~]{0,12}".prop_map(|text| format!("{text:?}")),
        Just("\"1.1.5.k.YWNtZQ\"".to_owned()),
        Just("\"settle\"".to_owned()),
        Just("\"POST\"".to_owned()),
        Just("\"/pay\"".to_owned()),
    ];
    let name = prop_oneof![
        proptest::sample::select(vec![
            "method",
            "target",
            "headers",
            "peer",
            "body",
            "body_base64",
            "body_sha256",
            "cost",
            "sender",
            "invalid",
            "peek",
            "explain",
            "id",
            "ticket",
            "outcome",
            "amount",
            "response",
            "status",
            "balance",
            "networks",
            "spend_caps",
            "senders",
            "scopes",
            "token",
            "quota",
            "limit",
            "window_ms",
            "expires_ms",
            "grace_ms",
            "reference",
            "per",
        ])
        .prop_map(str::to_owned),
        "[a-z]{0,4}",
    ];
    leaf.prop_recursive(4, 24, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4)
                .prop_map(|all| format!("[{}]", all.join(","))),
            // Names may come twice.
            proptest::collection::vec((name.clone(), inner), 0..6).prop_map(|all| {
                let members: Vec<_> =
                    all.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => json().prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..200),
        1 => (1_usize..100_000).prop_map(|depth| b"[".repeat(depth)),
    ]
}

#[derive(Debug)]
struct Any {
    admin: bool,
    method: String,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    is_json: bool,
    is_operator: bool,
    body: Vec<u8>,
}

fn anything() -> impl Strategy<Value = Any> {
    let method = prop_oneof![
        proptest::sample::select(vec!["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
            .prop_map(str::to_owned),
        "[A-Z!#]{1,12}",
    ];
    let path = prop_oneof![
        8 => proptest::sample::select(PATHS.to_vec()).prop_map(str::to_owned),
        1 => "/[!-~]{0,30}",
    ];
    let header = (
        prop_oneof![
            8 => proptest::sample::select(NAMES.to_vec()).prop_map(str::to_owned),
            1 => "[a-z-]{1,12}",
        ],
        value(),
    );
    let headers = proptest::collection::vec(header, 0..8);
    (any::<bool>(), method, path, headers, any::<bool>(), any::<bool>(), body()).prop_map(
        |(admin, method, path, headers, is_json, is_operator, body)| Any {
            admin,
            method,
            path,
            headers,
            is_json,
            is_operator,
            body,
        },
    )
}

/// `None` for what is no request in HTTP.
fn request(any: &Any) -> Option<Request<Body>> {
    let mut request = Request::builder().method(any.method.as_str()).uri(any.path.as_str());
    for (name, value) in &any.headers {
        request = request.header(name, value.as_slice());
    }
    if any.is_json {
        request = request.header("content-type", "application/json");
    }
    if any.is_operator {
        request = request.header("authorization", format!("Bearer {ADMIN}"));
    }
    request.body(Body::from(any.body.clone())).ok()
}

proptest! {
    #[test]
    fn any_request_is_answered_as_documented(all in proptest::collection::vec(anything(), 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let routers = routers();
            for any in &all {
                let Some(request) = request(any) else { continue };
                let is_head = request.method() == http::Method::HEAD;
                let path = request.uri().path();
                let is_page = any.admin && (path == "/" || path.starts_with("/settings"));
                let (status, media_type, body) = ask(&routers[usize::from(any.admin)], request).await;
                // 503: what nginx fetches that is not there, and a server that has not asked its store yet.
                let may = status.as_u16() < 500 || status == StatusCode::SERVICE_UNAVAILABLE;
                prop_assert!(may, "{status}: {any:?}");
                let is_error = status.is_client_error() && any.path != "/envoy.service.auth.v3.Authorization/Check";
                if is_page && is_error && !body.is_empty() {
                    prop_assert_eq!(media_type.as_deref(), Some("text/html; charset=utf-8"), "{:?}", any);
                } else if is_error && !is_head && !body.is_empty() {
                    prop_assert_eq!(media_type.as_deref(), Some("application/json"), "{:?}", any);
                    let error: Value = serde_json::from_slice(&body).unwrap();
                    prop_assert!(error["message"].is_string() && error["code"].is_string(), "{}", error);
                }
            }
            Ok(())
        })?;
    }
}

async fn decide(router: &Router, body: &str) -> (StatusCode, Value) {
    let request = Request::post("/v1/decide").header("content-type", "application/json");
    let (status, _, answer) = ask(router, request.body(Body::from(body.to_owned())).unwrap()).await;
    (status, serde_json::from_slice(&answer).unwrap())
}

#[tokio::test]
async fn json_that_could_be_read_two_ways_is_refused() {
    let [router, _] = routers();
    let deep = format!(r#"{{"method":{}"#, "[".repeat(10_000));
    for wrong in [
        r#"{"method":"GET","target":"/free","target":"/pay"}"#,
        r#"{"method":"GET","target":"/free","cost":1.5}"#,
        r#"{"method":"GET","target":"/free","cost":-1}"#,
        r#"{"method":"GET","target":"/free","cost":18446744073709551616}"#,
        r#"{"method":"GET","target":"/free","cost":1e3}"#,
        r#"{"method":"GET","target":"/free","extra":1}"#,
        r#"{"method":"GET","target":"/free"} {}"#,
        r#"{"method":"GET","target":"/fr☎e"}"#,
        r#"{"method":"GET","target":"/free","body":"a","body_base64":"YQ=="}"#,
        r#"{"method":"GET","target":"/free","body_base64":"YQ"}"#,
        r#"{"method":"GET","target":"/free","body_sha256":"00"}"#,
        r#"{"method":"GET","target":"/free","headers":[["a"]]}"#,
        r#"{"method":"GET","target":"/free","peer":"here"}"#,
        r#"{"method":"GET","target":"/free","id":"a b"}"#,
        r#"{"method":"GET"}"#,
        "[]",
        "",
        &deep,
    ] {
        let (status, answer) = decide(&router, wrong).await;
        let wrong: String = wrong.chars().take(99).collect();
        assert_eq!(
            (status, &answer["code"]),
            (StatusCode::BAD_REQUEST, &"malformed_request".into()),
            "{wrong}: {answer}"
        );
    }
    let (status, _) =
        decide(&router, r#"{"method":"GET","target":"/free","cost":18446744073709551615}"#).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn what_was_sent_is_not_repeated() {
    let [router, _] = routers();
    for wrong in [
        r#"{"method":"GET","target":"/free","headers":"hush"}"#,
        r#"{"method":"GET","target":"/free","headers":"hush, expected at line 1 hush"}"#,
        r#"{"method":"GET","target":"/free","peer":"hush at line 1, expected hush"}"#,
        r#"{"hush":1}"#,
        r#"{"hush`, expected `hush":1}"#,
    ] {
        let (status, answer) = decide(&router, wrong).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(!answer.to_string().contains("hush"), "{answer}");
    }
}

/// A body that says how long it is, or not, and does not come.
struct Pending(Option<u64>);

impl hyper::body::Body for Pending {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        std::task::Poll::Pending
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.0.map_or_else(hyper::body::SizeHint::default, hyper::body::SizeHint::with_exact)
    }
}

#[tokio::test]
async fn long_bodies_are_refused_by_their_length_and_have_bounded_room() {
    let [router, _] = routers();
    let send = async |length| {
        let request = Request::post("/v1/decide").header("content-type", "application/json");
        ask(&router, request.body(Body::new(Pending(length))).unwrap()).await.0
    };
    assert_eq!(send(Some(3 << 20)).await, StatusCode::PAYLOAD_TOO_LARGE);
    let mut arriving = Vec::new();
    let busy = loop {
        let mut next = Box::pin(send(None));
        match at_once(next.as_mut()).await {
            Some(status) => break status,
            None => arriving.push(next),
        }
        assert!(arriving.len() < 1_000, "there is no bound");
    };
    assert_eq!(busy, StatusCode::SERVICE_UNAVAILABLE);
    // A short one gets in, and waits for its bytes.
    assert!(at_once(Box::pin(send(Some(1_000))).as_mut()).await.is_none());
    let (status, _) = decide(&router, r#"{"method":"GET","target":"/free"}"#).await;
    assert_eq!(status, StatusCode::OK);
    drop(arriving);
    assert!(at_once(Box::pin(send(None)).as_mut()).await.is_none(), "no room again");
}

/// What a future is ready with at once.
async fn at_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut future).poll(cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}
