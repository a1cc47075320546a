//! What a decision costs in WebAssembly, in Node and in workerd, beside this machine's own code, in one run.
//!
//! Needs `cargo xtask wasm` and the Worker's `node_modules`, which `cargo xtask bench` sees to. With `--json` the last lines are one JSON
//! object per bar. The exit code is 0 whether the bars hold or not: they are measures. It is 1 when something could not be measured,
//! and 2 on wrong usage.
#![allow(clippy::print_stdout, reason = "a command that prints a table")]
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing
)] // measures

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use serde_json::Value;
use tollgate::{
    AccountId, AccountPatch, Admin, Amount, Engine, MemoryStore, Request, TokenPatch, TokenText,
    Verdict, preset,
};
use tollgate_bench::{Bar, print_bars};

const START_MS: u64 = 1_700_000_000_000;
const TOKENS: u64 = 1_000;
const ROUNDS: usize = 11;
const COUNT: u64 = 200_000;
/// How much dearer than native a decision through flat bytes may be.
const MOST: f64 = 4.0;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg != "--json") {
        eprintln!("usage: wasm-table [--json]");
        return ExitCode::from(2);
    }
    let bars = match measure() {
        Ok(bars) => bars,
        Err(problem) => {
            eprintln!("wasm-table: {problem}");
            return ExitCode::FAILURE;
        }
    };
    print_bars(&bars, !args.is_empty());
    ExitCode::SUCCESS
}

fn measure() -> Result<Vec<Bar>, String> {
    // Before and after: what else the machine does meanwhile is seen.
    let before = native();
    let measured = in_javascript()?;
    let native = before.midpoint(native());
    let cost = |name: &str| {
        measured.get(name).and_then(Value::as_f64).ok_or_else(|| format!("no {name} was measured"))
    };
    println!("\nNanoseconds a decision: GET, 1 000 tokens");
    println!("  {:<44}{:>10}{:>10}", "", "ns", "x native");
    println!("  {:<44}{native:>10.0}{:>10.2}", "native", 1.0);
    for (name, label) in [
        ("node_flat", "Node, flat bytes"),
        ("workerd_flat", "workerd, flat bytes"),
        ("node_encoded", "Node, flat bytes made of an object"),
        ("workerd_encoded", "workerd, flat bytes made of an object"),
        ("node_whole", "Node, an object with the whole answer"),
        ("workerd_whole", "workerd, an object with the whole answer"),
    ] {
        println!("  {label:<44}{:>10.0}{:>10.2}", cost(name)?, cost(name)? / native);
    }
    Ok(vec![
        Bar::at_most("wasm_node_vs_native", cost("node_flat")? / native, MOST),
        Bar::at_most("wasm_workerd_vs_native", cost("workerd_flat")? / native, MOST),
    ])
}

fn in_javascript() -> Result<Value, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bindings/wasm/bench/run.mjs");
    let printed = Command::new("node")
        .arg(script)
        .args([ROUNDS.to_string(), COUNT.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("node cannot be started: {error}"))?;
    if !printed.status.success() {
        return Err("the measures in JavaScript failed; see above".into());
    }
    serde_json::from_slice(&printed.stdout).map_err(|error| format!("not JSON: {error}"))
}

/// The same decisions as bindings/wasm/bench/decisions.mjs makes: the median of rounds.
fn native() -> f64 {
    let engine = Engine::new(preset("sms-gateway").unwrap().compile().unwrap());
    let store = MemoryStore::default();
    let admin = Admin::new(&store);
    let account = AccountId::new("bench").unwrap();
    admin.put_account(&account, Amount(1 << 60), AccountPatch::default(), START_MS).unwrap();
    let scopes = engine.policy().scopes().names().to_vec();
    let values: Vec<String> = (0..TOKENS)
        .map(|index| {
            let mut entropy = [0; 32];
            entropy[..8].copy_from_slice(&index.to_be_bytes());
            let token = TokenText::generate(&entropy);
            let settings = TokenPatch { scopes: Some(scopes.clone()), ..TokenPatch::default() };
            admin.put_token(&engine.digest(&token), &account, settings, START_MS).unwrap();
            format!("Bearer {}", token.expose())
        })
        .collect();

    let mut made = 0;
    let mut round = || {
        let start = Instant::now();
        for _ in 0..COUNT {
            let headers = [("authorization", values[(made % TOKENS) as usize].as_str())];
            made += 1;
            let request = Request {
                headers: &headers,
                peer: Some("192.0.2.7".parse().unwrap()),
                ..Request::new(b"GET", b"/balance", START_MS + made)
            };
            assert_eq!(engine.decide(&store, &request).verdict(), Verdict::Allow);
        }
        start.elapsed().as_nanos() as f64 / COUNT as f64
    };
    round();
    let mut measured: Vec<f64> = (0..ROUNDS).map(|_| round()).collect();
    measured.sort_by(f64::total_cmp);
    measured[ROUNDS / 2]
}
