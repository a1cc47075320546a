//! Policies that nobody wrote: their references are valid, and their tables whole.

use std::collections::BTreeSet;
use std::fs;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use serde_json::{Value, json};
use tollgate::PolicyConfig;

use super::validator::validate;
use crate::common::run;

/// Any text that a scope or a limit may be called.
fn name() -> impl Strategy<Value = String> {
    "[!#-\\[\\]-~]{1,6}"
}

fn route() -> impl Strategy<Value = String> {
    let method = prop::sample::select(vec!["GET", "POST", "PUT", "PATCH", "DELETE", "LOCK"]);
    let segment = prop::sample::select(vec!["a", "b-c", "{x}", "{y}", "d.e", "~f", "$g", "h*(i)"]);
    (method, prop::collection::btree_set(segment, 1..4)).prop_map(|(method, segments)| {
        let segments: Vec<&str> = segments.into_iter().collect();
        format!("{method} /{}", segments.join("/"))
    })
}

fn limit() -> impl Strategy<Value = Value> {
    let per = prop::sample::select(vec![
        "token",
        "account",
        "source_ip",
        "token_source_ip",
        "account_source_ip",
        "global",
    ]);
    let algorithm = prop::sample::select(vec!["gcra", "fixed_window", "sliding_window"]);
    let counts = prop::sample::select(vec!["requests", "executions"]);
    (per, 1_u64..1_000, 1_u64..100_000_000, algorithm, counts, any::<bool>()).prop_map(
        |(per, quota, window_ms, algorithm, counts, shadow)| {
            json!({
                "per": per, "quota": quota, "window_ms": window_ms, "algorithm": algorithm,
                "counts": counts, "shadow": shadow,
            })
        },
    )
}

fn settings() -> impl Strategy<Value = Value> {
    let idempotency = prop_oneof![
        Just(json!(true)),
        Just(json!(false)),
        any::<bool>().prop_map(|required| json!({ "required": required, "retention_ms": 90_000 })),
    ];
    (idempotency, 0_u64..9)
        .prop_map(|(idempotency, price)| json!({ "idempotency": idempotency, "price": price }))
}

fn policy() -> impl Strategy<Value = Value> {
    let scopes = prop::collection::btree_map(name(), prop::collection::vec(route(), 0..4), 0..5);
    let limits = prop::collection::btree_map(name(), limit(), 0..4);
    let routes = prop::collection::btree_map(route(), settings(), 0..4);
    let answers = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (scopes, limits, routes, answers, any::<bool>(), any::<bool>()).prop_map(
        |(scopes, limits, routes, (problem, x, ietf, delta), shadow, opaque)| {
            json!({
                "tokens": { "format": if opaque { "opaque" } else { "native" } },
                "source": { "shadow_networks": shadow },
                "scopes": scopes,
                "limits": limits,
                "routes": routes,
                "answers": {
                    "problem_json": problem, "x_ratelimit": x, "ietf_ratelimit": ietf,
                    "reset": if delta { "delta" } else { "unix" },
                },
            })
        },
    )
}

/// What a reader of the Markdown sees in its tables: each row has as many cells as the head, and code spans hold names.
fn read(markdown: &str) -> BTreeSet<String> {
    let mut spans = BTreeSet::new();
    let (mut columns, mut cells, mut in_table) = (0, 0_usize, false);
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Table(alignments)) => (columns, in_table) = (alignments.len(), true),
            Event::End(TagEnd::Table) => in_table = false,
            Event::Start(Tag::TableRow | Tag::TableHead) => cells = 0,
            Event::End(TagEnd::TableCell) => cells = cells.saturating_add(1),
            Event::End(TagEnd::TableRow | TagEnd::TableHead) => assert_eq!(cells, columns),
            Event::Code(text) if in_table => drop(spans.insert(text.to_string())),
            Event::Text(text) if in_table => {
                assert!(!text.contains(['`', '|']), "a broken cell: {text}: {markdown}");
            }
            _ => {}
        }
    }
    // A row with too many cells is cut by readers without a word.
    for line in markdown.lines().filter(|line| line.starts_with("| ")) {
        assert!(line.ends_with(" |"), "{line}");
    }
    spans
}

fn cases() -> usize {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(40)
}

#[test]
fn references_of_generated_policies_are_valid_and_whole() {
    let directory = tempfile::tempdir().unwrap();
    let documents = directory.path().join("documents");
    fs::create_dir(&documents).unwrap();
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut made = 0_usize;
    let cases = cases();
    while made < cases {
        let policy = policy().new_tree(&mut runner).unwrap().current();
        // Two routes may match the same requests: that is no policy.
        let Ok(config) = PolicyConfig::from_json_value(&policy) else { panic!("{policy}") };
        if config.compile().is_err() {
            continue;
        }
        made = made.saturating_add(1);
        let file = directory.path().join("policy.json");
        fs::write(&file, policy.to_string()).unwrap();
        let out = directory.path().join("out");
        let (file, out) = (file.to_str().unwrap(), out.to_str().unwrap());
        let ran = run(&["docs", "--policy", file, "--out", out], b"");
        assert_eq!(ran.code, 0, "{policy}: {}", ran.err);
        assert_eq!(run(&["docs", "--policy", file, "--check", out], b"").code, 0, "{policy}");
        let markdown = fs::read_to_string(format!("{out}/policy.md")).unwrap();
        let spans = read(&markdown);
        let names = config.scopes.keys().map(String::as_str);
        let limits =
            config.limits.iter().filter(|(_, limit)| !limit.shadow && limit.routes.is_none());
        let has_routes = !config.scopes.values().all(Vec::is_empty) || !config.routes.is_empty();
        let limits = limits.map(|(name, _)| name.as_str()).filter(|_| has_routes);
        for name in names.chain(limits) {
            assert!(spans.contains(name), "{name:?} is in no table of {markdown}");
        }
        fs::rename(format!("{out}/openapi.json"), documents.join(format!("{made}.json"))).unwrap();
    }
    let examples = validate(&documents);
    assert!(examples > 10, "{examples}");
}
