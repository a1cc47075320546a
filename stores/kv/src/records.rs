//! The records of one transaction, as `transition` reads them.

use std::sync::Arc;

use tollgate::transition::{Changes, Due, Records};
use tollgate::{
    AccountId, AccountRef, AccountSettings, Cell, CellKey, Claim, ClaimKey, Reservation,
    ReservationId, Spend, Token, TokenDigest, Wallet,
};

use crate::fault::{Fault, corrupt};
use crate::key;
use crate::record::{DueReservation, ExpiringCell, NumberedToken};
use crate::view::{KEPT_MS, View};

impl Records for View<'_, '_> {
    type Error = Fault;

    fn find_account(&mut self, id: &AccountId) -> Result<Option<AccountRef>, Fault> {
        Ok(self.number_of(id)?.map(AccountRef::Slot))
    }

    fn account_ids(
        &mut self,
        after: Option<&AccountId>,
        at_most: usize,
    ) -> Result<Vec<AccountId>, Fault> {
        self.account_names(after, at_most)
    }

    fn account_id(&mut self, account: &AccountRef) -> Result<Option<AccountId>, Fault> {
        let Some(number) = self.number(account)? else { return Ok(None) };
        Ok(self.head(number)?.map(|head| head.id))
    }

    fn token(&mut self, digest: &TokenDigest) -> Result<Option<Arc<Token>>, Fault> {
        let found: Option<NumberedToken> = self.get(&key::token(digest), "a token")?;
        let Some(NumberedToken { number, token }) = found else { return Ok(None) };
        self.hint = Some((token.account.clone(), number));
        Ok(Some(Arc::new(token)))
    }

    fn tokens(&mut self, account: &AccountRef) -> Result<Vec<(TokenDigest, Arc<Token>)>, Fault> {
        let Some(number) = self.number(account)? else { return Ok(Vec::new()) };
        let mut tokens = Vec::new();
        for (key, ()) in self.all(&key::tokens(number), "an account's tokens")? {
            let digest = key::digest(&key).ok_or_else(|| corrupt("an account's tokens"))?;
            let token = self.token(&digest)?.ok_or_else(|| corrupt("a token"))?;
            tokens.push((digest, token));
        }
        Ok(tokens)
    }

    fn cell(&mut self, key: &CellKey) -> Result<Option<Cell>, Fault> {
        let cell: Option<ExpiringCell> = self.get(&key::cell(key), "a limit's count")?;
        let _ = self.memo.cells.try_push((*key, cell.is_some()));
        // What is answered does not hang on whether it was reclaimed yet.
        let kept = |cell: &ExpiringCell| cell.expires_ms.saturating_add(KEPT_MS) > self.now_ms;
        Ok(cell.filter(kept).map(|cell| cell.cell))
    }

    fn settings(&mut self, account: &AccountRef) -> Result<Arc<AccountSettings>, Fault> {
        let Some(number) = self.number(account)? else { return Ok(Arc::default()) };
        Ok(self.head(number)?.map(|head| Arc::new(head.settings)).unwrap_or_default())
    }

    fn revision(&mut self, account: &AccountRef) -> Result<u64, Fault> {
        let read =
            |view: &mut Self, number| view.get(&key::revision(number), "an account's revision");
        Ok(self.of_account(account, "an account's revision", read)?.unwrap_or(0))
    }

    fn wallet(&mut self, account: &AccountRef) -> Result<Wallet, Fault> {
        let purse = self.of_account(account, "an account's money", Self::purse)?;
        Ok(purse.map(|purse| purse.wallet).unwrap_or_default())
    }

    fn token_spend(
        &mut self,
        account: &AccountRef,
        spends_as: &TokenDigest,
    ) -> Result<Spend, Fault> {
        let Some(number) = self.number(account)? else { return Ok(Spend::default()) };
        let spend = self.get(&key::spend(number, spends_as), "what a token spent")?;
        Ok(spend.unwrap_or_default())
    }

    fn claim(&mut self, account: &AccountRef, key: &ClaimKey) -> Result<Option<Claim>, Fault> {
        let Some(number) = self.number(account)? else { return Ok(None) };
        Ok(self.read_claim(number, key)?.map(|found| found.claim))
    }

    fn reservation(
        &mut self,
        account: &AccountRef,
        id: ReservationId,
    ) -> Result<Option<Reservation>, Fault> {
        let Some(number) = self.number(account)? else { return Ok(None) };
        Ok(self.read_reservation(number, id)?.map(|found| found.reservation))
    }

    fn reservations(
        &mut self,
        account: &AccountRef,
    ) -> Result<Vec<(ReservationId, Reservation)>, Fault> {
        let Some(number) = self.number(account)? else { return Ok(Vec::new()) };
        let all = self.all::<DueReservation>(&key::reservations(number), "a reservation")?;
        all.into_iter()
            .map(|(key, found)| match key::reservation_id(&key) {
                Some(id) => Ok((id, found.reservation)),
                None => Err(corrupt("a reservation")),
            })
            .collect()
    }

    fn due(&mut self, account: &AccountRef, now_ms: u64) -> Result<Option<Due>, Fault> {
        let Some(number) = self.number(account)? else { return Ok(None) };
        self.first_due(number, now_ms)
    }

    fn forget(&mut self, account: &AccountRef, due: Due) -> Result<(), Fault> {
        self.forget_due(account, due)
    }

    fn commit(&mut self, changes: Changes<'_>) -> Result<(), Fault> {
        self.make_room(&changes)?;
        self.apply(changes)
    }
}
