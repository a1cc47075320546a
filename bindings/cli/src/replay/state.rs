//! What callers may do: `--state`, and what holds without it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::Deserialize;
use tollgate::{
    AccountId, AccountIdError, AccountPatch, Amount, IpNet, SpendCap, TokenPatch, TokenQuota,
    parse_network,
};
use tollgate_scenario::UniqueKeys;

use crate::exit::Failure;

/// So much that the wallet does not decide.
const PLENTY: Amount = Amount(1 << 63);

/// The entry for whoever has none of his own.
const OTHERS: &str = "*";

/// An entry of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    account: Option<AccountId>,
    balance: Option<u64>,
    networks: Option<Vec<String>>,
    spend_caps: Option<Vec<SpendCap>>,
    senders: Option<Vec<Box<str>>>,
    scopes: Option<Vec<Box<str>>>,
    token_networks: Option<Vec<String>>,
    token_spend_caps: Option<Vec<SpendCap>>,
    quota: Option<TokenQuota>,
    expires_ms: Option<u64>,
}

/// What an account begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccountRule {
    pub(crate) balance: Amount,
    pub(crate) settings: AccountPatch,
}

/// What a token may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenRule {
    /// `None`: every scope of the policy.
    pub(crate) scopes: Option<Vec<Box<str>>>,
    /// All but the scopes.
    pub(crate) settings: TokenPatch,
}

/// Whose account a caller's token is of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Owner {
    /// The one that the log names, else one of its own.
    #[default]
    Recorded,
    /// One of its own, which the entry describes.
    Own,
    Named(AccountId),
}

/// The whole file.
#[derive(Debug)]
pub(crate) struct State {
    callers: BTreeMap<String, (TokenRule, Owner)>,
    /// Accounts that entries describe, by name.
    accounts: BTreeMap<AccountId, AccountRule>,
    others: (TokenRule, Owner),
    other_accounts: AccountRule,
}

impl Default for State {
    fn default() -> Self {
        State {
            callers: BTreeMap::new(),
            accounts: BTreeMap::new(),
            others: (TokenRule::default(), Owner::default()),
            other_accounts: AccountRule { balance: PLENTY, settings: AccountPatch::default() },
        }
    }
}

impl State {
    /// Reads a file. `known_scopes` are those of the policies: another one is a slip of the pen.
    pub(crate) fn read(file: &Path, known_scopes: &BTreeSet<Box<str>>) -> Result<Self, Failure> {
        let fail = |error: String| Failure::at(file.display(), error);
        let text = fs::read_to_string(file).map_err(|error| fail(error.to_string()))?;
        State::parse(&text, known_scopes).map_err(fail)
    }

    fn parse(text: &str, known_scopes: &BTreeSet<Box<str>>) -> Result<Self, String> {
        let UniqueKeys(value) =
            serde_json::from_str(text).map_err(|error: serde_json::Error| error.to_string())?;
        let entries: BTreeMap<String, Entry> =
            serde_json::from_value(value).map_err(|error| error.to_string())?;
        let mut state = State::default();
        for (name, entry) in entries {
            for scope in entry.scopes.iter().flatten() {
                if !known_scopes.contains(scope) {
                    return Err(format!("{name}: no policy has a scope `{scope}`"));
                }
            }
            state.add(&name, entry).map_err(|error| format!("{name}: {error}"))?;
        }
        Ok(state)
    }

    fn add(&mut self, name: &str, entry: Entry) -> Result<(), String> {
        let described = entry.describes_account();
        let account = entry.account_rule()?;
        let owner = match &entry.account {
            Some(id) => Owner::Named(id.clone()),
            None if described && name != OTHERS => Owner::Own,
            None => Owner::Recorded,
        };
        let token = entry.token_rule()?;
        let described_id = match &owner {
            Owner::Named(id) => Some(id.clone()),
            Owner::Own => Some(account_id(name).map_err(|error| error.to_string())?),
            Owner::Recorded => None,
        };
        if described && let Some(id) = described_id {
            let before = self.accounts.insert(id.clone(), account.clone());
            if before.is_some_and(|before| before != account) {
                return Err(format!(
                    "the account {id} is described twice, differently; describe it in one entry"
                ));
            }
        } else if described {
            self.other_accounts = account;
        }
        if name == OTHERS {
            self.others = (token, owner);
        } else {
            self.callers.insert(name.to_owned(), (token, owner));
        }
        Ok(())
    }

    /// What a caller of this name may do, and with whose account; `recorded` is the one that the log names.
    pub(crate) fn caller(
        &self,
        name: &str,
        recorded: Option<&str>,
    ) -> Result<(&TokenRule, AccountId), AccountIdError> {
        let (rule, owner) = self.callers.get(name).unwrap_or(&self.others);
        let account = match owner {
            Owner::Named(id) => id.clone(),
            Owner::Own => account_id(name)?,
            Owner::Recorded => account_id(recorded.unwrap_or(name))?,
        };
        Ok((rule, account))
    }

    pub(crate) fn account(&self, id: &AccountId) -> &AccountRule {
        self.accounts.get(id).unwrap_or(&self.other_accounts)
    }
}

/// An account of this name, or, where no account may have it, of a name made of its digest.
fn account_id(name: &str) -> Result<AccountId, AccountIdError> {
    let digest = || format!("caller {}", super::record::token_name(name.as_bytes()));
    AccountId::new(name).or_else(|_| AccountId::new(&digest()))
}

impl Entry {
    fn describes_account(&self) -> bool {
        self.balance.is_some()
            || self.networks.is_some()
            || self.spend_caps.is_some()
            || self.senders.is_some()
    }

    fn account_rule(&self) -> Result<AccountRule, String> {
        let settings = AccountPatch {
            networks: self.networks.as_deref().map(networks).transpose()?,
            spend_caps: self.spend_caps.clone(),
            senders: self.senders.clone(),
        };
        Ok(AccountRule { balance: self.balance.map_or(PLENTY, Amount), settings })
    }

    fn token_rule(self) -> Result<TokenRule, String> {
        let settings = TokenPatch {
            scopes: None,
            networks: self.token_networks.as_deref().map(networks).transpose()?,
            quota: self.quota.map(Some),
            spend_caps: self.token_spend_caps,
            expires_ms: self.expires_ms.map(Some),
        };
        Ok(TokenRule { scopes: self.scopes, settings })
    }
}

fn networks(texts: &[String]) -> Result<Vec<IpNet>, String> {
    texts
        .iter()
        .map(|text| parse_network(text).map_err(|error| format!("network {text}: {error}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<State, String> {
        State::parse(text, &["send".into()].into())
    }

    fn account<'s>(
        state: &'s State,
        name: &str,
        recorded: Option<&str>,
    ) -> (String, &'s AccountRule) {
        let (_, id) = state.caller(name, recorded).unwrap();
        (id.to_string(), state.account(&id))
    }

    #[test]
    fn without_a_file_all_is_granted_and_money_never_lacks() {
        let state = State::default();
        let (rule, id) = state.caller("t-1", Some("acme")).unwrap();
        assert_eq!((rule, id.as_str()), (&TokenRule::default(), "acme"));
        assert_eq!(state.account(&id).balance, PLENTY);
        assert_eq!(account(&state, "t-1", None).0, "t-1");
        let hostile = account(&state, "\u{1b}", None).0;
        assert_eq!(hostile.len(), "caller ".len() + 16);
        assert_ne!(hostile, account(&state, &"x".repeat(129), None).0);
    }

    #[test]
    fn entries_describe_callers_and_accounts() {
        let state = parse(
            r#"{
                "t-1": {"account": "acme", "balance": 5, "networks": ["192.0.2.1"], "scopes": ["send"]},
                "t-2": {"account": "acme", "quota": {"limit": 1, "window_ms": 1000}},
                "t-3": {"balance": 9},
                "*": {"balance": 1, "scopes": []}
            }"#,
        )
        .unwrap();
        let (name, acme) = account(&state, "t-1", Some("other"));
        assert_eq!((name.as_str(), acme.balance), ("acme", Amount(5)));
        assert_eq!(account(&state, "t-2", None), ("acme".to_owned(), acme));
        let quota = Some(Some(TokenQuota { limit: 1, window_ms: 1_000 }));
        assert_eq!(state.caller("t-2", None).unwrap().0.settings.quota, quota);
        assert_eq!(state.caller("t-2", None).unwrap().0.scopes, None);
        // An entry with money of its own is an account of its own.
        let (name, own) = account(&state, "t-3", Some("acme"));
        assert_eq!((name.as_str(), own.balance), ("t-3", Amount(9)));
        let (name, other) = account(&state, "t-4", Some("beta"));
        assert_eq!((name.as_str(), other.balance), ("beta", Amount(1)));
        assert_eq!(state.caller("t-4", None).unwrap().0.scopes, Some(Vec::new()));
    }

    #[test]
    fn mistakes_say_where_they_are() {
        for (text, part) in [
            (r#"{"t": {"scope": []}}"#, "unknown field `scope`"),
            (r#"{"t": {"scopes": ["sned"]}}"#, "t: no policy has a scope `sned`"),
            (r#"{"t": {"networks": ["10.0.0.0/40"]}}"#, "t: network 10.0.0.0/40: "),
            (
                r#"{"a": {"account": "acme", "balance": 1}, "b": {"account": "acme", "balance": 2}}"#,
                "b: the account acme is described twice",
            ),
            (r#"{"t": {}, "t": {}}"#, "t"),
            ("[]", "invalid type"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{part} is not in {error}");
        }
    }
}
