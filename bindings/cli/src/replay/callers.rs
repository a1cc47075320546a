//! Callers: each distinct identity of the logs, with a token of its own that stands for the recorded one.

use std::collections::HashMap;

use tollgate::{AccountId, TokenDigest, TokenText, digest};

use super::record::{Kind, Name};
use super::state::State;
use super::text::shown;
use crate::exit::Failure;

/// Whoever sent requests with one token.
pub(crate) struct Caller {
    /// The name in the logs.
    name: Box<str>,
    /// Number of the account.
    pub(crate) account: usize,
    pub(crate) digest: TokenDigest,
    /// What is sent in `Authorization`.
    pub(crate) authorization: Box<str>,
}

impl Caller {
    /// The name for reports.
    pub(crate) fn shown_name(&self) -> String {
        shown(&self.name)
    }
}

/// All callers so far, and their accounts.
#[derive(Default)]
pub(crate) struct Callers {
    numbers: HashMap<Name, usize>,
    callers: Vec<Caller>,
    account_numbers: HashMap<AccountId, usize>,
    accounts: Vec<AccountId>,
}

/// A caller that was not there before.
pub(crate) struct Newcomer {
    pub(crate) number: usize,
    /// Whether the account is new too.
    pub(crate) brings_account: bool,
}

impl Callers {
    /// The number of a caller; who is new is told of apart.
    pub(crate) fn number(
        &mut self,
        name: &Name,
        recorded_account: Option<&str>,
        state: &State,
    ) -> Result<(usize, Option<Newcomer>), Failure> {
        if let Some(number) = self.numbers.get(name) {
            return Ok((*number, None));
        }
        let (_, id) = state
            .caller(&name.text, recorded_account)
            .map_err(|error| Failure::new(error.to_string()))?;
        let next_account = self.accounts.len();
        let account = *self.account_numbers.entry(id.clone()).or_insert(next_account);
        let brings_account = account == next_account;
        if brings_account {
            self.accounts.push(id);
        }
        let token = token_for(name);
        let number = self.callers.len();
        self.callers.push(Caller {
            name: name.text.clone(),
            account,
            digest: digest(token.expose().as_bytes(), None),
            authorization: bearer(&token),
        });
        self.numbers.insert(name.clone(), number);
        Ok((number, Some(Newcomer { number, brings_account })))
    }

    pub(crate) fn get(&self, number: usize) -> Option<&Caller> {
        self.callers.get(number)
    }

    /// The name in the logs, which `--state` speaks of.
    pub(crate) fn name(&self, number: usize) -> &str {
        self.get(number).map(|caller| &*caller.name).unwrap_or_default()
    }

    pub(crate) fn account(&self, number: usize) -> Option<&AccountId> {
        self.accounts.get(number)
    }

    pub(crate) fn count(&self) -> usize {
        self.callers.len()
    }

    pub(crate) fn account_count(&self) -> usize {
        self.accounts.len()
    }
}

/// A token that is well formed under every policy, the same for the same name. It is of no use elsewhere:
/// anybody can work it out.
fn token_for(name: &Name) -> TokenText {
    let kind = match name.kind {
        Kind::Token => "token",
        Kind::Account => "account",
        Kind::User => "user",
        Kind::Source => "source",
        Kind::Field => "field",
    };
    TokenText::generate(digest(format!("{kind} {}", name.text).as_bytes(), None).as_bytes())
}

fn bearer(token: &TokenText) -> Box<str> {
    format!("Bearer {}", token.expose()).into()
}

/// What stands for a credential that was not valid: a well-formed token that nobody has.
pub(crate) fn invalid_authorization() -> Box<str> {
    bearer(&TokenText::generate(digest(b"nobody's", None).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(kind: Kind, text: &str) -> Name {
        Name { kind, text: text.into() }
    }

    #[test]
    fn each_name_is_a_caller_and_accounts_are_shared() {
        let (mut callers, state) = (Callers::default(), State::default());
        let mut number = |kind, text: &str, account| {
            let (number, newcomer) = callers.number(&name(kind, text), account, &state).unwrap();
            (number, newcomer.map(|newcomer| newcomer.brings_account))
        };
        assert_eq!(number(Kind::Token, "a", Some("acme")), (0, Some(true)));
        assert_eq!(number(Kind::Token, "b", Some("acme")), (1, Some(false)));
        assert_eq!(number(Kind::User, "a", None), (2, Some(true)));
        assert_eq!(number(Kind::Token, "a", Some("other")), (0, None));
        assert_eq!((callers.count(), callers.account_count()), (3, 2));
        let authorization = |number| callers.get(number).unwrap().authorization.clone();
        assert_ne!(authorization(0), authorization(2));
        assert_ne!(authorization(0), invalid_authorization());
    }
}
