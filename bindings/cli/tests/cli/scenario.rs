//! `tollgate scenario`, on files and through a pipe.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use crate::common::{run, tollgate};
use serde_json::{Value, json};

fn vectors() -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    directory.to_str().unwrap().to_owned()
}

const POLICY: &str =
    r#"{"op":"policy","preset":"sms-gateway","patch":{"tokens":{"format":"opaque"}}}"#;

#[test]
fn all_vectors_pass() {
    let ran = run(&["scenario", &vectors()], b"");
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("scenario-protocol.json: ok, "), "{}", ran.out);
    assert!(ran.out.contains(" 0 failed"), "{}", ran.out);

    let report = run(&["scenario", "--json", &vectors()], b"").json();
    assert_eq!(report["failed"], 0);
    assert!(report["passed"].as_u64().unwrap() >= 10);
    assert_eq!(report["files"][0]["scenarios"][0]["failures"], json!([]));
}

/// The pipe gives the very replies of the library, whatever the steps.
#[test]
fn vectors_through_the_pipe_are_as_expected_too() {
    for entry in fs::read_dir(vectors()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let file: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        for scenario in file["scenarios"].as_array().unwrap() {
            let steps = scenario["steps"].as_array().unwrap();
            let lines: String = steps.iter().map(|step| format!("{step}\n")).collect();
            let ran = run(&["scenario", "-"], lines.as_bytes());
            assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", scenario["name"]);
            assert_eq!(ran.out.lines().count(), steps.len(), "{}", scenario["name"]);
        }
    }
}

#[test]
fn a_reply_comes_before_the_next_line_is_sent() {
    let mut child = tollgate()
        .args(["scenario", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut ask = |line: &str| -> Value {
        writeln!(input, "{line}").unwrap();
        let mut reply = String::new();
        output.read_line(&mut reply).unwrap();
        serde_json::from_str(&reply).unwrap()
    };
    assert_eq!(ask(POLICY), json!({}));
    assert_eq!(ask(r#"{"op":"account","id":"acme","balance":100}"#), json!({}));
    assert_eq!(
        ask(r#"{"op":"token","token":"t","account":"acme","scopes":["sms:send"]}"#),
        json!({})
    );
    for id in ["r-1", "r-2"] {
        let request = json!({
            "op": "request", "id": id, "now_ms": 1000, "method": "POST", "target": "/sms/send",
            "headers": [["authorization", "Bearer t"]], "peer": "192.0.2.1", "cost": 60,
        });
        let reply = ask(&request.to_string());
        let expected = if id == "r-1" { "allow" } else { "deny" };
        assert_eq!((&reply["id"], &reply["verdict"]), (&json!(id), &json!(expected)));
        assert!(ask(r#"{"op":"#)["error"].as_str().unwrap().contains("as JSON"));
    }
    assert_eq!(ask(r#"{"op":"inspect","account":"acme"}"#)["available"], 40);
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn bad_lines_reply_errors_and_blank_ones_nothing() {
    let input = [
        POLICY.as_bytes(),
        b"\n\n  \t\nnonsense\n[1,2]\n\"\xff\"\n{\"op\":\"inspect\",\"account\":\"a\"}\n{\"op\":1,\"op\":1}\n",
    ];
    let ran = run(&["scenario", "-"], &input.concat());
    let replies: Vec<Value> =
        ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((ran.code, replies.len()), (0, 6));
    assert_eq!(replies[0], json!({}));
    for (reply, part) in
        replies[1..].iter().zip(["as JSON", "JSON object", "as JSON", "no such account", "twice"])
    {
        assert!(reply["error"].as_str().unwrap().contains(part), "{reply}");
    }
    let deep = format!("{}\n", "[".repeat(1_000_000));
    assert!(run(&["scenario", "-"], deep.as_bytes()).out.contains("recursion limit"));
}

#[test]
fn an_unexpected_reply_in_the_pipe_is_told_in_the_end() {
    let step = r#"{"op":"inspect","account":"acme","expect":{"balance":5}}"#;
    let account = r#"{"op":"account","id":"acme","balance":4}"#;
    let ran =
        run(&["scenario", "-"], format!("{POLICY}\n{account}\n{step}\n{account}\n").as_bytes());
    assert_eq!((ran.code, ran.out.lines().count()), (1, 4));
    assert_eq!(ran.err, "line 3: balance: expected 5, got 4\n");
}

#[test]
fn a_file_that_fails_says_where() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("wrong.json");
    let file = json!({
        "about": "wrong", "covers": ["nothing"],
        "scenarios": [
            {"name": "good", "steps": [{"op": "policy", "policy": {}}]},
            {"name": "bad", "steps": [
                {"op": "policy", "policy": {}},
                {"op": "account", "id": "acme", "balance": 4},
                {"op": "inspect", "account": "acme", "expect": {"balance": 5, "held": 0}},
                {"op": "inspect", "account": "nobody"},
            ]},
        ],
    });
    fs::write(&path, file.to_string()).unwrap();
    let path = path.to_str().unwrap();
    let ran = run(&["scenario", path], b"");
    assert_eq!(ran.code, 1);
    for part in [
        "FAILED, 2 scenarios\n  bad\n",
        "step 2 (inspect): balance: expected 5, got 4",
        "step 3 (inspect): reply: expected no error",
        "1 scenarios passed, 1 failed, 5 steps",
    ] {
        assert!(ran.out.contains(part), "{part} is not in {}", ran.out);
    }
    assert!(!ran.out.contains("held"), "{}", ran.out);
    let report = run(&["scenario", path, "--json"], b"");
    assert_eq!(report.code, 1);
    let failure = &report.json()["files"][0]["scenarios"][1]["failures"][0];
    assert_eq!(
        (&failure["step"], &failure["mismatches"][0]["place"]),
        (&json!(2), &json!("balance"))
    );
    assert_eq!(failure["reply"]["available"], 4);
}

#[test]
fn what_cannot_be_run_ends_with_2() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let empty = tempfile::tempdir().unwrap();
    let doubled = r#"{"about":"","covers":[],"scenarios":[
        {"name":"a","steps":[{}]},{"name":"a","steps":[{}]}]}"#;
    for (paths, part) in [
        (vec!["/no/such/file".to_owned()], "/no/such/file: "),
        (vec![empty.path().to_str().unwrap().to_owned()], "no .json files"),
        (vec![write("a.json", "{")], "a.json: EOF"),
        (vec![write("b.json", r#"{"about":"","covers":[],"scenarios":[]}"#)], "no scenario"),
        (
            vec![write("c.json", r#"{"about":"","covers":[],"scenario":[]}"#)],
            "unknown field `scenario`",
        ),
        (vec![write("d.json", doubled)], "two scenarios are named `a`"),
        (vec!["-".to_owned(), vectors()], "`-` stands alone"),
        (vec![], "required"),
    ] {
        let mut args = vec!["scenario"];
        args.extend(paths.iter().map(String::as_str));
        let ran = run(&args, b"");
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{paths:?}");
        assert!(ran.err.contains(part), "{part} is not in {}", ran.err);
    }
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let mut child = tollgate()
        .args(["scenario", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{POLICY}").unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}
