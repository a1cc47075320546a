//! Accounts and tokens of a store in memory, from a file: nobody else could put them there.

use std::fs;
use std::sync::Arc;

use tollgate::{Engine, MemoryOptions, MemoryStore, Store};
use tollgate_scenario::{LibrarySurface, Step, StepError, Surface};

use crate::clock::now_ms;

/// Puts what the file says into the store: a step of a scenario on each line, `account`, `token` or `revoke`. What is there already
/// gets the settings that are given; a balance counts only when an account is made.
///
/// # Errors
/// The file's, or the first line that cannot be, by its number.
pub(crate) fn fill(store: Arc<dyn Store>, engine: &Engine, path: &str) -> Result<(), String> {
    let text = fs::read_to_string(path).map_err(|error| format!("accounts {path}: {error}"))?;
    let surface = LibrarySurface::new(engine.clone(), store);
    for (number, line) in (1..).zip(text.lines()) {
        if !line.trim().is_empty() {
            put(&surface, line).map_err(|why| format!("accounts {path}: line {number}: {why}"))?;
        }
    }
    Ok(())
}

/// The same into a store that is thrown away.
///
/// # Errors
/// As [`fill`].
pub(crate) fn check(engine: &Engine, path: &str) -> Result<(), String> {
    fill(Arc::new(MemoryStore::new(MemoryOptions::default())), engine, path)
}

fn put(surface: &LibrarySurface, line: &str) -> Result<(), StepError> {
    match Step::parse(serde_json::from_str(line).map_err(StepError::of)?)? {
        Step::Account(step) => surface.put_account(step, now_ms()),
        Step::Token(step) => surface.put_token(step, now_ms()),
        Step::Revoke(step) => surface.revoke(&step, now_ms()),
        _ => Err(StepError::new("a line is an `account`, a `token` or a `revoke`")),
    }
}

#[cfg(test)]
mod tests {
    use tollgate::PolicyConfig;

    use super::*;

    fn checked(text: &str) -> Result<(), String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let policy = PolicyConfig::from_json(r#"{"tokens": {"format": "opaque"}}"#).unwrap();
        check(&Engine::new(policy.compile().unwrap()), file.path().to_str().unwrap())
    }

    #[test]
    fn a_line_that_cannot_be_is_named_without_its_secret() {
        let account = r#"{"op": "account", "id": "acme", "balance": 5}"#;
        let token = r#"{"op": "token", "token": "geheim", "account": "acme", "scopes": []}"#;
        let revoke = r#"{"op": "revoke", "token": "geheim"}"#;
        assert_eq!(checked(&format!("{account}\n\n{token}\n{account}\n{revoke}\n")), Ok(()));
        for (wrong, words) in [
            (token.to_owned(), "line 1: "),
            (format!("{account}\n{}", token.replace("scopes", "scope")), "line 2: "),
            (format!("{account}\n{token}x"), "line 2: trailing"),
            (r#"{"op": "deposit", "account": "acme", "amount": 1}"#.to_owned(), "a line is an"),
        ] {
            let why = checked(&wrong).unwrap_err();
            assert!(why.contains(words) && !why.contains("geheim"), "{why}");
        }
    }
}
