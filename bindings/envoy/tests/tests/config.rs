//! What Envoy says of configurations, before it serves any.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

use serde_json::{Value, json};
use tollgate_envoy_tests::{Envoy, Options};

const BAD: &str =
    "[scopes]\nread = [\"GET read\"]\n[limits.x]\nper = \"token\"\nquota = 0\nwindow_ms = 1\n";

fn check(filter: Value, routes: &str) -> (bool, String) {
    let mut options = Options::new(filter, 1);
    options.routes = routes.to_owned();
    options.files = vec![
        ("good.toml".to_owned(), "[scopes]\nread = [\"GET /read\"]\n".to_owned()),
        ("bad.toml".to_owned(), BAD.to_owned()),
        ("empty".to_owned(), String::new()),
    ];
    Envoy::check(&options)
}

/// A good configuration with this laid over it.
fn with(patch: &Value) -> Value {
    let mut all =
        json!({"policy": {"file": "DIR/good.toml"}, "store": {"lmdb": {"directory": "DIR/db"}}});
    for (name, value) in patch.as_object().unwrap() {
        all[name] = value.clone();
    }
    all
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

#[test]
fn good_ones_are_good() {
    for patch in [
        json!({}),
        json!({"policy": {"preset": "sms-gateway"}, "store": "memory"}),
        json!({"policy": {"inline": {"scopes": {"read": ["GET /read"]}}}, "limits": "process"}),
        json!({"store": {"redis": {"url": "redis://127.0.0.1:1"}}}),
        json!({"store": {"lmdb": {"directory": "DIR/db", "sync": {"interval_ms": 100}, "map_bytes": 1 << 28}}}),
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
            "failure_mode_allow": true,
        }),
    ] {
        let (good, said) = check(with(&patch), &route(&json!({"disabled": true})));
        assert!(good, "{patch}\n{said}");
        assert!(said.contains("ABI version v0.2.0 matched"), "{said}");
    }
}

#[test]
fn errors_name_their_place_and_what_to_do() {
    for (patch, wanted) in [
        (json!({"polcy": 1}), &["unknown field `polcy`"][..]),
        (json!({"policy": null}), &["`policy` is missing"]),
        (json!({"store": null}), &["`store` is missing"]),
        (json!({"policy": {"file": "DIR/good.yaml"}}), &["good.yaml", "not loaded"]),
        (json!({"policy": {"file": "DIR/empty"}}), &["must end in .toml or .json"]),
        (
            json!({"policy": {"file": "DIR/nowhere.toml"}}),
            &["nowhere.toml not loaded: No such file"],
        ),
        (json!({"policy": {"preset": "nobody"}}), &["`nobody`", "sms-gateway"]),
        // Each error of a policy, with its line.
        (
            json!({"policy": {"file": "DIR/bad.toml"}}),
            &["bad.toml", "GET read", "line 2", "quota", "line 5"],
        ),
        (json!({"policy": {"inline": {"scopes": {"read": ["GET read"]}}}}), &["GET read"]),
        (json!({"pepper_file": "DIR/empty"}), &["pepper", "empty"]),
        (
            json!({"store": {"lmdb": {"directory": "DIR/db", "sync": "often"}}}),
            &["unknown variant `often`"],
        ),
        (json!({"store": {"redis": {"url": "http://u:hidden@h"}}}), &["redis"]),
        (
            json!({"store": {"redis": {"url": "redis://u:hidden@h"}}, "limits": "process"}),
            &["leave `process` out"],
        ),
        (json!({"cost": {"header": "a b"}}), &["`cost`: `a b` is no name of a header"]),
        (json!({"cost": {"value": []}}), &["`cost`: `value` is a text or a number"]),
        (json!({"replay_headers": ["X-A", "Set-Cookie"]}), &["`set-cookie` belongs to one"]),
        (json!({"metadata": ["everything"]}), &["no `everything`; there are: verdict"]),
        (json!({"max_request_body": -1}), &["-1"]),
    ] {
        let (good, said) = check(with(&patch), "");
        assert!(!good, "{patch}");
        for text in wanted {
            assert!(said.contains(text), "{patch}\n`{text}` is not in\n{said}");
        }
        assert!(!said.contains("hidden"), "{said}");
    }
    for (settings, wanted) in [
        (json!({"store": "memory"}), "`store` belongs to the filter"),
        (json!({"disabld": true}), "unknown field `disabld`"),
        (json!({"policy": {"preset": "nobody"}}), "sms-gateway"),
    ] {
        let (good, said) = check(with(&json!({})), &route(&settings));
        assert!(!good && said.contains(wanted), "{settings}\n{said}");
    }
}
