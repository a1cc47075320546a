//! The caller's half of look-ups: the directory, then the account.

use std::borrow::Cow;
use std::sync::Arc;

use tollgate::{AccountId, LookedUp, Lookup, Outcome, PlainAdmit, StoreError, TokenDigest};

use crate::answer::Answer;
use crate::cache::credential_of;
use crate::exchange::Io;
use crate::message::{Message, Plain};
use crate::name;
use crate::spanning::is_of_account;
use crate::store::ObjectsStore;

pub(crate) async fn look_up(
    store: &ObjectsStore,
    io: &Io,
    lookup: &Lookup<'_>,
    now_ms: u64,
) -> Result<Outcome, StoreError> {
    let known = store.cache.get(lookup.digest);
    // Where a limit spans accounts, the admission takes more than the account's object.
    let plain = lookup.plain.filter(|plain| plain.limits.iter().all(is_of_account));
    if let Some(found) = known.as_ref().and_then(|known| known.found(now_ms)) {
        let credential = credential_of(found, lookup.scopes);
        // An admission at once is one message as well, and never of something stale.
        if !plain.is_some_and(|plain| plain.suits(&credential)) {
            return Ok(looked_up(LookedUp { credential: Some(credential), admission: None }));
        }
    }
    let account = match known {
        Some(known) => known.account,
        None => match owner(store, io, lookup.digest).await? {
            Some(account) => account,
            None => return Ok(looked_up(LookedUp::default())),
        },
    };
    let object = name::account(&account);
    let by_name = |plain: PlainAdmit<'_>| {
        let names = lookup.scopes.names_in(plain.granted_by);
        names.map(Box::from).collect()
    };
    let message = Message::LookUp {
        account,
        digest: *lookup.digest,
        plain: plain
            .map(|plain| Plain { granted_by: by_name(plain), limits: Cow::Borrowed(plain.limits) }),
    };
    match io.ask(object, &message).await? {
        Answer::Found(None, _) => {
            store.cache.forget(lookup.digest);
            Ok(looked_up(LookedUp::default()))
        }
        Answer::Found(Some(found), admission) => {
            let found = Arc::new(found);
            store.cache.put(lookup.digest, &found);
            let credential = Some(credential_of(&found, lookup.scopes));
            Ok(looked_up(LookedUp { credential, admission }))
        }
        other => Err(other.unexpected()),
    }
}

fn looked_up(found: LookedUp) -> Outcome {
    Outcome::LookedUp(found)
}

/// Whose a digest is.
pub(crate) async fn owner(
    store: &ObjectsStore,
    io: &Io,
    digest: &TokenDigest,
) -> Result<Option<AccountId>, StoreError> {
    if let Some(known) = store.cache.get(digest) {
        return Ok(Some(known.account));
    }
    match io.ask(name::tokens(digest), &Message::Owner { digest: *digest }).await? {
        Answer::Owner(owner) => {
            if let Some(account) = &owner {
                store.cache.put_account(digest, account);
            }
            Ok(owner)
        }
        other => Err(other.unexpected()),
    }
}
