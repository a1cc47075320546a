//! Envoy's statistics: what was decided and how it ended adds up to what was sent.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::json;
use tollgate_envoy_tests::{Envoy, Gateway, Writes};
use tollgate_gateway_tests::{POLICY, Upstream};

/// What Envoy counted, by the part of the name behind `tollgate.`, without what did not happen.
fn counted(envoy: &Envoy) -> BTreeMap<String, u64> {
    let count = |line: &str| {
        let (name, count) = line.split_once(": ")?;
        let (_, what) = name.split_once("tollgate.")?;
        Some((what.to_owned(), count.parse().ok()?))
    };
    let said = envoy.ask("/stats?filter=tollgate").text();
    said.lines().filter_map(count).filter(|(_, count)| *count > 0).collect()
}

/// The same as Prometheus reads it, with `_` for what it does not take.
fn counted_for_prometheus(envoy: &Envoy) -> BTreeMap<String, u64> {
    let count = |line: &str| {
        let (name, count) = line.rsplit_once(' ')?;
        let (name, _) = name.split_once('{').unwrap_or((name, ""));
        let (_, what) = name.split_once("tollgate_")?;
        Some((what.to_owned(), count.parse().ok()?))
    };
    let said = envoy.ask("/stats/prometheus").text();
    let lines = said.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(count).filter(|(_, count)| *count > 0).collect()
}

#[test]
fn counters_add_up_to_what_was_sent() {
    for writes in Writes::BOTH {
        // By its target: a success, one that says it cost nothing, and one that breaks off before its answer.
        let upstream = Upstream::start(|request, mut stream| {
            let answer: &[u8] = match (request.method.as_str(), request.target.as_str()) {
                ("PUT", _) => b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
                ("GET", "/paid") => b"",
                _ => b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone",
            };
            let _ = stream.write_all(answer);
        });
        let mut options = Gateway::options(writes, upstream.port(), &json!({}));
        // 30 requests in all, in a window so long that nothing of it comes back.
        options.files[0].1 = POLICY.replace("1000000", "30").replace("60000", "3600000000");
        let gateway = Gateway::with(options, upstream);
        for number in 0..5 {
            let key = format!("k{number}");
            assert_eq!(gateway.pay(&key).status, 200);
            assert_eq!(gateway.pay(&key).header("idempotent-replayed"), Some("true"));
        }
        for _ in 0..4 {
            assert_eq!(gateway.ask("PUT", "/pay", &[], b"").status, 500);
            assert_eq!(gateway.envoy.send("GET", "/read", &[], b"").status, 401);
        }
        for _ in 0..3 {
            assert_eq!(gateway.ask("GET", "/paid", &[], b"").status, 503);
            assert_eq!(gateway.ask("GET", "/nowhere", &[], b"").status, 403);
        }
        let reused = gateway.ask("POST", "/pay", &[("Idempotency-Key", "k0")], b"other");
        assert_eq!(reused.status, 422);
        let mut read = 0;
        while gateway.ask("GET", "/read", &[], b"").status == 200 {
            read += 1;
        }
        let expected: BTreeMap<_, _> = [
            ("decision.allowed", 5 + 4 + 3 + read),
            ("decision.replayed", 5),
            ("decision.missing_token", 4),
            ("decision.insufficient_scope", 3),
            ("decision.idempotency_key_reused", 1),
            ("decision.rate_limited", 1),
            ("settled", 5),
            ("voided", 4),
            ("unknown", 3),
        ]
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count))
        .collect();
        // An ending is counted once the stream is over, and the client may know before.
        let end = Instant::now() + Duration::from_secs(5);
        while counted(&gateway.envoy) != expected && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(counted(&gateway.envoy), expected, "{writes:?}");
        let sum = |counts: &BTreeMap<String, u64>, what: &str| -> u64 {
            counts.iter().filter(|(name, _)| name.starts_with(what)).map(|(_, count)| count).sum()
        };
        let sent = gateway.envoy.stat("http.http.downstream_rq_total");
        assert_eq!(sum(&expected, "decision."), sent, "{writes:?}");
        assert_eq!(expected["decision.allowed"], u64::try_from(gateway.upstream.calls()).unwrap());

        let scraped = counted_for_prometheus(&gateway.envoy);
        let expected: BTreeMap<_, _> =
            expected.into_iter().map(|(name, count)| (name.replace('.', "_"), count)).collect();
        assert_eq!(scraped, expected, "{writes:?}");
    }
}
