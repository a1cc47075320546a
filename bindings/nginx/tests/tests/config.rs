//! What `nginx -t` says of configurations.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

use tollgate_nginx_tests::{Nginx, Options};

const STORE: &str = "tollgate_store lmdb:DIR/db;";

fn test(http: &str) -> (bool, String) {
    test_with(http, "")
}

fn test_with(http: &str, main: &str) -> (bool, String) {
    let mut options = Options::new(http, 1);
    options.main = main.to_owned();
    options.files = vec![
        ("good.toml".to_owned(), "[scopes]\nread = [\"GET /read\"]\n".to_owned()),
        ("proxies.toml".to_owned(), "[source]\ntrusted_proxies = [\"10.0.0.0/8\"]\n".to_owned()),
        ("bad.toml".to_owned(), "[scopes]\nread = [\"GET read\"]\n[limits.x]\nper = \"token\"\nquota = 0\nwindow_ms = 1\n".to_owned()),
        ("empty".to_owned(), String::new()),
    ];
    Nginx::test(&options)
}

fn server(directives: &str) -> String {
    format!("{STORE}\nserver {{ listen 127.0.0.1:PORT;\n{directives}\n}}")
}

#[test]
fn good_ones_are_good() {
    for http in [
        server("tollgate on; tollgate_policy good.toml;"),
        server("tollgate on; tollgate_policy preset:sms-gateway; location /x { tollgate off; }"),
        server(
            "tollgate_policy proxies.toml; location / { tollgate on; } location /x { tollgate on; tollgate_policy good.toml; tollgate_trusted_proxy 10.0.0.0/8 2001:db8::/32; }",
        ),
        format!(
            "tollgate_zone t:1m; tollgate_threads default; tollgate_expire_interval 5s; {}",
            server(
                "tollgate on; tollgate_policy good.toml; tollgate_fail open; tollgate_intercept on;"
            )
        ),
        // Nothing is needed where nothing is on.
        "server { listen 127.0.0.1:PORT; tollgate_policy good.toml; }".to_owned(),
    ] {
        let (good, said) = test(&http);
        assert!(good, "{http}\n{said}");
    }
}

#[test]
fn errors_name_their_place_and_what_to_do() {
    for (http, wanted) in [
        (server("tollgate maybe;"), vec!["invalid value \"maybe\" in \"tollgate\" directive", "nginx.conf:"]),
        (server("tollgate on;"), vec!["needs a \"tollgate_policy\"", "nginx.conf:"]),
        (server("tollgate on; tollgate_policy good.yaml;"), vec!["ending in .toml or .json, or preset:NAME", "nginx.conf:15"]),
        (server("tollgate on; tollgate_policy nowhere.toml;"), vec!["nowhere.toml\" failed (2: No such file", "nginx.conf:15"]),
        (server("tollgate on; tollgate_policy preset:nobody;"), vec!["nobody", "sms-gateway", "nginx.conf:15"]),
        // Each error of a policy, with its line.
        (server("tollgate on; tollgate_policy bad.toml;"), vec!["bad.toml\"", "GET read", "quota", "nginx.conf:15"]),
        (server("tollgate on; tollgate_policy proxies.toml; tollgate_trusted_proxy 10.0.0.0/8;"), vec!["names its trusted proxies", "nginx.conf:15"]),
        (server("tollgate on; tollgate_policy good.toml; tollgate_trusted_proxy nowhere;"), vec!["\"nowhere\" is no network", "nginx.conf:15"]),
        (server("tollgate_fail maybe;"), vec!["invalid value \"maybe\"", "nginx.conf:15"]),
        (server("tollgate_replay_headers X-A Set-Cookie;"), vec!["set-cookie", "never replayed", "nginx.conf:15"]),
        (server("tollgate_policy good.toml; tollgate_policy good.toml;"), vec!["is duplicate", "nginx.conf:15"]),
        (server("tollgate_zone t:1m;"), vec!["directive is not allowed here", "nginx.conf:15"]),
        ("tollgate_zone t;".to_owned(), vec!["is name:size", "nginx.conf:"]),
        ("tollgate_zone t:1k;".to_owned(), vec!["no size of at least", "nginx.conf:"]),
        ("tollgate_store lmdb:DIR/db sync=sometimes;".to_owned(), vec!["sync=every_commit", "nginx.conf:"]),
        ("tollgate_store lmdb:DIR/db map=1;".to_owned(), vec!["map=SIZE", "nginx.conf:"]),
        ("tollgate_store mysql://secret@x;".to_owned(), vec!["redis://HOST:PORT or memory", "nginx.conf:"]),
        ("tollgate_store memory sync=never;".to_owned(), vec!["only lmdb: takes", "nginx.conf:"]),
        ("tollgate_pepper_file empty;".to_owned(), vec!["is empty", "nginx.conf:"]),
        ("tollgate_threads off; tollgate_store redis://127.0.0.1:1; server { tollgate on; tollgate_policy good.toml; }".to_owned(), vec!["needs threads"]),
        ("tollgate_store memory; server { tollgate on; tollgate_policy good.toml; }".to_owned(), vec!["there are 2 workers"]),
        ("server { tollgate on; tollgate_policy good.toml; }".to_owned(), vec!["needs a \"tollgate_store\""]),
    ] {
        let (good, said) = test(&http);
        assert!(!good, "{http}");
        for text in wanted {
            assert!(said.contains(text), "{http}\n`{text}` is not in\n{said}");
        }
        assert!(!said.contains("secret@"), "{said}");
    }
}

#[test]
fn memory_is_for_one_worker() {
    let http = "tollgate_store memory; server { listen 127.0.0.1:PORT; tollgate on; tollgate_policy good.toml; }";
    let (good, said) = test_with(http, "worker_processes 1;");
    assert!(good, "{said}");
}
