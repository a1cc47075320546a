//! Who says how a request ended: the API (everywhere else in these tests), nobody, or nginx.

use std::net::TcpListener;

use tollgate_serve_proxies::{Kind, Setup, Stand};

pub(crate) fn at_once(kind: Kind) {
    let setup = Setup { arguments: vec!["--settlement", "at-once"], ..Setup::default() };
    let stand = Stand::with(kind, setup);
    let first = stand.pay("k", "201");
    assert_eq!(first.status, 201);
    let ticket =
        stand.upstream.received().pop().unwrap().header("x-tollgate-ticket").map(str::to_owned);
    // There is nothing left to report.
    assert!(ticket.as_deref().is_none_or(|ticket| ticket == "-"), "{ticket:?}");
    assert_eq!(stand.serve.money("acme"), (0, 5));
    let again = stand.pay("k", "201");
    match kind.replays(200, b"") {
        true => assert_eq!((again.status, again.body.len()), (200, 0)),
        false => assert_eq!((again.status, again.code().as_str()), (409, "replay_not_carried")),
    }
    assert_eq!(stand.upstream.calls(), 1, "{kind:?}: it was carried out again");
    assert_eq!(stand.serve.money("acme"), (0, 5));
}

const NGINX: [Kind; 2] = [Kind::NginxAccel, Kind::NginxAuthRequest];

#[test]
fn nginx_tells_how_requests_end() {
    for kind in NGINX {
        let stand = Stand::with(kind, Setup { post_action: true, ..Setup::default() });
        for (at, (told, posted)) in
            [("201", 5), ("302", 10), ("404", 10), ("500", 10)].into_iter().enumerate()
        {
            let key = format!("key-{told}");
            assert_eq!(stand.pay(&key, told).status.to_string(), told);
            stand.expect_money("acme", (0, posted));
            let again = stand.pay(&key, told);
            assert_eq!(
                (again.status.to_string().as_str(), again.body.len()),
                (told, 0),
                "{kind:?}"
            );
            assert_eq!(again.header("idempotent-replayed"), Some("true"));
            assert_eq!(stand.upstream.calls(), at + 1);
        }
        // What leaves nothing to settle says nothing.
        assert_eq!(stand.ask("t-acme", "GET", "/read", &[], b"").status, 200);
        let told = stand.ask("t-acme", "GET", "/paid", &[], b"");
        assert_eq!(told.status, 200);
        stand.expect_money("acme", (0, 13));
        assert!(!stand.serve.said().contains("was not taken"), "{}", stand.serve.said());
    }
}

#[test]
fn an_upstream_that_was_never_reached_frees_key_and_money() {
    for kind in NGINX {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let edit: &'static str = format!("server 127.0.0.1:{nobody};").leak();
        let setup = Setup {
            post_action: true,
            edits: vec![("server 127.0.0.1:3000;", edit)],
            ..Setup::default()
        };
        let stand = Stand::with(kind, setup);
        for _ in 0..2 {
            let answer = stand.pay("k", "200");
            assert_eq!((answer.status, answer.code().as_str()), (502, ""), "{kind:?}");
            stand.expect_money("acme", (0, 0));
        }
    }
}

#[test]
fn an_upstream_that_does_not_answer_leaves_key_and_money_open() {
    for kind in NGINX {
        let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = deaf.local_addr().unwrap();
        let closes = std::thread::spawn(move || {
            // Each is read a little and closed without a word.
            for stream in deaf.incoming().take(1) {
                let _ = std::io::Read::read(&mut stream.unwrap(), &mut [0; 64]);
            }
        });
        let setup = Setup {
            post_action: true,
            edits: vec![("server 127.0.0.1:3000;", format!("server {place};").leak())],
            ..Setup::default()
        };
        let stand = Stand::with(kind, setup);
        assert_eq!(stand.pay("k", "200").status, 502);
        closes.join().unwrap();
        let again = stand.pay("k", "200");
        assert_eq!(
            (again.status, again.code().as_str()),
            (409, "idempotency_in_flight"),
            "{kind:?}"
        );
        assert_eq!(stand.serve.money("acme"), (5, 0));
    }
}
