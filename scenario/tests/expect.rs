//! What matches, and how a mismatch is told.
#![cfg(test)]

use serde_json::{Value, json};
use tollgate_scenario::{Runner, VectorFile, check, matches};

fn reply() -> Value {
    json!({
        "id": "r", "verdict": "allow", "status": 200, "code": null,
        "headers": [["X-A", "1"], ["Set-Cookie", "a"], ["set-cookie", "b"]],
        "body": "{\"code\":\"x\",\"list\":[{\"a\":1,\"b\":2}]}", "reserved": 5,
    })
}

fn mismatches(expect: &Value, reply: &Value) -> Vec<String> {
    let found = matches(expect, reply).err().unwrap_or_default();
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn what_matches() {
    for expect in [
        json!({}),
        json!({"verdict": "allow", "code": null, "account": null, "reserved": 5}),
        json!({"headers": {"x-a": "1", "X-B": null, "Set-Cookie": ["a", "b"]}}),
        json!({"headers": [["X-A", "1"], ["Set-Cookie", "a"], ["set-cookie", "b"]]}),
        json!({"body": {"code": "x"}}),
        json!({"body": {"list": [{"b": 2}]}}),
        json!({"body": reply()["body"]}),
        json!({"error": false}),
    ] {
        assert_eq!(mismatches(&expect, &reply()), [""; 0], "{expect}");
    }
    let error = json!({"error": "there is no such account; create it first"});
    for expect in [json!({"error": true}), json!({"error": "no such account"})] {
        assert_eq!(mismatches(&expect, &error), [""; 0]);
    }
}

#[test]
fn what_does_not_match_and_why() {
    for (expect, said) in [
        (json!({"status": 201}), "status: expected 201, got 200"),
        (json!({"status": "200"}), "status: expected \"200\", got 200"),
        (json!({"account": "acme"}), "account: expected \"acme\", got nothing"),
        (json!({"reserved": null}), "reserved: expected null, got 5"),
        (json!({"headers": {"X-A": "2"}}), "headers.X-A: expected \"2\", got \"1\""),
        (json!({"headers": {"X-A": null}}), "headers.X-A: expected none, got \"1\""),
        (json!({"headers": {"X-B": "1"}}), "headers.X-B: expected \"1\", got nothing"),
        (
            json!({"headers": {"Set-Cookie": "a"}}),
            "headers.Set-Cookie: expected \"a\", got [\"a\",\"b\"]",
        ),
        (json!({"headers": {"X-B": []}, "error": true}), "error: expected an error, got nothing"),
        (json!({"body": {"code": "y"}}), "body.code: expected \"y\", got \"x\""),
        (json!({"body": {"list": []}}), "body.list: expected [], got [{\"a\":1,\"b\":2}]"),
        (json!({"body": {"list": [{"a": 3}]}}), "body.list[0].a: expected 3, got 1"),
        (json!({"error": "no"}), "error: expected an error that contains \"no\", got nothing"),
        (json!({"error": 5}), "error: expected true, false or a text to look for, got nothing"),
        (json!({"counts": {"allow": 1}}), "counts: expected a reply with `replies`, got "),
        (json!([1]), "reply: expected an `expect` that is an object, got [1]"),
    ] {
        let found = mismatches(&expect, &reply());
        assert_eq!(found.len(), 1, "{expect}: {found:?}");
        assert!(found[0].starts_with(said), "{said} is not {}", found[0]);
    }
    let text = json!({"body": "not JSON"});
    assert_eq!(
        mismatches(&json!({"body": {}}), &text),
        ["body: expected JSON like {}, got \"not JSON\""]
    );
    let error = json!({"error": "no such account"});
    for expect in
        [json!({}), json!({"balance": null}), json!({"error": false}), json!({"error": "full"})]
    {
        assert_eq!(mismatches(&expect, &error).len(), 1, "{expect}");
    }
}

#[test]
fn counts_are_of_verdicts_codes_and_errors() {
    let reply = json!({"replies": [
        {"verdict": "allow", "code": null},
        {"verdict": "deny", "code": "rate_limited"},
        {"verdict": "deny", "code": "rate_limited"},
        {"error": "x"},
    ]});
    for (counts, good) in [
        (json!({"allow": 1, "deny": 2, "rate_limited": 2, "error": 1, "replay": 0}), true),
        (json!({"deny": {"min": 2, "max": 2}, "allow": {"max": 1}, "error": {"min": 0}}), true),
        (json!({"deny": 1}), false),
        (json!({"deny": {"min": 3}}), false),
        (json!({"deny": {"max": 1}}), false),
        (json!({"deny": {"most": 5}}), false),
        (json!({"deny": -2}), false),
        (json!({"deny": "2"}), false),
        (json!(4), false),
    ] {
        assert_eq!(matches(&json!({ "counts": counts }), &reply).is_ok(), good, "{counts}");
    }
    assert_eq!(
        mismatches(&json!({"counts": {"deny": 1}}), &reply),
        ["counts.deny: expected 1, got 2"]
    );
}

#[test]
fn a_step_without_expect_must_not_fail() {
    let error = json!({"error": "x"});
    assert!(check(&json!({"op": "restart"}), &error).is_err());
    assert!(check(&json!({"op": "restart"}), &json!({})).is_ok());

    let inner = |expect: Value| json!({"op": "inspect", "expect": expect});
    let replies = json!({"replies": [{"balance": 1}, {"error": "x"}]});
    let parallel = |steps: Value, expect: Option<Value>| {
        let mut step = json!({"op": "parallel", "steps": steps});
        if let Some(expect) = expect {
            step["expect"] = expect;
        }
        check(&step, &replies).is_ok()
    };
    assert!(!parallel(json!([{}, {}]), None));
    assert!(parallel(json!([{}, {}]), Some(json!({"counts": {"error": 1}}))));
    assert!(parallel(json!([inner(json!({"balance": 1})), inner(json!({"error": true}))]), None));
    assert!(!parallel(json!([inner(json!({"balance": 2})), inner(json!({"error": true}))]), None));
    assert!(!parallel(json!([{}, {}]), Some(json!({"replies": [{"balance": 1}, {}]}))));
    assert!(!parallel(json!([{}, {}]), Some(json!({"replies": [{"balance": 1}]}))));
}

#[test]
fn a_report_names_scenario_step_and_place() {
    let text = json!({
        "about": "a", "covers": [],
        "scenarios": [{"name": "one", "steps": [
            {"op": "policy", "policy": {}},
            {"op": "teleport"},
            {"op": "account", "id": "a", "expect": {"error": true}},
        ]}],
    });
    let file = VectorFile::parse(&text.to_string()).unwrap();
    let report = file.run(Runner::in_memory);
    assert!(!report.passed());
    let said = report.scenarios[0].to_string();
    assert!(
        said.starts_with("one: FAILED\n  step 1 (teleport): reply: expected no error"),
        "{said}"
    );
    assert!(said.ends_with("step 2 (account): error: expected an error, got nothing"), "{said}");
}

#[test]
fn files_are_strict() {
    let scenario = json!({"name": "a", "steps": [{}]});
    for (scenarios, more, said) in [
        (json!([]), json!(null), "no scenario"),
        (json!([scenario, scenario]), json!(null), "two scenarios are named `a`"),
        (json!([{"name": "a", "steps": []}]), json!(null), "has no steps"),
        (json!([{"name": "a", "step": []}]), json!(null), "unknown field `step`"),
        (json!([scenario]), json!(1), "unknown field `more`"),
    ] {
        let mut file = json!({"about": "", "covers": [], "scenarios": scenarios});
        if !more.is_null() {
            file["more"] = more;
        }
        let error = VectorFile::parse(&file.to_string()).unwrap_err().to_string();
        assert!(error.contains(said), "{said} is not in {error}");
    }
    assert!(VectorFile::parse("{}").unwrap_err().to_string().contains("missing field"));
}
