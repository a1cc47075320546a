//! Every file in `tests/vectors` of the workspace, through Envoy.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

use tollgate_conformance::vectors;
use tollgate_envoy_tests::UnderScenarios;
use tollgate_gateway_tests::{Scenarios, root};

/// Why a scenario is not for this surface, and of how many that holds. All others reply as expected.
const NOT_CARRIED: [(&str, usize); 15] = [
    ("Envoy itself answers with 400", 8),
    ("Envoy itself answers with 404", 1),
    ("Envoy joins the lines of Authorization to one of the first one's scheme", 1),
    ("Envoy joins the lines of X-Forwarded-For, so that they are not too many", 1),
    ("Envoy takes the path out of an absolute target", 1),
    ("HTTP has no peek", 12),
    ("Set-Cookie is never kept", 1),
    ("a 4xx or 5xx of the upstream is voided", 1),
    ("a charge above what was reserved is cut to it", 1),
    ("a header that would be another one, or the connection's", 6),
    ("a request line that would be another one", 4),
    ("a sender or refusal that is no header's value", 3),
    ("an upstream that settles gives a response", 2),
    ("only a refused connection frees a key", 3),
    ("over HTTP a request ends once", 13),
];

fn every_scenario<const WAITS: bool>() {
    let surfaces = Scenarios::<UnderScenarios<WAITS>>::new();
    let report = vectors(&root().join("tests/vectors"), surfaces).unwrap();
    assert_eq!(report.failed().count(), 0, "{report}");
    assert_eq!(report.not_carried_by_reason(), NOT_CARRIED.into(), "{report}");
    let not_carried: usize = NOT_CARRIED.iter().map(|(_, count)| count).sum();
    assert!(report.scenarios.len() >= 552 + not_carried, "{report}");
}

#[test]
fn every_scenario_that_http_carries_replies_as_expected_on_envoys_threads() {
    every_scenario::<false>();
}

#[test]
fn every_scenario_that_http_carries_replies_as_expected_on_the_modules_threads() {
    every_scenario::<true>();
}
