//! The runner beyond what vectors can say: other stores, many threads, secrets.
#![cfg(test)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tollgate::{Command, MemoryStore, Outcome, Store, StoreError};
use tollgate_scenario::{Backend, Runner, check, matches};

/// A memory store whose content outlives a restart, as that of a durable one does.
#[derive(Default)]
struct Durable {
    reopens: AtomicBool,
}

impl Backend for &Durable {
    fn fresh(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(Flaky(MemoryStore::default())))
    }

    fn reopen(&self, store: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
        assert_eq!(Arc::strong_count(&store), 1);
        if self.reopens.load(Ordering::Relaxed) {
            Ok(store)
        } else {
            Err(StoreError::Unavailable { reason: "no disk".into() })
        }
    }

    fn keeps_state(&self) -> bool {
        true
    }
}

/// Fails at the times from 1000 to 1999.
struct Flaky(MemoryStore);

impl Store for Flaky {
    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        match now_ms {
            1000..2000 => Err(StoreError::Unavailable { reason: "out to lunch".into() }),
            _ => self.0.perform(command, now_ms),
        }
    }
}

fn run<B: Backend>(runner: &mut Runner<B>, step: Value) -> Value {
    let reply = runner.step(step.clone());
    check(&step, &reply).unwrap_or_else(|found| panic!("{step}: {found:?}"));
    reply
}

fn set_up<B: Backend>(runner: &mut Runner<B>) {
    let patch = json!({"tokens": {"format": "opaque"}});
    run(runner, json!({"op": "policy", "preset": "sms-gateway", "patch": patch}));
    run(runner, json!({"op": "account", "id": "acme", "balance": 100}));
    run(runner, json!({"op": "token", "token": "t", "account": "acme", "scopes": ["sms:send"]}));
}

fn send(id: &str, now_ms: u64) -> Value {
    json!({
        "op": "request", "id": id, "now_ms": now_ms, "method": "POST", "target": "/sms/send",
        "headers": [["authorization", "Bearer t"]], "peer": "192.0.2.1", "cost": 5,
    })
}

#[test]
fn what_a_durable_store_keeps_can_be_finished_after_a_restart() {
    let backend = Durable { reopens: AtomicBool::new(true) };
    let mut runner = Runner::new(&backend);
    set_up(&mut runner);
    run(&mut runner, send("a", 10));
    run(&mut runner, send("b", 11));
    run(&mut runner, json!({"op": "restart"}));
    let inspect = |expect| json!({"op": "inspect", "account": "acme", "expect": expect});
    run(&mut runner, inspect(json!({"balance": 100, "held": 10, "reservations": 2})));
    let finish = |outcome| json!({"op": "finish", "id": "a", "now_ms": 20, "outcome": outcome});
    assert_eq!(run(&mut runner, finish("settle"))["settled"], 5);
    run(
        &mut runner,
        json!({"op": "resolve", "id": "b", "outcome": "void", "expect": {"settled": 0}}),
    );
    run(&mut runner, json!({"op": "refund", "id": "a", "amount": 5, "ref": "r"}));
    run(&mut runner, inspect(json!({"balance": 100, "held": 0, "posted": 5})));
}

#[test]
fn a_memory_store_loses_everything_and_the_policy_stays() {
    let mut runner = Runner::in_memory();
    set_up(&mut runner);
    run(&mut runner, send("a", 10));
    run(&mut runner, json!({"op": "restart"}));
    let gone = json!({"error": "no request `a`"});
    run(
        &mut runner,
        json!({"op": "finish", "id": "a", "now_ms": 20, "outcome": "void", "expect": gone}),
    );
    let unknown = json!({"error": "no such account"});
    run(&mut runner, json!({"op": "inspect", "account": "acme", "expect": unknown}));
    run(&mut runner, json!({"op": "account", "id": "acme"}));
    run(&mut runner, json!({"op": "token", "token": "opaque", "account": "acme", "scopes": []}));
}

#[test]
fn a_store_that_cannot_be_reopened_leaves_nothing() {
    let backend = Durable::default();
    let mut runner = Runner::new(&backend);
    set_up(&mut runner);
    run(&mut runner, json!({"op": "restart", "expect": {"error": "no disk"}}));
    run(
        &mut runner,
        json!({"op": "inspect", "account": "acme", "expect": {"error": "`policy` step"}}),
    );
    set_up(&mut runner);
}

#[test]
fn a_store_that_fails_denies_requests_and_fails_other_steps() {
    let backend = Durable::default();
    let mut runner = Runner::new(&backend);
    set_up(&mut runner);
    let reply = run(&mut runner, send("a", 1500));
    let expect = json!({"verdict": "deny", "status": 503, "code": "store_unavailable"});
    matches(&expect, &reply).unwrap();
    let deposit = json!({
        "op": "deposit", "account": "acme", "amount": 1, "now_ms": 1500,
        "expect": {"error": "out to lunch"},
    });
    run(&mut runner, deposit);
    run(&mut runner, send("b", 2000));
    let finish = json!({
        "op": "finish", "id": "b", "now_ms": 1999, "outcome": "settle",
        "expect": {"error": "out to lunch"},
    });
    run(&mut runner, finish);
    run(
        &mut runner,
        json!({"op": "inspect", "account": "acme", "expect": {"held": 5, "balance": 100}}),
    );
}

#[test]
fn many_threads_never_overspend() {
    let mut runner = Runner::in_memory();
    set_up(&mut runner);
    let steps: Vec<Value> = (0..64).map(|n| send(&format!("r-{n}"), 10)).collect();
    let reply = run(&mut runner, json!({"op": "parallel", "threads": 64, "steps": steps}));
    matches(&json!({"counts": {"allow": 20, "insufficient_balance": 44}}), &reply).unwrap();
    for (index, reply) in reply["replies"].as_array().unwrap().iter().enumerate() {
        assert_eq!(reply["id"], format!("r-{index}"));
    }
    run(
        &mut runner,
        json!({"op": "inspect", "account": "acme", "expect": {"held": 100, "reservations": 20}}),
    );
}

/// 42 from a thread that waits for the other: only threads that run at the same time get there.
#[test]
fn threads_of_a_parallel_step_run_at_the_same_time() {
    struct Meeting(std::sync::Barrier, MemoryStore);
    impl Store for Meeting {
        fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
            if now_ms == 42 {
                self.0.wait();
            }
            self.1.perform(command, now_ms)
        }
    }
    struct Meetings;
    impl Backend for Meetings {
        fn fresh(&self) -> Result<Arc<dyn Store>, StoreError> {
            Ok(Arc::new(Meeting(std::sync::Barrier::new(3), MemoryStore::default())))
        }
        fn reopen(&self, store: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
            Ok(store)
        }
        fn keeps_state(&self) -> bool {
            true
        }
    }
    let mut runner = Runner::new(Meetings);
    set_up(&mut runner);
    let steps: Vec<Value> = (0..6)
        .map(|_| json!({"op": "inspect", "account": "acme", "now_ms": 42, "expect": {"balance": 100}}))
        .collect();
    run(&mut runner, json!({"op": "parallel", "threads": 3, "steps": steps}));
}

#[test]
fn no_error_repeats_a_secret() {
    let mut runner = Runner::in_memory();
    set_up(&mut runner);
    run(&mut runner, json!({"op": "reload", "preset": "sms-gateway"}));
    for step in [
        json!({"op": "token", "token": "hush", "account": "acme", "scopes": []}),
        json!({"op": "token", "token": "tg_live_hush", "account": "acme", "scopes": []}),
        json!({"op": "token", "token": ["hush"], "account": "acme", "scopes": []}),
        json!({"op": "token", "token": "t", "account": "acme", "scopes": "hush"}),
        json!({"op": "revoke", "token": "hush"}),
        json!({"op": "rotate", "token": "hush", "new_token": "hush", "grace_ms": "hush"}),
        json!({"op": "request", "id": "r", "now_ms": 1, "method": "GET", "target": "/", "headers": ["hush"], "peer": null}),
        json!({"op": "request", "id": "r", "now_ms": 1, "method": "GET", "target": "/", "headers": "hush", "peer": null}),
        json!({"op": "request", "id": "r", "now_ms": "say \", expected hush", "method": "GET", "target": "/", "headers": [], "peer": null}),
    ] {
        let reply = runner.step(step.clone());
        let error = reply["error"].as_str().unwrap_or_else(|| panic!("{step} did not fail"));
        assert!(!error.contains("hush"), "{error}");
    }
}

#[test]
fn explaining_consumes_nothing() {
    let mut runner = Runner::in_memory();
    assert!(runner.explain(send("a", 1)).unwrap_err().to_string().contains("`policy` step"));
    set_up(&mut runner);
    for _ in 0..3 {
        let explained = runner.explain(send("a", 1)).unwrap();
        let expect = json!({"verdict": "allow", "account": "acme", "reserved": null});
        matches(&expect, &explained.reply).unwrap();
        assert!(explained.steps.len() > 5);
    }
    assert!(runner.explain(json!({"op": "restart"})).is_err());
    run(&mut runner, json!({"op": "inspect", "account": "acme", "expect": {"held": 0}}));
    run(
        &mut runner,
        json!({"op": "finish", "id": "a", "now_ms": 2, "outcome": "void", "expect": {"error": true}}),
    );
}
