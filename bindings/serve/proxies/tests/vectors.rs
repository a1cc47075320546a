//! Every file in `tests/vectors` of the workspace, through proxies.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

use tollgate_conformance::vectors;
use tollgate_gateway_tests::{RunningGateway, Scenarios, root};
use tollgate_serve_proxies::{EnvoyGrpc, NginxAccel};

/// Why a scenario is not for a proxy, and of how many that holds, where it is the same for both.
const NOT_CARRIED: [(&str, usize); 7] = [
    ("HTTP has no peek", 12),
    ("Set-Cookie is never kept", 1),
    ("a body that is not kept is one that is too long", 1),
    ("a clock after the year 9999", 1),
    ("a header that would be another one, or the connection's", 6),
    ("a request line that would be another one", 4),
    ("a sender or refusal that is no header's value", 3),
];

/// All others reply as expected.
fn run<G: RunningGateway + 'static>(own: &[(&str, usize)]) {
    let report = vectors(&root().join("tests/vectors"), Scenarios::<G>::new()).unwrap();
    assert_eq!(report.failed().count(), 0, "{report}");
    let expected = NOT_CARRIED.iter().chain(own).copied().collect();
    assert_eq!(report.not_carried_by_reason(), expected, "{report}");
    let not_carried: usize = NOT_CARRIED.iter().chain(own).map(|(_, count)| count).sum();
    assert!(report.scenarios.len() >= 565 + not_carried, "{report}");
}

#[test]
fn every_scenario_that_nginx_carries_replies_as_expected() {
    run::<NginxAccel>(&[
        ("nginx itself answers with 400", 14),
        // Of the server: it reads a hundred headers.
        ("nginx itself answers with 431", 1),
        ("nginx joins the lines of X-Forwarded-For, so that they are not too many", 1),
        ("nginx takes the path out of an absolute target", 1),
    ]);
}

#[test]
fn every_scenario_that_envoy_carries_replies_as_expected() {
    run::<EnvoyGrpc>(&[
        ("Envoy carries nothing that is not text", 1),
        ("Envoy itself answers with 400", 8),
        ("Envoy itself answers with 404", 1),
        ("Envoy joins the lines of Authorization to one of the first one's scheme", 1),
        ("Envoy joins the lines of X-Forwarded-For, so that they are not too many", 1),
        ("Envoy takes the path out of an absolute target", 1),
    ]);
}
