//! Bugs on purpose, between host and store: what the simulator must find, or it proves nothing.

use tollgate::{
    Administration, Admission, Admit, AdmitVerdict, Amount, ChargeRule, ClaimKey, Command, Denial,
    Finish, Idempotency, OnExpiry, Outcome, Refusal, ReservationId, Settle, Settled, StoreError,
    StoredResponse, TokenDigest,
};

use std::sync::Arc;

use crate::backend::Backend;

/// A bug, one of each kind that must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A claim is kept under another name, so that its key runs again.
    ClaimForgotten,
    /// A settlement posts one unit more, and does not say so.
    SettlePostsMore,
    /// A reservation that is voided stays held.
    VoidFreesNothing,
    /// A reservation is gone once it was given out.
    ReservationLost,
    /// A claim outlives its retention.
    KeyStuck,
    /// A limit lets one through that it should refuse.
    LimitOverAdmits,
    /// The outcome of an execution that lost its key is taken.
    StaleSettleTaken,
    /// The same refund pays twice.
    RefundPaidTwice,
    /// A revocation takes force some commands later.
    RevocationLate,
    /// A replay gives the response of another request.
    ReplayOfAnother,
    /// A settlement that is told twice posts twice.
    SettlePostsTwice,
    /// The end of a lease frees what should stay held.
    ExpiryForgetsHold,
    /// A command that the store performs is partly lost: the money is held and the answer says no.
    DenialKeepsHold,
    /// A spend cap is not enforced.
    CapForgotten,
}

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 14] = [
        Bug::ClaimForgotten,
        Bug::SettlePostsMore,
        Bug::VoidFreesNothing,
        Bug::ReservationLost,
        Bug::KeyStuck,
        Bug::LimitOverAdmits,
        Bug::StaleSettleTaken,
        Bug::RefundPaidTwice,
        Bug::RevocationLate,
        Bug::ReplayOfAnother,
        Bug::SettlePostsTwice,
        Bug::ExpiryForgetsHold,
        Bug::DenialKeepsHold,
        Bug::CapForgotten,
    ];
}

type Performed = Result<Outcome, StoreError>;

/// Commands that a late revocation waits for.
const LATE_BY: u32 = 6;

/// A store with a bug.
#[derive(Debug)]
pub(crate) struct Planted {
    bug: Bug,
    /// Commands so far: some bugs show now and then.
    commands: u32,
    refunded: Vec<(ReservationId, String)>,
    settled: Vec<ReservationId>,
    revoking: Option<(TokenDigest, u32)>,
    replayed: Option<Arc<StoredResponse>>,
}

impl Planted {
    pub(crate) fn new(bug: Bug) -> Planted {
        Planted {
            bug,
            commands: 0,
            refunded: Vec::new(),
            settled: Vec::new(),
            revoking: None,
            replayed: None,
        }
    }

    pub(crate) fn perform(
        &mut self,
        backend: &Backend,
        command: &Command<'_>,
        now_ms: u64,
    ) -> Performed {
        self.commands += 1;
        if let Some((digest, at)) = self.revoking
            && at <= self.commands
        {
            self.revoking = None;
            let revocation = Administration::RevokeToken { digest: &digest };
            let _ = backend.perform(&Command::Administer(&revocation), now_ms);
        }
        match command {
            Command::Admit(admit) => self.admit(backend, admit, now_ms),
            Command::Settle(settle) => self.settle(backend, settle, now_ms),
            Command::Administer(administration) => self.administer(backend, administration, now_ms),
            _ => backend.perform(command, now_ms),
        }
    }

    fn sometimes(&self) -> bool {
        self.commands.is_multiple_of(3)
    }

    fn admit(&mut self, backend: &Backend, admit: &Admit<'_>, now_ms: u64) -> Performed {
        let perform = |admit: Admit<'_>| backend.perform(&Command::Admit(admit), now_ms);
        match (self.bug, admit.idempotency) {
            (Bug::ClaimForgotten, Idempotency::Key { claim, fingerprint, rule })
                if self.sometimes() =>
            {
                let claim = ClaimKey(claim.0.map(|byte| byte ^ self.commands as u8));
                let idempotency =
                    &Idempotency::Key { claim, fingerprint: *fingerprint, rule: *rule };
                return perform(Admit { idempotency, ..*admit });
            }
            (Bug::KeyStuck, Idempotency::Key { claim, fingerprint, rule }) => {
                let mut rule = *rule;
                rule.retention_ms = rule.retention_ms.saturating_mul(3);
                let idempotency =
                    &Idempotency::Key { claim: *claim, fingerprint: *fingerprint, rule };
                return perform(Admit { idempotency, ..*admit });
            }
            (Bug::ExpiryForgetsHold, _) if admit.charge_rule.on_expiry == OnExpiry::Hold => {
                let charge_rule = &ChargeRule { on_expiry: OnExpiry::Void, ..*admit.charge_rule };
                return perform(Admit { charge_rule, ..*admit });
            }
            _ => {}
        }
        let outcome = perform(*admit)?;
        let Outcome::Admission(admission) = &outcome else { return Ok(outcome) };
        match (self.bug, &admission.verdict) {
            (Bug::LimitOverAdmits, AdmitVerdict::Denied(Denial::RateLimited { .. }))
                if self.sometimes() =>
            {
                let Ok(Outcome::Admission(free)) = perform(Admit { limits: &[], ..*admit }) else {
                    return Ok(outcome);
                };
                let admission = Admission { verdict: free.verdict, ..admission.clone() };
                Ok(Outcome::Admission(admission))
            }
            (Bug::CapForgotten, AdmitVerdict::Denied(Denial::SpendCapExceeded { .. }))
                if self.sometimes() =>
            {
                perform(Admit { charge: None, token_record: None, ..*admit })
            }
            (Bug::ReservationLost, AdmitVerdict::Admitted { reservation: Some(reservation) })
                if self.sometimes() =>
            {
                let finish = &Finish::Void { response: None };
                let settle = Settle { account: admit.account, reservation: *reservation, finish };
                let _ = backend.perform(&Command::Settle(settle), now_ms);
                Ok(outcome)
            }
            (Bug::DenialKeepsHold, AdmitVerdict::Denied(Denial::SenderNotApproved)) => {
                let _ = perform(Admit { sender: None, ..*admit });
                Ok(outcome)
            }
            (Bug::ReplayOfAnother, AdmitVerdict::Replay(response)) => {
                let other = self.replayed.replace(Arc::clone(response));
                let verdict = AdmitVerdict::Replay(other.unwrap_or_else(|| Arc::clone(response)));
                Ok(Outcome::Admission(Admission { verdict, ..admission.clone() }))
            }
            _ => Ok(outcome),
        }
    }

    fn settle(&mut self, backend: &Backend, settle: &Settle<'_>, now_ms: u64) -> Performed {
        let perform = |settle: Settle<'_>| backend.perform(&Command::Settle(settle), now_ms);
        match (self.bug, settle.finish) {
            (Bug::SettlePostsMore, Finish::Settle { amount: Some(amount), response }) => {
                let more = Amount(amount.0.saturating_add(1));
                let finish = &Finish::Settle { amount: Some(more), response: response.clone() };
                // Only where that much is held: else it would be refused, and no money would drift.
                if let Outcome::Settled(_) = perform(Settle { finish, ..*settle })? {
                    return Ok(Outcome::Settled(Settled { posted: Some(*amount) }));
                }
            }
            (Bug::VoidFreesNothing, Finish::Void { response: None }) => {
                let outcome = perform(Settle { finish: &Finish::Unknown, ..*settle })?;
                let quiet = Outcome::Settled(Settled { posted: Some(Amount::ZERO) });
                return Ok(if matches!(outcome, Outcome::Settled(_)) { quiet } else { outcome });
            }
            _ => {}
        }
        let outcome = perform(*settle)?;
        match (self.bug, &outcome) {
            (Bug::StaleSettleTaken, Outcome::Refused(Refusal::StaleFence)) => {
                let found = Administration::NameAccount { account: settle.account };
                let Ok(Outcome::Name(account)) =
                    backend.perform(&Command::Administer(&found), now_ms)
                else {
                    return Ok(outcome);
                };
                let (reservation, finish) = (settle.reservation, settle.finish.clone());
                let word = Administration::Resolve { account: &account, reservation, finish };
                backend.perform(&Command::Administer(&word), now_ms)
            }
            (Bug::SettlePostsTwice, Outcome::Settled(Settled { posted: Some(posted) }))
                if *posted > Amount::ZERO =>
            {
                if self.settled.contains(&settle.reservation) {
                    self.post_again(backend, settle, *posted, now_ms);
                }
                self.settled.push(settle.reservation);
                Ok(outcome)
            }
            _ => Ok(outcome),
        }
    }

    fn post_again(&self, backend: &Backend, settle: &Settle<'_>, posted: Amount, now_ms: u64) {
        let token = TokenDigest::new([7; 32]);
        let limits_only = Admit::limits_only(&token, settle.account, &[]);
        let (on_expiry, lease_ms) = (OnExpiry::Void, 1_000);
        let charge_rule = &ChargeRule { price: None, lease_ms, on_expiry, retention_ms: 1_000 };
        let admit = Admit { charge: Some(posted), charge_rule, ..limits_only };
        let admitted = backend.perform(&Command::Admit(admit), now_ms);
        let Ok(Outcome::Admission(Admission {
            verdict: AdmitVerdict::Admitted { reservation: Some(reservation) },
            ..
        })) = admitted
        else {
            return;
        };
        let finish = &Finish::Settle { amount: None, response: None };
        let again = Settle { account: settle.account, reservation, finish };
        let _ = backend.perform(&Command::Settle(again), now_ms);
    }

    fn administer(
        &mut self,
        backend: &Backend,
        administration: &Administration<'_>,
        now_ms: u64,
    ) -> Performed {
        match (self.bug, administration) {
            (Bug::RevocationLate, Administration::RevokeToken { digest }) => {
                self.revoking = Some((**digest, self.commands + LATE_BY));
                Ok(Outcome::Done)
            }
            (
                Bug::RefundPaidTwice,
                Administration::Refund { account, reservation, amount, reference },
            ) => {
                let mut reference = (*reference).to_owned();
                while self.refunded.contains(&(*reservation, reference.clone())) {
                    reference.push('+');
                }
                let refund = Administration::Refund {
                    account,
                    reservation: *reservation,
                    amount: *amount,
                    reference: &reference,
                };
                let outcome = backend.perform(&Command::Administer(&refund), now_ms)?;
                if matches!(outcome, Outcome::Done) {
                    self.refunded.push((*reservation, reference));
                }
                Ok(outcome)
            }
            _ => backend.perform(&Command::Administer(administration), now_ms),
        }
    }
}
