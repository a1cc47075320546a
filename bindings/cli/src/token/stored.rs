//! Tokens in a store.

use std::io::Write;

use serde_json::{Value, json};
use tollgate::{Token, TokenDigest, TokenPatch};

use crate::exit::Failure;
use crate::settings::{Cap, Network, OwnQuota, account_id};
use crate::store::StoreArgs;
use crate::table::write_table;

/// To whom a new token is given, and what it may do.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Issue")]
pub(super) struct Issue {
    /// The account, which exists
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// A scope; may be given more than once
    #[arg(long, value_name = "NAME", requires = "account")]
    scope: Vec<String>,
    /// A network it may be used from; may be given more than once
    #[arg(long, value_name = "NETWORK", requires = "account")]
    network: Vec<Network>,
    /// Its own quota, in place of the policy's
    #[arg(long, value_name = "LIMIT/MILLISECONDS", requires = "account")]
    quota: Option<OwnQuota>,
    /// What it may spend: day=AMOUNT, month=AMOUNT or lifetime=AMOUNT; may be given more than once
    #[arg(long, value_name = "CAP", requires = "account")]
    cap: Vec<Cap>,
    /// When it expires, in Unix milliseconds
    #[arg(long, value_name = "MS", requires = "account")]
    expires_ms: Option<u64>,
    #[command(flatten)]
    store: StoreArgs,
}

impl Issue {
    /// Puts a token into the store, where an account is named.
    pub(super) fn put(&self, digest: &TokenDigest) -> Result<(), Failure> {
        let Some(account) = &self.account else { return Ok(()) };
        let account = account_id(account)?;
        let settings = TokenPatch {
            scopes: Some(self.scope.iter().map(|name| name.as_str().into()).collect()),
            networks: Some(self.network.iter().map(|Network(network)| *network).collect()),
            quota: Some(self.quota.map(|OwnQuota(quota)| quota)),
            spend_caps: Some(self.cap.iter().map(|Cap(cap)| *cap).collect()),
            expires_ms: Some(self.expires_ms),
        };
        let (store, now_ms) = self.store.open()?;
        Ok(store.admin().put_token(digest, &account, settings, now_ms)?)
    }
}

pub(super) fn list(
    account: &str,
    store: &StoreArgs,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let (store, now_ms) = store.open()?;
    let tokens = store.admin().tokens(&account_id(account)?, now_ms)?;
    if as_json {
        let all: Vec<Value> = tokens
            .iter()
            .map(|(digest, token)| {
                json!({
                    "digest": digest.to_string(),
                    "state": state(token, now_ms),
                    "scopes": token.scopes,
                    "networks": token.networks,
                    "quota": token.quota,
                    "spend_caps": token.spend_caps,
                    "expires_ms": token.expires_ms,
                })
            })
            .collect();
        serde_json::to_writer_pretty(&mut *out, &all)?;
        return Ok(writeln!(out)?);
    }
    let mut rows = vec![["digest", "state", "scopes"].map(str::to_owned)];
    rows.extend(tokens.iter().map(|(digest, token)| {
        [digest.to_string(), state(token, now_ms).to_owned(), token.scopes.join(" ")]
    }));
    Ok(write_table(out, "", &rows)?)
}

fn state(token: &Token, now_ms: u64) -> &'static str {
    match token.expires_ms {
        _ if token.revoked => "revoked",
        Some(expires_ms) if expires_ms <= now_ms => "expired",
        Some(_) => "expires",
        None => "live",
    }
}
