//! Each directive does what the README says.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

use std::io::Write;

use tollgate_gateway_tests::{POLICY, TOKEN, Upstream};
use tollgate_nginx_tests::{Gateway, Nginx, Writes};

fn ok() -> Upstream {
    Upstream::answering(
        "HTTP/1.1 200 OK\r\nX-Kept: 1\r\nX-Other: 2\r\nContent-Length: 4\r\n\r\ndone",
    )
}

#[test]
fn cost_sender_and_refusal_are_values() {
    for writes in Writes::BOTH {
        let location = "tollgate_cost $http_x_cost; tollgate_sender $http_x_sender; tollgate_invalid $http_x_invalid;";
        let gateway = Gateway::start(writes, ok(), "", location);
        assert_eq!(gateway.ask("POST", "/pay", &[("X-Cost", "42")], b"").status, 200);
        gateway.accounts.expect(0, 42);
        // Empty is the policy's price; what is no number is never free.
        assert_eq!(gateway.ask("POST", "/pay", &[], b"").status, 200);
        gateway.accounts.expect(0, 47);
        for no_cost in ["-1", "1.5", "free", "18446744073709551616"] {
            assert_eq!(
                gateway.ask("POST", "/pay", &[("X-Cost", no_cost)], b"").status,
                500,
                "{writes:?} {no_cost}"
            );
        }
        let most = gateway.ask("POST", "/pay", &[("X-Cost", "18446744073709551615")], b"");
        assert_eq!((most.status, most.code().as_str()), (402, "insufficient_balance"));
        gateway.accounts.expect(0, 47);
        assert!(
            gateway
                .nginx
                .error_log()
                .contains("\"tollgate_cost\" gave \"free\", which is no amount")
        );
        let sender = gateway.ask("POST", "/pay", &[("X-Sender", "EVIL")], b"");
        assert_eq!((sender.status, sender.code().as_str()), (422, "sender_not_approved"));
        let invalid = gateway.ask("POST", "/pay", &[("X-Invalid", "No such number.")], b"");
        assert_eq!((invalid.status, invalid.code().as_str()), (422, "validation_failed"));
        assert!(invalid.text().contains("No such number."));
        assert_eq!(gateway.upstream.calls(), 2);
    }
}

#[test]
fn chosen_headers_are_replayed() {
    let gateway = Gateway::start(Writes::Inline, ok(), "", "tollgate_replay_headers x-kEPT;");
    let (first, again) = (gateway.pay("k"), gateway.pay("k"));
    assert_eq!((first.header("x-kept"), first.header("x-other")), (Some("1"), Some("2")));
    assert_eq!((again.header("x-kept"), again.header("x-other")), (Some("1"), None));
    let gateway = Gateway::start(Writes::Inline, ok(), "", "tollgate_max_response_body 3;");
    let (first, again) = (gateway.pay("k"), gateway.pay("k"));
    assert_eq!((first.text().as_str(), again.text().as_str()), ("done", ""));
}

#[test]
fn denials_are_the_librarys_unless_they_are_left_to_nginx() {
    for writes in Writes::BOTH {
        let server = "error_page 401 /login; location = /login { return 200 'log in'; }";
        let gateway = Gateway::start(writes, ok(), server, "");
        let denied = gateway.nginx.send("GET", "/read", &[], b"");
        assert_eq!((denied.status, denied.code().as_str()), (401, "missing_token"));
        let gateway = Gateway::start(writes, ok(), server, "tollgate_intercept on;");
        let denied = gateway.nginx.send("GET", "/read", &[], b"");
        assert_eq!((denied.status, denied.text().as_str()), (401, "log in"), "{writes:?}");
        let gateway = Gateway::start(writes, ok(), "", "tollgate_intercept on;");
        let denied = gateway.nginx.send("GET", "/read", &[], b"");
        assert_eq!(denied.status, 401);
        assert!(denied.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")));
        assert!(denied.text().contains("<html>"));
    }
}

#[test]
fn a_store_that_cannot_be_opened_denies_or_lets_through() {
    for writes in Writes::BOTH {
        let server =
            "location /read { tollgate on; tollgate_fail open; proxy_pass http://UPSTREAM; }";
        let upstream = ok();
        let mut options = Gateway::options(writes, upstream.port(), server, "");
        options.directories.push(("db".to_owned(), "data.mdb".to_owned(), "no store".repeat(4096)));
        let nginx = Nginx::start(options);
        let token = format!("Bearer {TOKEN}");
        let denied = nginx.send("POST", "/pay", &[("Authorization", &token)], b"");
        assert_eq!(
            (denied.status, denied.code().as_str()),
            (503, "store_unavailable"),
            "{writes:?}"
        );
        assert_eq!(upstream.calls(), 0);
        assert_eq!(nginx.send("GET", "/read", &[("Authorization", &token)], b"").status, 200);
        // What needs no store is decided all the same.
        assert_eq!(nginx.send("GET", "/read", &[], b"").code(), "missing_token");
        assert_eq!(upstream.calls(), 1);
    }
}

#[test]
fn proxies_are_trusted_where_the_policy_names_none() {
    let policy = POLICY.replace(
        "\"per\": \"token\", \"quota\": 1000000, \"window_ms\": 60000",
        "\"per\": \"source_ip\", \"quota\": 1, \"window_ms\": 3600000000",
    );
    for (location, second) in [("", 429), ("tollgate_trusted_proxy 127.0.0.0/8 ::1;", 200)] {
        let upstream = ok();
        let mut options = Gateway::options(Writes::Inline, upstream.port(), "", location);
        options.files[0].1 = policy.clone();
        let gateway = Gateway::with(options, upstream);
        for (from, status) in [("192.0.2.1", 200), ("192.0.2.2", second)] {
            let answer = gateway.ask("GET", "/read", &[("X-Forwarded-For", from)], b"");
            assert_eq!(answer.status, status, "{location} {from}");
        }
    }
}

#[test]
fn a_pepper_keys_the_digests() {
    let upstream = ok();
    let mut options = Gateway::options(Writes::Inline, upstream.port(), "", "");
    options.http = format!("tollgate_pepper_file pepper; {}", options.http);
    options.files.push(("pepper".to_owned(), "a pepper of thirty-two bytes ...".to_owned()));
    let gateway = Gateway::with(options, upstream);
    // The token was put without one.
    assert_eq!(gateway.ask("GET", "/read", &[], b"").code(), "invalid_token");
}

#[test]
fn other_locations_are_left_alone() {
    let upstream = Upstream::start(|request, mut stream| {
        let account = request.header("x-account").unwrap_or("none").to_owned();
        let _ =
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{account}", account.len());
    });
    let server = "location /open { tollgate off; proxy_pass http://UPSTREAM; proxy_set_header X-Account $tollgate_account; }";
    let gateway = Gateway::start(
        Writes::Inline,
        upstream,
        server,
        "proxy_set_header X-Account $tollgate_account;",
    );
    let open = gateway.nginx.send("GET", "/open", &[], b"");
    assert_eq!(
        (open.status, open.text().as_str(), open.header("x-ratelimit-limit")),
        (200, "none", None)
    );
    assert_eq!(gateway.ask("GET", "/read", &[], b"").text(), "acme");
}
