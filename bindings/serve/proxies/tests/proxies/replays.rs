//! A request under a key that was carried out is not carried out again.

use serde_json::{Value, json};
use tollgate_gateway_tests::send;
use tollgate_serve_proxies::{Kind, Stand, api_body};

use crate::answers::values;

pub(crate) fn all(kind: Kind) {
    let stand = Stand::start(kind);
    for (at, told) in
        ["200", "201", "204", "302", "404", "422", "500", "200b", "404b"].iter().enumerate()
    {
        let key = format!("key-{told}");
        let status: u16 = told.trim_end_matches('b').parse().unwrap();
        let first = stand.pay(&key, told);
        assert_eq!(first.status, status, "{kind:?} {told}: {}", first.text());
        assert_eq!(first.body, api_body(told));
        for _ in 0..2 {
            let again = stand.pay(&key, told);
            if kind.replays(status, &api_body(told)) {
                assert_eq!(
                    (again.status, &again.body),
                    (status, &api_body(told)),
                    "{kind:?} {told}"
                );
                assert_eq!(values(&again, "idempotent-replayed"), ["true"]);
                // Envoy's answers without a body have no type.
                if !(kind.is_envoy() && again.body.is_empty()) {
                    assert_eq!(values(&again, "content-type"), ["application/x-test"]);
                }
                assert_eq!(values(&again, "x-tag").join(","), "a,b".to_owned(), "{kind:?}");
                assert_eq!(values(&again, "location"), ["http://tollgate/x"], "{kind:?}");
                assert!(values(&again, "x-accel-redirect").is_empty());
                assert!(values(&again, "set-cookie").is_empty());
            } else {
                assert_eq!((again.status, again.code().as_str()), (409, "replay_not_carried"));
            }
        }
        assert_eq!(stand.upstream.calls(), at + 1, "{kind:?} {told} was carried out again");
    }
    // 200, 201, 204, 302 and the other 200 are paid, what failed is not.
    stand.expect_money("acme", (0, 5 * 5));
    hop_by_hop(&stand, kind);
    large(&stand, kind);
    // A key of one account says nothing about another's.
    stand.serve.add("other", &json!({"balance": 10}), "t-other", &json!({"scopes": ["all"]}));
    let answer =
        stand.ask("t-other", "POST", "/pay", &[("Idempotency-Key", "key-200")], b"{\"to\":1}");
    assert_eq!(answer.status, 200);
    assert!(values(&answer, "idempotent-replayed").is_empty());
}

/// A client cannot have taken away on the way what says that its request was carried out before.
fn hop_by_hop(stand: &Stand, kind: Kind) {
    let calls = stand.upstream.calls();
    let named = "close, X-Tollgate-Answer, X-Tollgate-Verdict, X-Accel-Redirect, Idempotency-Key";
    let headers = [("Idempotency-Key", "key-200"), ("X-Answer", "200")];
    let bytes = Stand::bytes("POST", "/pay", &headers, b"{\"to\":1}");
    let text = String::from_utf8(bytes).unwrap();
    let text = text.replace("Connection: close", &format!("Connection: {named}"));
    let answer = stand.raw("POST", text.as_bytes()).unwrap();
    // Go's proxies and Envoy drop the key itself: that is a request without one, for the server and the API alike.
    if stand.upstream.calls() > calls {
        let received = stand.upstream.received().pop().unwrap();
        assert_eq!(received.header("idempotency-key"), None, "{kind:?}");
    } else {
        assert!(matches!(answer.status, 200 | 409), "{kind:?}: {}", answer.status);
    }
    let calls = stand.upstream.calls();
    let text = text.replace(", Idempotency-Key\r\n", "\r\n");
    let answer = stand.raw("POST", text.as_bytes()).unwrap();
    assert_eq!(stand.upstream.calls(), calls, "{kind:?} carried it out again: {}", answer.status);
}

/// Long headers and bodies that were stored.
fn large(stand: &Stand, kind: Kind) {
    let asked = json!({
        "method": "POST", "target": "/pay", "peer": "127.0.0.1",
        "headers": [["Authorization", "Bearer t-acme"], ["Idempotency-Key", "large"]],
        "body": if kind.tells_bodies() { "{\"to\":1}" } else { "" },
    });
    let decided: Value =
        serde_json::from_slice(&stand.serve.api("/v1/decide", &asked).body).unwrap();
    let (body, header) = ("x".repeat(500_000), "y".repeat(6_000));
    let response = json!({"status": 404, "headers": [["X-Long", &header]], "body": &body});
    let settle = json!({"ticket": decided["ticket"], "outcome": "void", "response": response});
    assert_eq!(stand.serve.api("/v1/settle", &settle).status, 200);
    let answer = stand.pay("large", "200");
    assert_eq!(answer.status, 404, "{kind:?}: {}", answer.code());
    assert!(answer.text() == body, "{kind:?}: {} bytes", answer.body.len());
    assert_eq!(answer.header("x-long").map(str::len), Some(header.len()), "{kind:?}");
}

#[test]
fn an_answer_is_fetched_once_and_only_by_its_name() {
    let stand = Stand::start(Kind::NginxAuthRequest);
    let port = stand.serve.port();
    for id in ["", "0", "ffffffffffffffffffffffffffffffff"] {
        let answer = send(port, "GET", "/forward-auth/answer", &[("X-Tollgate-Answer", id)], b"");
        assert_eq!((answer.status, answer.code().as_str()), (503, "answer_lost"), "{id}");
    }
    let asked = [("X-Original-Method", "GET"), ("X-Original-URI", "/read")];
    let refused = send(port, "GET", "/forward-auth/nginx", &asked, b"");
    assert_eq!((refused.status, refused.body.len()), (403, 0));
    let id = refused.header("x-tollgate-answer").unwrap();
    // Any method, as Traefik asks with the client's.
    for status in [401, 503] {
        let answer = send(port, "POST", "/forward-auth/answer", &[("X-Tollgate-Answer", id)], b"x");
        assert_eq!(answer.status, status);
    }
}
