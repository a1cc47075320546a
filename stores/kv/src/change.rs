//! What a command changes, written into its transaction. Bounds are checked before the first change.

use tollgate::transition::{Change, Changes, Due, NEVER_MS};
use tollgate::{
    AccountId, AccountRef, AccountSettings, Claim, ClaimKey, Reservation, ReservationId,
    StoreError, Token, TokenDigest, Wallet,
};

use crate::fault::{Fault, corrupt};
use crate::key;
use crate::map::KvError;
use crate::record::{DueClaim, DueReservation, Head, NumberedToken, Purse};
use crate::view::View;

/// How many tokens are looked through for dead ones when there is room for no more.
const TOKENS_LOOKED_THROUGH: usize = 4_096;

impl View<'_, '_> {
    /// Checks every bound that the changes could meet, before any of them is made.
    pub(crate) fn make_room(&mut self, changes: &Changes<'_>) -> Result<(), Fault> {
        let options = self.options;
        let mut grows = false;
        if changes.new_account.is_some() {
            let accounts = self.writing()?.totals.accounts;
            if u64::from(accounts) >= options.max_accounts || accounts == u32::MAX {
                return Err(Fault::Bound("accounts"));
            }
            grows = true;
        }
        let mut fresh_cells = self.fresh_cells(changes)?;
        while fresh_cells > 0 {
            self.make_room_for_cells(fresh_cells)?;
            grows = true;
            // One of those that made room may be written anew.
            let before = fresh_cells;
            fresh_cells = self.fresh_cells(changes)?;
            if fresh_cells == before {
                break;
            }
        }
        let mut fresh_tokens = 0_u64;
        for (digest, _) in &changes.tokens {
            if !self.has(&key::token(digest))? {
                fresh_tokens = fresh_tokens.saturating_add(1);
                self.make_room_for_tokens(digest, fresh_tokens)?;
                grows = true;
            }
        }
        if let Some(account) = changes.account {
            grows |= self.make_room_in_account(account, changes)?;
        }
        if grows { self.make_room_in_map() } else { Ok(()) }
    }

    fn fresh_cells(&self, changes: &Changes<'_>) -> Result<u64, Fault> {
        let mut fresh = 0_u64;
        for (cell, ..) in changes.cells {
            fresh = fresh.saturating_add(u64::from(!self.has_cell(cell)?));
        }
        Ok(fresh)
    }

    /// Gives whether there will be new records.
    fn make_room_in_account(
        &mut self,
        account: &AccountRef,
        changes: &Changes<'_>,
    ) -> Result<bool, Fault> {
        let Some(number) = self.number(account)? else { return Ok(false) };
        let new_claim = match &changes.claim {
            Some((key, Change::Put { .. })) => self.noted_claim(number, key)?.is_none(),
            _ => false,
        };
        let new_reservation = match &changes.reservation {
            Some((id, ..)) => self.noted_reservation(number, *id)?.is_none(),
            None => false,
        };
        if !new_claim && !new_reservation {
            return Ok(false);
        }
        let options = self.options;
        let most = options.max_per_account;
        let purse = self.purse(number)?.ok_or_else(|| corrupt("an account's money"))?;
        let totals = self.writing()?.totals;
        if new_claim && (purse.claims >= most || totals.claims >= options.max_claims) {
            return Err(Fault::Bound("idempotency claims"));
        }
        let full = purse.reservations >= most || totals.reservations >= options.max_reservations;
        if new_reservation && full {
            return Err(Fault::Bound("reservations"));
        }
        Ok(true)
    }

    fn make_room_in_map(&mut self) -> Result<(), Fault> {
        match self.writing()?.txn.check_room() {
            // Nothing was changed yet, so that the transaction can go on.
            Err(KvError::Store(StoreError::Full { what })) => Err(Fault::Bound(what)),
            checked => Ok(checked?),
        }
    }

    /// Whether there is room for `fresh` more tokens, after dead ones near `digest` are dropped.
    fn make_room_for_tokens(&mut self, digest: &TokenDigest, fresh: u64) -> Result<(), Fault> {
        let most = self.options.max_tokens;
        if self.writing()?.totals.tokens.saturating_add(fresh) <= most {
            return Ok(());
        }
        let (mut dead, mut seen) = (Vec::new(), 0_usize);
        self.each_from(&key::token(digest), |key, bytes| {
            seen = seen.saturating_add(1);
            if key.first() != Some(&key::TOKEN) {
                return Ok(false);
            }
            let found: NumberedToken = crate::record::open(key, bytes, "a token")?;
            let expired = found.token.expires_ms.is_some_and(|until| until <= self.now_ms);
            if let (true, Some(digest)) = (found.token.revoked || expired, key::digest(key)) {
                dead.push((digest, found.number));
            }
            Ok(seen < TOKENS_LOOKED_THROUGH && dead.len() < 16)
        })?;
        for (digest, number) in dead {
            self.delete(&key::token(&digest))?;
            self.delete(&key::token_of(number, &digest))?;
            let totals = &mut self.writing()?.totals;
            totals.tokens = totals.tokens.saturating_sub(1);
        }
        let fits = self.writing()?.totals.tokens.saturating_add(fresh) <= most;
        if fits { Ok(()) } else { Err(Fault::Bound("tokens")) }
    }

    /// Makes the changes, for which there is room.
    pub(crate) fn apply(&mut self, changes: Changes<'_>) -> Result<(), Fault> {
        let Changes { account, new_account, cells, settings, wallet, token_spend, .. } = changes;
        if let Some(new) = new_account {
            let (id, settings, wallet) = *new;
            self.create(id, settings, wallet)?;
        }
        for (key, cell, expires_ms) in cells {
            self.put_cell(key, cell, *expires_ms)?;
        }
        let Some(account) = account else { return Ok(()) };
        let Some(number) = self.number(account)? else { return Ok(()) };
        let revised = settings.is_some() || !changes.tokens.is_empty();
        for (digest, token) in changes.tokens {
            self.put_token(number, &digest, token)?;
        }
        if let Some(settings) = settings {
            let head: Option<Head> = self.get(&key::head(number), "an account's settings")?;
            let Some(Head { id, .. }) = head else { return Ok(()) };
            self.put(&key::head(number), &Head { id, settings: (*settings).clone() })?;
        }
        if revised {
            let revision: Option<u64> =
                self.get(&key::revision(number), "an account's revision")?;
            self.put(&key::revision(number), &revision.unwrap_or(0).wrapping_add(1))?;
        }
        if let Some((digest, spend)) = token_spend {
            self.put(&key::spend(number, &digest), &spend)?;
        }
        if wallet.is_none() && changes.reservation.is_none() && changes.claim.is_none() {
            return Ok(());
        }
        let Some(before) = self.purse(number)? else { return Err(corrupt("an account's money")) };
        let mut purse = before;
        if let Some(wallet) = wallet {
            purse.wallet = wallet;
        }
        if let Some((id, reservation, due_ms)) = changes.reservation {
            self.put_reservation(number, &mut purse, id, reservation, due_ms)?;
        }
        match changes.claim {
            None => {}
            Some((key, Change::Put { record, due_ms })) => {
                self.put_claim(number, &mut purse, &key, record, due_ms)?;
            }
            Some((key, Change::Remove)) => self.remove_claim(number, &mut purse, &key)?,
        }
        if purse != before { self.put_purse(number, &purse) } else { Ok(()) }
    }

    fn create(
        &mut self,
        id: &AccountId,
        settings: AccountSettings,
        wallet: Wallet,
    ) -> Result<(), Fault> {
        let number = self.writing()?.totals.accounts;
        let purse = Purse { wallet, claims: 0, reservations: 0, registered_ms: NEVER_MS };
        self.put(&key::name(id.as_str()), &number)?;
        self.put(&key::head(number), &Head { id: id.clone(), settings })?;
        self.put(&key::revision(number), &0_u64)?;
        self.put_purse(number, &purse)?;
        // Accounts are never removed, so the count of them is the next one's number.
        self.writing()?.totals.accounts = number.saturating_add(1);
        Ok(())
    }

    fn put_token(&mut self, number: u32, digest: &TokenDigest, token: Token) -> Result<(), Fault> {
        let key = key::token(digest);
        if !self.has(&key)? {
            self.put(&key::token_of(number, digest), &())?;
            let totals = &mut self.writing()?.totals;
            totals.tokens = totals.tokens.saturating_add(1);
        }
        self.put(&key, &NumberedToken { number, token })
    }

    fn put_reservation(
        &mut self,
        number: u32,
        purse: &mut Purse,
        id: ReservationId,
        reservation: Reservation,
        due_ms: u64,
    ) -> Result<(), Fault> {
        let before_ms = self.noted_reservation(number, id)?;
        if before_ms.is_none() {
            purse.reservations = purse.reservations.saturating_add(1);
            let totals = &mut self.writing()?.totals;
            totals.reservations = totals.reservations.saturating_add(1);
        }
        let noted_ms = self.note(number, purse, Due::Reservation(id), before_ms, due_ms)?;
        self.memo.reservation = Some((number, id, Some(noted_ms)));
        self.put(&key::reservation(number, id), &DueReservation { reservation, due_ms, noted_ms })
    }

    fn put_claim(
        &mut self,
        number: u32,
        purse: &mut Purse,
        key: &ClaimKey,
        claim: Claim,
        due_ms: u64,
    ) -> Result<(), Fault> {
        let before_ms = self.noted_claim(number, key)?;
        if before_ms.is_none() {
            purse.claims = purse.claims.saturating_add(1);
            let totals = &mut self.writing()?.totals;
            totals.claims = totals.claims.saturating_add(1);
        }
        let noted_ms = self.note(number, purse, Due::Claim(*key), before_ms, due_ms)?;
        self.memo.claim = Some((number, *key, Some(noted_ms)));
        self.put(&key::claim(number, key), &DueClaim { claim, due_ms, noted_ms })
    }

    fn remove_claim(
        &mut self,
        number: u32,
        purse: &mut Purse,
        key: &ClaimKey,
    ) -> Result<(), Fault> {
        let Some(noted_ms) = self.noted_claim(number, key)? else { return Ok(()) };
        self.memo.claim = None;
        self.delete(&key::claim(number, key))?;
        self.unnote(number, Due::Claim(*key), noted_ms)?;
        purse.claims = purse.claims.saturating_sub(1);
        let totals = &mut self.writing()?.totals;
        totals.claims = totals.claims.saturating_sub(1);
        Ok(())
    }

    fn remove_reservation(
        &mut self,
        number: u32,
        purse: &mut Purse,
        id: ReservationId,
    ) -> Result<(), Fault> {
        let Some(noted_ms) = self.noted_reservation(number, id)? else { return Ok(()) };
        self.memo.reservation = None;
        self.delete(&key::reservation(number, id))?;
        self.unnote(number, Due::Reservation(id), noted_ms)?;
        purse.reservations = purse.reservations.saturating_sub(1);
        let totals = &mut self.writing()?.totals;
        totals.reservations = totals.reservations.saturating_sub(1);
        Ok(())
    }

    /// Sees to it that there is an entry at or before `due_ms`, and that the account stands among those
    /// with something due by then. `before_ms` is the time of the entry there is. Gives the time of it.
    fn note(
        &mut self,
        number: u32,
        purse: &mut Purse,
        due: Due,
        before_ms: Option<u64>,
        due_ms: u64,
    ) -> Result<u64, Fault> {
        let before_ms = before_ms.unwrap_or(NEVER_MS);
        if before_ms <= due_ms {
            return Ok(before_ms);
        }
        self.unnote(number, due, before_ms)?;
        self.put(&key::due(number, due_ms, due), &())?;
        if due_ms < purse.registered_ms {
            self.register(number, purse, due_ms)?;
        }
        Ok(due_ms)
    }

    fn unnote(&mut self, number: u32, due: Due, noted_ms: u64) -> Result<(), Fault> {
        if noted_ms != NEVER_MS && !self.delete(&key::due(number, noted_ms, due))? {
            return Err(corrupt("what falls due"));
        }
        Ok(())
    }

    /// Moves the entry of what was put off.
    pub(crate) fn move_note(
        &mut self,
        number: u32,
        due: Due,
        noted_ms: u64,
        due_ms: u64,
    ) -> Result<(), Fault> {
        self.unnote(number, due, noted_ms)?;
        if due_ms != NEVER_MS {
            self.put(&key::due(number, due_ms, due), &())?;
        }
        match due {
            Due::Claim(key) => {
                let found = self.read_claim(number, &key)?;
                let moved = found.map(|found| DueClaim { noted_ms: due_ms, ..found });
                self.memo.claim = None;
                self.put(&key::claim(number, &key), &moved.ok_or_else(lost)?)
            }
            Due::Reservation(id) => {
                let found = self.read_reservation(number, id)?;
                let moved = found.map(|found| DueReservation { noted_ms: due_ms, ..found });
                self.memo.reservation = None;
                self.put(&key::reservation(number, id), &moved.ok_or_else(lost)?)
            }
        }
    }

    /// Moves the account's entry among those with something due.
    pub(crate) fn register(
        &mut self,
        number: u32,
        purse: &mut Purse,
        due_ms: u64,
    ) -> Result<(), Fault> {
        if purse.registered_ms != NEVER_MS {
            self.delete(&key::account_due(purse.registered_ms, number))?;
        }
        if due_ms != NEVER_MS {
            self.put(&key::account_due(due_ms, number), &())?;
        }
        purse.registered_ms = due_ms;
        Ok(())
    }

    /// Removes what fell due.
    pub(crate) fn forget_due(&mut self, account: &AccountRef, due: Due) -> Result<(), Fault> {
        let Some(number) = self.number(account)? else { return Ok(()) };
        let Some(mut purse) = self.purse(number)? else {
            return Err(corrupt("an account's money"));
        };
        match due {
            Due::Claim(key) => self.remove_claim(number, &mut purse, &key)?,
            Due::Reservation(id) => self.remove_reservation(number, &mut purse, id)?,
        }
        self.put_purse(number, &purse)
    }
}

/// An entry that stands for nothing.
fn lost() -> Fault {
    corrupt("what falls due")
}
