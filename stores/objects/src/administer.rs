//! The caller's half of what operators change and see.

use std::borrow::Cow;

use tollgate::{
    AccountId, AccountPatch, Administration, Amount, Outcome, Refusal, StoreError, TokenDigest,
    TokenPatch,
};

use crate::answer::Answer;
use crate::exchange::Io;
use crate::look_up::owner;
use crate::message::Message;
use crate::name;
use crate::register;
use crate::store::{ObjectsStore, named, unknown_command};

pub(crate) async fn administer(
    store: &ObjectsStore,
    io: &Io,
    administration: &Administration<'_>,
) -> Result<Outcome, StoreError> {
    match administration {
        Administration::PutAccount { account, opening_balance, settings } => {
            put_account(store, io, account, *opening_balance, settings).await
        }
        Administration::PutToken { digest, account, settings } => {
            put_token(store, io, digest, account, settings).await
        }
        Administration::RevokeToken { digest } => {
            let Some(account) = owner(store, io, digest).await? else {
                return Ok(Outcome::Refused(Refusal::UnknownToken));
            };
            let message = Message::RevokeToken { digest: **digest };
            let answer = io.ask(name::account(&account), &message).await;
            store.cache.forget_account(&account);
            answer?.into_outcome()
        }
        Administration::RotateToken { old, new, grace_ms } => {
            rotate_token(store, io, old, new, *grace_ms).await
        }
        Administration::ListAccounts { after, at_most } => {
            register::list(io, *after, *at_most).await
        }
        Administration::Expire => register::expire(io).await,
        _ => {
            let (account, message) = one_message(administration)?;
            io.ask(name::account(account), &message).await?.into_outcome()
        }
    }
}

/// What is one message to the account.
fn one_message<'a>(
    administration: &'a Administration<'a>,
) -> Result<(&'a AccountId, Message<'a>), StoreError> {
    Ok(match administration {
        Administration::Deposit { account, amount } => {
            (*account, Message::Deposit { account: (*account).clone(), amount: *amount })
        }
        Administration::Refund { account, reservation, amount, reference } => {
            let account = named(account)?;
            let message = Message::Refund {
                account: account.clone(),
                reservation: *reservation,
                amount: *amount,
                reference: Cow::Borrowed(reference),
            };
            (account, message)
        }
        Administration::Resolve { account, reservation, finish } => {
            let message = Message::Resolve {
                account: (*account).clone(),
                reservation: *reservation,
                finish: Cow::Borrowed(finish),
            };
            (*account, message)
        }
        Administration::Inspect { account } => {
            (*account, Message::Inspect { account: (*account).clone() })
        }
        Administration::ListTokens { account } => {
            (*account, Message::ListTokens { account: (*account).clone() })
        }
        Administration::ListReservations { account } => {
            (*account, Message::ListReservations { account: (*account).clone() })
        }
        Administration::NameAccount { account } => {
            let account = named(account)?;
            (account, Message::NameAccount { account: account.clone() })
        }
        _ => return Err(unknown_command()),
    })
}

async fn put_account(
    store: &ObjectsStore,
    io: &Io,
    account: &AccountId,
    opening_balance: Amount,
    settings: &AccountPatch,
) -> Result<Outcome, StoreError> {
    let register = Message::Register { account: account.clone() };
    let confirmed = match io.ask(name::ACCOUNTS.into(), &register).await? {
        Answer::Registered { confirmed } => confirmed,
        other => return Err(other.unexpected()),
    };
    let message = Message::PutAccount {
        account: account.clone(),
        opening_balance,
        settings: Cow::Borrowed(settings),
    };
    let answer = io.ask(name::account(account), &message).await;
    store.cache.forget_account(account);
    let outcome = answer?.into_outcome()?;
    if !confirmed && matches!(outcome, Outcome::Done) {
        // Without it, who lists accounts asks this one whether it is there.
        let confirm = Message::Confirm { account: account.clone() };
        let _ = io.ask(name::ACCOUNTS.into(), &confirm).await;
    }
    Ok(outcome)
}

async fn put_token(
    store: &ObjectsStore,
    io: &Io,
    digest: &TokenDigest,
    account: &AccountId,
    settings: &TokenPatch,
) -> Result<Outcome, StoreError> {
    let object = name::account(account);
    let message = |claimed| Message::PutToken {
        account: account.clone(),
        digest: *digest,
        settings: Cow::Borrowed(settings),
        claimed,
    };
    let mut answer = io.ask(object.clone(), &message(false)).await;
    if matches!(answer, Ok(Answer::ClaimFirst)) {
        if claim(store, io, digest, account).await? != *account {
            return Ok(Outcome::Refused(Refusal::ForeignToken));
        }
        answer = io.ask(object, &message(true)).await;
    }
    store.cache.forget_account(account);
    answer?.into_outcome()
}

async fn rotate_token(
    store: &ObjectsStore,
    io: &Io,
    old: &TokenDigest,
    new: &TokenDigest,
    grace_ms: u64,
) -> Result<Outcome, StoreError> {
    let Some(account) = owner(store, io, old).await? else {
        return Ok(Outcome::Refused(Refusal::UnknownToken));
    };
    let object = name::account(&account);
    let message = |claimed| Message::RotateToken { old: *old, new: *new, grace_ms, claimed };
    let mut answer = io.ask(object.clone(), &message(false)).await;
    if matches!(answer, Ok(Answer::ClaimFirst)) {
        if claim(store, io, new, &account).await? != account {
            return Ok(Outcome::Refused(Refusal::TokenExists));
        }
        answer = io.ask(object, &message(true)).await;
    }
    store.cache.forget_account(&account);
    answer?.into_outcome()
}

/// Has the directory give a digest to an account. Gives whose it is from now on.
async fn claim(
    store: &ObjectsStore,
    io: &Io,
    digest: &TokenDigest,
    account: &AccountId,
) -> Result<AccountId, StoreError> {
    let message = Message::Claim { digest: *digest, account: account.clone() };
    match io.ask(name::tokens(digest), &message).await? {
        Answer::Owner(Some(owner)) => {
            store.cache.put_account(digest, &owner);
            Ok(owner)
        }
        other => Err(other.unexpected()),
    }
}
