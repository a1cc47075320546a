//! Bugs that are planted, to show that the checker finds them: records that lie or lose something.

use std::convert::Infallible;
use std::sync::Arc;

use tollgate::transition::{Change, Changes, Due, Records, perform};
use tollgate::{
    AccountId, AccountRef, AccountSettings, Amount, Cell, CellKey, Claim, ClaimKey, Command,
    Outcome, Reservation, ReservationId, ReservationState, Settle, Spend, Token, TokenDigest,
    Wallet,
};

use crate::clock::ms;
use crate::records::View;
use crate::word::{Stored, Word};

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A settlement that is refused frees its key.
    KeyFreedByRefusal,
    /// A settlement frees its key, and keeps no answer.
    AnswerNotKept,
    /// An answer is kept under a key that is another's.
    AnswerOfAnother,
    /// A claim whose lease is over reads as absent.
    OrphanRunAgain,
    /// Holds money without its reservation.
    ReservationLost,
    /// Writes a reservation without holding its money.
    HalfCommitted,
    /// A reservation that is voided gives back a unit too many.
    Drift,
    /// A reservation that ended reads as open.
    EndForgotten,
    /// Whoever settles has the key.
    StaleFenceTaken,
    /// The end of a lease forgets the reservation, and not its money.
    LeaseForgetsMoney,
    /// Nothing ever falls due.
    NeverDue,
    /// Refunds are not remembered.
    RefundsForgotten,
    /// What is held does not count against caps.
    CapNotCounted,
    /// Numbers of reservations are given again.
    NumberGivenAgain,
    /// What an account spends is paid in to the first one.
    SpilledOver,
}

/// Records with a planted bug.
#[derive(Debug)]
pub(crate) struct Flawed<'a> {
    pub(crate) view: View<'a>,
    pub(crate) flaw: Flaw,
    pub(crate) now: u8,
    /// What is being settled by a host.
    settling: Option<ReservationId>,
}

impl<'a> Flawed<'a> {
    pub(crate) fn new(view: View<'a>, flaw: Flaw, now: u8) -> Self {
        Flawed { view, flaw, now, settling: None }
    }

    pub(crate) fn perform(&mut self, command: &Command<'_>) -> Result<Outcome, Infallible> {
        let Command::Settle(Settle { account, reservation, .. }) = command else {
            return perform(self, command, ms(self.now));
        };
        self.settling = Some(*reservation);
        let outcome = perform(self, command, ms(self.now))?;
        if self.flaw == Flaw::KeyFreedByRefusal
            && matches!(outcome, Outcome::Refused(_))
            && let Some(key) =
                self.view.reservation(account, *reservation)?.and_then(|record| record.claim)
        {
            self.view.forget(account, Due::Claim(key))?;
        }
        Ok(outcome)
    }
}

impl Records for Flawed<'_> {
    type Error = Infallible;

    fn find_account(&mut self, id: &AccountId) -> Result<Option<AccountRef>, Infallible> {
        self.view.find_account(id)
    }

    fn account_ids(
        &mut self,
        after: Option<&AccountId>,
        at_most: usize,
    ) -> Result<Vec<AccountId>, Infallible> {
        self.view.account_ids(after, at_most)
    }

    fn account_id(&mut self, account: &AccountRef) -> Result<Option<AccountId>, Infallible> {
        self.view.account_id(account)
    }

    fn token(&mut self, digest: &TokenDigest) -> Result<Option<Arc<Token>>, Infallible> {
        self.view.token(digest)
    }

    fn tokens(
        &mut self,
        account: &AccountRef,
    ) -> Result<Vec<(TokenDigest, Arc<Token>)>, Infallible> {
        self.view.tokens(account)
    }

    fn cell(&mut self, key: &CellKey) -> Result<Option<Cell>, Infallible> {
        self.view.cell(key)
    }

    fn settings(&mut self, account: &AccountRef) -> Result<Arc<AccountSettings>, Infallible> {
        self.view.settings(account)
    }

    fn revision(&mut self, account: &AccountRef) -> Result<u64, Infallible> {
        self.view.revision(account)
    }

    fn wallet(&mut self, account: &AccountRef) -> Result<Wallet, Infallible> {
        self.view.wallet(account)
    }

    fn token_spend(
        &mut self,
        account: &AccountRef,
        spends_as: &TokenDigest,
    ) -> Result<Spend, Infallible> {
        self.view.token_spend(account, spends_as)
    }

    fn claim(&mut self, account: &AccountRef, key: &ClaimKey) -> Result<Option<Claim>, Infallible> {
        let mut claim = self.view.claim(account, key)?;
        match (self.flaw, &mut claim) {
            (Flaw::StaleFenceTaken, Some(claim)) => {
                claim.fence = self.settling.unwrap_or(claim.fence);
            }
            (Flaw::OrphanRunAgain, Some(found))
                if found.response.is_none() && found.lease_until_ms <= ms(self.now) =>
            {
                claim = None;
            }
            _ => {}
        }
        Ok(claim)
    }

    fn reservation(
        &mut self,
        account: &AccountRef,
        id: ReservationId,
    ) -> Result<Option<Reservation>, Infallible> {
        let mut reservation = self.view.reservation(account, id)?;
        let Some(found) = &mut reservation else { return Ok(None) };
        match (self.flaw, &mut found.state) {
            (Flaw::EndForgotten, state @ ReservationState::Posted { .. })
                if self.settling == Some(id) =>
            {
                *state = ReservationState::Held;
            }
            (Flaw::RefundsForgotten, ReservationState::Posted { refunds, .. }) => refunds.clear(),
            (Flaw::LeaseForgetsMoney, ReservationState::Held)
                if found.lease_until_ms <= ms(self.now) =>
            {
                return Ok(None);
            }
            _ => {}
        }
        Ok(reservation)
    }

    fn reservations(
        &mut self,
        account: &AccountRef,
    ) -> Result<Vec<(ReservationId, Reservation)>, Infallible> {
        self.view.reservations(account)
    }

    fn due(&mut self, account: &AccountRef, now_ms: u64) -> Result<Option<Due>, Infallible> {
        if self.flaw == Flaw::NeverDue { Ok(None) } else { self.view.due(account, now_ms) }
    }

    fn forget(&mut self, account: &AccountRef, due: Due) -> Result<(), Infallible> {
        self.view.forget(account, due)
    }

    fn commit(&mut self, mut changes: Changes<'_>) -> Result<(), Infallible> {
        let state = changes.reservation.as_ref().map(|(_, reservation, _)| &reservation.state);
        let admits = state == Some(&ReservationState::Held) && changes.wallet.is_some();
        let voids = matches!(state, Some(ReservationState::Voided { .. }));
        let answers = matches!(&changes.claim, Some((_, Change::Put { record, .. })) if record.response.is_some());
        let before = changes.account.map(|account| self.view.wallet(account)).transpose()?;
        let before = before.unwrap_or_default();
        match (self.flaw, &mut changes) {
            (Flaw::ReservationLost, changes) if admits => changes.reservation = None,
            (Flaw::HalfCommitted, Changes { wallet: Some(wallet), .. }) if admits => {
                *wallet = Wallet { sequence: wallet.sequence, ..before };
            }
            (Flaw::Drift, Changes { wallet: Some(wallet), .. }) if voids => {
                wallet.balance = Amount(wallet.balance.0 + 1);
            }
            (Flaw::CapNotCounted, Changes { wallet: Some(wallet), .. }) if admits => {
                wallet.spend = before.spend;
            }
            (Flaw::NumberGivenAgain, Changes { wallet: Some(wallet), .. }) if admits => {
                wallet.sequence = before.sequence;
            }
            (Flaw::AnswerNotKept, changes) if answers => {
                changes.claim = changes.claim.take().map(|(key, _)| (key, Change::Remove));
            }
            (
                Flaw::AnswerOfAnother,
                Changes { claim: Some((_, Change::Put { record, .. })), .. },
            ) if answers => {
                let another = Stored::Of { number: 0, word: Word::SettleAll };
                record.response = Some(another.response());
            }
            _ => {}
        }
        let account = changes.account;
        self.view.commit(changes)?;
        let first = AccountRef::Slot(0);
        if self.flaw == Flaw::SpilledOver && admits && account != Some(&first) {
            let wallet = self.view.wallet(&first)?;
            let wallet = Some(Wallet { balance: Amount(wallet.balance.0 + 1), ..wallet });
            let account = Some(&first);
            self.view.commit(Changes { account, wallet, ..Changes::default() })?;
        }
        Ok(())
    }
}
