//! The smallest records: one account, one token, one limiter cell.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::convert::Infallible;

use tollgate::transition::{Changes, Due, Records};
use tollgate::{
    AccountId, AccountRef, AccountSettings, Cell, CellKey, Claim, ClaimKey, Reservation,
    ReservationId, Spend, Token, TokenDigest, Wallet,
};

pub struct OneToken {
    account: AccountId,
    digest: TokenDigest,
    token: Arc<Token>,
    cell: Option<(CellKey, Cell)>,
}

impl OneToken {
    pub fn new(digest: TokenDigest, scope: &str) -> Self {
        let Ok(account) = AccountId::new("acme") else { unreachable!() };
        let token = Arc::new(Token::plain(account.clone(), alloc::vec![scope.into()]));
        OneToken { account, digest, token, cell: None }
    }
}

impl Records for OneToken {
    type Error = Infallible;

    fn find_account(&mut self, id: &AccountId) -> Result<Option<AccountRef>, Infallible> {
        Ok((*id == self.account).then_some(AccountRef::Slot(0)))
    }

    fn account_ids(
        &mut self,
        _: Option<&AccountId>,
        _: usize,
    ) -> Result<Vec<AccountId>, Infallible> {
        Ok(alloc::vec![self.account.clone()])
    }

    fn account_id(&mut self, _: &AccountRef) -> Result<Option<AccountId>, Infallible> {
        Ok(Some(self.account.clone()))
    }

    fn token(&mut self, digest: &TokenDigest) -> Result<Option<Arc<Token>>, Infallible> {
        Ok((*digest == self.digest).then(|| Arc::clone(&self.token)))
    }

    fn tokens(&mut self, _: &AccountRef) -> Result<Vec<(TokenDigest, Arc<Token>)>, Infallible> {
        Ok(alloc::vec![(self.digest, Arc::clone(&self.token))])
    }

    fn cell(&mut self, key: &CellKey) -> Result<Option<Cell>, Infallible> {
        Ok(self.cell.filter(|(known, _)| known == key).map(|(_, cell)| cell))
    }

    fn settings(&mut self, _: &AccountRef) -> Result<Arc<AccountSettings>, Infallible> {
        Ok(Arc::default())
    }

    fn revision(&mut self, _: &AccountRef) -> Result<u64, Infallible> {
        Ok(0)
    }

    fn wallet(&mut self, _: &AccountRef) -> Result<Wallet, Infallible> {
        Ok(Wallet::default())
    }

    fn token_spend(&mut self, _: &AccountRef, _: &TokenDigest) -> Result<Spend, Infallible> {
        Ok(Spend::default())
    }

    fn claim(&mut self, _: &AccountRef, _: &ClaimKey) -> Result<Option<Claim>, Infallible> {
        Ok(None)
    }

    fn reservation(
        &mut self,
        _: &AccountRef,
        _: ReservationId,
    ) -> Result<Option<Reservation>, Infallible> {
        Ok(None)
    }

    fn reservations(
        &mut self,
        _: &AccountRef,
    ) -> Result<Vec<(ReservationId, Reservation)>, Infallible> {
        Ok(Vec::new())
    }

    fn due(&mut self, _: &AccountRef, _: u64) -> Result<Option<Due>, Infallible> {
        Ok(None)
    }

    fn forget(&mut self, _: &AccountRef, _: Due) -> Result<(), Infallible> {
        Ok(())
    }

    fn commit(&mut self, changes: Changes<'_>) -> Result<(), Infallible> {
        if let Some((key, cell, _)) = changes.cells.first() {
            self.cell = Some((*key, *cell));
        }
        Ok(())
    }
}
