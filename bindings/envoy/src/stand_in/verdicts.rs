//! Every verdict: what the client gets, what Envoy is told, and what it costs.

use serde_json::json;
use tollgate::Status;

use super::fixture::{Bank, Kept, answered, asks, decided, pays, request};
use super::manager::headers;
use super::proxy::Proxy;
use super::stream::{Metadata, Stream};

/// The request is answered by the module, as Envoy answers.
fn denied(proxy: &Proxy, stream: &Stream, status: u16, code: &str) {
    assert_eq!((stream.received(), stream.said("code")), (status, code.to_owned()));
    assert_eq!(stream.said("verdict"), "deny");
    assert!(stream.text().contains(&format!("\"code\":\"{code}\"")), "{}", stream.text());
    assert!(!stream.state().decode.passed);
    assert_eq!(&*stream.state().details, format!("tollgate_{code}").as_bytes());
    assert!(proxy.config().count(&format!("tollgate.decision.{code}")) > 0);
}

#[test]
fn an_allowed_request_is_passed_on_and_told_about() {
    for kept in Kept::ALL {
        let bank = Bank::new("allowed", kept);
        bank.account("acme", 100);
        let proxy = bank.proxy();
        let stream = pays(&proxy, "acme", "k");
        assert!(stream.state().decode.passed && !stream.is_gone(), "{kept:?}");
        assert_eq!(stream.state().decode.through, b"{\"to\":1}");
        for (key, value) in [
            ("verdict", "allow"),
            ("code", "allowed"),
            ("account", "acme"),
            ("route", "POST /pay"),
            ("reserved", "5"),
        ] {
            assert_eq!(stream.said(key), value, "{key}, {kept:?}");
        }
        assert_eq!(bank.money("acme").held, 5);
        stream.upstream_answers(200, &[("content-type", "text/plain")], false);
        stream.upstream_sends(&[b"do", b"ne"], true);
        answered(&proxy, &stream);
        assert_eq!((stream.received(), stream.text()), (200, "done".to_owned()));
        assert!(stream.header("x-ratelimit-limit").is_some());
        // The settlement is done before the response is passed on.
        assert_eq!((bank.money("acme").held, bank.money("acme").posted), (0, 5), "{kept:?}");
        assert_eq!(stream.said("settled"), "5");
        assert_eq!(proxy.config().count("tollgate.decision.allowed"), 1);
        assert_eq!(proxy.config().count("tollgate.settled"), 1);
        proxy.ends();
    }
}

#[test]
fn a_replay_is_what_was_stored_and_costs_nothing() {
    for kept in Kept::MOST {
        let bank = Bank::new("replayed", kept);
        bank.account("acme", 100);
        let proxy = bank.proxy();
        let first = pays(&proxy, "acme", "k");
        let kept_headers =
            [("content-type", "text/plain"), ("set-cookie", "a=b"), ("location", "/1")];
        first.upstream_answers(201, &kept_headers, false);
        first.upstream_sends(&[b"made"], false);
        first.upstream_sends(&[], true);
        answered(&proxy, &first);
        let again = pays(&proxy, "acme", "k");
        assert_eq!((again.received(), again.text()), (201, "made".to_owned()), "{kept:?}");
        assert_eq!(again.said("verdict"), "replay");
        for (name, value) in [
            ("content-type", Some("text/plain")),
            ("location", Some("/1")),
            ("content-length", Some("4")),
            ("idempotent-replayed", Some("true")),
            ("set-cookie", None),
        ] {
            assert_eq!(again.header(name).as_deref(), value, "{name}, {kept:?}");
        }
        assert!(!again.state().decode.passed && again.is_gone());
        assert_eq!(bank.money("acme").posted, 5);
        proxy.ends();
    }
}

#[test]
fn every_denial_has_its_answer() {
    for kept in Kept::ALL {
        let more = json!({
            "sender": { "header": "x-sender" }, "invalid": { "metadata": { "namespace": "check", "key": "why" } }
        });
        let bank = Bank::with("denied", kept, &more);
        for account in ["acme", "poor"] {
            bank.account(account, if account == "poor" { 4 } else { 100 });
        }
        bank.senders("acme", &["ACME"]);
        bank.caps("acme", 12);
        let proxy = bank.proxy();
        let ask = |method, path, account, more: &[(&str, &str)]| {
            asks(&proxy, request(method, path, account, more))
        };
        let nobody = asks(&proxy, headers(&[(":method", "GET"), (":path", "/read")]));
        denied(&proxy, &nobody, 401, "missing_token");
        denied(&proxy, &ask("GET", "/read", "stranger", &[]), 401, "invalid_token");
        denied(&proxy, &ask("GET", "/other", "acme", &[]), 403, "insufficient_scope");
        bank.networks("poor", "10.0.0.0/8");
        denied(&proxy, &ask("GET", "/read", "poor", &[]), 403, "ip_not_allowed");
        bank.networks("poor", "192.0.2.0/24");
        let few = ask("GET", "/quota", "acme", &[]);
        assert!(few.state().decode.passed);
        let more = ask("GET", "/quota", "acme", &[]);
        denied(&proxy, &more, 429, "rate_limited");
        assert!(more.header("retry-after").is_some());
        let sender = ("x-sender", "ACME");
        let key = |key| [("idempotency-key", key), sender];
        denied(&proxy, &ask("POST", "/must", "acme", &[sender]), 422, "idempotency_key_invalid");
        denied(&proxy, &ask("POST", "/pay", "acme", &key("a b")), 422, "idempotency_key_invalid");
        let running = ask("POST", "/pay", "acme", &key("1"));
        assert!(running.state().decode.passed, "{}", running.text());
        denied(&proxy, &ask("POST", "/pay", "acme", &key("1")), 409, "idempotency_in_flight");
        let other = proxy.stream();
        other.sends_head(request("POST", "/pay", "acme", &key("1")), false);
        other.sends_body(&[b"something else"], true);
        decided(&proxy, &other);
        denied(&proxy, &other, 422, "idempotency_key_reused");
        let unapproved = [("idempotency-key", "2"), ("x-sender", "EVIL")];
        denied(&proxy, &ask("POST", "/pay", "acme", &unapproved), 422, "sender_not_approved");
        let invalid = proxy.stream();
        invalid.change().set_metadata("check", "why", Metadata::Text((*b"no number").into()));
        invalid.sends_head(request("POST", "/pay", "acme", &key("3")), true);
        decided(&proxy, &invalid);
        denied(&proxy, &invalid, 422, "validation_failed");
        assert!(invalid.text().contains("no number"));
        denied(&proxy, &ask("POST", "/pay", "poor", &[]), 402, "insufficient_balance");
        let second = ask("POST", "/pay", "acme", &key("4"));
        assert!(second.state().decode.passed);
        denied(&proxy, &ask("POST", "/pay", "acme", &key("5")), 403, "spend_cap_exceeded");
        // Each code that there is was shown here, but what other tests are about.
        let elsewhere = [Status::Replayed, Status::StoreUnavailable];
        for row in tollgate::STATUS_TABLE.iter().filter(|row| !elsewhere.contains(&row.status)) {
            let counted = proxy.config().count(&format!("tollgate.decision.{}", row.code));
            assert!(counted > 0, "{}, {kept:?}", row.code);
        }
        assert_eq!(bank.money("acme").held, 10);
        proxy.ends();
    }
}

#[test]
fn answers_to_head_have_no_body() {
    for kept in Kept::MOST {
        let bank = Bank::new("head", kept);
        bank.account("acme", 100);
        let proxy = bank.proxy();
        let head = |token, key| {
            let key = [("idempotency-key", key)];
            asks(&proxy, request("HEAD", "/paid", token, &key))
        };
        let refused = head("stranger", "k");
        assert_eq!((refused.received(), refused.text()), (401, String::new()), "{kept:?}");
        let first = head("acme", "k");
        assert!(first.state().decode.passed, "{kept:?}");
        first.upstream_answers(200, &[("content-length", "1234")], true);
        answered(&proxy, &first);
        assert_eq!(first.header("content-length").as_deref(), Some("1234"));
        let again = head("acme", "k");
        assert_eq!((again.received(), again.text()), (200, String::new()));
        assert_eq!(again.header("content-length").as_deref(), Some("1234"), "{kept:?}");
        assert_eq!(again.said("verdict"), "replay");
        assert_eq!(bank.money("acme").posted, 3);
        proxy.ends();
    }
}

#[test]
fn the_cost_comes_from_where_the_configuration_says() {
    let bank = Bank::with("cost", Kept::Memory, &json!({ "cost": { "header": "x-cost" } }));
    bank.account("acme", 100);
    let proxy = bank.proxy();
    let cost = |cost| {
        let stream = asks(&proxy, request("POST", "/sent", "acme", &[("x-cost", cost)]));
        (stream.received(), stream.said("reserved"))
    };
    assert_eq!(cost("9"), (0, "9".to_owned()));
    // An empty one is none: the route's price.
    assert_eq!(cost(""), (0, "7".to_owned()));
    assert_eq!(cost("many"), (500, String::new()));
    assert!(
        proxy
            .logged(crate::abi::level::WARN)
            .iter()
            .any(|line| line.contains("`many` is no amount"))
    );
    let of_metadata = json!({ "cost": { "metadata": { "namespace": "n", "key": "k" } } });
    proxy.update(bank.config(&of_metadata).unwrap());
    for (given, reserved) in [
        (Metadata::Number(11.0), "11"),
        (Metadata::Text((*b"12").into()), "12"),
        (Metadata::Number(0.5), ""),
    ] {
        let stream = proxy.stream();
        stream.change().set_metadata("n", "k", given);
        stream.sends_head(request("POST", "/sent", "acme", &[]), true);
        assert_eq!(stream.said("reserved"), reserved);
        assert_eq!(stream.received(), if reserved.is_empty() { 500 } else { 0 });
    }
    proxy.ends();
}

#[test]
fn a_range_of_what_is_to_be_stored_is_not_asked_for() {
    let bank = Bank::new("range", Kept::Never);
    bank.account("acme", 100);
    let proxy = bank.proxy();
    let range = ("range", "bytes=0-1");
    let with_key =
        asks(&proxy, request("GET", "/paid", "acme", &[("idempotency-key", "k"), range]));
    let without = asks(&proxy, request("GET", "/paid", "acme", &[range]));
    let asked = |stream: &Stream| stream.state().request.iter().any(|(name, _)| &**name == "range");
    assert!(!asked(&with_key) && asked(&without));
    proxy.ends();
}
