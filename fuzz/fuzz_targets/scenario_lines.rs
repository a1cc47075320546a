//! Lines of JSON through a scenario's steps. There is one reply for each, the same lines give the same replies, and a step
//! that failed changed nothing but what time does: without those that failed, the others reply as before.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use tollgate::MAX_NOW_MS;
use tollgate_scenario::Runner;

/// Every `policy` step makes a store, whose shards take a while to set up.
const MOST_STORES: usize = 4;
const MOST_STEPS: usize = 60;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut steps: Vec<Value> = lines.take(MOST_STEPS).map(in_order).collect();
    let mut stores = 0;
    steps.retain(|step| {
        stores += usize::from(step["op"] == "policy" || step["op"] == "restart");
        stores <= MOST_STORES
    });

    let [mut first, mut again, mut without] = [(); 3].map(|()| Runner::in_memory());
    let mut latest_ms = 0;
    for step in &steps {
        let reply = first.step(step.clone());
        assert!(reply.is_object(), "{step} has the reply {reply}");
        assert_eq!(again.step(step.clone()), reply, "{step} again");
        let Some(error) = reply.get("error") else {
            assert_eq!(without.step(step.clone()), reply, "{step} without those that failed");
            latest_ms = latest(step).max(latest_ms);
            continue;
        };
        assert!(error.as_str().is_some_and(|text| !text.is_empty()), "{error}");
        // What fell due by then is over, also where the step failed: so it is for all of them.
        let now_ms = step["now_ms"].as_u64().unwrap_or(latest_ms);
        let expire = json!({ "op": "expire", "now_ms": now_ms });
        let runners = [&mut first, &mut again, &mut without];
        let [expired, again, _] = runners.map(|runner| runner.step(expire.clone()));
        assert_eq!(expired, again, "{expire}");
    }
    for account in accounts(&steps) {
        let inspect = json!({ "op": "inspect", "account": account });
        let money = first.step(inspect.clone());
        assert_eq!(without.step(inspect), money, "{account}");
        conserved(&money);
    }
});

/// Threads come in any order: one has the steps in theirs. A step within that failed is left in, as the whole did not.
fn in_order(mut step: Value) -> Value {
    let threads = step["threads"].as_u64().unwrap_or(0);
    if step["op"] == "parallel" && (2..=256).contains(&threads) {
        step["threads"] = json!(1);
    }
    if let Some(Value::Array(steps)) = step.get_mut("steps") {
        for within in steps {
            *within = in_order(within.take());
        }
    }
    step
}

/// The latest time that a step gives, or those within it.
fn latest(step: &Value) -> u64 {
    let within = step["steps"].as_array().into_iter().flatten().map(latest);
    within.chain(step["now_ms"].as_u64().filter(|ms| *ms <= MAX_NOW_MS)).max().unwrap_or(0)
}

fn accounts(steps: &[Value]) -> BTreeSet<&str> {
    let named = steps.iter().filter(|step| step["op"] == "account");
    named.filter_map(|step| step["id"].as_str()).take(8).collect()
}

fn conserved(money: &Value) {
    if money.get("error").is_some() {
        return;
    }
    let amount = |name: &str| money[name].as_u64().unwrap();
    assert!(amount("held") <= amount("balance"));
    assert_eq!(amount("available"), amount("balance") - amount("held"));
}
