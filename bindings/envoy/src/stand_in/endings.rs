//! How requests end, and what the store says afterwards.

use std::rc::Rc;

use serde_json::json;

use super::fixture::{Bank, Kept, answered, asks, pays, request};
use super::proxy::Proxy;
use super::stream::{Stream, Upstream};

/// Each ending with each way to keep state: what is held and posted at last, and what the same key comes to then.
fn each(name: &str, end: impl Fn(&Proxy, &Stream), held: u64, posted: u64, again: u16) {
    for kept in Kept::BOTH {
        let bank = Bank::new(name, kept);
        bank.account("acme", 100);
        let proxy = bank.proxy();
        let stream = pays(&proxy, "acme", "k");
        assert!(stream.state().decode.passed, "{name}, {kept:?}");
        end(&proxy, &stream);
        bank.expect(&proxy, "acme", held, posted);
        assert!(stream.is_gone(), "{name}, {kept:?}");
        assert_eq!(bank.money("acme").balance, 100 - posted);
        let second = pays(&proxy, "acme", "k");
        assert_eq!(second.received(), again, "{name}, {kept:?}: {}", second.text());
        proxy.ends();
    }
}

#[test]
fn success_is_charged() {
    let end = |proxy: &Proxy, stream: &Stream| {
        stream.upstream_answers(200, &[], false);
        stream.upstream_sends(&[b"done"], true);
        answered(proxy, stream);
    };
    each("success", end, 0, 5, 200);
}

#[test]
fn success_without_a_body_is_charged() {
    let end = |proxy: &Proxy, stream: &Stream| {
        stream.upstream_answers(204, &[], true);
        answered(proxy, stream);
    };
    each("no content", end, 0, 5, 204);
}

#[test]
fn a_response_with_trailers_is_held_until_it_is_settled() {
    let end = |proxy: &Proxy, stream: &Stream| {
        stream.upstream_answers(200, &[], false);
        stream.upstream_sends(&[b"done"], false);
        assert_eq!(stream.text(), "done");
        stream.upstream_sends_trailers();
        answered(proxy, stream);
    };
    each("trailers", end, 0, 5, 200);
}

#[test]
fn a_refusal_of_the_upstream_costs_nothing_and_is_stored() {
    let end = |proxy: &Proxy, stream: &Stream| {
        stream.upstream_answers(422, &[], false);
        stream.upstream_sends(&[b"no"], true);
        answered(proxy, stream);
    };
    each("refusal", end, 0, 0, 422);
}

#[test]
fn a_response_that_the_upstream_breaks_off_is_unknown() {
    let end = |_: &Proxy, stream: &Stream| {
        stream.upstream_answers(200, &[], false);
        stream.upstream_sends(&[b"do"], false);
        stream.upstream_breaks();
    };
    each("broken off", end, 5, 0, 409);
}

#[test]
fn a_client_that_leaves_amid_a_success_is_charged() {
    let end = |_: &Proxy, stream: &Stream| {
        stream.upstream_answers(200, &[], false);
        stream.upstream_sends(&[b"do"], false);
        stream.leaves();
    };
    // Only the head is known, and is what is stored.
    each("left amid a success", end, 0, 5, 200);
}

#[test]
fn a_client_that_leaves_amid_a_refusal_is_not_charged() {
    let end = |_: &Proxy, stream: &Stream| {
        stream.upstream_answers(503, &[], false);
        stream.leaves();
    };
    each("left amid a refusal", end, 0, 0, 503);
}

#[test]
fn a_client_that_leaves_before_an_answer_leaves_it_unknown() {
    each("left before an answer", |_, stream| stream.leaves(), 5, 0, 409);
}

#[test]
fn an_upstream_that_does_not_answer_leaves_it_unknown() {
    let breaks = |proxy: &Proxy, stream: &Stream| {
        stream.upstream_breaks();
        answered(proxy, stream);
        assert_eq!((stream.received(), stream.text().as_str()), (503, "upstream connect error"));
    };
    each("no answer", breaks, 5, 0, 409);
    let slow = |proxy: &Proxy, stream: &Stream| {
        stream.times_out();
        answered(proxy, stream);
        assert_eq!(stream.received(), 504);
    };
    each("time-out", slow, 5, 0, 409);
}

#[test]
fn what_was_sent_once_is_unknown_wherever_it_is_tried_again() {
    let again = |proxy: &Proxy, stream: &Stream| {
        stream.is_tried_again();
        stream.times_out();
        answered(proxy, stream);
        assert_eq!(stream.received(), 504);
    };
    each("tried again", again, 5, 0, 409);
    let left = |_: &Proxy, stream: &Stream| {
        stream.is_tried_again();
        stream.leaves();
    };
    each("left while it is tried again", left, 5, 0, 409);
}

#[test]
fn a_filter_that_is_destroyed_without_a_word_leaves_it_unknown() {
    each("destroyed before an answer", |_, stream| stream.is_destroyed(), 5, 0, 409);
    let amid = |_: &Proxy, stream: &Stream| {
        stream.upstream_answers(200, &[], false);
        stream.is_destroyed();
    };
    each("destroyed amid an answer", amid, 5, 0, 409);
}

/// A payment with an upstream that is told beforehand, and what the client got.
fn with_upstream(
    kept: Kept,
    name: &str,
    upstream: &Upstream,
    then: impl Fn(&Stream),
) -> (Bank, Proxy, Rc<Stream>) {
    let bank = Bank::new(name, kept);
    bank.account("acme", 100);
    let proxy = bank.proxy();
    let stream = proxy.stream();
    stream.change().upstream = upstream.clone();
    stream.sends_head(request("POST", "/pay", "acme", &[("idempotency-key", "k")]), true);
    super::fixture::decided(&proxy, &stream);
    then(&stream);
    answered(&proxy, &stream);
    (bank, proxy, stream)
}

#[test]
fn a_request_that_reaches_no_upstream_costs_nothing_and_may_come_again() {
    for kept in Kept::BOTH {
        let (bank, proxy, stream) = with_upstream(kept, "no upstream", &Upstream::None, |_| {});
        assert_eq!((stream.received(), stream.text().as_str()), (503, "no healthy upstream"));
        bank.expect(&proxy, "acme", 0, 0);
        assert_eq!(proxy.config().count("tollgate.voided"), 1);
        let again = asks(&proxy, request("POST", "/pay", "acme", &[("idempotency-key", "k")]));
        assert!(again.state().decode.passed, "{kept:?}: {}", again.text());
        proxy.ends();
        let unconnected = |stream: &Stream| stream.times_out();
        let (bank, proxy, stream) =
            with_upstream(kept, "no connection", &Upstream::Connecting, unconnected);
        assert_eq!(stream.received(), 504);
        bank.expect(&proxy, "acme", 0, 0);
        proxy.ends();
    }
}

#[test]
fn an_answer_of_a_route_is_an_answer_like_any_other() {
    for kept in Kept::BOTH {
        let (bank, proxy, stream) =
            with_upstream(kept, "direct", &Upstream::Direct(301, b""), |_| {});
        assert_eq!(stream.received(), 301);
        bank.expect(&proxy, "acme", 0, 5);
        proxy.ends();
        let (bank, proxy, stream) =
            with_upstream(kept, "gone", &Upstream::Direct(410, b""), |_| {});
        assert_eq!(stream.received(), 410);
        bank.expect(&proxy, "acme", 0, 0);
        proxy.ends();
    }
}

#[test]
fn whoever_has_envoys_own_answer_finds_it_settled() {
    for kept in Kept::BOTH {
        // With a body: it comes while the settlement of the head is not done.
        let (bank, proxy, stream) = with_upstream(kept, "settled first", &Upstream::None, |_| {});
        assert_eq!(stream.text(), "no healthy upstream");
        assert_eq!(bank.money("acme").held, 0, "{kept:?}");
        proxy.ends();
    }
}

#[test]
fn a_client_that_leaves_before_the_decision_pays_nothing() {
    for kept in [Kept::EveryCommit, Kept::LimitsInMemory] {
        let bank = Bank::new("left before the decision", kept);
        bank.account("acme", 100);
        let proxy = bank.proxy();
        for round in 0..30 {
            let stream = proxy.stream();
            let key = format!("k{round}");
            stream.sends_head(request("POST", "/pay", "acme", &[("idempotency-key", &key)]), true);
            // Nobody was woken yet, whether or not there is a decision.
            assert!(!stream.state().decode.passed && !stream.is_gone());
            // Of the last, the decision comes when Envoy's answer is on its way.
            stream.change().ends_at_once = round % 4 < 3;
            match round % 4 {
                0 => stream.leaves(),
                1 => stream.is_destroyed(),
                _ => stream.times_out(),
            }
            assert_eq!(stream.is_gone(), round % 4 < 3);
        }
        bank.expect(&proxy, "acme", 0, 0);
        proxy.ends();
    }
}

#[test]
fn a_client_that_leaves_while_the_settlement_runs_is_charged_once() {
    let bank = Bank::new("left while it is settled", Kept::EveryCommit);
    bank.account("acme", 1000);
    let proxy = bank.proxy();
    for round in 0..20 {
        let stream = pays(&proxy, "acme", &format!("k{round}"));
        stream.upstream_answers(200, &[], false);
        stream.upstream_sends(&[b"done"], true);
        match round % 2 {
            0 => stream.leaves(),
            _ => stream.is_destroyed(),
        }
    }
    bank.expect(&proxy, "acme", 0, 100);
    proxy.ends();
}

#[test]
fn the_upstream_says_what_it_costs() {
    for kept in Kept::BOTH {
        let charge = json!({ "charge": { "header": "x-charge" } });
        let bank = Bank::with("charge", kept, &charge);
        bank.account("acme", 100);
        let proxy = bank.proxy();
        for (charge, posted) in [("2", 2), ("0", 2), ("9", 7), ("much", 12)] {
            let stream =
                asks(&proxy, request("POST", "/pay", "acme", &[("idempotency-key", charge)]));
            stream.upstream_answers(200, &[("x-charge", charge)], true);
            answered(&proxy, &stream);
            bank.expect(&proxy, "acme", 0, posted);
        }
        proxy.ends();
    }
}
