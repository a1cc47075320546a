//! The caller's half of admissions.

use std::borrow::Cow;

use tollgate::transition::Counted;
use tollgate::{Admission, Admit, AdmitVerdict, Cell, CellKey, Outcome, StoreError};

use crate::answer::Answer;
use crate::exchange::{Failed, Io};
use crate::message::{AdmitMessage, Message};
use crate::name;
use crate::spanning::{give_back, groups, take};
use crate::store::{ObjectsStore, named};

pub(crate) async fn admit(
    store: &ObjectsStore,
    io: &Io,
    admit: &Admit<'_>,
) -> Result<Outcome, StoreError> {
    let mut groups = groups(admit);
    if !groups.is_empty()
        && let Err(error) = take(io, &mut groups, admit.mode).await
    {
        give_back(io, &groups, |_| true).await;
        return Err(error);
    }
    let elsewhere = groups.iter().flat_map(|group| group.before()).collect();
    let admission = match ask(io, admit, elsewhere).await {
        Ok(admission) => Ok(admission),
        // Nobody knows whether the account has admitted the request: its units stay counted.
        Err(Failed::Lost(error)) => return Err(error),
        Err(Failed::Said(error)) => Err(error),
    };
    let counted = match &admission {
        Ok(admission) => Counted::of(&admission.verdict, admit.mode),
        Err(_) => Counted::Nothing,
    };
    give_back(io, &groups, |limit| !counted.counts(limit)).await;
    let admission = admission?;
    if matches!(admission.verdict, AdmitVerdict::CredentialChanged) {
        store.cache.forget(admit.token);
    }
    Ok(Outcome::Admission(admission))
}

async fn ask(
    io: &Io,
    admit: &Admit<'_>,
    elsewhere: Vec<(CellKey, Option<Cell>)>,
) -> Result<Admission, Failed> {
    let account = named(admit.account).map_err(Failed::Said)?.clone();
    let object = name::account(&account);
    let message = Message::Admit(Box::new(AdmitMessage {
        mode: admit.mode,
        token: *admit.token,
        token_record: admit.token_record.map(Cow::Borrowed),
        account,
        revision: admit.revision,
        source: admit.source,
        limits: Cow::Borrowed(admit.limits),
        refused_elsewhere: admit.refused_elsewhere.map(Cow::Borrowed),
        idempotency: *admit.idempotency,
        sender: admit.sender.map(Cow::Borrowed),
        invalid: admit.invalid,
        charge: admit.charge,
        charge_rule: *admit.charge_rule,
        detail: admit.detail,
        elsewhere,
    }));
    match io.ask(object, &message).await? {
        Answer::Admission(admission) => Ok(admission),
        other => Err(Failed::Lost(other.unexpected())),
    }
}
