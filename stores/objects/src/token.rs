//! The object's half of tokens: whose a digest is, and what its account knows of it.

use tollgate::transition::{Records, admit, perform};
use tollgate::{
    AccountId, AccountPatch, Administration, Admit, Command, Outcome, TokenDigest, TokenPatch,
};
use tollgate_kv::KvOptions;
use tollgate_kv::fault::Fault;
use tollgate_kv::view::{View, Writing};

use crate::answer::{Answer, Found};
use crate::message::Plain;
use crate::object::put_empty;

/// Whose a digest is.
pub(crate) fn owner(view: &mut View<'_, '_>, digest: &TokenDigest) -> Result<Answer, Fault> {
    Ok(Answer::Owner(view.token(digest)?.map(|token| token.account.clone())))
}

/// Gives a digest to an account, unless it has one. In the directory a token has nothing but its account.
pub(crate) fn claim(
    writing: &mut Writing<'_>,
    options: &KvOptions,
    digest: &TokenDigest,
    account: &AccountId,
    now_ms: u64,
) -> Result<Answer, Fault> {
    let mut view = View::write(writing, options, now_ms);
    if let Some(token) = view.token(digest)? {
        return Ok(Answer::Owner(Some(token.account.clone())));
    }
    if view.find_account(account)?.is_none() {
        put_empty(&mut view, account, AccountPatch::default(), now_ms)?;
    }
    let mut view = View::write(writing, options, now_ms);
    let put = Administration::PutToken { digest, account, settings: TokenPatch::default() };
    perform(&mut view, &Command::Administer(&put), now_ms)?;
    Ok(Answer::Owner(Some(account.clone())))
}

/// Whether the account has a token.
pub(crate) fn is_known(view: &mut View<'_, '_>, digest: &TokenDigest) -> Result<bool, Fault> {
    Ok(view.token(digest)?.is_some())
}

/// What is answered where nothing else is against a token that is new.
pub(crate) fn claim_first(outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Done => Answer::ClaimFirst,
        refused => Answer::from(Ok(refused)),
    }
}

/// What the account knows of a token; and if that is plain, the admission.
pub(crate) fn look_up<R: Records>(
    records: &mut R,
    account: &AccountId,
    digest: &TokenDigest,
    plain: Option<&Plain<'_>>,
    now_ms: u64,
) -> Result<Answer, R::Error> {
    let nothing = Answer::Found(None, None);
    let Some(token) = records.token(digest)?.filter(|token| token.account == *account) else {
        return Ok(nothing);
    };
    let Some(account) = records.find_account(account)? else { return Ok(nothing) };
    let settings = records.settings(&account)?;
    let settings = (!settings.networks.is_empty()).then_some(settings);
    let revision = records.revision(&account)?;
    // As `PlainAdmit::suits` says, by the names of scopes.
    let suits = |plain: &&Plain<'_>| {
        let is_plain = !token.revoked && !token.is_restricted() && settings.is_none();
        is_plain && token.scopes.iter().any(|name| plain.granted_by.contains(name))
    };
    let admission = match plain.filter(suits) {
        Some(plain) => {
            let request = Admit::limits_only(digest, &account, &plain.limits);
            Some(admit(records, &request, now_ms)?)
        }
        None => None,
    };
    Ok(Answer::Found(Some(Found { token, settings, revision }), admission))
}
