//! The server asked as a proxy asks, where a proxy that is set up well would not ask so.

use tollgate_gateway_tests::{Response, send};
use tollgate_serve_proxies::{Kind, Stand};

use crate::answers::values;

fn ask(stand: &Stand, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut all = vec![("Authorization", "Bearer t-acme"), ("X-Forwarded-For", "127.0.0.1")];
    all.extend_from_slice(headers);
    send(stand.serve.port(), "GET", path, &all, b"")
}

const FORWARDED: [(&str, &str); 2] = [("X-Forwarded-Method", "GET"), ("X-Forwarded-Uri", "/read")];
const ORIGINAL: [(&str, &str); 2] = [("X-Original-Method", "GET"), ("X-Original-URI", "/read")];

const PATHS: [(&str, [(&str, &str); 2]); 5] = [
    ("/forward-auth", FORWARDED),
    ("/forward-auth/caddy", FORWARDED),
    ("/forward-auth/traefik-loop", FORWARDED),
    ("/forward-auth/nginx", ORIGINAL),
    ("/forward-auth/accel/api", ORIGINAL),
];

#[test]
fn what_the_proxy_must_tell_is_told_once_in_its_own_words() {
    let stand = Stand::start(Kind::NginxAccel);
    for (path, told) in PATHS {
        let allowed = ask(&stand, path, &told);
        assert_eq!((allowed.status, allowed.body.len()), (200, 0), "{path}");
        assert_eq!(values(&allowed, "x-tollgate-verdict"), ["allow"], "{path}");
        // Each of them, so that none of a client's is left: `-` where there is nothing.
        assert_eq!(values(&allowed, "x-tollgate-account"), ["acme"], "{path}");
        assert_eq!(values(&allowed, "x-tollgate-route"), ["GET /read"], "{path}");
        assert_eq!(values(&allowed, "x-tollgate-reserved"), ["-"], "{path}");
        assert_eq!(values(&allowed, "x-tollgate-ticket"), ["-"], "{path}");
        // Caddy adds the client's query to the path that it asks at.
        assert_eq!(ask(&stand, &format!("{path}?/hidden=1"), &told).status, 200, "{path}");
        let (method, target) = (told[0], told[1]);
        let other = if told == FORWARDED { ORIGINAL } else { FORWARDED };
        for wrong in [
            vec![],
            vec![method],
            vec![target],
            other.to_vec(),
            vec![method, target, target],
            vec![method, method, target],
            vec![method, target, (target.0, "/hidden")],
        ] {
            let refused = ask(&stand, path, &wrong);
            let told = (refused.status, refused.code());
            assert_eq!(told, (400, "malformed_request".into()), "{path} {wrong:?}");
            let named = [method.0, target.0].map(str::to_ascii_lowercase);
            let text = refused.text();
            assert!(named.iter().any(|name| text.contains(name)), "{text}");
            assert!(values(&refused, "x-accel-redirect").is_empty());
        }
        // The words of another proxy change nothing.
        let other = other.map(|(name, value)| (name, value.replace("/read", "/none")));
        let lies = [told[0], told[1], (other[0].0, "DELETE"), (other[1].0, other[1].1.as_str())];
        assert_eq!(ask(&stand, path, &lies).status, 200, "{path}");
    }
}

#[test]
fn nginx_is_sent_to_no_other_place_than_a_named_location() {
    let stand = Stand::start(Kind::NginxAccel);
    let allowed = ask(&stand, "/forward-auth/accel/api_2-x", &ORIGINAL);
    assert_eq!(values(&allowed, "x-accel-redirect"), ["@api_2-x"]);
    for place in ["%2Fsecret", "a%0D%0AX-Evil:1", "a.b", "@api", "a%20b", "%FF"] {
        let refused = ask(&stand, &format!("/forward-auth/accel/{place}"), &ORIGINAL);
        assert_eq!(refused.status, 400, "{place}");
        assert!(values(&refused, "x-accel-redirect").is_empty(), "{place}");
    }
    let none = ask(&stand, "/forward-auth/accel/", &ORIGINAL);
    assert_eq!(none.status, 404);
    let denied =
        ask(&stand, "/forward-auth/accel/api", &[ORIGINAL[0], ("X-Original-URI", "/none")]);
    assert_eq!(denied.status, 403);
    assert!(values(&denied, "x-accel-redirect").is_empty());
}
