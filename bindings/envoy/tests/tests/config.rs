//! What `envoy --mode validate` says of configurations.
#![cfg(test)]

use serde_json::{Value, json};
use tollgate_envoy_tests::{Checked, Envoy, Options};

const GOOD: &str = "[scopes]\nread = [\"GET /read\"]\n";
const BAD_TOML: &str =
    "[scopes]\nread = [\"GET read\"]\n\n[limits.x]\nper = \"token\"\nquota = 0\nwindow_ms = 1000\n";
const BAD_JSON: &str = "{\n \"scopes\": {\"read\": [\"GET /read\"]},\n \"limits\": {\"x\": {\"per\": \"tokn\", \"quota\": 1, \"window_ms\": 1}}\n}\n";
const BROKEN_TOML: &str = "[scopes]\nread = [\"GET /read\"\n[limits]\n";

/// A filter's configuration with these members in place of the good ones; `null` takes one away.
fn filter(changes: &Value) -> Value {
    let mut filter = json!({
        "policy": {"file": "DIR/good.toml"},
        "store": {"lmdb": {"directory": "DIR/db"}},
    });
    for (name, value) in changes.as_object().unwrap() {
        filter[name] = value.clone();
        if value.is_null() {
            filter.as_object_mut().unwrap().remove(name);
        }
    }
    filter
}

fn options(filter: Value) -> Options {
    let mut options = Options::new(filter, 1);
    let files = [
        ("good.toml", GOOD),
        ("bad.toml", BAD_TOML),
        ("bad.json", BAD_JSON),
        ("broken.toml", BROKEN_TOML),
        ("empty", ""),
        ("url", "redis://user:in-a-file@127.0.0.1:1\n"),
        ("wrong-url", "mysql://user:in-a-file@127.0.0.1:1\n"),
    ];
    options.files =
        files.map(|(name, content)| (name.to_owned(), content.to_owned())).into_iter().collect();
    options
}

fn route(settings: &Value) -> String {
    let settings = json!({
        "tollgate": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilterPerRoute",
            "dynamic_module_config": {"name": "tollgate_envoy"},
            "per_route_config_name": "tollgate",
            "filter_config": {"@type": "type.googleapis.com/google.protobuf.Struct", "value": settings},
        }
    });
    format!(
        "{{ match: {{ path: /x }}, route: {{ cluster: upstream }}, typed_per_filter_config: {settings} }}, "
    )
}

fn is_good(options: &Options) -> Checked {
    let checked = Envoy::check(options);
    assert_eq!(checked.code, Some(0), "{}\n{}", options.filter, checked.said);
    assert!(checked.said.contains("ABI version v0.2.0 matched"), "{}", checked.said);
    checked
}

/// It is refused, the module says these words in one line of its own, and nothing says a password.
fn is_bad(options: &Options, words: &[&str]) {
    let checked = Envoy::check(options);
    let said = &checked.said;
    let what = format!("{} {}\n{said}", options.filter, options.routes);
    assert_eq!(checked.code, Some(1), "{what}");
    let place = checked.directory.path().display().to_string();
    let has = |line: &str| words.iter().all(|word| line.contains(&word.replace("DIR", &place)));
    let own = said.lines().filter(|line| line.contains("tollgate: "));
    assert!(own.clone().any(has), "{words:?} are not in a line of\n{what}");
    for password in ["geheim", "in-a-file"] {
        assert!(!said.contains(password), "{what}");
    }
    assert!(!checked.directory.path().join("db").exists(), "{what}");
}

#[test]
fn good_ones_are_good_and_nothing_is_opened_for_them() {
    for changes in [
        json!({}),
        json!({"policy": {"preset": "sms-gateway"}, "store": "memory", "limits": "process"}),
        json!({"policy": {"inline": {"scopes": {"read": ["GET /read"]}}}, "failure_mode_allow": true}),
        json!({"store": {"lmdb": {"directory": "DIR/db", "sync": {"interval_ms": 200}, "map_bytes": 1 << 30}}}),
        json!({
            "peer": "downstream",
            "cost": {"metadata": {"namespace": "n", "key": "k"}},
            "sender": {"header": "X-Sender"},
            "invalid": {"value": "No."},
            "charge": {"header": "x-charge"},
            "metadata": ["account", "settled"],
            "metadata_namespace": "other",
            "replay_headers": ["x-a"],
            "max_request_body": 1,
            "max_response_body": 0,
            "expire_interval_ms": 0,
            "policy_reload_interval_ms": 0,
        }),
        // Numbers that do not fit into 32 bits.
        json!({"store": {"lmdb": {"directory": "DIR/db", "map_bytes": 1_u64 << 33}}, "max_request_body": 1_u64 << 32}),
        json!({"policy": {"inline": {"limits": {"month": {"per": "token", "quota": 5, "window_ms": 2_592_000_000_u64}}}}}),
        json!({"store": {"redis": {"url": "redis://user:geheim@127.0.0.1:1", "connect_timeout_ms": 5}}}),
        json!({"store": {"redis": {"url": "redis+cluster://user:geheim@127.0.0.1:1,127.0.0.1:2"}}}),
        json!({"store": {"redis": {"url_file": "DIR/url"}}}),
    ] {
        let mut options = options(filter(&changes));
        options.routes = route(&json!({"disabled": true, "policy": {"file": "DIR/good.toml"}}));
        let checked = is_good(&options);
        for password in ["geheim", "in-a-file"] {
            assert!(!checked.said.contains(password), "{}", checked.said);
        }
        assert!(!checked.directory.path().join("db").exists(), "{changes}");
    }
}

#[test]
fn a_policy_that_is_wrong_is_named_with_its_line() {
    for (source, words) in [
        (json!({"file": "DIR/bad.toml"}), &["DIR/bad.toml", "line 2", "GET read"][..]),
        // Each error of it.
        (json!({"file": "DIR/bad.toml"}), &["line 6", "quota"]),
        (json!({"file": "DIR/bad.json"}), &["DIR/bad.json", "line 3", "tokn"]),
        (json!({"file": "DIR/broken.toml"}), &["DIR/broken.toml", "line 3", "missing comma"]),
        (json!({"file": "DIR/nowhere.toml"}), &["DIR/nowhere.toml", "No such file"]),
        (json!({"file": "DIR/good.yaml"}), &["DIR/good.yaml"]),
        (json!({"file": "DIR/empty"}), &["DIR/empty", ".toml or .json"]),
        (json!({"preset": "nobody"}), &["`nobody`", "sms-gateway"]),
        (
            json!({"inline": {"limits": {"x": {"per": "token", "quota": 0, "window_ms": 1000}}}}),
            &["limits.x", "quota"],
        ),
        (json!({"inline": {"scopes": {"read": ["GET read"]}}}), &["scopes.read", "GET read"]),
        (json!({"inline": {"limts": {}}}), &["limts"]),
        (json!({"inline": "text"}), &["policy"]),
    ] {
        is_bad(&options(filter(&json!({"policy": source}))), words);
    }
}

#[test]
fn settings_that_cannot_be_are_named() {
    for (changes, words) in [
        (json!({"polcy": {"preset": "x"}}), &["`polcy`", "`policy`"][..]),
        (json!({"policy": null}), &["`policy` is missing"]),
        (json!({"store": null}), &["`store` is missing", "`redis`"]),
        (json!({"policy": {"fiel": "x"}}), &["`fiel`", "`file`"]),
        (json!({"policy": {"file": 1}}), &["invalid type", "string"]),
        (json!({"disabled": "yes"}), &["\"yes\"", "boolean"]),
        (json!({"max_request_body": -1}), &["-1"]),
        (json!({"max_request_body": "1 MB"}), &["\"1 MB\""]),
        (json!({"limits": "elsewhere"}), &["`elsewhere`", "`process`"]),
        (json!({"peer": "nobody"}), &["`nobody`", "`downstream`"]),
        (json!({"metadata": ["verdict", "x"]}), &["`x`", "verdict"]),
        (json!({"metadata": "some"}), &["\"all\""]),
        (json!({"charge": {"header": "x y"}}), &["`charge`", "x y"]),
        (json!({"cost": {"header": ""}}), &["`cost`"]),
        (json!({"cost": {"value": [1]}}), &["`cost`", "a text or a number"]),
        (json!({"replay_headers": ["X-A", "Set-Cookie"]}), &["`replay_headers`", "set-cookie"]),
        (json!({"pepper_file": "DIR/nowhere"}), &["DIR/nowhere", "No such file"]),
        (json!({"pepper_file": "DIR/empty"}), &["pepper", "DIR/empty"]),
        (json!({"store": {"lmdb": {}}}), &["`directory`"]),
        (
            json!({"store": {"lmdb": {"directory": "DIR/db", "sync": "often"}}}),
            &["`often`", "`never`"],
        ),
        (json!({"store": "disk"}), &["`disk`", "`lmdb`"]),
        (json!({"store": {"redis": {}}}), &["`url`", "`url_file`"]),
        (
            json!({"store": {"redis": {"url": "redis://h", "url_file": "DIR/url"}}}),
            &["either `url` or `url_file`"],
        ),
        (json!({"store": {"redis": {"url_file": "DIR/nowhere"}}}), &["DIR/nowhere"]),
        (
            json!({"store": {"redis": {"url": "redis://127.0.0.1:1"}}, "limits": "process"}),
            &["`limits`", "`process`"],
        ),
        (
            json!({"store": {"redis": {"url": "redis://127.0.0.1:1", "response_timeout_ms": 0}}}),
            &["the time to answer"],
        ),
    ] {
        is_bad(&options(filter(&changes)), words);
    }
}

#[test]
fn a_route_that_is_wrong_is_named() {
    for (settings, words) in [
        (json!({"disbled": true}), &["route", "`disbled`"][..]),
        (json!({"store": "memory"}), &["route", "`store` belongs to the filter"]),
        (json!({"peer": "downstream"}), &["`peer` belongs to the filter"]),
        (json!({"pepper_file": "DIR/empty"}), &["goes with a `policy`"]),
        (json!({"policy": {"file": "DIR/bad.toml"}}), &["DIR/bad.toml", "line 2"]),
        (json!({"policy": {"inline": {"limts": {}}}}), &["route", "limts"]),
        (json!({"max_response_body": true}), &["route", "boolean"]),
        (json!({"sender": {"value": {}}}), &["`sender`"]),
    ] {
        let mut options = options(filter(&json!({})));
        options.routes = route(&settings);
        is_bad(&options, words);
    }
}

#[test]
fn a_password_is_never_said() {
    for store in [
        json!({"redis": {"url": "redis://user:geheim@127.0.0.1:1", "urls": 1}}),
        json!({"redis": {"url": "mysql://user:geheim@127.0.0.1:1"}}),
        json!({"redis": {"url": "user:geheim@127.0.0.1:1"}}),
        json!({"redis": {"url": "redis://user:geheim@127.0.0.1:port"}}),
        json!({"redis": {"url": "redis://user:geheim@127.0.0.1:1", "response_timeout_ms": 0}}),
        json!({"redis": {"url": "redis://user:geheim@127.0.0.1:1", "response_timeout_ms": "1"}}),
        json!({"redis": {"url_file": "DIR/wrong-url"}}),
        // In the wrong place, where a message repeats what is there.
        json!({"redis": "redis://user:geheim@127.0.0.1:1"}),
        json!("redis://user:geheim@127.0.0.1:1"),
        json!("user:geheim@127.0.0.1:1"),
        json!({"redis://user:geheim@127.0.0.1:1": {}}),
        // Bytes at which a reader of messages might think that a URL ends.
        json!({"redis": "redis://user:it's geheim@127.0.0.1:1"}),
        json!({"redis": "redis://user:a\"geheim`@127.0.0.1:1"}),
        json!("redis://user:a`geheim@127.0.0.1:1"),
        json!("redis://user:a://b geheim@127.0.0.1:1"),
        json!({"lmdb": "redis://user:geheim@127.0.0.1:1 and redis://user:geheim@127.0.0.1:2"}),
    ] {
        is_bad(&options(filter(&json!({"store": store}))), &[]);
    }
    let settings = json!({"cost": "redis://user:it's geheim@127.0.0.1:1"});
    let mut on_a_route = options(filter(&json!({})));
    on_a_route.routes = route(&settings);
    is_bad(&on_a_route, &["route"]);
}
