//! Surfaces other than the library: what they cannot carry, and what they see late.
#![cfg(test)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tollgate::{Amount, Finish, PolicyConfig, Verdict};
use tollgate_scenario::{
    AccountStep, Allowed, Decided, DepositStep, Finished, Header, InspectStep, LibrarySurface,
    MemoryBackend, Money, RequestStep, RevokeStep, RotateStep, Runner, Scenario, ScenarioReport,
    StepError, Surface, Surfaces, TokenStep, VectorFile,
};

/// The library as a server would show it: headers of allowed requests come with their end, a `peek`
/// cannot be asked for, and an open request does not outlive a restart.
#[derive(Clone, Copy, Default)]
struct Server {
    /// Whether headers are shown at the end to who did not finish.
    shows_at_last: bool,
    /// Added to what is left, to have something wrong.
    off_by: i64,
}

struct Served {
    library: LibrarySurface,
    server: Server,
}

impl Surfaces for Server {
    type Surface = Served;

    fn start(&self, policy: PolicyConfig) -> Result<Served, StepError> {
        let library = Surfaces::start(&MemoryBackend, policy)?;
        Ok(Served { library, server: *self })
    }

    fn restart(&self, _: Served) -> Result<Served, StepError> {
        Err(StepError::not_carried("nothing is kept"))
    }

    fn keeps_state(&self) -> bool {
        false
    }
}

impl Served {
    fn altered(&self, headers: Vec<Header>) -> Vec<Header> {
        let alter = |(name, value): Header| {
            if name != "X-RateLimit-Remaining" {
                return (name, value);
            }
            let left: i64 = String::from_utf8(value).unwrap().parse().unwrap();
            (name, left.saturating_add(self.server.off_by).to_string().into_bytes())
        };
        headers.into_iter().map(alter).collect()
    }
}

impl Surface for Served {
    type Open = Allowed;

    fn reload(&self, policy: PolicyConfig) -> Result<(), StepError> {
        self.library.reload(policy)
    }

    fn put_account(&self, step: AccountStep, now_ms: u64) -> Result<(), StepError> {
        self.library.put_account(step, now_ms)
    }

    fn put_token(&self, step: TokenStep, now_ms: u64) -> Result<(), StepError> {
        self.library.put_token(step, now_ms)
    }

    fn rotate(&self, step: &RotateStep, now_ms: u64) -> Result<(), StepError> {
        self.library.rotate(step, now_ms)
    }

    fn revoke(&self, step: &RevokeStep, now_ms: u64) -> Result<(), StepError> {
        self.library.revoke(step, now_ms)
    }

    fn deposit(&self, step: &DepositStep, now_ms: u64) -> Result<(), StepError> {
        self.library.deposit(step, now_ms)
    }

    fn inspect(&self, step: &InspectStep, now_ms: u64) -> Result<Money, StepError> {
        self.library.inspect(step, now_ms)
    }

    fn decide(&self, step: &RequestStep) -> Result<Decided<Allowed>, StepError> {
        if step.peek == Some(true) {
            return Err(StepError::not_carried("there is no peek"));
        }
        let decided = self.library.decide(step)?;
        let headers = decided.headers.filter(|_| decided.verdict != Verdict::Allow);
        Ok(Decided { headers, ..decided })
    }

    fn finish(&self, open: &Allowed, finish: Finish, now_ms: u64) -> Result<Finished, StepError> {
        let finished = self.library.finish(open, finish, now_ms)?;
        let headers = finished.headers.map(|headers| self.altered(headers));
        Ok(Finished { headers, ..finished })
    }

    fn resolve(
        &self,
        open: &Allowed,
        finish: Finish,
        now_ms: u64,
    ) -> Result<Option<Amount>, StepError> {
        self.library.resolve(open, finish, now_ms)
    }

    fn refund(
        &self,
        open: &Allowed,
        amount: Amount,
        reference: &str,
        now_ms: u64,
    ) -> Result<(), StepError> {
        self.library.refund(open, amount, reference, now_ms)
    }

    fn expire(&self, now_ms: u64) -> Result<u64, StepError> {
        self.library.expire(now_ms)
    }

    fn late_headers(&self, open: &Allowed) -> Result<Vec<Header>, StepError> {
        if !self.server.shows_at_last {
            return Err(StepError::not_carried("the client has left"));
        }
        self.library.late_headers(open).map(|headers| self.altered(headers))
    }
}

fn scenario(steps: impl IntoIterator<Item = Value>) -> Scenario {
    let patch = json!({"tokens": {"format": "opaque"}});
    let set_up = [
        json!({"op": "policy", "preset": "sms-gateway", "patch": patch}),
        json!({"op": "account", "id": "acme", "balance": 100}),
        json!({"op": "token", "token": "t", "account": "acme", "scopes": ["sms:send"]}),
    ];
    let steps = set_up.into_iter().chain(steps).collect();
    Scenario { name: "s".to_owned(), steps }
}

fn send(id: &str, left: &str) -> Value {
    json!({
        "op": "request", "id": id, "now_ms": 10, "method": "POST", "target": "/sms/send",
        "headers": [["authorization", "Bearer t"]], "peer": "192.0.2.1", "cost": 5,
        "expect": {
            "verdict": "allow", "reserved": 5, "account": "acme",
            "headers": {"X-RateLimit-Remaining": left, "Retry-After": null},
        },
    })
}

fn settle(id: &str) -> Value {
    json!({"op": "finish", "id": id, "now_ms": 20, "outcome": "settle", "expect": {"settled": 5}})
}

fn run(server: Server, steps: impl IntoIterator<Item = Value>) -> ScenarioReport {
    scenario(steps).run(&mut Runner::new(server))
}

fn places(report: &ScenarioReport) -> Vec<(usize, String)> {
    let failures = report.failures.iter();
    failures
        .flat_map(|failure| {
            failure.mismatches.iter().map(|found| (failure.step, found.to_string()))
        })
        .collect()
}

#[test]
fn headers_that_come_with_the_end_are_matched_then() {
    let steps = || [send("a", "119"), send("b", "118"), settle("b"), settle("a")];
    let report = run(Server::default(), steps());
    assert!(report.passed(), "{report}");

    let report = run(Server { off_by: 1, ..Server::default() }, steps());
    assert!(report.failed() && report.not_carried.is_none());
    let said = |id: &str, left: u64, got: u64| {
        format!("request `{id}`.headers.X-RateLimit-Remaining: expected \"{left}\", got \"{got}\"")
    };
    assert_eq!(places(&report), [(5, said("b", 118, 119)), (6, said("a", 119, 120))]);
}

#[test]
fn headers_within_a_parallel_step_are_matched_at_the_end_too() {
    let steps = |left: &str| {
        [
            json!({"op": "parallel", "threads": 1, "steps": [send("a", left), send("b", "118")]}),
            json!({"op": "parallel", "threads": 2, "steps": [settle("a"), settle("b")]}),
        ]
    };
    let report = run(Server::default(), steps("119"));
    assert!(report.passed(), "{report}");
    assert_eq!(places(&run(Server::default(), steps("7"))).len(), 1);

    let replies = |left: &str| {
        let mut step = json!({"op": "parallel", "threads": 1, "steps": [send("a", "119")]});
        let headers = json!({"x-ratelimit-remaining": left});
        step["expect"] = json!({"replies": [{"verdict": "allow", "headers": headers}]});
        [step, settle("a")]
    };
    assert!(run(Server::default(), replies("119")).passed());
    assert!(run(Server::default(), replies("118")).failed());
}

#[test]
fn headers_of_what_is_never_finished_are_asked_for_at_last() {
    let shows = Server { shows_at_last: true, ..Server::default() };
    assert!(run(shows, [send("a", "119")]).passed());
    let report = run(Server { off_by: -1, ..shows }, [send("a", "119")]);
    let said = "request `a`.headers.X-RateLimit-Remaining: expected \"119\", got \"118\"";
    assert_eq!(places(&report), [(3, said.to_owned())]);

    let report = run(Server::default(), [send("a", "119")]);
    assert!(!report.passed() && !report.failed());
    assert!(report.to_string().ends_with("step 3 (request): not carried: the client has left"));

    let unasked = json!({
        "op": "request", "id": "a", "now_ms": 10, "method": "POST", "target": "/sms/send",
        "headers": [["authorization", "Bearer t"]], "peer": "192.0.2.1",
    });
    assert!(run(Server::default(), [unasked]).passed(), "nobody expects its headers");
}

#[test]
fn headers_of_a_request_whose_id_is_taken_are_never_seen() {
    let shows = Server { shows_at_last: true, ..Server::default() };
    let report = run(shows, [send("a", "119"), send("a", "118"), settle("a")]);
    assert!(!report.passed() && !report.failed(), "{report}");
    let not_carried = report.not_carried.unwrap();
    assert_eq!((not_carried.step, not_carried.op.as_str()), (3, "request"));
    assert!(not_carried.reason.contains("another one took its id"), "{}", not_carried.reason);
}

#[test]
fn what_is_not_carried_ends_its_scenario_and_hides_no_failure() {
    let mut peek = send("p", "119");
    peek["peek"] = json!(true);
    // An expectation of any error is not met by it.
    peek["expect"] = json!({"error": true});
    let wrong = json!({"op": "inspect", "account": "acme", "expect": {"balance": 1}});
    let report = run(Server::default(), [peek.clone(), wrong.clone()]);
    assert!(!report.passed() && !report.failed());
    assert_eq!(
        report.to_string(),
        "s: not carried\n  step 3 (request): not carried: there is no peek"
    );

    let report = run(Server::default(), [wrong.clone(), peek.clone()]);
    assert!(report.failed() && report.not_carried.is_some());
    let within = json!({"op": "parallel", "threads": 2, "steps": [peek, wrong.clone()]});
    let report = run(Server::default(), [within]);
    assert!(!report.failed() && report.not_carried.is_some());
    let report = run(Server::default(), [json!({"op": "restart"}), wrong]);
    assert_eq!(report.not_carried.unwrap().reason, "nothing is kept");
}

/// `check` knows one step and one reply: what it does not see is not as expected.
#[test]
fn a_single_check_does_not_wait() {
    let step = send("a", "119");
    let reply = json!({
        "id": "a", "verdict": "allow", "status": 200, "code": null, "body": "", "account": "acme",
        "reserved": 5,
    });
    let found = tollgate_scenario::check(&step, &reply).unwrap_err();
    assert_eq!((found.len(), found[0].place.as_str()), (1, "headers"));
    assert_eq!(found[0].actual, None);
}

/// Every scenario of the repository says the same where headers are seen late.
#[test]
fn all_vectors_reply_as_expected_with_late_headers() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors");
    let (mut passed, mut not_carried) = (0, BTreeMap::<_, usize>::new());
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let file = VectorFile::parse(&fs::read_to_string(path).unwrap()).unwrap();
        let server = Server { shows_at_last: true, ..Server::default() };
        for report in file.run(|| Runner::new(server)).scenarios {
            assert!(!report.failed(), "{report}");
            match report.not_carried {
                None => passed += 1,
                Some(step) => *not_carried.entry(step.reason).or_default() += 1,
            }
        }
    }
    println!("{passed} passed; {not_carried:?}");
    assert!(passed > 500, "{passed}");
    let reasons: Vec<_> = not_carried.keys().map(String::as_str).collect();
    assert_eq!(reasons, ["there is no peek"]);
}
