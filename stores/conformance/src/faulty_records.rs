//! Records of which one call fails: half of a command was done by then, or none of it.

use std::sync::Arc;

use tollgate::transition::{Changes, Due, Records};
use tollgate::{
    AccountId, AccountRef, AccountSettings, Cell, CellKey, Claim, ClaimKey, Reservation,
    ReservationId, Spend, StoreError, Token, TokenDigest, Wallet,
};

use crate::faults::no_answer;

/// Records whose `nth` call, counted from 0, fails and does nothing; so do all after it.
#[derive(Debug)]
pub struct FaultyRecords<'r, R> {
    records: &'r mut R,
    calls: u64,
    nth: u64,
}

impl<'r, R> FaultyRecords<'r, R> {
    /// Over these records.
    pub fn new(records: &'r mut R, nth: u64) -> Self {
        FaultyRecords { records, calls: 0, nth }
    }

    /// Whether a call has failed.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.calls > self.nth
    }

    fn next(&mut self) -> Result<&mut R, StoreError> {
        self.calls = self.calls.saturating_add(1);
        if self.failed() { Err(no_answer()) } else { Ok(self.records) }
    }
}

impl<R: Records<Error = StoreError>> Records for FaultyRecords<'_, R> {
    type Error = StoreError;

    fn find_account(&mut self, id: &AccountId) -> Result<Option<AccountRef>, StoreError> {
        self.next()?.find_account(id)
    }

    fn account_ids(
        &mut self,
        after: Option<&AccountId>,
        at_most: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        self.next()?.account_ids(after, at_most)
    }

    fn account_id(&mut self, account: &AccountRef) -> Result<Option<AccountId>, StoreError> {
        self.next()?.account_id(account)
    }

    fn token(&mut self, digest: &TokenDigest) -> Result<Option<Arc<Token>>, StoreError> {
        self.next()?.token(digest)
    }

    fn tokens(
        &mut self,
        account: &AccountRef,
    ) -> Result<Vec<(TokenDigest, Arc<Token>)>, StoreError> {
        self.next()?.tokens(account)
    }

    fn cell(&mut self, key: &CellKey) -> Result<Option<Cell>, StoreError> {
        self.next()?.cell(key)
    }

    fn settings(&mut self, account: &AccountRef) -> Result<Arc<AccountSettings>, StoreError> {
        self.next()?.settings(account)
    }

    fn revision(&mut self, account: &AccountRef) -> Result<u64, StoreError> {
        self.next()?.revision(account)
    }

    fn wallet(&mut self, account: &AccountRef) -> Result<Wallet, StoreError> {
        self.next()?.wallet(account)
    }

    fn token_spend(
        &mut self,
        account: &AccountRef,
        spends_as: &TokenDigest,
    ) -> Result<Spend, StoreError> {
        self.next()?.token_spend(account, spends_as)
    }

    fn claim(&mut self, account: &AccountRef, key: &ClaimKey) -> Result<Option<Claim>, StoreError> {
        self.next()?.claim(account, key)
    }

    fn reservation(
        &mut self,
        account: &AccountRef,
        id: ReservationId,
    ) -> Result<Option<Reservation>, StoreError> {
        self.next()?.reservation(account, id)
    }

    fn reservations(
        &mut self,
        account: &AccountRef,
    ) -> Result<Vec<(ReservationId, Reservation)>, StoreError> {
        self.next()?.reservations(account)
    }

    fn due(&mut self, account: &AccountRef, now_ms: u64) -> Result<Option<Due>, StoreError> {
        self.next()?.due(account, now_ms)
    }

    fn forget(&mut self, account: &AccountRef, due: Due) -> Result<(), StoreError> {
        self.next()?.forget(account, due)
    }

    fn commit(&mut self, changes: Changes<'_>) -> Result<(), StoreError> {
        self.next()?.commit(changes)
    }
}
