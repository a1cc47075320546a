//! Accounts and tokens that an operator made by hand.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Provisioned, text};
use crate::exit::Failure;
use crate::verify::needs::Need;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::verify) struct Tokens {
    tokens: HashMap<String, String>,
}

impl Tokens {
    pub(super) fn read(file: &Path) -> Result<Tokens, Failure> {
        let text = fs::read_to_string(file).map_err(|error| Failure::at(file.display(), error))?;
        // The parser's message would repeat what it read: it may be a token.
        serde_json::from_str(&text).map_err(|error| {
            let place = format!("{}:{}", file.display(), error.line());
            Failure::at(place, "this is not {\"tokens\": {NAME: TOKEN}}; see --needs")
        })
    }

    pub(super) fn perform(&self, name: &str, step: &Value) -> Provisioned {
        match (text(step, "op"), self.tokens.get(name)) {
            ("account", Some(_)) => Provisioned::Done,
            ("token", Some(token)) => Provisioned::WithToken(token.clone()),
            ("account" | "token", None) => {
                Provisioned::CannotDo("the tokens file does not have it; see --needs")
            }
            _ => Provisioned::CannotDo("a tokens file changes nothing at the gateway"),
        }
    }
}

/// What an operator makes by hand for `--tokens`.
pub(in crate::verify) fn needed(needs: &[Need]) -> Value {
    let entry = |need: &Need| {
        json!({
            "name": need.name,
            "purpose": need.purpose,
            "account": super::super::reference::merged(json!({ "balance": need.balance }), &need.account),
            "token": need.token,
        })
    };
    json!({ "accounts": needs.iter().map(entry).collect::<Vec<_>>() })
}
