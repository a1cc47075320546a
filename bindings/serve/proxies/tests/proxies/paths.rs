//! Paths that could be read two ways, odd methods, upgrades, bodies of odd sizes: what passes is what was judged.

use std::time::Duration;

use serde_json::json;
use tollgate_gateway_tests::{Client, send};
use tollgate_serve_proxies::{Kind, Stand};

pub(crate) fn all(kind: Kind) {
    let stand = Stand::start(kind);
    stand.serve.add("reader", &json!({"balance": 10}), "t-reader", &json!({"scopes": ["read"]}));
    paths(&stand, kind);
    methods(&stand, kind);
    upgrades(&stand, kind);
    bodies(&stand, kind);
    // Still there.
    assert_eq!(stand.ask("t-acme", "GET", "/read", &[], b"").status, 200);
}

fn paths(stand: &Stand, kind: Kind) {
    let targets = [
        "//read",
        "/./read",
        "/x/../read",
        "/%72ead",
        "/read%2f",
        "/read%2F..",
        "/read;x",
        "/read/",
        "/READ",
        "/read%00",
        "/read%",
        "/read%zz",
        "\\read",
        "/x\\..\\read",
        "/read#x",
        "/hidden/../read",
        "/read/../hidden",
        "/read%2f..%2fhidden",
        "/read/..;/hidden",
        "/hidden?/../read",
        "/read//../hidden",
        "/hidden%3f",
        "/r%C0%AFead",
        "http://test/hidden",
        "http://test/read/../hidden",
        "http://test//read",
        "*",
        "read",
        "",
    ];
    for target in targets {
        let text = format!(
            "GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nAuthorization: Bearer t-reader\r\n\r\n"
        );
        let calls = stand.upstream.calls();
        let answer = stand.raw("GET", text.as_bytes());
        let passed = stand.upstream.calls() - calls;
        let status = answer.map_or(0, |answer| answer.status);
        if passed == 0 {
            assert!(status == 0 || status >= 300, "{kind:?} {target}: {status}");
            continue;
        }
        // A proxy may have made another path of it, if it is that which was judged.
        let received = stand.upstream.received().pop().unwrap().target;
        let path = received.split('?').next().unwrap();
        assert_eq!(path, "/read", "{kind:?} {target}: the API got {received}");
    }
    // The path alone is judged, and it is passed on as it came.
    let absolute = stand.raw("GET", &Stand::bytes("GET", "http://test/read?a=/../b", &[], b""));
    assert_eq!(absolute.unwrap().status, 200, "{kind:?}");
    assert_eq!(stand.upstream.received().pop().unwrap().target, "/read?a=/../b");
}

fn methods(stand: &Stand, kind: Kind) {
    let head = stand.ask("t-acme", "HEAD", "/read", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0), "{kind:?}");
    assert_eq!(stand.upstream.received().pop().unwrap().method, "HEAD");
    let calls = stand.upstream.calls();
    for method in ["OPTIONS", "TRACE", "DELETE", "PUT", "PATCH", "PROPFIND", "get", "BREW"] {
        let answer = stand.raw(method, &Stand::bytes(method, "/read", &[], b""));
        let status = answer.map_or(0, |answer| answer.status);
        assert!(status == 0 || (400..=501).contains(&status), "{kind:?} {method}: {status}");
    }
    for line in ["OPTIONS * HTTP/1.1", "CONNECT test:80 HTTP/1.1"] {
        let text = format!(
            "{line}\r\nHost: test\r\nConnection: close\r\nAuthorization: Bearer t-acme\r\n\r\n"
        );
        // Some answer OPTIONS * by themselves.
        let _ = stand.raw("GET", text.as_bytes());
    }
    assert_eq!(stand.upstream.calls(), calls, "{kind:?}");
}

fn upgrades(stand: &Stand, kind: Kind) {
    let upgrade = |token: &str| {
        format!(
            "GET /read HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
    };
    let calls = stand.upstream.calls();
    let mut client = Client::connect(stand.port());
    client.write(upgrade("t-nobody").as_bytes());
    let answer = client.read("GET").unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (401, "invalid_token"), "{kind:?}");
    assert_eq!(stand.upstream.calls(), calls);
    let mut client = Client::connect(stand.port());
    client.write(upgrade("t-acme").as_bytes());
    // With HEAD's rules: what follows the head is no body.
    let answer = client.read("HEAD").unwrap();
    assert_eq!(answer.status, 101, "{kind:?}");
    assert_eq!(stand.upstream.calls(), calls + 1);
}

fn bodies(stand: &Stand, kind: Kind) {
    // Over every bound. It is refused, by the proxy or the server, where the server is told of bodies.
    let calls = stand.upstream.calls();
    let huge = vec![b'x'; 3 << 20];
    let mut client = Client::connect(stand.port());
    client.write(&Stand::bytes("POST", "/pay", &[("Idempotency-Key", "huge")], &huge));
    let status = client.read("POST").map_or(0, |answer| answer.status);
    if kind.tells_bodies() || kind.is_nginx() {
        assert!(matches!(status, 0 | 413 | 422), "{kind:?}: {status}");
        assert_eq!(stand.upstream.calls(), calls, "{kind:?}");
    } else {
        assert_eq!(status, 200, "{kind:?}");
    }
    // Chunks.
    let text = "POST /pay HTTP/1.1\r\nHost: test\r\nConnection: close\r\nAuthorization: Bearer t-acme\r\nTransfer-Encoding: chunked\r\n\r\n\
                3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert_eq!(stand.raw("POST", text.as_bytes()).unwrap().status, 200, "{kind:?}");
    assert_eq!(stand.upstream.received().pop().unwrap().body, b"abcde", "{kind:?}");
    // A body that never comes to its end, from a client without a token: nothing passes.
    let calls = stand.upstream.calls();
    let mut client = Client::connect(stand.port());
    client.write(b"POST /pay HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\nAuthorization: Bearer t-nobody\r\n\r\nabc");
    std::thread::sleep(Duration::from_millis(100));
    client.close();
    // Two lengths, or a length and chunks.
    for framing in [
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity\r\nContent-Length: 3",
    ] {
        let text = format!(
            "POST /hidden HTTP/1.1\r\nHost: test\r\nConnection: close\r\nAuthorization: Bearer t-acme\r\n{framing}\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: test\r\n\r\n"
        );
        let _ = stand.raw("POST", text.as_bytes());
    }
    assert_eq!(stand.upstream.calls(), calls, "{kind:?}");
    let _ = send(stand.port(), "GET", "/", &[], b"");
}
