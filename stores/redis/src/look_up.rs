//! Tokens as look-ups find them: copies, each in a slot of its own, of what the account has.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tollgate::{
    AccountId, AccountSettings, LookedUp, Lookup, Outcome, StoreError, Token, TokenDigest,
};

use crate::bytes::Reader;
use crate::cache::Found;
use crate::exchange::{Call, Io, ScriptCall, bulk};
use crate::look::{Wanted, look};
use crate::protocol::Protocol;
use crate::records;
use crate::scripts::PUBLISH;

/// A token's copy. Without a token the digest is only claimed for the account.
#[derive(Debug, Serialize, Deserialize)]
struct TokenCopy {
    account: AccountId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<Arc<Token>>,
    /// Where the account has networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settings: Option<Arc<AccountSettings>>,
}

/// What the copy says of a digest.
pub(crate) enum Published {
    Nothing,
    /// The account put the digest's name down, and nothing else was published yet.
    Claimed(AccountId),
    Token(Found),
}

impl Published {
    pub(crate) fn account(&self) -> Option<&AccountId> {
        match self {
            Published::Nothing => None,
            Published::Claimed(account) => Some(account),
            Published::Token(found) => Some(&found.token.account),
        }
    }
}

fn read(bytes: &[u8]) -> Option<Published> {
    let mut reader = Reader(bytes);
    let revision = reader.u64()?;
    let copy: TokenCopy = serde_json::from_slice(reader.0).ok()?;
    Some(match copy.token {
        None => Published::Claimed(copy.account),
        Some(token) => {
            let settings = copy.settings.unwrap_or_default();
            Published::Token(Found { token, settings, revision })
        }
    })
}

fn write(revision: u64, copy: &TokenCopy) -> Result<Vec<u8>, StoreError> {
    let mut bytes = revision.to_be_bytes().to_vec();
    bytes.extend(records::json(copy)?);
    Ok(bytes)
}

/// Reads a token's copy.
pub(crate) async fn published(
    protocol: &Protocol,
    io: &Io,
    digest: &TokenDigest,
) -> Result<Published, StoreError> {
    let reply = io.call(Call::new("GET", protocol.keys.token(digest))).await?;
    match bulk(reply)? {
        None => Ok(Published::Nothing),
        Some(bytes) => records::damaged("a token", read(&bytes)),
    }
}

/// Puts the account's name down for a digest; `false`: another name is there already, or a token.
pub(crate) async fn claim(
    protocol: &Protocol,
    io: &Io,
    digest: &TokenDigest,
    account: &AccountId,
) -> Result<bool, StoreError> {
    let copy = TokenCopy { account: account.clone(), token: None, settings: None };
    let call = Call::new("SET", protocol.keys.token(digest)).arg(write(0, &copy)?).arg("NX");
    // Sent again after a broken connection, the same claim is refused: what is there tells.
    if matches!(io.call(call).await?, redis::Value::Okay) {
        return Ok(true);
    }
    let there = published(protocol, io, digest).await?;
    Ok(there.account() == Some(account))
}

/// Publishes copies of what an account has. A later copy stays, unless its revision is the one that was
/// found to be `wrong`.
pub(crate) async fn publish(
    protocol: &Protocol,
    io: &Io,
    tokens: &[(TokenDigest, Found)],
    wrong: Option<u64>,
) -> Result<(), StoreError> {
    let wrong = wrong.map(|revision| revision.to_be_bytes().to_vec()).unwrap_or_default();
    for some in tokens.chunks(256) {
        let mut scripts = Vec::with_capacity(some.len());
        for (digest, found) in some {
            let copy = TokenCopy {
                account: found.token.account.clone(),
                token: Some(Arc::clone(&found.token)),
                settings: (!found.settings.networks.is_empty())
                    .then(|| Arc::clone(&found.settings)),
            };
            let keys = vec![protocol.keys.token(digest)];
            let args = vec![write(found.revision, &copy)?, wrong.clone()];
            scripts.push(ScriptCall { script: &PUBLISH, keys, args });
        }
        for (reply, (digest, found)) in io.scripts(&scripts).await.into_iter().zip(some) {
            reply?;
            // Only now: what is read of the server from here on is not what was there before.
            protocol.cache.put(digest, found);
        }
    }
    Ok(())
}

/// Takes back the copy with this revision, of a token that the account has lost: from now on look-ups ask
/// the account.
pub(crate) async fn unpublish(
    protocol: &Protocol,
    io: &Io,
    digest: &TokenDigest,
    account: &AccountId,
    wrong: u64,
) -> Result<(), StoreError> {
    let copy = TokenCopy { account: account.clone(), token: None, settings: None };
    let keys = vec![protocol.keys.token(digest)];
    let args = vec![write(0, &copy)?, wrong.to_be_bytes().to_vec()];
    io.script(ScriptCall { script: &PUBLISH, keys, args }).await?;
    Ok(())
}

pub(crate) async fn look_up(
    protocol: &Protocol,
    io: &Io,
    lookup: &Lookup<'_>,
    now_ms: u64,
) -> Result<Outcome, StoreError> {
    let found = match protocol.cache.get(lookup.digest, now_ms) {
        Some(found) => Some(found),
        None => find(protocol, io, lookup.digest).await?,
    };
    // The admission is left out: it is one call of its own, and with a known token the only one.
    let credential = found.map(|found| found.credential(lookup.scopes));
    Ok(Outcome::LookedUp(LookedUp { credential, admission: None }))
}

async fn find(
    protocol: &Protocol,
    io: &Io,
    digest: &TokenDigest,
) -> Result<Option<Found>, StoreError> {
    let known = protocol.cache.revision(digest);
    let found = match published(protocol, io, digest).await? {
        Published::Nothing => return Ok(None),
        Published::Token(found) => found,
        // Whoever created the token did not come to publish it: the account knows whether it is there.
        Published::Claimed(account) => {
            let wanted = Wanted { tokens: &[*digest], ..Wanted::default() };
            let seen = look(protocol, io, &account, wanted).await?;
            let Some(found) = seen.found(digest) else { return Ok(None) };
            publish(protocol, io, &[(*digest, found.clone())], None).await?;
            found
        }
    };
    protocol.cache.put_after(digest, known, &found);
    Ok(Some(found))
}
