//! `tollgate verify` against gateways that are right, and gateways with one fault each.

mod admin;
mod faults;
mod gateway;
mod runs;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use serde_json::{Value, json};
use tollgate::{PolicyConfig, preset};

use self::admin::ADMIN_TOKEN;
use self::faults::{Fault, PREFIX};
use self::gateway::Gateway;
use crate::common::tollgate;

/// A policy, as a file and as what it says.
struct Policy {
    config: PolicyConfig,
    requests: Value,
}

fn sms_gateway() -> Policy {
    let requests = json!({
        "POST /sms/send": { "price": 5, "body": { "to": "+15550100" } },
        "POST /otp/send": { "price": 3 },
        "POST /voice/send": { "price": 20 },
    });
    Policy { config: preset("sms-gateway").unwrap(), requests }
}

/// A run: exit code, report, and what was said beside it.
struct Run {
    code: i32,
    out: String,
    report: Value,
    said: String,
}

/// Files of a run, in a directory that goes with them.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// Over the admin API, with this command as the API behind the gateway.
fn run(gateway: &Gateway, policy: &Policy, more: &[&str]) -> Run {
    let files = Files::new();
    let secret = files.write("admin-token", ADMIN_TOKEN);
    let admin = format!("http://{}", gateway.admin);
    let args =
        ["--admin", &admin, "--admin-token-file", &secret, "--upstream", "127.0.0.1:0", "--json"];
    start(gateway, policy, &[&args[..], more].concat())
}

fn start(gateway: &Gateway, policy: &Policy, more: &[&str]) -> Run {
    let files = Files::new();
    let policy_file = files.write("policy.json", &serde_json::to_string(&policy.config).unwrap());
    let requests = files.write("requests.json", &policy.requests.to_string());
    let prefix = if gateway.parts.fault == Fault::UnderPrefix { PREFIX } else { "" };
    let url = format!("http://{}{prefix}", gateway.address);
    let mut child = tollgate()
        .args(["verify", &url, "--policy", &policy_file])
        .args(["--requests", &requests, "--rate", "1000"])
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    while stderr.read_line(&mut said).unwrap() > 0 {
        let last = said.lines().last().unwrap_or_default();
        if let Some(rest) = last.strip_prefix("Listens on ") {
            gateway.set_upstream(rest.split(' ').next().unwrap().parse().unwrap());
            break;
        }
    }
    let rest = std::thread::spawn(move || {
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).unwrap();
        rest
    });
    let output = child.wait_with_output().unwrap();
    said.push_str(&rest.join().unwrap());
    let out = String::from_utf8(output.stdout).unwrap();
    let report = serde_json::from_str(&out).unwrap_or_default();
    Run { code: output.status.code().unwrap(), out, report, said }
}

impl Run {
    fn names(&self, verdict: &str) -> BTreeSet<&str> {
        let checks = self.report["checks"].as_array();
        let checks = checks.unwrap_or_else(|| panic!("{}{}", self.out, self.said)).iter();
        checks
            .filter(|check| check["verdict"] == verdict)
            .map(|check| check["name"].as_str().unwrap())
            .collect()
    }

    fn findings(&self) -> Vec<&Value> {
        let checks = self.report["checks"].as_array().unwrap().iter();
        checks.flat_map(|check| check["findings"].as_array().unwrap()).collect()
    }

    /// No token and no secret is told, whatever the gateway says.
    fn tells_no_secret(&self, gateway: &Gateway) {
        let text = format!("{}{}", self.out, self.said);
        for token in gateway.parts.memory.lock().unwrap().accounts.keys() {
            assert!(!text.contains(token.as_str()), "a token is told");
        }
        assert!(!text.contains(ADMIN_TOKEN));
    }
}

#[test]
fn a_right_gateway_passes_everything() {
    let policy = sms_gateway();
    let gateway = Gateway::start(policy.config.clone(), Fault::None);
    let run = run(&gateway, &policy, &[]);
    assert_eq!(run.names("failed"), BTreeSet::new(), "{:#?}", run.findings());
    assert_eq!(run.code, 0);
    assert_eq!(run.names("not_run"), BTreeSet::from(["required-key-is-422", "vectors"]));
    run.tells_no_secret(&gateway);
}

/// Much that the preset does otherwise.
fn invoices() -> Policy {
    let config = PolicyConfig::from_toml(
        r#"
        [tokens]
        format = "opaque"

        [source]
        trusted_proxies = ["127.0.0.0/8"]

        [paths]
        fold_trailing_slash = true

        [scopes]
        "invoices:write" = ["POST /invoices", "PUT /invoices/{id}"]
        "invoices:read" = ["GET /invoices", "GET /invoices/{id}"]
        "invoices:all" = ["POST /invoices", "GET /invoices"]

        [limits.each_token]
        per = "token"
        quota = 60
        window_ms = 3_600_000
        burst = 20
        token_override = true

        [limits.account_sliding]
        per = "account"
        quota = 30
        window_ms = 3_600_000
        algorithm = "sliding_window"
        counts = "executions"
        routes = ["POST /invoices"]

        [routes."POST /invoices"]
        idempotency = { required = true, retention_ms = 3_600_000 }
        price = 7

        [routes."PUT /invoices/{id}"]
        idempotency = true

        [routes."DELETE /invoices/{id}"]

        [answers]
        problem_json = true
        ietf_ratelimit = true
        reset = "delta"
        realm = "invoices"
        "#,
    );
    Policy { config: config.unwrap(), requests: json!({}) }
}

/// No scopes to speak of, no money, no keys, and limits that tokens cannot override.
fn weather() -> Policy {
    let config = PolicyConfig::from_toml(
        r#"
        [scopes]
        weather = ["GET /now", "GET /days/{day}/hours/{hour}"]

        [limits.account]
        per = "account"
        quota = 8
        window_ms = 8_000

        [limits.hours]
        per = "token"
        quota = 6
        window_ms = 20_000
        algorithm = "fixed_window"
        routes = ["GET /days/{day}/hours/{hour}"]

        [limits.address]
        per = "source_ip"
        quota = 400
        window_ms = 60_000
        shadow = true

        [answers]
        x_ratelimit = false
        "#,
    );
    let requests = json!({ "GET /days/{day}/hours/{hour}": { "params": { "day": "1" } } });
    Policy { config: config.unwrap(), requests }
}

#[test]
fn right_gateways_of_other_policies_pass() {
    let policy = invoices();
    let gateway = Gateway::start(policy.config.clone(), Fault::None);
    let ran = run(&gateway, &policy, &[]);
    assert_eq!(ran.names("failed"), BTreeSet::new(), "{:#?}", ran.findings());
    assert_eq!(ran.names("not_run"), BTreeSet::from(["vectors"]));
    let policy = weather();
    let gateway = Gateway::start(policy.config.clone(), Fault::None);
    let ran = run(&gateway, &policy, &[]);
    assert_eq!(ran.names("failed"), BTreeSet::new(), "{:#?}", ran.findings());
    let passed = ran.names("passed");
    for name in ["limit-is-enforced", "denial-consumes-nothing", "retry-after-on-429"] {
        assert!(passed.contains(name), "{passed:?}");
    }
    let not_run = ran.names("not_run");
    for name in ["rate-limit-headers", "empty-wallet-is-402", "retry-is-replayed-not-executed"] {
        assert!(not_run.contains(name), "{not_run:?}");
    }
}

#[test]
fn faults_of_other_policies_are_found_by_name() {
    let faults = [
        (Fault::RequiredKeyNotRequired, invoices(), "required-key-is-422"),
        (Fault::WrongCode, invoices(), "empty-wallet-is-402"),
        (Fault::WrongReset, invoices(), "rate-limit-headers"),
        (Fault::DenialConsumes, weather(), "denial-consumes-nothing"),
    ];
    for (fault, policy, name) in faults {
        let gateway = Gateway::start(policy.config.clone(), fault);
        let ran = run(&gateway, &policy, &[]);
        let found = ran.names("failed");
        assert_eq!(found, BTreeSet::from([name]), "{fault:?}: {:#?}", ran.findings());
    }
}

/// Each fault, the preset under which it shows, and the checks that name it: no other one may.
const FAULTS: &[(Fault, &[&str])] = &[
    (Fault::AllowlistIgnored, &["network-allowlist"]),
    (Fault::CacheableDenial, &["denials-are-not-cached"]),
    (Fault::CapsIgnored, &["spend-cap"]),
    (Fault::CaseSensitiveScheme, &["scheme-is-case-insensitive"]),
    (Fault::DenialConsumes, &["denial-consumes-nothing"]),
    (Fault::DenialExecuted, &["executions-match-decisions"]),
    (Fault::DenialIsStored, &["denial-keeps-no-key"]),
    (Fault::DoubleSlashAccepted, &["non-canonical-path-is-denied"]),
    (Fault::DuplicatesExecuted, &["concurrent-duplicates-one-execution"]),
    (Fault::ExpiredAccepted, &["expired-token-is-401"]),
    (Fault::ForwardedBelieved, &["forwarded-address-is-not-believed"]),
    (Fault::HangsOnReplay, &["answers-http"]),
    (Fault::HeadIsNotGet, &["head-is-get"]),
    (Fault::HtmlError, &["error-body-shape"]),
    (Fault::KeyOfAnotherAccount, &["keys-of-accounts-are-apart"]),
    (Fault::KeyReuseAccepted, &["key-reuse-is-422"]),
    (Fault::LimitNotEnforced, &["limit-is-enforced"]),
    (Fault::MissingChallenge, &["challenge-on-401"]),
    (Fault::MissingRetryAfter, &["retry-after-on-429"]),
    (Fault::NoRetryAfterOnConflict, &["retry-after-on-409"]),
    (Fault::Overdrawn, &["wallet-is-never-overdrawn"]),
    (Fault::QueryToken, &["one-token-in-one-place"]),
    (Fault::RateLimitHeadersMissing, &["rate-limit-headers"]),
    (Fault::ReplayChanged, &["replay-is-the-original"]),
    (Fault::ReplayCharged, &["replay-is-not-charged"]),
    (Fault::ReplayUnmarked, &["replay-is-marked"]),
    (Fault::RetryAfterTooEarly, &["retry-after-on-429"]),
    (Fault::RetryAfterTooLate, &["retry-after-on-429"]),
    (Fault::RetryAfterZero, &["retry-after-on-429"]),
    (Fault::RetryExecuted, &["retry-is-replayed-not-executed"]),
    (Fault::RevokedForAWhile, &["revoked-at-once"]),
    (Fault::ScopeNotGranted, &["scope-grants"]),
    (Fault::UnknownRouteOpen, &["unknown-route-is-denied"]),
    (Fault::WildcardScope, &["scope-outside-is-403"]),
    (Fault::WrongCode, &["empty-wallet-is-402"]),
    (Fault::WrongRemaining, &["rate-limit-headers"]),
    (Fault::WrongReset, &["rate-limit-headers"]),
    (Fault::WrongStatus, &["malformed-key-is-422"]),
    (Fault::Garbage, &["error-body-shape"]),
];

#[test]
fn each_fault_is_found_by_name_and_nothing_else_is_blamed() {
    let wrong = std::sync::Mutex::new(Vec::new());
    let next = std::sync::atomic::AtomicUsize::new(0);
    // Much of a run is waiting.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some((fault, blamed)) = FAULTS.get(index) else { return };
                    let policy = sms_gateway();
                    let gateway = Gateway::start(policy.config.clone(), *fault);
                    let hangs = *fault == Fault::HangsOnReplay;
                    let more: &[&str] = if hangs { &["--timeout-ms", "3000"] } else { &[] };
                    let run = run(&gateway, &policy, more);
                    run.tells_no_secret(&gateway);
                    let expected: BTreeSet<&str> = blamed.iter().copied().collect();
                    let found = run.names("failed");
                    if found != expected || run.code != 1 {
                        let text = format!("{fault:?}: {found:?} {:#?}", run.findings());
                        wrong.lock().unwrap().push(text);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
