//! Promises of SECURITY.md that span stages, each seen from outside. The others have their tests where they are kept;
//! the document says where.

// Helpers of tests may do what tests may; `clippy.toml` allows it in test functions alone.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod small_api;

use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;

use small_api::*;
use tollgate::*;

/// A store that must not be asked.
struct Unasked;

impl Store for Unasked {
    fn perform(&self, command: &Command<'_>, _: u64) -> Result<Outcome, StoreError> {
        panic!("a request without a token that could be one asked {command:?}")
    }
}

#[test]
fn what_cannot_be_a_token_asks_no_store() {
    let engine = Engine::new(preset("sms-gateway").unwrap().compile().unwrap());
    let good = TokenText::generate(&[7; 32]);
    let good = format!("Bearer {}", good.expose());
    let (cut, longer, basic) =
        (&good[..50], format!("{good}0"), good.replacen("Bearer", "Basic", 1));
    let other_checksum = format!("{}{}", cut, if good.ends_with('0') { '1' } else { '0' });
    for value in ["", "Bearer", "Bearer ", cut, &longer, &basic, &other_checksum] {
        let headers = [("authorization", value)];
        let request = Request::new(b"GET", b"/messages", NOW_MS).with_headers(&headers);
        assert_eq!(engine.answer(&engine.decide(&Unasked, &request)).status, 401, "{value:?}");
    }
}

/// Unknown, revoked, expired and of no form: four reasons, and one answer to the byte.
#[test]
fn an_answer_does_not_tell_why_a_token_is_not_valid() {
    let engine = engine("[limits.l]\nper = \"token\"\nquota = 5\nwindow_ms = 60000");
    let store = store(&engine, |_| {});
    let revoked = put_token(&engine, &store, "acme", "revoked");
    Admin::new(&store).revoke_token(&revoked, NOW_MS).unwrap();
    let expired = put_token(&engine, &store, "acme", "expired");
    let patch = TokenPatch { expires_ms: Some(Some(NOW_MS)), ..TokenPatch::default() };
    Admin::new(&store).put_token(&expired, &account("acme"), patch, 1).unwrap();
    let answer = |token| {
        let decision = Ask { token, ..FREE }.decide(&engine, &store);
        assert_eq!(decision.status(), Status::InvalidToken, "{token}");
        engine.answer(&decision)
    };
    let unknown = answer("nobody");
    for token in ["revoked", "expired", "of no form"] {
        let answer = answer(token);
        assert_eq!((answer.status, &answer.body), (unknown.status, &unknown.body), "{token}");
        assert_eq!(answer.headers, unknown.headers, "{token}");
    }
}

#[test]
fn a_kept_answer_is_for_its_account_its_request_and_valid_tokens_alone() {
    let engine = engine(KEYED);
    let store = store(&engine, |_| {});
    let other = put_token(&engine, &store, "acme", "second");
    let ask = |token| Ask { token, key: Some("key"), ..PAY }.decide(&engine, &store);
    let first = ask("acme");
    let body = Some(b"acme's".as_slice().into());
    let response = Arc::new(StoredResponse { status: 201, headers: Box::default(), body });
    let finish = Finish::Settle { amount: None, response: Some(response) };
    engine.finish(&store, first.ticket().unwrap(), finish, NOW_MS).unwrap();
    assert_eq!(ask("second").verdict(), Verdict::Replay, "it is the account's");
    assert_eq!(ask("globex").verdict(), Verdict::Allow, "another account's key is another key");

    let headers = [("authorization", "Bearer acme"), ("idempotency-key", "key")];
    for (target, body) in [(b"/pay".as_slice(), b"other".as_slice()), (b"/pay?to=me", b"")] {
        let request = Request {
            peer: Some(FREE.peer.into()),
            body: Body::Bytes(body),
            ..Request::new(b"POST", target, NOW_MS).with_headers(&headers)
        };
        let reused = engine.decide(&store, &request);
        assert_eq!(reused.status(), Status::IdempotencyKeyReused);
    }
    Admin::new(&store).revoke_token(&other, NOW_MS).unwrap();
    assert_eq!(ask("second").status(), Status::InvalidToken, "a revoked token replays nothing");
    assert_eq!(ask("acme").verdict(), Verdict::Replay);
}

/// Texts that no `Debug` and no message may show.
const SECRETS: [&str; 5] =
    ["s3cret-token", "s3cret-pepper-123", "s3cret-key", "s3cret-body", "s3cret-answer"];

#[track_caller]
fn assert_silent(shown: &str) {
    for secret in SECRETS {
        assert!(!shown.contains(secret), "{secret} is shown: {shown}");
        // Neither as a list of bytes.
        let bytes = format!("{:?}", secret.as_bytes());
        assert!(!shown.contains(bytes.trim_matches(['[', ']'])), "{secret} is shown: {shown}");
    }
}

fn silent(value: &impl Debug) {
    assert_silent(&format!("{value:?}"));
    assert_silent(&format!("{value:#?}").replace(['\n', ' '], "").replace(',', ", "));
}

fn says_no_secret(error: &impl Error) {
    assert_silent(&error.to_string());
    assert_silent(&format!("{error:?}"));
}

#[test]
fn no_debug_text_and_no_message_shows_a_secret() {
    let [token, pepper, key, body, answer] = SECRETS;
    let pepper = Pepper::new(pepper.as_bytes()).unwrap();
    let engine = engine(KEYED).with_pepper(pepper.clone());
    let store = store(&engine, |_| {});
    put_token(&engine, &store, "acme", token);
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", key)];
    let request = Request {
        body: Body::Bytes(body.as_bytes()),
        ..Request::new(b"POST", b"/pay", NOW_MS).with_headers(&headers)
    };
    silent(&pepper);
    silent(&engine);
    silent(&request);
    silent(&TokenText::parse(TokenFormat::Opaque, token).unwrap());
    let mut evaluation = engine.evaluate(&request);
    while let Some(command) = evaluation.command() {
        silent(&command);
        let outcome = store.perform(&command, NOW_MS);
        silent(&outcome);
        silent(&evaluation);
        evaluation.resume(outcome);
    }
    let decision = evaluation.into_decision();
    assert_eq!(decision.verdict(), Verdict::Allow);
    silent(&decision);
    let response = StoredResponse {
        status: 201,
        headers: [("location".into(), answer.as_bytes().into())].into(),
        body: Some(answer.as_bytes().into()),
    };
    let finish = Finish::Settle { amount: None, response: Some(Arc::new(response)) };
    silent(&finish);
    engine.finish(&store, decision.ticket().unwrap(), finish, NOW_MS).unwrap();
    let replay = engine.decide(&store, &request);
    assert_eq!(replay.verdict(), Verdict::Replay);
    silent(&replay);
    silent(&engine.answer(&replay));
    silent(&engine.explain(&store, &request));
    silent(&store);

    let long = format!("{token}\u{e9}");
    says_no_secret(&TokenText::parse(TokenFormat::Opaque, &long).unwrap_err());
    says_no_secret(&TokenText::parse(TokenFormat::Native, token).unwrap_err());
    says_no_secret(&Pepper::new(b"s3cret-body").unwrap_err());
    for error in [FinishError::Refused(Refusal::ClockOutOfRange), StoreError::WrongOutcome.into()] {
        says_no_secret(&error);
    }
}

#[test]
#[should_panic(expected = "s3cret-key is shown")]
fn a_secret_that_is_shown_is_found() {
    silent(&Some("s3cret-key"));
}

#[test]
#[should_panic(expected = "s3cret-body is shown")]
fn a_secret_that_is_shown_as_bytes_is_found() {
    silent(&Some("s3cret-body".as_bytes()));
}

/// Networks of all addresses still have nobody in them whose address is not known.
#[test]
fn a_source_that_is_unknown_is_in_no_network() {
    let engine = engine("[source]\ntrusted_proxies = [\"2001:db8::/32\"]");
    let store = store(&engine, |_| {});
    let networks = vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
    let patch = AccountPatch { networks: Some(networks), ..AccountPatch::default() };
    Admin::new(&store).put_account(&account("acme"), Amount(0), patch, 1).unwrap();
    let ask = |peer: Option<[u16; 8]>, forwarded: &str| {
        let headers = [("authorization", "Bearer acme"), ("x-forwarded-for", forwarded)];
        let request = Request {
            peer: peer.map(Into::into),
            ..Request::new(b"GET", b"/free", NOW_MS).with_headers(&headers)
        };
        engine.decide(&store, &request).status()
    };
    assert_eq!(ask(Some(FREE.peer), "192.0.2.1"), Status::Allowed);
    assert_eq!(ask(None, "192.0.2.1"), Status::IpNotAllowed, "a header does not stand for a peer");
    for forwarded in ["unknown", "", "192.0.2.1, _hidden", "192.0.2.256", "192.0.2.1,"] {
        assert_eq!(ask(Some(FREE.peer), forwarded), Status::IpNotAllowed, "{forwarded:?}");
    }
}
