//! An account's records, with cells beside them that other objects keep.

use std::sync::Arc;

use tollgate::transition::{Changes, Due, Records};
use tollgate::{
    AccountId, AccountRef, AccountSettings, Cell, CellKey, Claim, ClaimKey, Reservation,
    ReservationId, Spend, Token, TokenDigest, Wallet,
};

/// What a [`commit`](Records::commit) does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commits {
    /// All changes, but those of cells that are kept elsewhere.
    Own,
    /// Nothing: whoever asks wants to know what would be refused.
    Nothing,
}

/// Records that are `records`, but for some cells.
pub(crate) struct Over<'o, R> {
    pub(crate) records: &'o mut R,
    /// Cells that other objects keep.
    pub(crate) elsewhere: &'o [(CellKey, Option<Cell>)],
    pub(crate) commits: Commits,
}

impl<R> Over<'_, R> {
    fn elsewhere(&self, key: &CellKey) -> Option<Option<Cell>> {
        self.elsewhere.iter().find(|(known, _)| known == key).map(|(_, cell)| *cell)
    }
}

impl<R: Records> Records for Over<'_, R> {
    type Error = R::Error;

    fn cell(&mut self, key: &CellKey) -> Result<Option<Cell>, R::Error> {
        match self.elsewhere(key) {
            Some(cell) => Ok(cell),
            None => self.records.cell(key),
        }
    }

    fn commit(&mut self, changes: Changes<'_>) -> Result<(), R::Error> {
        if self.commits == Commits::Nothing {
            return Ok(());
        }
        let own = |(key, ..): &&(CellKey, Cell, u64)| self.elsewhere(key).is_none();
        let cells: Vec<_> = changes.cells.iter().filter(own).copied().collect();
        self.records.commit(Changes { cells: &cells, ..changes })
    }

    fn find_account(&mut self, id: &AccountId) -> Result<Option<AccountRef>, R::Error> {
        self.records.find_account(id)
    }

    fn account_ids(
        &mut self,
        after: Option<&AccountId>,
        at_most: usize,
    ) -> Result<Vec<AccountId>, R::Error> {
        self.records.account_ids(after, at_most)
    }

    fn account_id(&mut self, account: &AccountRef) -> Result<Option<AccountId>, R::Error> {
        self.records.account_id(account)
    }

    fn token(&mut self, digest: &TokenDigest) -> Result<Option<Arc<Token>>, R::Error> {
        self.records.token(digest)
    }

    fn tokens(&mut self, account: &AccountRef) -> Result<Vec<(TokenDigest, Arc<Token>)>, R::Error> {
        self.records.tokens(account)
    }

    fn settings(&mut self, account: &AccountRef) -> Result<Arc<AccountSettings>, R::Error> {
        self.records.settings(account)
    }

    fn revision(&mut self, account: &AccountRef) -> Result<u64, R::Error> {
        self.records.revision(account)
    }

    fn wallet(&mut self, account: &AccountRef) -> Result<Wallet, R::Error> {
        self.records.wallet(account)
    }

    fn token_spend(
        &mut self,
        account: &AccountRef,
        spends_as: &TokenDigest,
    ) -> Result<Spend, R::Error> {
        self.records.token_spend(account, spends_as)
    }

    fn claim(&mut self, account: &AccountRef, key: &ClaimKey) -> Result<Option<Claim>, R::Error> {
        self.records.claim(account, key)
    }

    fn reservation(
        &mut self,
        account: &AccountRef,
        id: ReservationId,
    ) -> Result<Option<Reservation>, R::Error> {
        self.records.reservation(account, id)
    }

    fn reservations(
        &mut self,
        account: &AccountRef,
    ) -> Result<Vec<(ReservationId, Reservation)>, R::Error> {
        self.records.reservations(account)
    }

    fn due(&mut self, account: &AccountRef, now_ms: u64) -> Result<Option<Due>, R::Error> {
        self.records.due(account, now_ms)
    }

    fn forget(&mut self, account: &AccountRef, due: Due) -> Result<(), R::Error> {
        match self.commits {
            Commits::Own => self.records.forget(account, due),
            Commits::Nothing => Ok(()),
        }
    }
}
