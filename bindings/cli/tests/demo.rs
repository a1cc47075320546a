//! `tollgate demo --run` walks the whole contract and finds it kept.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail as tests do"
)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn tollgate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tollgate")).args(args).output().unwrap()
}

#[test]
fn every_row_of_a_run_is_as_documented() {
    let output = tollgate(&["demo", "--run", "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for row in &rows {
        assert_eq!(row["as_documented"], true, "{row}");
        assert_eq!(row["differences"], Value::Array(Vec::new()));
    }
    assert!(output.status.success());
    let got: Vec<_> = rows.iter().map(|row| row["got"].as_str().unwrap()).collect();
    for expected in [
        "201",
        "401 missing_token",
        "401 invalid_token",
        "402 insufficient_balance",
        "403 insufficient_scope",
        "403 ip_not_allowed",
        "403 spend_cap_exceeded",
        "409 idempotency_in_flight",
        "422 idempotency_key_reused",
        "422 idempotency_key_invalid",
        "422 sender_not_approved",
        "422 validation_failed",
        "429 rate_limited",
    ] {
        assert!(got.contains(&expected), "{expected}");
    }
    let with = |name: &str| rows.iter().filter(|row| !row["headers"][name].is_null()).count();
    assert!(with("x-ratelimit-limit") >= 20);
    assert_eq!(with("idempotent-replayed"), 3);
    assert_eq!(with("retry-after"), 5);
    assert!(!text.contains("tg_live_"));
}

#[test]
fn the_table_is_for_people() {
    let output = tollgate(&["demo", "--run"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("as documented"), "{text}");
    assert!(!text.contains("FAIL"), "{text}");
}

#[test]
fn it_serves_what_it_says_until_it_is_stopped() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["demo", "--json", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(demo.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let said: Value = serde_json::from_str(&line).unwrap();
    let address = said["listening"].as_str().unwrap().strip_prefix("http://").unwrap();
    let request = format!(
        "GET /balance HTTP/1.1\r\nhost: demo\r\nconnection: close\r\nauthorization: Bearer {}\r\n\r\n",
        said["tokens"]["full"].as_str().unwrap()
    );
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    std::io::Write::write_all(&mut socket, request.as_bytes()).unwrap();
    let mut reply = String::new();
    std::io::Read::read_to_string(&mut socket, &mut reply).unwrap();
    demo.kill().unwrap();
    demo.wait().unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    assert!(reply.ends_with("{\"account\":\"acme\",\"balance\":10000,\"held\":0}"), "{reply}");
}

#[test]
fn an_address_of_the_world_is_refused() {
    let output = tollgate(&["demo", "--listen", "0.0.0.0:0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("give 127.0.0.1:PORT"));
}
