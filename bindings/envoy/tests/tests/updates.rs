//! Configurations, policies and directories that change while Envoy serves.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_envoy_tests::{Envoy, Gateway, Listener, Options, Writes};
use tollgate_gateway_tests::{Accounts, POLICY, Response, Upstream, send, send_as_account};

const DONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";

/// The policy with this quota for each token, in a window so long that nothing of it comes back.
fn with_quota(quota: u64) -> Value {
    let policy = POLICY.replace("60000", "3600000000");
    let mut policy: Value = serde_json::from_str(&policy).unwrap();
    policy["limits"]["token"]["quota"] = quota.into();
    policy["limits"]["token"]["algorithm"] = "fixed_window".into();
    policy
}

/// The filter's configuration with these members.
fn filter(writes: Writes, changes: &Value) -> Value {
    Gateway::options(writes, 1, changes).filter
}

/// A gateway whose listeners stand in a file, with this configuration of the filter.
fn watching(filter: Value, others: Vec<Listener>) -> Gateway {
    let upstream = Upstream::answering(DONE);
    let mut options = Gateway::options(Writes::Inline, upstream.port(), &json!({}));
    (options.updated, options.filter, options.others) = (true, filter, others);
    Gateway::with(options, upstream)
}

fn inline(writes: Writes, policy: &Value) -> Value {
    filter(writes, &json!({"policy": {"inline": policy}}))
}

fn limit(answer: &Response) -> &str {
    answer.header("x-ratelimit-limit").unwrap_or("none")
}

/// How many answers there were of each kind: status and the limit that the policy has.
type Seen = BTreeMap<(u16, String), usize>;

/// Eight threads that read and pay, each request on a connection of its own, while `disturb` runs; what they got.
fn under_load(gateway: &mut Gateway, disturb: impl FnOnce(&mut Gateway)) -> Seen {
    let (stop, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let port = gateway.envoy.port();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (stop, next) = (Arc::clone(&stop), Arc::clone(&next));
            std::thread::spawn(move || {
                let mut seen = Seen::new();
                while !stop.load(Ordering::Relaxed) {
                    let key = format!("load-{}", next.fetch_add(1, Ordering::Relaxed));
                    let read = send_as_account(port, "GET", "/read", &[], b"");
                    let pay = |key: &str| {
                        send_as_account(port, "POST", "/pay", &[("Idempotency-Key", key)], b"{}")
                    };
                    let (paid, again) = (pay(&key), pay(&key));
                    // Whatever was changed in between, a key is carried out once.
                    assert!(paid.status != 200 || again.header("idempotent-replayed").is_some());
                    for answer in [read, paid, again] {
                        assert!(answer.whole);
                        *seen.entry((answer.status, limit(&answer).to_owned())).or_default() += 1;
                    }
                }
                seen
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(200));
    disturb(gateway);
    std::thread::sleep(Duration::from_millis(200));
    stop.store(true, Ordering::Relaxed);
    let mut all = Seen::new();
    for thread in threads {
        for (kind, count) in thread.join().unwrap() {
            *all.entry(kind).or_default() += count;
        }
    }
    all
}

/// Until a request is decided by the policy with this limit.
fn until_limit(gateway: &Gateway, wanted: &str) {
    let end = Instant::now() + Duration::from_secs(20);
    while limit(&gateway.ask("GET", "/read", &[], b"")) != wanted {
        assert!(Instant::now() < end, "{}", gateway.envoy.log());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_new_configuration_under_load_loses_no_request_and_no_state() {
    for writes in Writes::BOTH {
        let quotas = [1_000_001, 1_000_002, 1_000_003, 1_000_004];
        let mut gateway = watching(inline(writes, &with_quota(quotas[0])), Vec::new());
        assert_eq!(gateway.pay("before").text(), "done");
        let seen = under_load(&mut gateway, |gateway| {
            for quota in &quotas[1..] {
                assert!(gateway.envoy.update(inline(writes, &with_quota(*quota))));
                until_limit(gateway, &quota.to_string());
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        // Each was allowed, by one of them, and each of them had its time.
        let kinds: Vec<_> = seen.keys().cloned().collect();
        let wanted: Vec<_> = quotas.iter().map(|quota| (200, quota.to_string())).collect();
        assert_eq!(kinds, wanted, "{writes:?} {seen:?}");
        // Only the last one decides from here on.
        for _ in 0..20 {
            assert_eq!(limit(&gateway.ask("GET", "/read", &[], b"")), "1000004");
        }
        assert_eq!(gateway.pay("before").header("idempotent-replayed"), Some("true"));
        let paid = gateway.upstream.received();
        let paid = paid.iter().filter(|request| request.method == "POST").count();
        gateway.accounts.expect(0, 5 * u64::try_from(paid).unwrap());
    }
}

#[test]
fn an_update_does_not_begin_a_quota_anew() {
    for limits in ["store", "process"] {
        for writes in Writes::BOTH {
            let configured = |quota: u64, number: u64| {
                let changes = json!({
                    "policy": {"inline": with_quota(quota)}, "limits": limits,
                    // What differs from one to the next where the policy does not.
                    "max_response_body": 1_000_000 + number,
                });
                filter(writes, &changes)
            };
            let mut gateway = watching(configured(40, 0), Vec::new());
            let mut allowed = 0;
            let mut ask = |gateway: &Gateway, times: usize| {
                let answers = (0..times).map(|_| gateway.ask("GET", "/read", &[], b"").status);
                let answers: Vec<_> = answers.collect();
                assert!(answers.iter().all(|status| matches!(status, 200 | 429)), "{answers:?}");
                allowed += answers.iter().filter(|status| **status == 200).count();
                allowed
            };
            for number in 1..5 {
                ask(&gateway, 12);
                assert!(gateway.envoy.update(configured(40, number)));
            }
            assert_eq!(ask(&gateway, 12), 40, "{limits} {writes:?}");
            // Another quota counts what was used under the old one.
            assert!(gateway.envoy.update(configured(45, 5)));
            until_limit(&gateway, "45");
            assert_eq!(ask(&gateway, 20) + 1, 45, "{limits} {writes:?}");
        }
    }
}

#[test]
fn the_memory_store_and_the_counters_go_on() {
    let configured = |number: u64| {
        let changes = json!({"store": "memory", "limits": "process", "max_response_body": number});
        filter(Writes::Inline, &changes)
    };
    let upstream = Upstream::answering(DONE);
    let mut options = Gateway::options(Writes::Inline, upstream.port(), &json!({}));
    (options.updated, options.filter) = (true, configured(1));
    let mut envoy = Envoy::start(options);
    for number in 2..6 {
        for _ in 0..5 {
            // Nobody is in it, and it says so: it is there.
            assert_eq!(send_as_account(envoy.port(), "GET", "/read", &[], b"").status, 401);
        }
        assert!(envoy.update(configured(number)));
    }
    assert_eq!(decisions(&envoy)["invalid_token"], 20);
    assert!(!envoy.log().contains("in use"), "{}", envoy.log());
    assert_eq!(upstream.calls(), 0);
}

#[test]
fn a_configuration_that_is_refused_leaves_the_old_one_serving() {
    for writes in Writes::BOTH {
        let mut gateway = watching(inline(writes, &with_quota(1_000_001)), Vec::new());
        let mut wrong = with_quota(1);
        wrong["limits"]["token"]["window_ms"] = 0.into();
        let seen = under_load(&mut gateway, |gateway| {
            assert!(!gateway.envoy.update(inline(writes, &wrong)));
            std::thread::sleep(Duration::from_millis(100));
            let no_store = json!({"policy": {"inline": with_quota(2)}, "store": null});
            assert!(!gateway.envoy.update(filter(writes, &no_store)));
            std::thread::sleep(Duration::from_millis(100));
            // What is in use cannot be had with other settings.
            let mut other = filter(writes, &json!({"policy": {"inline": with_quota(3)}}));
            other["store"]["lmdb"]["map_bytes"] = (1 << 27).into();
            assert!(!gateway.envoy.update(other));
        });
        let kinds: Vec<_> = seen.keys().cloned().collect();
        assert_eq!(kinds, [(200, "1000001".to_owned())], "{writes:?} {seen:?}");
        let log = gateway.envoy.log();
        for words in [
            &["the configuration of filter `tollgate`", "limits.token", "window_ms"][..],
            &["`store` is missing"],
            &["db is in use with other settings", "until Envoy is started anew"],
        ] {
            let named = |line: &str| words.iter().all(|word| line.contains(word));
            assert!(log.lines().any(named), "{words:?} are not in\n{log}");
        }
        // And the next good one is taken.
        assert!(gateway.envoy.update(inline(writes, &with_quota(1_000_002))));
        until_limit(&gateway, "1000002");
    }
}

#[test]
fn a_policy_file_is_replaced_under_load_and_a_broken_one_is_not_taken() {
    for writes in Writes::BOTH {
        let upstream = Upstream::answering(DONE);
        let mut options = Gateway::options(writes, upstream.port(), &json!({}));
        options.files[0].1 = with_quota(1_000_001).to_string();
        let mut gateway = Gateway::with(options, upstream);
        let seen = under_load(&mut gateway, |gateway| {
            gateway.envoy.replace_policy(&with_quota(1_000_002).to_string());
            until_limit(gateway, "1000002");
            gateway
                .envoy
                .rewrite("policy.json", "{\n \"limits\": {\n  \"x\": {\"per\": \"tokn\"}}}");
            let end = Instant::now() + Duration::from_secs(10);
            while !gateway.envoy.log().contains("policy.json not loaded") {
                assert!(Instant::now() < end, "{}", gateway.envoy.log());
                std::thread::sleep(Duration::from_millis(5));
            }
            std::thread::sleep(Duration::from_millis(100));
        });
        let kinds: Vec<_> = seen.keys().cloned().collect();
        let wanted = [(200, "1000001".to_owned()), (200, "1000002".to_owned())];
        assert_eq!(kinds, wanted, "{writes:?} {seen:?}");
        let log = gateway.envoy.log();
        let named = |line: &str| {
            ["policy.json not loaded", "line 3", "tokn"].iter().all(|word| line.contains(word))
        };
        assert!(log.lines().any(named), "{log}");
        // Said once by each of the two filters, not at every look at the file.
        assert_eq!(log.matches("policy.json not loaded").count(), 2, "{log}");
        // It goes on from there, also after the file was away.
        fs::remove_file(gateway.envoy.directory().join("policy.json")).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(limit(&gateway.ask("GET", "/read", &[], b"")), "1000002");
        gateway.envoy.rewrite("policy.json", &with_quota(1_000_003).to_string());
        until_limit(&gateway, "1000003");
    }
}

#[test]
fn a_policy_is_replaced_and_requests_end_under_their_own() {
    for writes in Writes::BOTH {
        let (arrived, arrival) = mpsc::channel();
        let (go, gone) = mpsc::channel::<()>();
        let (arrived, gone) = (Mutex::new(arrived), Mutex::new(gone));
        let upstream = Upstream::start(move |_, mut stream| {
            let _ = arrived.lock().unwrap().send(());
            let _ = gone.lock().unwrap().recv_timeout(Duration::from_secs(20));
            let _ = stream.write_all(DONE.as_bytes());
        });
        let gateway = Gateway::start(writes, upstream, &json!({}));
        let mut client = gateway.begin_to_pay("k");
        arrival.recv().unwrap();
        gateway.envoy.replace_policy(&POLICY.replace("\"price\": 5", "\"price\": 7"));
        go.send(()).unwrap();
        assert_eq!(client.read("POST").unwrap().text(), "done", "{writes:?}");
        gateway.accounts.expect(0, 5);
        go.send(()).unwrap();
        assert_eq!(gateway.pay("other").text(), "done");
        gateway.accounts.expect(0, 12);
        // One with an error changes nothing, and its line is told.
        let wrong = "{\n  \"tokens\": {\"format\": \"opaque\"},\n  \"scopes\": {\"all\": [\"POST pay\"]}\n}";
        gateway.envoy.rewrite("policy.json", wrong);
        let end = Instant::now() + Duration::from_secs(10);
        let said = loop {
            let log = gateway.envoy.log();
            if let Some((_, said)) = log.split_once("policy.json not loaded: ") {
                break said.to_owned();
            }
            assert!(Instant::now() < end, "{log}");
            std::thread::sleep(Duration::from_millis(5));
        };
        assert!(said.contains("POST pay"), "{said}");
        go.send(()).unwrap();
        assert_eq!(gateway.pay("third").text(), "done");
        gateway.accounts.expect(0, 19);
        gateway.envoy.replace_policy(POLICY);
        go.send(()).unwrap();
        assert_eq!(gateway.pay("fourth").text(), "done");
        gateway.accounts.expect(0, 24);
    }
}

#[test]
fn two_filters_share_a_directory() {
    for (writes, spelling) in
        [(Writes::Inline, "DIR/db"), (Writes::Threads, "DIR/db"), (Writes::Inline, "DIR/./db/")]
    {
        let configured = |quota, directory: &str| {
            let changes = json!({"policy": {"inline": with_quota(quota)}});
            let mut filter = filter(writes, &changes);
            filter["store"]["lmdb"]["directory"] = directory.into();
            filter
        };
        let first = configured(10, "DIR/db");
        let second =
            Listener { name: "other", filter_name: "second", filter: configured(20, spelling) };
        let mut gateway = watching(first.clone(), vec![second.clone()]);
        let end = Instant::now() + Duration::from_secs(10);
        let other = loop {
            if let Some(port) = gateway.envoy.port_of("other") {
                break port;
            }
            assert!(Instant::now() < end, "{}", gateway.envoy.log());
            std::thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(gateway.pay("k").text(), "done");
        let again =
            send_as_account(other, "POST", "/pay", &[("Idempotency-Key", "k")], b"{\"to\":1}");
        assert_eq!(
            (again.status, again.header("idempotent-replayed"), limit(&again)),
            (200, Some("true"), "20"),
            "{writes:?} {spelling}: {}\n{}",
            again.text(),
            gateway.envoy.log()
        );
        // One count, each with its own bound.
        for used in 3..=10 {
            let port = if used % 2 == 0 { other } else { gateway.envoy.port() };
            assert_eq!(send_as_account(port, "GET", "/read", &[], b"").status, 200);
        }
        assert_eq!(gateway.ask("GET", "/read", &[], b"").status, 429);
        assert_eq!(send_as_account(other, "GET", "/read", &[], b"").status, 200);
        gateway.accounts.expect(0, 5);

        // With other settings it is refused, and the two that are there stay.
        let mut filter = configured(30, "DIR/db");
        filter["store"]["lmdb"]["sync"] = json!({"interval_ms": 100});
        let third = Listener { name: "third", filter_name: "third", filter };
        assert!(!gateway.envoy.update_all(first, vec![second, third]));
        assert_eq!(gateway.envoy.port_of("third"), None);
        let log = gateway.envoy.log();
        let says = |line: &str| line.contains("filter `third`") && line.contains("other settings");
        assert!(log.lines().any(says), "{log}");
        assert_eq!(gateway.ask("GET", "/read", &[], b"").status, 429);
        assert_eq!(send_as_account(other, "GET", "/read", &[], b"").status, 200);
    }
}

#[test]
fn a_directory_that_cannot_be_opened_at_first() {
    for open in [false, true] {
        let upstream = Upstream::answering(DONE);
        let store =
            json!({"lmdb": {"directory": "DIR/later/db", "sync": "never", "map_bytes": 1 << 28}});
        let changes = json!({"store": store, "failure_mode_allow": open});
        let mut options: Options = Gateway::options(Writes::Inline, upstream.port(), &changes);
        // A file in a directory's place.
        options.files.push(("later".to_owned(), String::new()));
        let envoy = Envoy::start(options);
        let ask = || send(envoy.port(), "GET", "/read", &[], b"");
        let first = ask();
        if open {
            assert_eq!((first.status, first.text().as_str()), (200, "done"));
        } else {
            assert_eq!((first.status, first.code().as_str()), (503, "store_unavailable"));
        }
        let log = envoy.log();
        let says = |line: &str| line.contains("later/db") && line.contains("cannot be opened");
        assert!(log.lines().any(says), "{log}");
        assert_eq!(decisions(&envoy)["store_unavailable"], 1);

        let later = envoy.directory().join("later");
        fs::remove_file(&later).unwrap();
        let begin = Instant::now();
        // It is said just after it holds.
        while ask().status != 401 || !envoy.log().contains("later/db is open") {
            assert!(begin.elapsed() < Duration::from_secs(5), "{}", envoy.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        let accounts = Accounts::open(&later, 100, &["all"]);
        let paid = send_as_account(envoy.port(), "POST", "/pay", &[], b"");
        assert_eq!(paid.status, 200);
        accounts.expect(0, 5);
    }
}

#[test]
fn settings_with_which_nothing_could_be_opened_can_be_corrected() {
    let configured = |map_bytes: u64| {
        let store = json!({"directory": "DIR/later/db", "sync": "never", "map_bytes": map_bytes});
        filter(Writes::Inline, &json!({"store": {"lmdb": store}}))
    };
    let upstream = Upstream::answering(DONE);
    let mut options = Gateway::options(Writes::Inline, upstream.port(), &json!({}));
    (options.updated, options.filter) = (true, configured(1 << 27));
    options.files.push(("later".to_owned(), String::new()));
    let mut envoy = Envoy::start(options);
    // Not by another filter, which the first one would be without a store for.
    let other = Listener { name: "other", filter_name: "second", filter: configured(1 << 26) };
    assert!(!envoy.update_all(configured(1 << 27), vec![other]));
    assert!(envoy.update_all(configured(1 << 28), Vec::new()), "{}", envoy.log());
    let later = envoy.directory().join("later");
    fs::remove_file(&later).unwrap();
    let begin = Instant::now();
    while send(envoy.port(), "GET", "/read", &[], b"").status != 401 {
        assert!(begin.elapsed() < Duration::from_secs(5), "{}", envoy.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    // Of the two, only the one that holds goes on trying.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(envoy.log().matches("later/db is open").count(), 1, "{}", envoy.log());
    // From here on it is as it was opened.
    assert!(!envoy.update(configured(1 << 27)));
    let accounts = Accounts::open(&later, 100, &["all"]);
    assert_eq!(send_as_account(envoy.port(), "POST", "/pay", &[], b"").status, 200);
    accounts.expect(0, 5);
}

/// What Envoy counted of decisions, by their code, without those that were not made.
fn decisions(envoy: &Envoy) -> BTreeMap<String, u64> {
    let said = envoy.ask("/stats?filter=tollgate%5C.decision").text();
    let decision = |line: &str| {
        let (name, count) = line.split_once(": ")?;
        let (_, code) = name.split_once("tollgate.decision.")?;
        Some((code.to_owned(), count.parse().ok()?))
    };
    said.lines().filter_map(decision).filter(|(_, count)| *count > 0).collect()
}
