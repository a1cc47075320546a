//! The policy file, while a server runs.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::process::{POLICY, Serving, call};

/// The quota that an answer tells, by which the policies of these tests differ.
fn quota(server: &Serving) -> u64 {
    let asked = r#"{"method":"GET","target":"/free","headers":[["authorization","Bearer t-1"]]}"#;
    let (status, answer) = call(server.place, None, "POST", "/v1/decide", asked);
    assert_eq!(status, 200, "{answer}");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let headers = answer["headers"].as_array().unwrap();
    let limit = headers.iter().find(|header| header[0] == "X-RateLimit-Limit").unwrap();
    limit[1].as_str().unwrap().parse().unwrap()
}

fn policy(quota: u64) -> String {
    POLICY.replace("100000000", &quota.to_string())
}

fn until_quota(server: &Serving, wanted: u64) {
    let began = Instant::now();
    while quota(server) != wanted {
        assert!(began.elapsed() < Duration::from_secs(30), "{wanted}: {}", server.said());
        std::thread::sleep(Duration::from_millis(20));
    }
}

const FAILED: &str = "tollgate_policy_reloads_total{outcome=\"failed\"}";

#[test]
fn a_policy_file_is_followed_however_it_changes() {
    let mut server = Serving::start(&[]);
    server.add_account("acme", 0, "t-1");
    let directory = server.directory.path().to_owned();
    let file = directory.join("policy.json");
    // Written over.
    fs::write(&file, policy(101)).unwrap();
    until_quota(&server, 101);
    // Replaced by a rename.
    fs::write(directory.join("next.json"), policy(102)).unwrap();
    fs::rename(directory.join("next.json"), &file).unwrap();
    until_quota(&server, 102);
    // Gone for a while, in which nothing changes.
    fs::remove_file(&file).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(quota(&server), 102);
    assert!(server.metric(FAILED) < 0.5, "{}", server.said());
    // Links within links, as Kubernetes has them.
    for (name, quota) in [("first", 103), ("second", 104)] {
        fs::create_dir(directory.join(name)).unwrap();
        fs::write(directory.join(name).join("policy.json"), policy(quota)).unwrap();
    }
    std::os::unix::fs::symlink("first", directory.join("data")).unwrap();
    std::os::unix::fs::symlink("data/policy.json", &file).unwrap();
    until_quota(&server, 103);
    std::os::unix::fs::symlink("second", directory.join("data.next")).unwrap();
    fs::rename(directory.join("data.next"), directory.join("data")).unwrap();
    until_quota(&server, 104);
    // With an error: nothing changes, the line is told, once.
    let broken = policy(105).replace("\"quota\"", "\n\"qouta\"");
    fs::write(directory.join("second/policy.json"), &broken).unwrap();
    server.until_said("the policy stays as it was");
    std::thread::sleep(Duration::from_secs(3));
    let said = server.said();
    assert_eq!(said.matches("the policy stays as it was").count(), 1, "{said}");
    assert!(said.contains("qouta") && said.contains("line 5"), "{said}");
    assert_eq!(quota(&server), 104);
    assert!((server.metric(FAILED) - 1.0).abs() < 0.1);
    // Right again, and as it was.
    fs::write(directory.join("second/policy.json"), policy(104)).unwrap();
    server.until_said("the policy was loaded anew");
}

#[test]
fn operators_say_when_a_policy_is_read() {
    let mut server = Serving::start(&[]);
    server.add_account("acme", 0, "t-1");
    let file = server.directory.path().join("policy.json");
    fs::write(&file, policy(201)).unwrap();
    server.tell(Signal::HUP);
    server.until_said("the policy was loaded anew");
    assert_eq!(quota(&server), 201);
    fs::write(&file, policy(202)).unwrap();
    let (status, text) = server.operate("POST", "/api/policy/reload", &json!(null));
    assert_eq!((status, quota(&server)), (204, 202), "{text}");
    fs::write(&file, "{").unwrap();
    let (status, text) = server.operate("POST", "/api/policy/reload", &json!(null));
    assert!(status == 409 && text.contains("line 1"), "{status} {text}");
    server.tell(Signal::HUP);
    let began = Instant::now();
    while server.metric(FAILED) < 1.5 {
        assert!(began.elapsed() < Duration::from_secs(30), "{}", server.said());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(quota(&server), 202);
}
