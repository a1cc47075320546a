//! What is thrown: a kind, a code for programs, a text for people.

use serde::Serialize;
use tollgate::{AdminError, FinishError, PolicyErrors, Refusal, StoreError};
use wasm_bindgen::JsValue;

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

#[derive(Serialize)]
struct Thrown<'a> {
    kind: &'static str,
    code: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Place<'a>>,
}

/// Something about a policy, and where.
#[derive(Serialize)]
pub(crate) struct Place<'a> {
    pub(crate) place: &'a str,
    pub(crate) line: Option<usize>,
    pub(crate) message: &'a str,
}

impl Fault {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Fault::Invalid(message.into())
    }

    pub(crate) fn to_json(&self) -> String {
        let (kind, code, errors) = match self {
            Fault::Policy(errors) => {
                ("policy", "policy_invalid", errors.iter().map(place).collect())
            }
            Fault::Invalid(_) => ("request", "invalid_argument", Vec::new()),
            Fault::Refused(refusal) => ("refused", refusal.code(), Vec::new()),
            Fault::Store(error) => ("store", error.code(), Vec::new()),
        };
        crate::flat::json(&Thrown { kind, code, message: self.to_string(), errors })
    }
}

fn place(error: &tollgate::PolicyError) -> Place<'_> {
    Place { place: &error.place, line: error.line, message: &error.message }
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
