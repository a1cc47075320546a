//! The policy is replaced between two requests: no answer is by two of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::client::{Reply, call, send};
use crate::running::Running;

/// Differs from the other one in whatever a client sees.
fn policy(is_first: bool) -> String {
    let pick = |first: &'static str, second: &'static str| if is_first { first } else { second };
    json!({
        "tokens": {"format": "opaque"},
        "source": {"trusted_proxies": ["10.0.0.0/8"], "forwarded_header": pick("x-forwarded-for", "forwarded")},
        "scopes": {"all": ["GET /free", "POST /pay"]},
        "limits": {"token": {"per": "token", "quota": if is_first { 900_000_111 } else { 900_000_222 }, "window_ms": 60_000}},
        "routes": {"POST /pay": {"price": if is_first { 5 } else { 7 }}},
        "answers": {"problem_json": !is_first, "realm": pick("first", "second"), "ietf_ratelimit": !is_first},
    })
    .to_string()
}

/// Which policy each part of an answer is of.
fn parts(reply: &Reply) -> Vec<bool> {
    let mut parts = Vec::new();
    if let Some(limit) = reply.header("x-ratelimit-limit") {
        parts.push(limit == "900000111");
        parts.push(reply.header("ratelimit").is_none());
    }
    if let Some(price) = reply.header("x-tollgate-reserved").filter(|price| *price != "-") {
        parts.push(price == "5");
    }
    if let Some(challenge) = reply.header("www-authenticate") {
        parts.push(challenge.contains("first"));
    }
    if reply.status >= 400 {
        parts.push(reply.header("content-type") == Some("application/json"));
    }
    parts
}

fn forward(method: &str, path: &str, token: &str) -> Vec<u8> {
    // Under the first policy the address is 203.0.113.9, under the second one 198.51.100.7.
    format!(
        "GET /forward-auth HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-Method: {method}\r\nX-Forwarded-Uri: {path}\r\n\
         X-Forwarded-For: 203.0.113.9, 10.0.0.1\r\nForwarded: for=198.51.100.7\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
    .into_bytes()
}

#[test]
fn every_answer_is_by_one_policy() {
    let running = Running::with(&policy(true), |_, _| {}).unwrap();
    running.add_account("acme", 1_000_000_000, "t-open");
    let path = "/api/accounts/acme/tokens";
    let near = json!({ "token": "t-near", "scopes": ["all"], "networks": ["203.0.113.9"] });
    assert_eq!(running.operate("POST", path, Some(&near)).status, 201);
    let far = json!({ "token": "t-far", "scopes": ["all"], "networks": ["198.51.100.7"] });
    assert_eq!(running.operate("POST", path, Some(&far)).status, 201);
    let (done, reloads) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (firsts, seconds) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let number = reloads.fetch_add(1, Ordering::SeqCst);
                std::fs::write(running.policy_file(), policy(number % 2 == 1)).unwrap();
                let reply = running.operate("POST", "/api/policy/reload", None);
                assert_eq!(reply.status, 204, "{}", reply.text());
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let asking = (0..4).map(|_| {
            scope.spawn(|| {
                for n in 0..750 {
                    let bytes = match n % 5 {
                        0 => forward("POST", "/pay", "t-open"),
                        1 => forward("GET", "/free", "t-near"),
                        2 => forward("GET", "/free", "t-far"),
                        3 => forward("GET", "/nowhere", "t-open"),
                        _ => forward("GET", "/free", "unknown"),
                    };
                    let reply = send(&running.place, &bytes).unwrap();
                    let parts = parts(&reply);
                    let is_first = parts[0];
                    assert!(parts.iter().all(|part| *part == is_first), "{n}: {reply:?}");
                    let expected = match n % 5 {
                        0 => 200,
                        1 if is_first => 200,
                        2 if !is_first => 200,
                        4 => 401,
                        _ => 403,
                    };
                    assert_eq!(reply.status, expected, "{n}: {reply:?}");
                    if is_first { &firsts } else { &seconds }.fetch_add(1, Ordering::SeqCst);
                }
            })
        });
        let asking: Vec<_> = asking.collect();
        let asked: Vec<_> = asking.into_iter().map(|asking| asking.join()).collect();
        // Also when one of them failed: else the reloads would not end.
        done.store(true, Ordering::SeqCst);
        asked.into_iter().for_each(Result::unwrap);
    });
    let counts = (firsts.into_inner(), seconds.into_inner(), reloads.into_inner());
    assert!(counts.0 > 300 && counts.1 > 300 && counts.2 > 50, "{counts:?}");
}

#[test]
fn reloads_at_once_end_with_what_the_file_says() {
    let running = Arc::new(Running::with(&policy(true), |_, _| {}).unwrap());
    running.add_account("acme", 0, "t-open");
    for round in 0..20 {
        let is_first = round % 2 == 0;
        std::thread::scope(|scope| {
            for _ in 0..8 {
                let running = Arc::clone(&running);
                scope.spawn(move || running.operate("POST", "/api/policy/reload", None));
            }
            std::fs::write(running.policy_file(), policy(is_first)).unwrap();
            assert_eq!(running.operate("POST", "/api/policy/reload", None).status, 204);
        });
        let reply = call(&running.place, None, "GET", "/forward-auth", None);
        assert_eq!(reply.status, 400, "{}", reply.text());
        let reply = send(&running.place, &forward("GET", "/free", "t-open")).unwrap();
        assert_eq!(parts(&reply), [is_first, is_first], "{round}: {reply:?}");
    }
}
