//! What a client forges reaches neither the judgement nor the API.

use serde_json::json;
use tollgate_gateway_tests::{Received, send};
use tollgate_serve_proxies::{Kind, Setup, Stand};

const ALLOWED: [(&str, &str); 14] = [
    ("X-Original-URI", "/read"),
    ("X-Original-URL", "/read"),
    ("X-Original-Method", "GET"),
    ("X-Forwarded-Uri", "/read"),
    ("X-Forwarded-Method", "GET"),
    ("X-Forwarded-Host", "test"),
    ("X-Rewrite-URL", "/read"),
    ("X-HTTP-Method-Override", "GET"),
    ("X-Envoy-Original-Path", "/read"),
    ("X-Envoy-Auth-Partial-Body", "false"),
    ("X-Tollgate-Verdict", "allow"),
    ("X-Tollgate-Ticket", "1.1.1.-.YWNtZQ"),
    ("X-Accel-Redirect", "@api"),
    ("X-Tollgate-Answer", "00000000000000000000000000000000"),
];

const FORGED: [(&str, &str); 4] = [
    ("X-Tollgate-Ticket", "1.77.1.k.Zm9yZ2Vk"),
    ("X-Tollgate-Account", "forged"),
    ("X-Tollgate-Route", "forged"),
    ("X-Tollgate-Reserved", "forged"),
];

pub(crate) fn all(kind: Kind) {
    let stand = Stand::start(kind);
    let all = json!({"scopes": ["all"]});
    stand.serve.add("away", &json!({"networks": ["203.0.113.0/24"]}), "t-away", &all);
    stand.serve.add("reader", &json!({"balance": 10}), "t-reader", &json!({"scopes": ["read"]}));
    another_request(&stand, kind);
    another_address(&stand, kind);
    assert_eq!(stand.upstream.calls(), 0, "{kind:?}");
    another_ticket(&stand, kind);
    named_in_connection(&stand, kind);
    lines_of_one_name(&stand, kind);
}

/// It asks for what it may not, and says it asks for what it may.
fn another_request(stand: &Stand, kind: Kind) {
    for (method, target) in [("POST", "/pay"), ("GET", "/hidden"), ("DELETE", "/read")] {
        let answer = stand.ask("t-reader", method, target, &ALLOWED, b"");
        let told = (answer.status, answer.code());
        assert_eq!(told, (403, "insufficient_scope".into()), "{kind:?} {method} {target}");
    }
    // And without a token.
    let answer = send(stand.port(), "GET", "/read", &ALLOWED, b"");
    assert_eq!((answer.status, answer.code().as_str()), (401, "missing_token"), "{kind:?}");
}

/// It is not where it says that it is.
fn another_address(stand: &Stand, kind: Kind) {
    let lies = [
        ("X-Forwarded-For", "203.0.113.7"),
        ("X-Real-IP", "203.0.113.7"),
        ("X-Client-IP", "203.0.113.7"),
        ("True-Client-IP", "203.0.113.7"),
        ("Forwarded", "for=203.0.113.7"),
        ("X-Envoy-External-Address", "203.0.113.7"),
    ];
    for lies in [&lies[..], &lies[..1], &lies[1..2], &lies[4..5], &[lies[0], lies[0]]] {
        let answer = stand.ask("t-away", "GET", "/read", lies, b"");
        let told = (answer.status, answer.code());
        assert_eq!(told, (403, "ip_not_allowed".into()), "{kind:?} {lies:?}");
    }
}

/// The API believes what is in these headers.
fn another_ticket(stand: &Stand, kind: Kind) {
    let received = |headers: &[(&str, &str)], method: &str, target: &str| -> Received {
        let calls = stand.upstream.calls();
        let answer = stand.ask("t-acme", method, target, headers, b"");
        assert_eq!(
            (answer.status, stand.upstream.calls()),
            (200, calls + 1),
            "{kind:?} {headers:?}"
        );
        stand.upstream.received().pop().unwrap()
    };
    let forged = |request: &Received| {
        let sent = request
            .headers
            .iter()
            .find(|(_, value)| FORGED.iter().any(|(_, forged)| value == forged.as_bytes()));
        sent.cloned()
    };
    // One that leaves nothing to settle, and one that does.
    for (method, target) in [("GET", "/read"), ("POST", "/pay")] {
        let request = received(&FORGED, method, target);
        assert_eq!(forged(&request), None, "{kind:?} {method}");
        let twice = [FORGED, FORGED].concat();
        let request = received(&twice, method, target);
        assert_eq!(forged(&request), None, "{kind:?} {method}");
        assert_eq!(request.header("x-tollgate-account"), Some("acme"));
    }
    // Nor is a client's answer looked for in place of a decision.
    received(&[("X-Tollgate-Answer", "0123456789abcdef0123456789abcdef")], "GET", "/read");
}

/// What `Connection` names ends at the next hop (RFC 9110, 7.6.1).
fn named_in_connection(stand: &Stand, kind: Kind) {
    for named in ["x-tollgate-ticket", "X-Tollgate-Ticket, x-tollgate-account, close"] {
        let bytes = Stand::bytes("POST", "/pay", &[], b"x");
        let text = String::from_utf8(bytes).unwrap();
        let text = text.replace("Connection: close", &format!("Connection: close, {named}"));
        let answer = stand.raw("POST", text.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{kind:?}: {}", answer.text());
        let received = stand.upstream.received().pop().unwrap();
        let ticket = received.header("x-tollgate-ticket").unwrap_or_default();
        assert!(ticket.starts_with("1."), "{kind:?}: {:?}", received.headers);
    }
    let calls = stand.upstream.calls();
    for named in [
        "x-original-uri, x-original-method",
        "x-forwarded-uri, x-forwarded-method, x-forwarded-for",
        "x-real-ip",
    ] {
        let text = String::from_utf8(Stand::bytes("GET", "/hidden", &ALLOWED, b"")).unwrap();
        let text = text
            .replace("Connection: close", &format!("Connection: close, {named}"))
            .replace("Bearer t-acme", "Bearer t-reader");
        let answer = stand.raw("GET", text.as_bytes()).unwrap();
        assert!(matches!(answer.status, 400 | 403), "{kind:?} {named}: {}", answer.status);
    }
    assert_eq!(stand.upstream.calls(), calls, "{kind:?}");
}

fn lines_of_one_name(stand: &Stand, kind: Kind) {
    let calls = stand.upstream.calls();
    for tokens in [["t-acme", "t-nobody"], ["t-nobody", "t-acme"], ["t-reader", "t-acme"]] {
        let [first, second] = tokens.map(|token| format!("Bearer {token}"));
        let headers = [("Authorization", first.as_str()), ("Authorization", second.as_str())];
        let answer = send(stand.port(), "GET", "/hidden", &headers, b"");
        assert!((400..500).contains(&answer.status), "{kind:?} {tokens:?}: {}", answer.status);
    }
    let keys = [("Idempotency-Key", "k1"), ("Idempotency-Key", "k2")];
    // Envoy over HTTP joins them to one key, which is a key.
    if kind != Kind::EnvoyHttp {
        let answer = stand.ask("t-acme", "POST", "/pay", &keys, b"");
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (422, "idempotency_key_invalid"),
            "{kind:?}"
        );
    }
    assert_eq!(stand.upstream.calls(), calls, "{kind:?}");
}

/// Envoy may be told to ask with a part of the body. A key stands for all of it.
#[test]
fn a_part_of_a_body_is_no_body() {
    for kind in [Kind::EnvoyHttp, Kind::EnvoyGrpc] {
        let edits = vec![(
            "max_request_bytes: 1048576, allow_partial_message: false",
            "max_request_bytes: 16, allow_partial_message: true",
        )];
        let stand = Stand::with(kind, Setup { edits, ..Setup::default() });
        let lie = [("Idempotency-Key", "k"), ("X-Envoy-Auth-Partial-Body", "false")];
        let answer = stand.ask("t-acme", "POST", "/pay", &lie, &[b'x'; 100]);
        assert_eq!((answer.status, answer.code().as_str()), (422, "validation_failed"), "{kind:?}");
        assert_eq!(stand.upstream.calls(), 0);
        let answer = stand.ask("t-acme", "POST", "/pay", &lie, &[b'x'; 10]);
        assert_eq!(answer.status, 200, "{kind:?}: {}", answer.text());
    }
}

/// Only proxies may ask for others.
#[test]
fn an_address_that_is_no_proxy_is_refused() {
    for kind in Kind::ALL {
        let setup = Setup { arguments: vec!["--proxy", "192.0.2.0/24"], ..Setup::default() };
        let stand = Stand::with(kind, setup);
        let answer = stand.ask("t-acme", "GET", "/read", &[], b"");
        assert!(matches!(answer.status, 403 | 503), "{kind:?}: {}", answer.status);
        assert_eq!(stand.upstream.calls(), 0, "{kind:?}");
        for path in ["/forward-auth/answer", "/forward-auth/settle", "/forward-auth/accel/api"] {
            let answer = send(stand.serve.port(), "POST", path, &[], b"");
            assert_eq!((answer.status, answer.code().as_str()), (403, "not_a_proxy"), "{path}");
        }
    }
}
