//! The register of accounts: the only object that knows all names. Here are both halves.
//!
//! A name is noted before its account is made, so that nothing that exists is ever missed, and confirmed
//! after. In the register's records an account has nothing but, as long as it is not confirmed, a sender
//! that no account has.

use tollgate::transition::Records;
use tollgate::{AccountId, AccountPatch, Outcome, StoreError};
use tollgate_kv::fault::Fault;
use tollgate_kv::view::View;

use crate::answer::Answer;
use crate::exchange::Io;
use crate::message::Message;
use crate::name;
use crate::object::put_empty;

/// The sender of a name that is not confirmed.
const UNCONFIRMED: &str = "unconfirmed";

/// Names that are asked for, and accounts that are asked, at once.
const AT_ONCE: usize = 64;
const MOST_AT_ONCE: u32 = 1_000;

pub(crate) fn note(
    view: &mut View<'_, '_>,
    account: &AccountId,
    now_ms: u64,
) -> Result<Answer, Fault> {
    if let Some(found) = view.find_account(account)? {
        let confirmed = view.settings(&found)?.senders.is_empty();
        return Ok(Answer::Registered { confirmed });
    }
    let senders = Some(vec![UNCONFIRMED.into()]);
    put_empty(view, account, AccountPatch { senders, ..AccountPatch::default() }, now_ms)?;
    Ok(Answer::Registered { confirmed: false })
}

pub(crate) fn confirm(
    view: &mut View<'_, '_>,
    account: &AccountId,
    now_ms: u64,
) -> Result<Answer, Fault> {
    let senders = Some(Vec::new());
    put_empty(view, account, AccountPatch { senders, ..AccountPatch::default() }, now_ms)?;
    Ok(Answer::Done)
}

pub(crate) fn names(
    view: &mut View<'_, '_>,
    after: Option<&AccountId>,
    at_most: u32,
) -> Result<Answer, Fault> {
    let at_most = usize::try_from(at_most.min(MOST_AT_ONCE)).unwrap_or(AT_ONCE);
    let mut names = Vec::new();
    for name in view.account_ids(after, at_most)? {
        let confirmed = match view.find_account(&name)? {
            Some(found) => view.settings(&found)?.senders.is_empty(),
            None => false,
        };
        names.push((name, confirmed));
    }
    Ok(Answer::Names(names))
}

/// Some of the names after `after`; none: there are no more.
async fn page(
    io: &Io,
    after: Option<AccountId>,
    at_most: usize,
) -> Result<Vec<(AccountId, bool)>, StoreError> {
    let at_most = u32::try_from(at_most).unwrap_or(u32::MAX);
    let message = Message::Names { after: after.clone(), at_most };
    let names = match io.ask(name::ACCOUNTS.into(), &message).await? {
        Answer::Names(names) => names,
        other => return Err(other.unexpected()),
    };
    // Else asking for the next ones would never end.
    let all = after.iter().chain(names.iter().map(|(name, _)| name));
    if all.is_sorted_by(|one, next| one < next) { Ok(names) } else { Err(StoreError::WrongOutcome) }
}

/// The names of accounts that are there.
pub(crate) async fn list(
    io: &Io,
    after: Option<&AccountId>,
    at_most: usize,
) -> Result<Outcome, StoreError> {
    let mut after = after.cloned();
    let mut found = Vec::new();
    while found.len() < at_most {
        let wanted = at_most.saturating_sub(found.len()).min(AT_ONCE);
        let names = page(io, after, wanted).await?;
        let Some((last, _)) = names.last() else { break };
        after = Some(last.clone());
        let unsure = names.iter().filter(|(_, confirmed)| !confirmed);
        let ask = |account: &AccountId| {
            (name::account(account), Message::Inspect { account: account.clone() })
        };
        let mut answers =
            io.round(unsure.map(|(account, _)| ask(account)).collect()).await.into_iter();
        for (account, confirmed) in names {
            let there = confirmed
                || match answers.next() {
                    Some(answer) => matches!(answer?, Answer::Account(_)),
                    None => false,
                };
            if there {
                found.push(account);
            }
        }
    }
    Ok(Outcome::Accounts(found))
}

/// Ends what is due in every account. One that fails keeps nobody else from it, and is the error in the
/// end.
pub(crate) async fn expire(io: &Io) -> Result<Outcome, StoreError> {
    let (mut after, mut ended, mut failed) = (None, 0_u64, None);
    loop {
        let names = page(io, after, AT_ONCE).await?;
        let Some((last, _)) = names.last() else { break };
        after = Some(last.clone());
        let messages = names.iter().map(|(account, _)| (name::account(account), Message::Expire));
        for answer in io.round(messages.collect()).await {
            match answer {
                Ok(Answer::Expired(some)) => ended = ended.saturating_add(some),
                Ok(other) => failed = Some(other.unexpected()),
                Err(error) => failed = Some(error.into()),
            }
        }
    }
    failed.map_or(Ok(Outcome::Expired(ended)), Err)
}
