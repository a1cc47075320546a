//! `account`, `token`, `reservation` and `store` on a durable store.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate::{Engine, Finish, PolicyConfig, Request, TokenFormat, TokenText, Verdict, digest};
use tollgate_lmdb::{LmdbOptions, LmdbStore};

use crate::common::{Ran, run, tollgate};

const NOW_MS: u64 = 1_700_000_000_000;

/// A store in a directory of its own, and the commands on it.
struct Operator {
    directory: TempDir,
}

impl Operator {
    fn new() -> Self {
        Operator { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Runs a command at a time, with its standard input.
    fn at(&self, now_ms: u64, args: &[&str], input: &str) -> Ran {
        let store = format!("lmdb:{}", self.path().display());
        let now_ms = now_ms.to_string();
        let mut all = args.to_vec();
        all.extend(["--store", &store, "--now-ms", &now_ms]);
        run(&all, input.as_bytes())
    }

    fn json(&self, args: &[&str]) -> Value {
        let mut args = args.to_vec();
        args.push("--json");
        let ran = self.at(NOW_MS, &args, "");
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}");
        ran.json()
    }

    fn refused(&self, args: &[&str]) -> String {
        let ran = self.at(NOW_MS, args, "");
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{args:?}: {}", ran.err);
        ran.err
    }

    fn open(&self) -> LmdbStore {
        LmdbStore::open(self.path(), &LmdbOptions::default()).unwrap()
    }
}

fn engine() -> Engine {
    let policy = PolicyConfig::from_toml(
        "[scopes]\npay = [\"POST /pay\"]\n[routes.\"POST /pay\"]\nidempotency = true\nprice = 7\n\
         lease_ms = 1000\non_expiry = \"hold\"\n",
    );
    Engine::new(policy.unwrap().compile().unwrap())
}

fn pay(store: &LmdbStore, token: &str, key: &str, now_ms: u64) -> tollgate::Decision {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", key)];
    let request = Request::new(b"POST", b"/pay", now_ms).with_headers(&headers);
    engine().decide(store, &request)
}

#[test]
fn accounts_are_created_once_shown_and_set() {
    let operator = Operator::new();
    assert_eq!(operator.json(&["account", "list"]), json!([]));
    let created = operator.json(&["account", "create", "acme {1}", "--balance", "500"]);
    assert_eq!(created["balance"], 500);
    let ran = operator.at(NOW_MS, &["account", "create", "acme {1}", "--balance", "500"], "");
    assert!(ran.code == 2 && ran.err.contains("account deposit"), "{}", ran.err);
    operator.json(&["account", "deposit", "acme {1}", "20"]);
    operator.json(&["account", "caps", "acme {1}", "day=5", "month=7:shadow"]);
    operator.json(&["account", "networks", "acme {1}", "10.0.0.0/8", "::1"]);
    operator.json(&["account", "senders", "acme {1}", "ACME", "Foo bar"]);
    let shown = operator.json(&["account", "show", "acme {1}"]);
    let expected = json!({
        "account": "acme {1}", "balance": 520, "held": 0, "available": 520, "posted": 0,
        "deposited": 520, "refunded": 0, "open_reservations": 0,
        "spent": { "day": 0, "month": 0, "lifetime": 0 },
        "spend_caps": [
            { "per": "day", "amount": 5, "shadow": false },
            { "per": "month", "amount": 7, "shadow": true },
        ],
        "networks": ["10.0.0.0/8", "::1/128"],
        "senders": ["ACME", "Foo bar"],
    });
    assert_eq!(shown, expected);
    assert_eq!(operator.json(&["account", "list"]), json!(["acme {1}"]));
    let none = operator.json(&["account", "caps", "acme {1}", "--none"]);
    assert_eq!((&none["spend_caps"], &none["senders"]), (&json!([]), &json!(["ACME", "Foo bar"])));
    // What is not there is not made by setting it.
    for args in [
        &["account", "show", "nobody"][..],
        &["account", "deposit", "nobody", "1"],
        &["account", "caps", "nobody", "--none"],
        &["account", "networks", "nobody", "::1"],
        &["account", "senders", "nobody", "x"],
    ] {
        assert!(operator.refused(args).contains("there is no such account"), "{args:?}");
    }
    assert_eq!(operator.json(&["account", "list"]), json!(["acme {1}"]));
    assert!(
        operator
            .refused(&["account", "deposit", "acme {1}", "18446744073709551615"])
            .contains("2^64")
    );
    for args in [
        &["account", "caps", "acme {1}"][..],
        &["account", "caps", "acme {1}", "week=3"],
        &["account", "networks", "acme {1}", "10.0.0.1/8/8"],
        &["account", "deposit", "acme {1}", "-1"],
        &["account", "show", ""],
    ] {
        assert_eq!(operator.at(NOW_MS, args, "").code, 2, "{args:?}");
    }
    let text = operator.at(NOW_MS, &["account", "show", "acme {1}"], "").out;
    assert!(text.contains("available  520\n") && text.contains("networks   10.0.0.0/8"), "{text}");
}

#[test]
fn tokens_are_issued_rotated_revoked_and_listed() {
    let operator = Operator::new();
    operator.json(&["account", "create", "acme", "--balance", "100"]);
    let made = operator.json(&[
        "token",
        "new",
        "--account",
        "acme",
        "--scope",
        "pay",
        "--network",
        "127.0.0.0/8",
        "--quota",
        "10/1000",
        "--cap",
        "day=50",
        "--expires-ms",
        "1800000000000",
    ]);
    let token = made["token"].as_str().unwrap();
    let listed = operator.json(&["token", "list", "acme"]);
    assert_eq!(
        listed,
        json!([{
            "digest": made["digest"], "state": "expires", "scopes": ["pay"],
            "networks": ["127.0.0.0/8"], "quota": { "limit": 10, "window_ms": 1000 },
            "spend_caps": [{ "per": "day", "amount": 50, "shadow": false }],
            "expires_ms": 1_800_000_000_000_u64,
        }])
    );
    // The token itself is in no file.
    let bytes = std::fs::read(operator.path().join("data.mdb")).unwrap();
    assert!(!bytes.windows(token.len()).any(|window| window == token.as_bytes()));

    // By the token on standard input, and by its digest.
    let rotated = operator.at(NOW_MS, &["token", "rotate", "--grace-ms", "5", "--json"], token);
    assert_eq!((rotated.code, rotated.err.as_str()), (0, ""));
    let new = rotated.json();
    let revoked = operator.json(&["token", "revoke", "--digest", new["digest"].as_str().unwrap()]);
    assert_eq!(revoked["digest"], new["digest"]);
    let states = operator.json(&["token", "list", "acme"]);
    let state = |digest: &Value| {
        let mut all = states.as_array().unwrap().iter();
        all.find(|token| token["digest"] == *digest).unwrap()["state"].clone()
    };
    assert_eq!(
        (state(&made["digest"]), state(&new["digest"])),
        ("expires".into(), "revoked".into())
    );
    let later = operator.at(NOW_MS + 5, &["token", "list", "acme"], "").out;
    assert!(later.contains("expired") && later.contains("revoked"), "{later}");

    let unknown = digest(b"unknown", None).to_string();
    assert!(operator.refused(&["token", "revoke", "--digest", &unknown]).contains("no such token"));
    assert!(operator.refused(&["token", "new", "--account", "nobody"]).contains("no such account"));
    assert!(operator.refused(&["token", "list", "nobody"]).contains("no such account"));
    // A token in place of a digest is not repeated.
    let ran = operator.at(NOW_MS, &["token", "revoke", "--digest", token], "");
    assert!(ran.code == 2 && !ran.err.contains(token), "{}", ran.err);
    assert_eq!(operator.at(NOW_MS, &["token", "new", "--scope", "pay"], "").code, 2);
}

#[test]
fn orphans_are_listed_and_resolved_and_charges_refunded() {
    let operator = Operator::new();
    operator.json(&["account", "create", "acme", "--balance", "100"]);
    let made = operator.json(&["token", "new", "--account", "acme", "--scope", "pay"]);
    let token = made["token"].as_str().unwrap();
    TokenText::parse(TokenFormat::Native, token).unwrap();
    let store = operator.open();
    for key in ["a", "b", "c"] {
        assert_eq!(pay(&store, token, key, NOW_MS).verdict(), Verdict::Allow);
    }
    let ticket = pay(&store, token, "d", NOW_MS + 900).ticket().unwrap().clone();
    engine().finish(&store, &ticket, Finish::Void { response: None }, NOW_MS + 901).unwrap();
    drop(store);

    let list = |now_ms: u64, flag: &str| {
        let ran = operator.at(now_ms, &["reservation", "list", "acme", "--json", flag], "");
        assert_eq!(ran.code, 0, "{}", ran.err);
        let all = ran.json();
        let pair = |one: &Value| (one["number"].as_u64().unwrap(), one["state"].to_string());
        all.as_array().unwrap().iter().map(pair).collect::<Vec<_>>()
    };
    assert_eq!(list(NOW_MS + 1, "--orphans"), []);
    assert_eq!(list(NOW_MS + 1, "--open").len(), 3);
    let orphan = || "\"orphan\"".to_owned();
    let orphans = vec![(1, orphan()), (2, orphan()), (3, orphan())];
    assert_eq!(list(NOW_MS + 2_000, "--orphans"), orphans);
    assert_eq!(operator.json(&["account", "show", "acme"])["held"], 21);

    let resolve = |more: &[&str]| {
        let mut args = vec!["reservation", "resolve", "acme"];
        args.extend(more);
        operator.at(NOW_MS + 2_000, &args, "")
    };
    assert_eq!(resolve(&["1", "void"]).out, "posted 0\n");
    assert_eq!(resolve(&["2", "settle", "--amount", "4"]).out, "posted 4\n");
    assert_eq!(resolve(&["3", "settle"]).out, "posted 7\n");
    for (args, code) in [
        (&["3", "void"][..], 1),
        (&["9", "void"], 1),
        (&["2", "settle", "--amount", "8"], 1),
        (&["1", "void", "--amount", "1"], 2),
        (&["1", "unknown"], 2),
    ] {
        assert_eq!(resolve(args).code, code, "{args:?}");
    }
    let refund = |args: [&str; 2]| {
        let [amount, reference] = args;
        operator.at(NOW_MS, &["reservation", "refund", "acme", "3", amount, reference], "").code
    };
    assert_eq!([refund(["5", "r1"]), refund(["5", "r1"]), refund(["3", "r2"])], [0, 0, 1]);
    let shown = operator.json(&["account", "show", "acme"]);
    assert_eq!((&shown["balance"], &shown["held"]), (&json!(94), &json!(0)));
    // A key that was resolved as void runs again; one that was settled replays.
    let store = operator.open();
    assert_eq!(pay(&store, token, "a", NOW_MS + 2_001).verdict(), Verdict::Allow);
    assert_eq!(pay(&store, token, "b", NOW_MS + 2_001).verdict(), Verdict::Replay);
}

#[test]
fn a_store_is_backed_up_measured_and_swept() {
    let operator = Operator::new();
    operator.json(&["account", "create", "acme", "--balance", "3"]);
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = elsewhere.path().join("copy");
    let path = copy.to_str().unwrap();
    let ran = operator.at(NOW_MS, &["store", "backup", path, "--compact"], "");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    operator.json(&["account", "deposit", "acme", "1"]);
    let shown =
        run(&["account", "show", "acme", "--store", &format!("lmdb:{path}"), "--json"], b"");
    assert_eq!(shown.json()["balance"], 3);
    assert_eq!(operator.at(NOW_MS, &["store", "backup", path], "").code, 2, "never written over");
    let info = operator.json(&["store", "info"]);
    assert_eq!((&info["accounts"], &info["tokens"]), (&json!(1), &json!(0)));
    assert_eq!(operator.json(&["store", "expire"]), json!({ "expired": 0 }));
}

#[test]
fn a_store_that_is_not_there_is_an_error_without_secrets() {
    for (store, expected) in [
        ("memory", "gone when this command ends"),
        ("lmdb:/no/such/directory", "no directory"),
        ("postgres://user:hush@127.0.0.1/", "give memory, lmdb:DIRECTORY"),
        ("hush", "give memory, lmdb:DIRECTORY"),
    ] {
        let output =
            tollgate().args(["account", "list"]).env("TOLLGATE_STORE", store).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{store}");
        assert!(err.contains(expected) && !err.contains("hush"), "{err}");
    }
    let ran = run(&["account", "list"], b"");
    assert!(ran.code == 2 && ran.err.contains("--store"), "{}", ran.err);
    let late =
        ["account", "list", "--store", "lmdb:/no/such/directory", "--now-ms", "17592186044416"];
    assert!(run(&late, b"").err.contains("2527"));
}

#[test]
fn scenarios_and_the_demo_run_on_a_durable_store_and_leave_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let store = format!("lmdb:{}", directory.path().join("scratch").display());
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors");
    let ran = run(&["scenario", vectors, "--store", &store], b"");
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(ran.out.contains(" scenarios passed, 0 failed"), "{}", ran.out);
    let demo = run(&["demo", "--run", "--store", &store], b"");
    assert!(demo.code == 0 && demo.out.contains("35 of 35"), "{}{}", demo.out, demo.err);
    // What restarts is still there.
    let steps = br#"{"op":"policy","preset":"sms-gateway"}
{"op":"account","id":"acme","balance":5}
{"op":"restart"}
{"op":"inspect","account":"acme","expect":{"balance":5}}"#;
    assert_eq!(run(&["scenario", "-", "--store", &store], steps).code, 0);
    assert_eq!(run(&["scenario", "-"], steps).code, 1);
    assert_eq!(std::fs::read_dir(directory.path().join("scratch")).unwrap().count(), 0);
}
