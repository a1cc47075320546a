//! The expectations of one scenario, some of which are matched later than their step.

use serde_json::Value;

use crate::error::StepError;
use crate::expect::{Found, LateHeaders, Mismatch, check_step};

/// Matches the replies of one scenario, one after the other.
///
/// Where a surface is a server, what an allowed request gets is seen only when it is finished. So the
/// headers that its step expects are kept, and matched against what the request's `finish` brings.
#[derive(Default)]
pub(crate) struct Expectations {
    late: Vec<Late>,
}

/// Headers that were not seen yet.
pub(crate) struct Late {
    /// The index of the step that expects them.
    step: usize,
    headers: LateHeaders,
    /// Whether a later request has its id, so that nobody can name it any more.
    is_replaced: bool,
}

impl Expectations {
    /// Matches a reply, and what it shows of earlier requests.
    pub(crate) fn check(&mut self, index: usize, step: &Value, reply: &Value) -> Vec<Mismatch> {
        let mut found = Found::default();
        check_step(step, reply, false, "", &mut found);
        for (step, reply) in carried(step, reply) {
            self.look_back(step, reply, &mut found.mismatches);
        }
        self.late.extend(found.late.into_iter().map(|headers| Late {
            step: index,
            headers,
            is_replaced: false,
        }));
        found.mismatches
    }

    fn look_back(&mut self, step: &Value, reply: &Value, mismatches: &mut Vec<Mismatch>) {
        let Some(id) = reply.get("id").and_then(Value::as_str) else { return };
        let is_of = |late: &Late| !late.is_replaced && late.headers.id == id;
        match (step.get("op").and_then(Value::as_str), reply.get("headers")) {
            (Some("request"), _) => {
                self.late.iter_mut().filter(|late| is_of(late)).for_each(|late| {
                    late.is_replaced = true;
                });
            }
            (Some("finish"), Some(headers)) => {
                for late in self.late.extract_if(.., |late| is_of(late)) {
                    mismatches.extend(late.headers.matches(headers));
                }
            }
            _ => {}
        }
    }

    /// What no reply has shown, at the end of the scenario.
    pub(crate) fn unseen(self) -> Vec<Late> {
        self.late
    }
}

impl Late {
    pub(crate) fn step(&self) -> usize {
        self.step
    }

    /// The headers, asked for by the request's id.
    pub(crate) fn headers(
        &self,
        ask: impl FnOnce(&str) -> Result<Value, StepError>,
    ) -> Result<Value, StepError> {
        let id = &self.headers.id;
        if self.is_replaced {
            return Err(StepError::not_carried(format!(
                "the headers of request `{id}` were not seen before another one took its id"
            )));
        }
        ask(id)
    }

    pub(crate) fn matches(&self, headers: &Value) -> Vec<Mismatch> {
        self.headers.matches(headers)
    }
}

/// A step with its reply, and the steps within it with theirs.
fn carried<'v>(step: &'v Value, reply: &'v Value) -> impl Iterator<Item = (&'v Value, &'v Value)> {
    let inner = step.get("steps").and_then(Value::as_array).into_iter().flatten();
    let replies = reply.get("replies").and_then(Value::as_array).into_iter().flatten();
    core::iter::once((step, reply)).chain(inner.zip(replies))
}
