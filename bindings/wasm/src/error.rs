//! What is thrown: a kind, a code for programs, a text for people.

use tollgate::{AdminError, FinishError, PolicyErrors, Refusal, StoreError};
use wasm_bindgen::JsValue;

use crate::json::JsonText;

/// Why a call failed. It crosses as JSON; JavaScript makes an error class of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Policy(#[from] PolicyErrors),
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fault {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Fault::Invalid(message.into())
    }

    pub(crate) fn to_json(&self) -> String {
        let (kind, code) = match self {
            Fault::Policy(_) => ("policy", "policy_invalid"),
            Fault::Invalid(_) => ("request", "invalid_argument"),
            Fault::Refused(refusal) => ("refused", refusal.code()),
            Fault::Store(error) => ("store", error.code()),
        };
        let mut json = JsonText::default();
        json.word("{").name("kind").text(kind).name("code").text(code);
        json.name("message").text(&self.to_string());
        if let Fault::Policy(errors) = self {
            json.name("errors").word("[");
            for error in errors {
                write_place(&mut json, &error.place, error.line, &error.message);
            }
            json.close(']');
        }
        json.close('}');
        json.into_string()
    }
}

/// Something about a policy, and where.
pub(crate) fn write_place(json: &mut JsonText, place: &str, line: Option<usize>, message: &str) {
    json.word("{").name("place").text(place).name("line");
    json.word(line.map(|line| line.to_string()).as_deref().unwrap_or("null"));
    json.name("message").text(message).close('}');
}

impl From<Fault> for JsValue {
    fn from(fault: Fault) -> Self {
        JsValue::from_str(&fault.to_json())
    }
}

impl From<AdminError> for Fault {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Refused(refusal) => refusal.into(),
            AdminError::Store(error) => error.into(),
        }
    }
}

impl From<FinishError> for Fault {
    fn from(error: FinishError) -> Self {
        match error {
            FinishError::Refused(refusal) => refusal.into(),
            FinishError::Store(error) => error.into(),
        }
    }
}
