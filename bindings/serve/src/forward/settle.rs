//! nginx tells how a request ended, by its `post_action`: the ticket, and what its log variables say of the upstream.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use tollgate::{Finish, StoredResponse};

use crate::reply::Fault;
use crate::shared::Shared;
use crate::{api, ticket};

/// Settles what nginx tells of. There is nobody who would read the answer but nginx's log.
pub(super) async fn settle(shared: &Arc<Shared>, headers: &HeaderMap) -> Response {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let open = match text("x-tollgate-ticket") {
        // A request that left nothing to settle.
        None | Some("" | "-") => return StatusCode::NO_CONTENT.into_response(),
        Some(text) => ticket::from_text(text),
    };
    let Some(open) = open else {
        let message = "X-Tollgate-Ticket is what a decision gave, unchanged";
        return Fault::malformed(message).into_response();
    };
    let Some(status) = text("x-upstream-status") else {
        let message = "set X-Upstream-Status to $upstream_status";
        return Fault::malformed(message).into_response();
    };
    let finish = finish(Told {
        status,
        connect_time: text("x-upstream-connect-time"),
        header_time: text("x-upstream-header-time"),
    });
    match api::settle(shared, open, finish).await {
        Ok(_) => StatusCode::NO_CONTENT.into_response(),
        Err(fault) => {
            tracing::warn!(code = fault.code, "what nginx told of a request's end was not taken");
            fault.into_response()
        }
    }
}

/// nginx's `$upstream_status`, `$upstream_connect_time` and `$upstream_header_time`.
#[derive(Clone, Copy)]
struct Told<'a> {
    status: &'a str,
    connect_time: Option<&'a str>,
    header_time: Option<&'a str>,
}

/// How the request ended. nginx's own 502 looks like the upstream's: an answer has a time at which its head was there, and an
/// upstream that was never connected to has not begun.
fn finish(told: Told<'_>) -> Finish {
    let answered = told.header_time.is_none_or(|times| last(times) != "-");
    let status = last(told.status).parse().ok().filter(|status| (100..=599).contains(status));
    match status {
        Some(status) if answered => {
            // There is no body to keep: the fact and its status are.
            let response =
                Some(Arc::new(StoredResponse { status, headers: Box::default(), body: None }));
            match status {
                ..400 => Finish::Settle { amount: None, response },
                _ => Finish::Void { response },
            }
        }
        _ if told.connect_time.is_some_and(never) => Finish::Void { response: None },
        _ => Finish::Unknown,
    }
}

/// The tries at the last place: behind an internal redirect's colon.
fn tries(list: &str) -> impl DoubleEndedIterator<Item = &str> {
    list.rsplit(" : ").next().unwrap_or_default().split(',').map(str::trim)
}

fn last(list: &str) -> &str {
    tries(list).next_back().unwrap_or_default()
}

/// Whether no try came so far.
fn never(list: &str) -> bool {
    tries(list).all(|time| time == "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(status: &str, connect: &str, header: &str) -> Finish {
        finish(Told { status, connect_time: Some(connect), header_time: Some(header) })
    }

    fn kept(status: u16) -> Option<Arc<StoredResponse>> {
        Some(Arc::new(StoredResponse { status, headers: Box::default(), body: None }))
    }

    #[test]
    fn an_answer_settles_or_voids_by_its_status() {
        for status in [101, 200, 204, 302, 399] {
            let settled = Finish::Settle { amount: None, response: kept(status) };
            assert_eq!(ends(&format!("200 : {status}"), "0.001 : 0.000", "0.001 : 0.002"), settled);
            // auth_request: the question has variables of its own.
            assert_eq!(ends(&status.to_string(), "0.000", "0.002"), settled);
        }
        for status in [400, 404, 500, 502] {
            let voided = Finish::Void { response: kept(status) };
            assert_eq!(
                ends(&format!("200 : 502, {status}"), "0.0 : -, 0.1", "0.0 : -, 0.2"),
                voided
            );
        }
    }

    #[test]
    fn no_answer_is_unknown_but_for_an_upstream_that_was_never_reached() {
        // nginx's own 502 and 504.
        assert_eq!(ends("200 : 504", "0.000 : 0.001", "0.001 : -"), Finish::Unknown);
        assert_eq!(ends("200 : 502, 502", "0.0 : 0.0, -", "0.0 : -, -"), Finish::Unknown);
        assert_eq!(ends("200 : 502", "0.0 : -", "0.0 : -"), Finish::Void { response: None });
        assert_eq!(ends("502, 502", "-, -", "-, -"), Finish::Void { response: None });
        // The client went away first.
        assert_eq!(ends("200 : -", "0.000 : 0.001", "0.001 : -"), Finish::Unknown);
        for odd in ["", "-", "x", "99", "600", "200 : ", "-1"] {
            assert_eq!(ends(odd, "0.0", "0.0"), Finish::Unknown, "{odd}");
        }
    }

    #[test]
    fn without_times_a_status_is_believed_and_none_is_unknown() {
        let told = |status| finish(Told { status, connect_time: None, header_time: None });
        assert_eq!(told("200 : 201"), Finish::Settle { amount: None, response: kept(201) });
        assert_eq!(told("200 : -"), Finish::Unknown);
    }
}
