//! What operators change: accounts, tokens, money paid in and given back.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use crate::command::{
    AccountPatch, AccountSettings, AccountView, Administration, Outcome, Refusal, Token, TokenPatch,
};
use crate::ledger::{
    AccountId, AccountRef, Amount, MAX_REFUNDS, ReservationId, ReservationState, Wallet,
};
use crate::token::TokenDigest;
use crate::transition::{Changes, Records, expire_account};

type Administered<E> = Result<Result<Outcome, Refusal>, E>;

/// Performs an administration; `Resolve` and `Expire` are the caller's.
pub(super) fn administer<R: Records>(
    records: &mut R,
    administration: &Administration<'_>,
    now_ms: u64,
) -> Administered<R::Error> {
    match administration {
        Administration::PutAccount { account, opening_balance, settings } => {
            put_account(records, account, *opening_balance, settings)
        }
        Administration::PutToken { digest, account, settings } => {
            put_token(records, digest, account, settings)
        }
        Administration::RevokeToken { digest } => revoke(records, digest),
        Administration::RotateToken { old, new, grace_ms } => {
            rotate(records, old, new, *grace_ms, now_ms)
        }
        Administration::Deposit { account, amount } => {
            with_account(records, account, |records, account| deposit(records, account, *amount))
        }
        Administration::Refund { account, reservation, amount, reference } => {
            refund(records, account, *reservation, *amount, reference, now_ms)
        }
        Administration::Inspect { account } => {
            with_account(records, account, |records, account| {
                let wallet = records.wallet(account)?;
                let settings = records.settings(account)?;
                Ok(Ok(Outcome::Account(Box::new(AccountView { wallet, settings }))))
            })
        }
        Administration::ListAccounts { after, at_most } => {
            Ok(Ok(Outcome::Accounts(records.account_ids(*after, *at_most)?)))
        }
        Administration::ListTokens { account } => {
            with_account(records, account, |records, account| {
                Ok(Ok(Outcome::Tokens(records.tokens(account)?)))
            })
        }
        Administration::ListReservations { account } => {
            with_account(records, account, |records, account| {
                Ok(Ok(Outcome::Reservations(records.reservations(account)?)))
            })
        }
        Administration::NameAccount { account } => {
            Ok(records.account_id(account)?.map(Outcome::Name).ok_or(Refusal::UnknownAccount))
        }
        Administration::Resolve { .. } | Administration::Expire => Ok(Ok(Outcome::Expired(0))),
    }
}

fn with_account<R: Records>(
    records: &mut R,
    id: &AccountId,
    then: impl FnOnce(&mut R, &AccountRef) -> Administered<R::Error>,
) -> Administered<R::Error> {
    match records.find_account(id)? {
        Some(account) => then(records, &account),
        None => Ok(Err(Refusal::UnknownAccount)),
    }
}

fn put_account<R: Records>(
    records: &mut R,
    id: &AccountId,
    opening_balance: Amount,
    patch: &AccountPatch,
) -> Administered<R::Error> {
    let patched = |mut settings: AccountSettings| {
        let AccountPatch { networks, spend_caps, senders } = patch.clone();
        replace(&mut settings.networks, networks);
        replace(&mut settings.spend_caps, spend_caps);
        replace(&mut settings.senders, senders);
        settings
    };
    match records.find_account(id)? {
        None => {
            let wallet = Wallet {
                balance: opening_balance,
                deposited: opening_balance,
                ..Wallet::default()
            };
            let settings = patched(AccountSettings::default());
            records.commit(Changes {
                new_account: Some(Box::new((id, settings, wallet))),
                ..Changes::default()
            })?;
        }
        Some(account) => {
            let settings = patched((*records.settings(&account)?).clone());
            let settings = Some(Arc::new(settings));
            records.commit(Changes { account: Some(&account), settings, ..Changes::default() })?;
        }
    }
    Ok(Ok(Outcome::Done))
}

fn replace<T>(setting: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *setting = given;
    }
}

fn put_token<R: Records>(
    records: &mut R,
    digest: &TokenDigest,
    account: &AccountId,
    patch: &TokenPatch,
) -> Administered<R::Error> {
    let Some(account_ref) = records.find_account(account)? else {
        return Ok(Err(Refusal::UnknownAccount));
    };
    let mut token = match records.token(digest)? {
        Some(token) if token.account != *account => return Ok(Err(Refusal::ForeignToken)),
        Some(token) => (*token).clone(),
        None => Token::plain(account.clone(), Vec::new()),
    };
    let TokenPatch { scopes, networks, quota, spend_caps, expires_ms } = patch.clone();
    replace(&mut token.scopes, scopes);
    replace(&mut token.networks, networks);
    replace(&mut token.quota, quota);
    replace(&mut token.spend_caps, spend_caps);
    replace(&mut token.expires_ms, expires_ms);
    put(records, &account_ref, vec![(*digest, token)])
}

fn put<R: Records>(
    records: &mut R,
    account: &AccountRef,
    tokens: Vec<(TokenDigest, Token)>,
) -> Administered<R::Error> {
    records.commit(Changes { account: Some(account), tokens, ..Changes::default() })?;
    Ok(Ok(Outcome::Done))
}

fn revoke<R: Records>(records: &mut R, digest: &TokenDigest) -> Administered<R::Error> {
    let Some(token) = records.token(digest)? else { return Ok(Err(Refusal::UnknownToken)) };
    let Some(account) = records.find_account(&token.account)? else {
        return Ok(Err(Refusal::UnknownAccount));
    };
    let revoked = Token { revoked: true, ..(*token).clone() };
    put(records, &account, vec![(*digest, revoked)])
}

fn rotate<R: Records>(
    records: &mut R,
    old: &TokenDigest,
    new: &TokenDigest,
    grace_ms: u64,
    now_ms: u64,
) -> Administered<R::Error> {
    let Some(token) = records.token(old)? else { return Ok(Err(Refusal::UnknownToken)) };
    if token.revoked || token.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms) {
        return Ok(Err(Refusal::TokenRevoked));
    }
    if records.token(new)?.is_some() {
        return Ok(Err(Refusal::TokenExists));
    }
    let Some(account) = records.find_account(&token.account)? else {
        return Ok(Err(Refusal::UnknownAccount));
    };
    let grace_until_ms = now_ms.saturating_add(grace_ms);
    let expires_ms = token.expires_ms.map_or(grace_until_ms, |until| until.min(grace_until_ms));
    let successor = Token { ancestor: Some(token.spends_as(old)), ..(*token).clone() };
    let retired = Token { expires_ms: Some(expires_ms), ..(*token).clone() };
    put(records, &account, vec![(*old, retired), (*new, successor)])
}

fn deposit<R: Records>(
    records: &mut R,
    account: &AccountRef,
    amount: Amount,
) -> Administered<R::Error> {
    let wallet = records.wallet(account)?;
    let sums = (wallet.balance.checked_add(amount), wallet.deposited.checked_add(amount));
    let (Some(balance), Some(deposited)) = sums else { return Ok(Err(Refusal::AmountOverflow)) };
    let wallet = Some(Wallet { balance, deposited, ..wallet });
    records.commit(Changes { account: Some(account), wallet, ..Changes::default() })?;
    Ok(Ok(Outcome::Done))
}

fn refund<R: Records>(
    records: &mut R,
    account: &AccountRef,
    id: ReservationId,
    amount: Amount,
    reference: &str,
    now_ms: u64,
) -> Administered<R::Error> {
    // A lease or a retention that has ended is over, whether or not a sweep came by.
    expire_account(records, account, now_ms)?;
    let Some(mut reservation) = records.reservation(account, id)? else {
        return Ok(Err(Refusal::UnknownReservation));
    };
    let ReservationState::Posted { amount: posted, refunds, .. } = &mut reservation.state else {
        return Ok(Err(Refusal::NotPosted));
    };
    if let Some((_, earlier)) = refunds.iter().find(|(name, _)| **name == *reference) {
        let same = *earlier == amount;
        return Ok(if same { Ok(Outcome::Done) } else { Err(Refusal::ReferenceReused) });
    }
    if refunds.len() >= MAX_REFUNDS {
        return Ok(Err(Refusal::TooManyRefunds));
    }
    let total = refunds.iter().try_fold(amount, |sum, (_, earlier)| sum.checked_add(*earlier));
    if total.is_none_or(|total| total > *posted) {
        return Ok(Err(Refusal::MoreThanPosted));
    }
    refunds.push((Box::from(reference), amount));
    let wallet = records.wallet(account)?;
    let sums = (wallet.balance.checked_add(amount), wallet.refunded.checked_add(amount));
    let (Some(balance), Some(refunded)) = sums else { return Ok(Err(Refusal::AmountOverflow)) };
    let due_ms = now_ms.saturating_add(reservation.retention_ms);
    records.commit(Changes {
        account: Some(account),
        wallet: Some(Wallet { balance, refunded, ..wallet }),
        reservation: Some((id, reservation, due_ms)),
        ..Changes::default()
    })?;
    Ok(Ok(Outcome::Done))
}
