//! Every file in `tests/vectors` of the workspace, through nginx.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

use tollgate_conformance::vectors;
use tollgate_gateway_tests::{Scenarios, root};
use tollgate_nginx_tests::Nginx;

/// Why a scenario is not for this surface, and of how many that holds. All others reply as expected.
const NOT_CARRIED: [(&str, usize); 14] = [
    ("HTTP has no peek", 12),
    ("Set-Cookie is never kept", 1),
    ("a 4xx or 5xx of the upstream is voided", 1),
    ("a charge above what was reserved is cut to it", 1),
    ("a clock after the year 9999", 1),
    ("a header that would be another one, or the connection's", 7),
    ("a request line that would be another one", 4),
    ("a sender or refusal that is no header's value", 3),
    ("an upstream that settles gives a response", 2),
    ("nginx itself answers with 400", 13),
    ("nginx takes the path out of an absolute target", 1),
    ("nginx writes no access log in the first second of 1970", 3),
    ("only a refused connection frees a key", 3),
    ("over HTTP a request ends once", 13),
];

#[test]
fn every_scenario_that_http_carries_replies_as_expected() {
    let report = vectors(&root().join("tests/vectors"), Scenarios::<Nginx>::new()).unwrap();
    assert_eq!(report.failed().count(), 0, "{report}");
    assert_eq!(report.not_carried_by_reason(), NOT_CARRIED.into(), "{report}");
    let not_carried: usize = NOT_CARRIED.iter().map(|(_, count)| count).sum();
    assert!(report.scenarios.len() >= 545 + not_carried, "{report}");
}
