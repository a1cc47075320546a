//! What is allowed passes, with what the API and the client are to know; every denial comes as the server gives it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_gateway_tests::{Response, send};
use tollgate_serve_proxies::{Kind, Setup, Stand, text};

/// Code, status, token, method and target, headers, and what the server is told of it beside these.
type Case<'c> = (&'c str, u16, &'c str, &'c str, &'c [(&'c str, &'c str)], Value);

/// Headers whose numbers may have gone on since the question.
const MOVING: [&str; 3] = ["x-ratelimit-remaining", "x-ratelimit-reset", "retry-after"];

/// With headers in which the proxy tells sender and refusal; here clients do.
pub(crate) fn with_facts(kind: Kind) -> Setup {
    let mut setup = Setup {
        arguments: vec!["--sender-header", "x-test-sender", "--invalid-header", "x-test-invalid"],
        ..Setup::default()
    };
    if kind == Kind::EnvoyHttp {
        setup.edits =
            vec![("{ exact: x-request-id }", "{ exact: x-request-id }, { prefix: x-test- }")];
    }
    setup
}

pub(crate) fn all(kind: Kind) {
    let stand = Stand::with(kind, with_facts(kind));
    allowed(&stand, kind);
    denied(&stand, kind);
}

fn allowed(stand: &Stand, kind: Kind) {
    let answer = stand.ask("t-acme", "GET", "/read?a=1&b=%20", &[("X-Own", "kept")], b"");
    assert_eq!((answer.status, answer.text().as_str()), (200, "{\"answered\":\"200\"}"));
    let received = stand.upstream.received().pop().unwrap();
    assert_eq!((received.method.as_str(), received.target.as_str()), ("GET", "/read?a=1&b=%20"));
    assert_eq!(received.header("x-own"), Some("kept"));
    assert_eq!(received.header("x-tollgate-account"), Some("acme"));
    assert_eq!(received.header("x-tollgate-route"), Some("GET /read"));
    assert!(received.header("authorization").is_some());
    // The server's own no-store, say, is not the client's.
    assert_eq!(values(&answer, "cache-control"), ["public"], "{kind:?}");
    assert_eq!(values(&answer, "x-tag"), ["a", "b"]);
    let limits = values(&answer, "x-ratelimit-limit");
    match kind {
        _ if !kind.tells_limits() => assert_eq!(limits, ["7"], "the API's own"),
        // It adds, and the API has one of its own here.
        Kind::EnvoyHttp => assert_eq!(limits, ["7", "1000000"]),
        _ => {
            assert_eq!(limits, ["1000000"]);
            assert_eq!(values(&answer, "x-ratelimit-remaining").len(), 1);
            assert_eq!(values(&answer, "x-ratelimit-reset").len(), 1);
        }
    }
    named_in_the_log(stand, kind);
    let paid = stand.ask("t-acme", "GET", "/paid", &[], b"");
    assert_eq!(paid.status, 200);
    let received = stand.upstream.received().pop().unwrap();
    assert_eq!(received.header("x-tollgate-reserved"), Some("3"));
    assert!(received.header("x-tollgate-ticket").unwrap().starts_with("1."));
    stand.expect_money("acme", (0, 3));
    // A body arrives whole, also where the server sees it first.
    let body = vec![b'x'; 300_000];
    let answer = stand.ask("t-acme", "POST", "/free", &[], &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(stand.upstream.received().pop().unwrap().body == body);
}

/// The decision log has the proxy's name for a request, where the proxy has one.
fn named_in_the_log(stand: &Stand, kind: Kind) {
    let end = Instant::now() + Duration::from_secs(20);
    let decision = loop {
        let of = |decision: &Value| decision["account"] == "acme";
        if let Some(decision) = stand.serve.decisions().into_iter().find(of) {
            break decision;
        }
        assert!(Instant::now() < end, "no decision in the log");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(decision["path"], "/read", "without the query");
    assert_eq!(decision["source"], "127.0.0.1");
    let name = decision["id"].as_str().map_or(0, str::len);
    assert_eq!(name >= 16, !kind.is_traefik(), "{kind:?}: {decision}");
}

fn denied(stand: &Stand, kind: Kind) {
    let all = json!({"scopes": ["all"]});
    let rich = json!({"balance": 1000});
    stand.serve.add("poor", &json!({"balance": 4}), "t-poor", &all);
    stand.serve.add("away", &json!({"networks": ["203.0.113.0/24"]}), "t-away", &all);
    stand.serve.add(
        "capped",
        &rich,
        "t-capped",
        &json!({"scopes": ["all"], "spend_caps": [{"per": "lifetime", "amount": 4}]}),
    );
    stand.serve.add("reader", &rich, "t-reader", &json!({"scopes": ["read"]}));
    stand.serve.add(
        "few",
        &rich,
        "t-few",
        &json!({"scopes": ["all"], "quota": {"limit": 1, "window_ms": 3_600_000}}),
    );
    assert_eq!(stand.ask("t-few", "GET", "/read", &[], b"").status, 200);
    // Nobody reports this one: it stays in flight.
    assert_eq!(stand.pay("flying", "silent").status, 200);
    let calls = stand.upstream.calls();
    let invalid = ("x-test-invalid", "`to` is no number.");
    let same = ("Idempotency-Key", "flying");
    let cases: [Case<'_>; 11] = [
        ("invalid_token", 401, "t-nobody", "GET /read", &[], json!({})),
        ("ip_not_allowed", 403, "t-away", "GET /read", &[], json!({})),
        ("insufficient_scope", 403, "t-reader", "GET /hidden", &[], json!({})),
        ("rate_limited", 429, "t-few", "GET /read", &[], json!({})),
        (
            "idempotency_in_flight",
            409,
            "t-acme",
            "POST /pay",
            &[same],
            json!({"body": "{\"to\":1}"}),
        ),
        (
            "idempotency_key_reused",
            422,
            "t-acme",
            "POST /pay?other",
            &[same],
            json!({"body": "{\"to\":1}"}),
        ),
        (
            "idempotency_key_invalid",
            422,
            "t-acme",
            "POST /pay",
            &[("Idempotency-Key", "a b")],
            json!({}),
        ),
        (
            "sender_not_approved",
            422,
            "t-acme",
            "POST /pay",
            &[("x-test-sender", "EVIL")],
            json!({"sender": "EVIL"}),
        ),
        (
            "validation_failed",
            422,
            "t-acme",
            "POST /pay",
            &[invalid],
            json!({"invalid": invalid.1}),
        ),
        ("spend_cap_exceeded", 403, "t-capped", "POST /pay", &[], json!({})),
        ("insufficient_balance", 402, "t-poor", "POST /pay", &[], json!({})),
    ];
    for (code, status, token, request, headers, mut more) in cases {
        let body = more["body"].as_str().unwrap_or_default().to_owned();
        if !kind.tells_bodies() {
            more["body"] = Value::Null;
        }
        let (method, target) = request.split_once(' ').unwrap();
        let bearer = format!("Bearer {token}");
        let mut all = vec![("Authorization", bearer.as_str())];
        all.extend_from_slice(headers);
        let expected = stand.serve.peek(method, target, &all, &more);
        assert_eq!((text(&expected, "code"), &expected["status"]), (code, &json!(status)));
        let answer = stand.ask(token, method, target, headers, body.as_bytes());
        same_answer(&answer, &expected, kind);
    }
    // Another body under a key is another request, where the server sees bodies.
    let (other, headers) = (b"{\"to\":2}", [same]);
    let answer = stand.ask("t-acme", "POST", "/pay", &headers, other);
    let seen = if kind.tells_bodies() { "idempotency_key_reused" } else { "idempotency_in_flight" };
    assert_eq!(answer.code(), seen);
    let expected = stand.serve.peek("GET", "/read", &[], &json!({}));
    assert_eq!(text(&expected, "code"), "missing_token");
    same_answer(&send(stand.port(), "GET", "/read", &[], b""), &expected, kind);
    // What the proxy tells is told once; who tells it twice is not believed.
    let twice = [("x-test-sender", "ACME"), ("x-test-sender", "EVIL")];
    assert!(stand.ask("t-acme", "POST", "/pay", &twice, b"").status >= 400, "{kind:?}");
    // Without a body.
    let head = send(stand.port(), "HEAD", "/read", &[], b"");
    assert_eq!((head.status, head.body.len()), (401, 0));
    assert_eq!(stand.upstream.calls(), calls, "a denied request reached the API");
}

/// Status, body and every header as the server gives them.
fn same_answer(answer: &Response, expected: &Value, kind: Kind) {
    let code = text(expected, "code");
    assert_eq!(json!(answer.status), expected["status"], "{kind:?} {code}: {}", answer.text());
    assert_eq!(answer.text(), text(expected, "body"), "{kind:?} {code}");
    for header in expected["headers"].as_array().unwrap() {
        let (name, value) = (header[0].as_str().unwrap(), header[1].as_str().unwrap());
        let values = values(answer, name);
        if MOVING.contains(&name.to_ascii_lowercase().as_str()) {
            let number = |text: &str| text.parse::<i64>().unwrap();
            assert_eq!(values.len(), 1, "{kind:?} {code}: {name}");
            assert!((number(&values[0]) - number(value)).abs() < 120, "{name}: {values:?} {value}");
        } else {
            assert_eq!(values, [value], "{kind:?} {code}: {name}");
        }
    }
}

/// The values of every header of this name.
pub(crate) fn values(answer: &Response, name: &str) -> Vec<String> {
    let named = answer.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
    named.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
}

pub(crate) fn store_unavailable(kind: Kind) {
    // Nobody listens there.
    let setup = Setup { store: Some("redis://127.0.0.1:1".into()), ..Setup::default() };
    let stand = Stand::with(kind, setup);
    let answer = stand.ask("t-acme", "GET", "/read", &[], b"");
    assert_eq!(answer.status, 503);
    // Envoy makes an answer of its own of 5xx over HTTP.
    let code = if kind == Kind::EnvoyHttp { "" } else { "store_unavailable" };
    assert_eq!(answer.code(), code, "{}", answer.text());
    assert_eq!(stand.upstream.calls(), 0);
}
