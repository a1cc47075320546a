//! Bodies: a key covers them, in whatever pieces they come, and they are awaited only where that matters.

use serde_json::json;

use super::fixture::{Bank, Kept, answered, asks, decided, pays, request};
use super::log;
use super::manager::headers;
use super::stream::Stream;

#[test]
fn a_key_covers_the_body_however_it_comes() {
    for kept in Kept::ALL {
        let bank = Bank::new("pieces", kept);
        bank.account("acme", 100);
        let proxy = bank.proxy();
        let send = |events: &[&[&[u8]]], trailers: bool| {
            let stream = proxy.stream();
            stream.sends_head(request("POST", "/pay", "acme", &[("idempotency-key", "k")]), false);
            for (nth, pieces) in events.iter().enumerate() {
                // The first decision may come before, between or after them.
                if nth == 1 {
                    proxy.wake_one(0);
                }
                stream.sends_body(pieces, !trailers && nth + 1 == events.len());
            }
            if trailers {
                stream.sends_trailers();
            }
            decided(&proxy, &stream);
            stream
        };
        let first = send(&[&[b"one ", b"two "], &[b"three"]], false);
        assert_eq!(first.state().decode.through, b"one two three", "{kept:?}: {}", first.text());
        first.upstream_answers(200, &[], false);
        first.upstream_sends(&[b"done"], true);
        answered(&proxy, &first);
        let same: [(&[&[&[u8]]], bool); 5] = [
            (&[&[b"one two three"]], false),
            (&[&[b"o"], &[b"ne tw"], &[], &[b"o three"]], false),
            (&[&[b"one two three"], &[]], false),
            (&[&[b"one two "], &[b"", b"three"]], true),
            (&[&[b"one two three"]], true),
        ];
        for (events, trailers) in same {
            let again = send(events, trailers);
            assert_eq!(
                (again.received(), again.text()),
                (200, "done".to_owned()),
                "{kept:?}, {events:?}"
            );
            assert_eq!(again.said("verdict"), "replay");
        }
        let other: [&[&[&[u8]]]; 3] = [&[&[b"one two three "]], &[&[b"one "], &[b"two"]], &[&[]]];
        for events in other {
            assert_eq!(
                send(events, false).said("code"),
                "idempotency_key_reused",
                "{kept:?}, {events:?}"
            );
        }
        assert_eq!(bank.money("acme").posted, 5);
        proxy.ends();
    }
}

#[test]
fn no_body_is_an_empty_body() {
    for kept in Kept::MOST {
        let bank = Bank::new("no body", kept);
        bank.account("acme", 100);
        let proxy = bank.proxy();
        let first = asks(&proxy, request("POST", "/pay", "acme", &[("idempotency-key", "k")]));
        first.upstream_answers(200, &[], true);
        answered(&proxy, &first);
        let again = proxy.stream();
        again.sends_head(request("POST", "/pay", "acme", &[("idempotency-key", "k")]), false);
        again.sends_body(&[], true);
        decided(&proxy, &again);
        assert_eq!(again.said("verdict"), "replay", "{kept:?}: {}", again.text());
        proxy.ends();
    }
}

#[test]
fn a_body_that_no_key_covers_is_not_awaited() {
    for kept in Kept::MOST {
        let bank = Bank::new("not awaited", kept);
        bank.account("acme", 100);
        let proxy = bank.proxy();
        for (path, key) in
            [("/sent", None), ("/sent", Some(("idempotency-key", "k"))), ("/pay", None)]
        {
            let stream = proxy.stream();
            let more: Vec<_> = key.into_iter().collect();
            stream.sends_head(request("POST", path, "acme", &more), false);
            decided(&proxy, &stream);
            assert!(stream.state().decode.passed, "{path}, {kept:?}: {}", stream.text());
            stream.sends_body(&[b"later"], true);
            assert_eq!(stream.state().decode.through, b"later");
        }
        proxy.ends();
    }
}

#[test]
fn whoever_is_refused_sends_no_body_in_vain() {
    for kept in Kept::MOST {
        let bank = Bank::new("refused early", kept);
        bank.account("acme", 100);
        let proxy = bank.proxy();
        let key = ("idempotency-key", "k");
        for (account, path, status) in [("stranger", "/pay", 401), ("acme", "/other", 403)] {
            let stream = proxy.stream();
            stream.sends_head(request("POST", path, account, &[key]), false);
            decided(&proxy, &stream);
            assert_eq!(stream.received(), status, "{kept:?}");
        }
        let stream = proxy.stream();
        stream.sends_head(headers(&[(":method", "POST"), (":path", "/pay"), key]), false);
        decided(&proxy, &stream);
        assert_eq!(stream.received(), 401);
        proxy.ends();
    }
}

#[test]
fn a_body_may_be_as_large_as_the_configuration_says() {
    for kept in Kept::BOTH {
        let bank = Bank::with("large", kept, &json!({ "max_request_body": 100_000 }));
        bank.account("acme", 100);
        let proxy = bank.proxy();
        let send = |bytes: usize| {
            let stream = proxy.stream();
            stream.change().buffer_limit = 1000;
            stream.sends_head(request("POST", "/pay", "acme", &[("idempotency-key", "k")]), false);
            // The body is awaited from when the token is known. Envoy reads on below half of its limit.
            proxy.until("the limit is raised", || stream.state().buffer_limit == 200_000);
            stream.sends_body(&[&vec![b'x'; bytes]], false);
            stream
        };
        let large = send(100_001);
        assert_eq!(large.received(), 413);
        assert!(large.text().contains("body_too_long"), "{}", large.text());
        assert!(large.is_gone());
        let fits = send(100_000);
        fits.sends_body(&[], true);
        decided(&proxy, &fits);
        assert_eq!(fits.state().decode.through.len(), 100_000);
        bank.expect(&proxy, "acme", 5, 0);
        proxy.ends();
    }
}

#[test]
fn a_limit_that_is_higher_stays() {
    let bank = Bank::new("limits of buffers", Kept::Never);
    bank.account("acme", 100);
    let proxy = bank.proxy();
    for (own, then) in [(0, 0), (1 << 21, 1 << 21), (1 << 30, 1 << 30), (5, 1 << 21)] {
        let stream = proxy.stream();
        stream.change().buffer_limit = own;
        stream.sends_head(request("POST", "/pay", "acme", &[("idempotency-key", "k")]), false);
        assert_eq!(stream.state().buffer_limit, then);
    }
    proxy.ends();
}

#[test]
fn what_is_too_long_to_store_is_not_replayed_but_never_done_again() {
    for kept in Kept::BOTH {
        let bank = Bank::with("too long", kept, &json!({ "max_response_body": 8 }));
        bank.account("acme", 100);
        let proxy = bank.proxy();
        for (key, body, etag) in [("fits", "12345678", true), ("not", "123456789", false)] {
            let first = pays(&proxy, "acme", key);
            first.upstream_answers(200, &[("etag", "\"1\""), ("content-type", "a/b")], false);
            first.upstream_sends(&[&body.as_bytes()[..5], &body.as_bytes()[5..]], true);
            answered(&proxy, &first);
            assert_eq!(first.text(), body);
            let again = pays(&proxy, "acme", key);
            assert_eq!(
                (again.received(), again.said("verdict").as_str()),
                (200, "replay"),
                "{kept:?}"
            );
            assert_eq!(again.text() == body, etag);
            assert_eq!(again.header("etag").is_some(), etag);
            assert_eq!(again.header("content-type").is_some(), etag || again.text().is_empty());
        }
        assert_eq!(bank.money("acme").posted, 10);
        proxy.ends();
    }
}

#[test]
fn a_request_that_goes_on_after_its_response_reaches_nobody() {
    for kept in Kept::BOTH {
        let bank = Bank::new("goes on", kept);
        bank.account("acme", 100);
        let proxy = bank.proxy();
        let stream = proxy.stream();
        stream.change().ends_at_once = false;
        stream.sends_head(request("POST", "/sent", "acme", &[]), false);
        decided(&proxy, &stream);
        stream.upstream_answers(200, &[], true);
        // The settlement may still run.
        stream.sends_body(&[b"more"], false);
        answered(&proxy, &stream);
        assert!(!stream.is_gone());
        stream.sends_body(&[b"and more"], true);
        stream.is_over();
        assert!(stream.is_gone());
        bank.expect(&proxy, "acme", 0, 7);
        proxy.ends();
    }
}

#[test]
fn no_text_of_a_customers_is_logged() {
    let bank = Bank::new("secrets", Kept::Never);
    bank.account("very-secret-token", 100);
    let proxy = bank.proxy();
    let spoken = |stream: &Stream| {
        stream.upstream_answers(200, &[("x", "very-secret-header")], false);
        stream.upstream_sends(&[b"very-secret-body"], true);
    };
    spoken(&pays(&proxy, "very-secret-token", "very-secret-key"));
    spoken(&asks(&proxy, request("GET", "/read?very-secret-query", "very-secret-token", &[])));
    proxy.ends();
    assert!(!log::anybody_said("very-secret"));
}
