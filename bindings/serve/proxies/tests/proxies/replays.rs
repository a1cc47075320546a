//! A request under a key that was carried out is not carried out again.

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
    // A key of one account says nothing about another's.
    stand.serve.add(
        "other",
        &serde_json::json!({"balance": 10}),
        "t-other",
        &serde_json::json!({"scopes": ["all"]}),
    );
    let answer =
        stand.ask("t-other", "POST", "/pay", &[("Idempotency-Key", "key-200")], b"{\"to\":1}");
    assert_eq!(answer.status, 200);
    assert!(values(&answer, "idempotent-replayed").is_empty());
}
