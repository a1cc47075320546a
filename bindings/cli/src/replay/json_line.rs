//! A line of a decision log, or of anything similar in JSON.

use serde::Deserialize;
use serde_json::error::Category;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tollgate::Verdict;

use super::record::{
    BadLine, Code, IdentityRule, Names, Outcome, Parsed, Price, Record, checked_ms, token_name,
    unix_ms,
};

/// The members that are read; logs have more.
#[derive(Deserialize)]
struct Members {
    now_ms: Option<serde_json::Number>,
    time: Option<String>,
    method: Option<String>,
    target: Option<String>,
    path: Option<String>,
    source: Option<String>,
    peer: Option<String>,
    #[serde(default)]
    headers: Option<Vec<(String, String)>>,
    token: Option<String>,
    account: Option<Box<str>>,
    user: Option<String>,
    key: Option<Box<str>>,
    cost: Option<u64>,
    reserved: Option<u64>,
    charged: Option<u64>,
    route: Option<Box<str>>,
    sender: Option<Box<str>>,
    invalid: Option<Box<str>>,
    peek: Option<bool>,
    status: Option<u16>,
    verdict: Option<String>,
    code: Option<String>,
}

pub(crate) fn parse(line: &[u8], identity: &IdentityRule) -> Result<Parsed, BadLine> {
    let members: Members = serde_json::from_slice(line).map_err(|error| of_json(&error))?;
    let field = identity.field().and_then(|field| field_of(line, field));
    let now_ms = time_of(&members)?;
    let method = members.method.ok_or(BadLine::NoMethod)?;
    let target = members.target.or(members.path).ok_or(BadLine::NoTarget)?;
    let outcome = Outcome {
        status: members.status,
        verdict: members.verdict.as_deref().and_then(verdict_of),
        code: members.code.as_deref().map(Code::of),
    };
    let mut headers = members.headers.unwrap_or_default();
    let sent_token = take_authorization(&mut headers);
    let source = members.source.or(members.peer);
    let names = Names {
        token: members.token.as_deref().or(sent_token.as_deref()),
        account: members.account.as_deref(),
        user: members.user.as_deref(),
        source: source.as_deref(),
        field: field.as_deref(),
    };
    let credential = outcome.credential(identity.pick(&names));
    Ok(Parsed::Record(Box::new(Record {
        now_ms,
        method: method.into_bytes().into(),
        target: target.into_bytes().into(),
        peer: source.as_deref().and_then(|source| source.parse().ok()),
        headers,
        credential,
        account: members.account,
        key: members.key,
        price: Price {
            cost: members.cost,
            reserved: members.reserved,
            charged: members.charged,
            route: members.route,
        },
        sender: members.sender,
        invalid: members.invalid,
        peek: members.peek.unwrap_or(false),
        outcome,
    })))
}

/// Where the mistake is, without its text: serde's own message may quote a secret.
fn of_json(error: &serde_json::Error) -> BadLine {
    let column = error.column();
    match error.classify() {
        Category::Data => BadLine::WrongType { column },
        _ => BadLine::NotJson { column },
    }
}

fn time_of(members: &Members) -> Result<u64, BadLine> {
    if let Some(number) = &members.now_ms {
        return number.as_i128().and_then(checked_ms).ok_or(BadLine::Time);
    }
    let text = members.time.as_deref().ok_or(BadLine::NoTime)?;
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| BadLine::Time)?;
    unix_ms(time).ok_or(BadLine::Time)
}

fn verdict_of(text: &str) -> Option<Verdict> {
    match text {
        "allow" => Some(Verdict::Allow),
        "deny" => Some(Verdict::Deny),
        "replay" => Some(Verdict::Replay),
        _ => None,
    }
}

/// Takes the recorded credential away, and names the token in it.
fn take_authorization(headers: &mut Vec<(String, String)>) -> Option<String> {
    let mut name = None;
    headers.retain(|(header, value)| {
        let is_it = header.eq_ignore_ascii_case("authorization");
        if is_it && let Some((scheme, token)) = value.split_once(' ') {
            let is_bearer = scheme.eq_ignore_ascii_case("bearer");
            name = is_bearer.then(|| token_name(token.trim().as_bytes()).into());
        }
        !is_it
    });
    name
}

/// A member by its name: text, or a number as it is written.
fn field_of(line: &[u8], field: &str) -> Option<String> {
    let members: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(line).ok()?;
    match members.get(field)? {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tollgate::Status;

    use super::super::record::{Credential, Kind, Name};
    use super::*;

    fn record(line: &str) -> Record {
        match parse(line.as_bytes(), &IdentityRule::First) {
            Ok(Parsed::Record(record)) => *record,
            other => panic!("{other:?}: {line}"),
        }
    }

    fn bad(line: &str) -> BadLine {
        parse(line.as_bytes(), &IdentityRule::First).unwrap_err()
    }

    const PLAIN: &str = r#"{"now_ms":7,"method":"GET","path":"/a""#;

    #[test]
    fn a_line_of_the_decision_log_is_read_whole() {
        let record = record(
            r#"{"time":"2026-11-29T11:10:18.123Z","now_ms":1795950618123,"id":"x","via":"forward-auth",
            "method":"POST","path":"/sms/send","source":"203.0.113.7","verdict":"allow","status":201,
            "code":"allowed","account":"acme","token":"0123456789abcdef","route":"POST /sms/send",
            "reserved":7,"key":"00ff","limit":{"name":"token","quota":120},"shadow":["x"],"duration_us":120}"#,
        );
        assert_eq!(record.now_ms, 1_795_950_618_123);
        assert_eq!((&*record.method, &*record.target), (&b"POST"[..], &b"/sms/send"[..]));
        assert_eq!(record.peer, Some("203.0.113.7".parse().unwrap()));
        let name = Name { kind: Kind::Token, text: "0123456789abcdef".into() };
        assert_eq!(record.credential, Credential::Of(name));
        assert_eq!(
            (record.account.as_deref(), record.key.as_deref()),
            (Some("acme"), Some("00ff"))
        );
        assert_eq!((record.price.reserved, record.price.charged), (Some(7), None));
        assert_eq!(record.price.route.as_deref(), Some("POST /sms/send"));
        assert_eq!(record.outcome.status, Some(201));
        assert_eq!(record.outcome.verdict, Some(Verdict::Allow));
        assert!(record.outcome.is(Status::Allowed) && !record.outcome.was_denied());
    }

    #[test]
    fn times_are_milliseconds_or_rfc_3339() {
        let at = |time: &str| record(&format!(r#"{{"time":"{time}","method":"GET","path":"/a"}}"#));
        assert_eq!(at("1970-01-01T00:00:01.5Z").now_ms, 1_500);
        assert_eq!(at("1970-01-01T02:00:00+02:00").now_ms, 0);
        assert_eq!(record(&format!("{PLAIN}}}")).now_ms, 7);
        for time in [
            r#""now_ms":-1"#,
            r#""now_ms":99999999999999999999999999"#,
            r#""now_ms":1.5"#,
            r#""now_ms":17592186044416"#,
            r#""time":"1969-12-31T23:59:59.999Z""#,
            r#""time":"yesterday""#,
            r#""time":"9999-01-01T00:00:00Z""#,
        ] {
            assert_eq!(bad(&format!(r#"{{{time},"method":"GET","path":"/a"}}"#)), BadLine::Time);
        }
        assert_eq!(bad(r#"{"method":"GET","path":"/a"}"#), BadLine::NoTime);
        assert_eq!(bad(r#"{"now_ms":1,"path":"/a"}"#), BadLine::NoMethod);
        assert_eq!(bad(r#"{"now_ms":1,"method":"GET"}"#), BadLine::NoTarget);
    }

    #[test]
    fn a_target_is_more_exact_than_a_path_and_a_source_than_a_peer() {
        let one = record(r#"{"now_ms":1,"method":"GET","target":"/a?b"}"#);
        let both = record(&format!(r#"{PLAIN},"target":"/a?b","source":"::1","peer":"::2"}}"#));
        assert_eq!((&*one.target, one.peer), (&b"/a?b"[..], None));
        assert_eq!((&*both.target, both.peer), (&b"/a?b"[..], "::1".parse().ok()));
    }

    #[test]
    fn what_is_wrong_is_told_without_quoting_it() {
        for line in [
            r#"{"now_ms":1,"method":"GET","path":"/a","status":"hunter2"}"#,
            r#"{"now_ms":1,"hunter2"}"#,
            r#"["hunter2"]"#,
            r#"{"now_ms":1,"status":70000,"method":"hunter2"}"#,
        ] {
            let message = bad(line).to_string();
            assert!(!message.contains("hunter2") && message.contains("column"), "{message}");
        }
        assert_eq!(bad(""), BadLine::NotJson { column: 0 });
    }

    #[test]
    fn an_authorization_header_names_the_token_and_is_dropped() {
        let token = tollgate::TokenText::generate(&[1; 32]);
        let headers =
            json!([["AUTHORIZATION", format!("bearer {}", token.expose())], ["X-A", "b"]]);
        let from_header = record(&format!(r#"{PLAIN},"headers":{headers}}}"#));
        let from_member = record(&format!(r#"{PLAIN},"token":"{}"}}"#, token.expose()));
        let name = &tollgate::digest(token.expose().as_bytes(), None).to_string()[..16];
        for record in [&from_header, &from_member] {
            let expected = Name { kind: Kind::Token, text: name.into() };
            assert_eq!(record.credential, Credential::Of(expected));
        }
        assert_eq!(from_header.headers, [("X-A".to_owned(), "b".to_owned())]);
    }

    #[test]
    fn identity_is_what_the_rule_says() {
        let line = format!(
            r#"{PLAIN},"token":"t","account":"a","user":"u","source":"192.0.2.1","shop":12,"list":[]}}"#
        );
        let pick = |rule: &str| match parse(line.as_bytes(), &IdentityRule::parse(rule)) {
            Ok(Parsed::Record(record)) => match record.credential {
                Credential::Of(name) => name.text.to_string(),
                other => format!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        let picked = ["token", "account", "user", "source", "shop", "list", "none"].map(pick);
        assert_eq!(picked, ["t", "a", "u", "192.0.2.1", "12", "None", "None"]);
        let first = |rest: &str| record(&format!("{PLAIN}{rest}}}")).credential;
        let named = |kind, text: &str| Credential::Of(Name { kind, text: text.into() });
        assert_eq!(first(r#","account":"a","user":"u""#), named(Kind::Account, "a"));
        assert_eq!(first(r#","token":"","user":"u","peer":"::1""#), named(Kind::User, "u"));
        assert_eq!(first(r#","peer":"::1""#), named(Kind::Source, "::1"));
        assert_eq!(first(""), Credential::None);
    }

    #[test]
    fn what_was_not_authenticated_stays_so() {
        let of = |rest: &str| record(&format!(r#"{PLAIN},"token":"t"{rest}}}"#)).credential;
        let known = Credential::Of(Name { kind: Kind::Token, text: "t".into() });
        assert_eq!(of(r#","code":"missing_token","status":401"#), Credential::None);
        assert_eq!(of(r#","code":"invalid_token","status":401"#), Credential::Invalid);
        assert_eq!(of(r#","status":401"#), Credential::Invalid);
        assert_eq!(of(r#","status":401,"verdict":"allow""#), known);
        assert_eq!(of(r#","status":403"#), known);
    }
}
