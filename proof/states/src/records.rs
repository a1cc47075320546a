//! The records of a state, as `tollgate::transition` reads and writes them.

use std::convert::Infallible;
use std::sync::Arc;

use tollgate::transition::{Change, Changes, Due, Records};
use tollgate::{
    AccountId, AccountRef, AccountSettings, Cell, CellKey, Claim, ClaimKey, Reservation,
    ReservationId, Spend, Token, TokenDigest, Wallet,
};

use crate::clock::small;
use crate::names::Names;
use crate::rows::{ClaimRow, Money, ReservationRow, Rows, Tally};
use crate::world::Account;

/// The accounts of a state. Their settings and tokens are the setup's and never change.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) names: &'a Names,
    pub(crate) accounts: &'a mut [Account],
}

impl View<'_> {
    fn rows(&mut self, account: &AccountRef) -> &mut Rows {
        match account {
            AccountRef::Slot(slot) => &mut self.accounts[*slot as usize].rows,
            AccountRef::Id(id) => panic!("{id} is no reference of this store"),
        }
    }
}

fn slot(account: usize) -> AccountRef {
    AccountRef::Slot(u32::try_from(account).unwrap())
}

impl Records for View<'_> {
    type Error = Infallible;

    fn find_account(&mut self, id: &AccountId) -> Result<Option<AccountRef>, Infallible> {
        Ok(self.names.accounts.iter().position(|known| known == id).map(slot))
    }

    fn account_ids(
        &mut self,
        after: Option<&AccountId>,
        at_most: usize,
    ) -> Result<Vec<AccountId>, Infallible> {
        let later = |id: &&AccountId| after.is_none_or(|after| *id > after);
        Ok(self.names.accounts.iter().filter(later).take(at_most).cloned().collect())
    }

    fn account_id(&mut self, account: &AccountRef) -> Result<Option<AccountId>, Infallible> {
        Ok(match account {
            AccountRef::Slot(slot) => self.names.accounts.get(*slot as usize).cloned(),
            AccountRef::Id(_) => None,
        })
    }

    fn token(&mut self, digest: &TokenDigest) -> Result<Option<Arc<Token>>, Infallible> {
        let token = self.names.token(digest);
        Ok(token.map(|number| self.names.tokens[usize::from(number)].1.clone()))
    }

    fn tokens(
        &mut self,
        account: &AccountRef,
    ) -> Result<Vec<(TokenDigest, Arc<Token>)>, Infallible> {
        let id = self.account_id(account)?;
        let of_account =
            |(_, token): &&(TokenDigest, Arc<Token>)| Some(&token.account) == id.as_ref();
        let mut tokens: Vec<_> = self.names.tokens.iter().filter(of_account).cloned().collect();
        tokens.sort_by_key(|(digest, _)| *digest);
        Ok(tokens)
    }

    fn cell(&mut self, _: &CellKey) -> Result<Option<Cell>, Infallible> {
        Ok(None)
    }

    fn settings(&mut self, _: &AccountRef) -> Result<Arc<AccountSettings>, Infallible> {
        Ok(self.names.settings.clone())
    }

    fn revision(&mut self, _: &AccountRef) -> Result<u64, Infallible> {
        Ok(0)
    }

    fn wallet(&mut self, account: &AccountRef) -> Result<Wallet, Infallible> {
        Ok(self.rows(account).money.wallet())
    }

    fn token_spend(
        &mut self,
        account: &AccountRef,
        spends_as: &TokenDigest,
    ) -> Result<Spend, Infallible> {
        let number = self.names.token(spends_as);
        let spend = self.rows(account).token_spend.iter();
        let spend = spend.clone().find(|(token, _)| Some(*token) == number);
        Ok(spend.map(|(_, tally)| tally.spend()).unwrap_or_default())
    }

    fn claim(&mut self, account: &AccountRef, key: &ClaimKey) -> Result<Option<Claim>, Infallible> {
        let (names, key) = (self.names, self.names.key(key));
        Ok(self.rows(account).claim(key).map(|row| row.claim(names)))
    }

    fn reservation(
        &mut self,
        account: &AccountRef,
        id: ReservationId,
    ) -> Result<Option<Reservation>, Infallible> {
        let names = self.names;
        Ok(self.rows(account).reservation(small(id.0)).map(|row| row.reservation(names)))
    }

    fn reservations(
        &mut self,
        account: &AccountRef,
    ) -> Result<Vec<(ReservationId, Reservation)>, Infallible> {
        let names = self.names;
        let rows = self.rows(account).reservations.iter();
        let read =
            |row: &ReservationRow| (ReservationId(u64::from(row.number)), row.reservation(names));
        Ok(rows.map(read).collect())
    }

    fn due(&mut self, account: &AccountRef, now_ms: u64) -> Result<Option<Due>, Infallible> {
        let names = self.names;
        let rows = self.rows(account);
        if !rows.has_due(now_ms) {
            return Ok(None);
        }
        let claims = rows.claims.iter();
        let claims = claims.map(|row| (row.due, Due::Claim(names.keys[usize::from(row.key)])));
        let id = |row: &ReservationRow| ReservationId(u64::from(row.number));
        let reservations = rows.reservations.iter();
        let reservations = reservations.map(|row| (row.due, Due::Reservation(id(row))));
        Ok(claims.chain(reservations).min().map(|(_, due)| due))
    }

    fn forget(&mut self, account: &AccountRef, due: Due) -> Result<(), Infallible> {
        match due {
            Due::Claim(key) => {
                let key = self.names.key(&key);
                self.rows(account).claims.retain(|row| row.key != key);
            }
            Due::Reservation(id) => {
                self.rows(account).reservations.retain(|row| u64::from(row.number) != id.0);
            }
        }
        Ok(())
    }

    fn commit(&mut self, changes: Changes<'_>) -> Result<(), Infallible> {
        let settled = changes.new_account.is_none()
            && changes.settings.is_none()
            && changes.tokens.is_empty()
            && changes.cells.is_empty();
        assert!(settled, "no command of a setup changes {changes:?}");
        let Some(account) = changes.account else { return Ok(()) };
        let names = self.names;
        let rows = self.rows(account);
        if let Some(wallet) = changes.wallet {
            rows.money = Money::of(&wallet);
        }
        if let Some((digest, spend)) = changes.token_spend {
            let token = names.token(&digest).unwrap();
            rows.token_spend.retain(|(number, _)| *number != token);
            rows.token_spend.push((token, Tally::of(&spend)));
            rows.token_spend.sort_unstable_by_key(|(number, _)| *number);
        }
        if let Some((id, reservation, due_ms)) = changes.reservation {
            let row = ReservationRow::of(names, id, &reservation, due_ms);
            rows.reservations.retain(|other| other.number != row.number);
            rows.reservations.push(row);
            rows.reservations.sort_unstable_by_key(|row| row.number);
        }
        if let Some((key, change)) = changes.claim {
            let key = names.key(&key);
            rows.claims.retain(|row| row.key != key);
            if let Change::Put { record, due_ms } = change {
                rows.claims.push(ClaimRow::of(names, key, &record, due_ms));
                rows.claims.sort_unstable_by_key(|row| row.key);
            }
        }
        Ok(())
    }
}
