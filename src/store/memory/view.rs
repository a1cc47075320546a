//! The records that one command has locked, as `transition` sees them.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::store::memory::sync::MutexGuard;
use arrayvec::ArrayVec;

use crate::command::{AccountSettings, Admit, Token};
use crate::idempotency::{Claim, ClaimKey};
use crate::ledger::{AccountId, AccountRef, Reservation, ReservationId, Spend, Wallet};
use crate::limit::{Cell, CellKey};
use crate::policy::MAX_LIMITS_PER_ROUTE;
use crate::store::StoreError;
use crate::store::memory::MemoryStore;
use crate::store::memory::accounts::AccountState;
use crate::store::memory::cells::CellShard;
use crate::store::memory::slot::Key;
use crate::store::memory::table::Writer;
use crate::store::memory::tokens::{Seen, carried_cell};
use crate::token::TokenDigest;
use crate::transition::{Changes, Due, Records};

mod account;

use account::Counts;

/// What one command has locked: the tokens' writer, then an account, then cells in the order of their shards.
/// What is not locked reads as absent. The token of an admission is only watched: it is locked for the
/// moment of the commit, which finds it as it was seen or is given up.
pub(super) struct View<'s> {
    store: &'s MemoryStore,
    now_ms: u64,
    tokens: Option<MutexGuard<'s, Writer>>,
    seen: Option<Seen>,
    /// Before the account, and so written before it is free: else another command could take back
    /// what is not yet added.
    counts: Counts<'s>,
    account: Option<(u32, MutexGuard<'s, AccountState>)>,
    cells: ArrayVec<(usize, MutexGuard<'s, CellShard>), MAX_LIMITS_PER_ROUTE>,
}

/// Why a command stopped. Nothing was changed.
#[derive(Debug)]
pub(super) enum Interrupted {
    /// The token, or its account, is no longer as it was seen.
    Overtaken,
    /// The store cannot perform it.
    Failed(StoreError),
}

impl From<StoreError> for Interrupted {
    fn from(error: StoreError) -> Self {
        Interrupted::Failed(error)
    }
}

impl From<Interrupted> for StoreError {
    fn from(interrupted: Interrupted) -> Self {
        match interrupted {
            Interrupted::Failed(error) => error,
            // Only admissions watch a token, and they start afresh.
            Interrupted::Overtaken => StoreError::Unavailable { reason: "overtaken".into() },
        }
    }
}

impl<'s> View<'s> {
    pub(super) fn new(store: &'s MemoryStore, now_ms: u64) -> Self {
        View {
            store,
            now_ms,
            tokens: None,
            seen: None,
            account: None,
            counts: Counts::new(&store.accounts),
            cells: ArrayVec::new(),
        }
    }

    /// Keeps others from changing tokens.
    pub(super) fn lock_tokens(&mut self) {
        self.tokens = Some(self.store.tokens.writer());
    }

    /// The token whose admission this is.
    pub(super) fn watch_token(&mut self, digest: &TokenDigest) {
        self.seen = Some(Seen { key: Key::of(digest), tat_ns: None, revision: None });
    }

    /// Looks at the watched token again, after it was found not to be as it was seen. `false` where it no
    /// longer carries the cell that it carried.
    pub(super) fn watch_again(&mut self) -> bool {
        let Some(seen) = &mut self.seen else { return false };
        let carried = seen.tat_ns.is_some();
        seen.revision = None;
        seen.tat_ns = if carried { self.store.tokens.tat_ns(&seen.key) } else { None };
        seen.tat_ns.is_some() == carried
    }

    pub(super) fn lock_account(&mut self, account: &AccountRef) {
        self.account = self
            .slot(account)
            .and_then(|slot| self.store.accounts.get(slot).map(|account| (slot, account.lock())));
    }

    /// Locks the account of a token.
    pub(super) fn lock_account_of(&mut self, digest: &TokenDigest) {
        if let Some(slot) = self.store.tokens.account(digest) {
            self.lock_account(&AccountRef::Slot(slot));
        }
    }

    #[inline]
    fn slot(&self, account: &AccountRef) -> Option<u32> {
        match account {
            AccountRef::Slot(slot) => Some(*slot),
            AccountRef::Id(id) => self.store.accounts.find(id),
        }
    }

    /// Locks the shards of the cells that tokens do not carry.
    pub(super) fn lock_cells(&mut self, admit: &Admit<'_>) {
        let mut shards: ArrayVec<usize, MAX_LIMITS_PER_ROUTE> = ArrayVec::new();
        for limit in admit.limits {
            // Asking also makes tokens carry the first limit that they can.
            let carried = self.store.tokens.carries(limit);
            let key = limit.cell_key(admit.token, admit.account, admit.source);
            if !(carried && self.see_cell(&key).is_some()) {
                let _ = shards.try_push(self.store.cells.shard_of(&key));
            }
        }
        shards.sort_unstable();
        for shard in shards {
            if self.cells.last().is_some_and(|(last, _)| *last == shard) {
                continue;
            }
            self.cells.extend(self.store.cells.lock(shard).map(|guard| (shard, guard)));
        }
    }

    /// The time in a cell that the watched token carries. Once it was seen it stays as it was seen.
    fn see_cell(&mut self, key: &CellKey) -> Option<u64> {
        let tokens = &self.store.tokens;
        let seen = self
            .seen
            .as_mut()
            .filter(|seen| tokens.carrier(key).is_some_and(|carrier| carrier == seen.key))?;
        if seen.tat_ns.is_none() {
            seen.tat_ns = tokens.tat_ns(&seen.key);
        }
        seen.tat_ns
    }

    fn cell_shard(&mut self, key: &CellKey) -> Option<&mut CellShard> {
        let shard = self.store.cells.shard_of(key);
        self.cells.iter_mut().find(|(locked, _)| *locked == shard).map(|(_, guard)| &mut **guard)
    }

    /// The moment from which an admission has happened: its token is as it was seen, and has its count.
    fn confirm_token(&mut self, cells: &[(CellKey, Cell, u64)]) -> Result<(), Interrupted> {
        let Some(seen) = self.seen else { return Ok(()) };
        let carried =
            cells.iter().find(|(key, ..)| self.store.tokens.carrier(key) == Some(seen.key));
        let tat_ns = match carried {
            Some((_, Cell::Gcra(cell), _)) if seen.tat_ns.is_some() => Some(cell.tat_ns),
            _ => None,
        };
        if self.store.tokens.count(&seen, tat_ns, &self.store.accounts) {
            return Ok(());
        }
        Err(Interrupted::Overtaken)
    }

    /// Checks every bound that the changes could meet, before any of them is made.
    fn make_room(&mut self, changes: &Changes<'_>) -> Result<(), StoreError> {
        let now_ms = self.now_ms;
        for (index, (key, ..)) in changes.cells.iter().enumerate() {
            if self.see_cell(key).is_some() {
                continue;
            }
            let same_shard = |other: &CellKey| {
                self.store.cells.shard_of(other) == self.store.cells.shard_of(key)
            };
            let fresh =
                changes.cells.iter().skip(index).filter(|(other, ..)| same_shard(other)).count();
            let Some(shard) = self.cell_shard(key) else { continue };
            if !shard.contains(key) && !shard.has_room(fresh, now_ms) {
                return Err(StoreError::Full { what: "limiter cells" });
            }
        }
        if let Some(writer) = self.tokens.as_mut().filter(|_| !changes.tokens.is_empty()) {
            self.store.tokens.make_room(writer, &changes.tokens, now_ms)?;
        }
        let Some(account) = changes.account else { return Ok(()) };
        self.make_room_in_account(account, changes)
    }
}

impl Records for View<'_> {
    type Error = Interrupted;

    fn find_account(&mut self, id: &AccountId) -> Result<Option<AccountRef>, Interrupted> {
        Ok(self.store.accounts.find(id).map(AccountRef::Slot))
    }

    fn account_ids(
        &mut self,
        after: Option<&AccountId>,
        at_most: usize,
    ) -> Result<Vec<AccountId>, Interrupted> {
        Ok(self.store.accounts.ids(after, at_most))
    }

    fn account_id(&mut self, account: &AccountRef) -> Result<Option<AccountId>, Interrupted> {
        Ok(match account {
            AccountRef::Slot(slot) => self.store.accounts.id(*slot),
            AccountRef::Id(id) => self.store.accounts.find(id).map(|_| id.clone()),
        })
    }

    fn token(&mut self, digest: &TokenDigest) -> Result<Option<Arc<Token>>, Interrupted> {
        let store = self.store;
        Ok(store.tokens.record(digest, |slot| store.accounts.id(slot)))
    }

    fn tokens(
        &mut self,
        account: &AccountRef,
    ) -> Result<Vec<(TokenDigest, Arc<Token>)>, Interrupted> {
        let (AccountRef::Slot(slot), Some(writer)) = (account, &self.tokens) else {
            return Ok(Vec::new());
        };
        Ok(self.store.tokens.of_account(writer, *slot, |slot| self.store.accounts.id(slot)))
    }

    fn cell(&mut self, key: &CellKey) -> Result<Option<Cell>, Interrupted> {
        if let Some(tat_ns) = self.see_cell(key) {
            return Ok(carried_cell(tat_ns));
        }
        let now_ms = self.now_ms;
        Ok(self.cell_shard(key).and_then(|shard| shard.get(key, now_ms)))
    }

    fn settings(&mut self, account: &AccountRef) -> Result<Arc<AccountSettings>, Interrupted> {
        Ok(self.state(account).map(|state| Arc::clone(&state.settings)).unwrap_or_default())
    }

    fn revision(&mut self, account: &AccountRef) -> Result<u64, Interrupted> {
        let revision = self.slot(account).map_or(0, |slot| self.store.accounts.revision(slot));
        if let Some(seen) = &mut self.seen {
            seen.revision = Some(revision);
        }
        Ok(revision)
    }

    fn wallet(&mut self, account: &AccountRef) -> Result<Wallet, Interrupted> {
        Ok(self.state(account).map(|state| state.wallet).unwrap_or_default())
    }

    fn token_spend(
        &mut self,
        account: &AccountRef,
        spends_as: &TokenDigest,
    ) -> Result<Spend, Interrupted> {
        Ok(self.activity(account).map(|activity| activity.spend(spends_as)).unwrap_or_default())
    }

    fn claim(
        &mut self,
        account: &AccountRef,
        key: &ClaimKey,
    ) -> Result<Option<Claim>, Interrupted> {
        Ok(self.activity(account).and_then(|activity| activity.claim(key)).cloned())
    }

    fn reservation(
        &mut self,
        account: &AccountRef,
        id: ReservationId,
    ) -> Result<Option<Reservation>, Interrupted> {
        Ok(self.activity(account).and_then(|activity| activity.reservation(id)).cloned())
    }

    fn reservations(
        &mut self,
        account: &AccountRef,
    ) -> Result<Vec<(ReservationId, Reservation)>, Interrupted> {
        let mut all: Vec<_> = self
            .activity(account)
            .into_iter()
            .flat_map(|activity| activity.iter_reservations())
            .map(|(id, reservation)| (id, reservation.clone()))
            .collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        Ok(all)
    }

    fn due(&mut self, account: &AccountRef, now_ms: u64) -> Result<Option<Due>, Interrupted> {
        Ok(self.activity(account).and_then(|activity| activity.due(now_ms)))
    }

    #[inline]
    fn sweep(
        &mut self,
        account: &AccountRef,
        now_ms: u64,
    ) -> Result<(u64, Option<(ReservationId, Reservation)>), Interrupted> {
        match self.activity(account) {
            Some(activity) if activity.may_be_due(now_ms) => Ok(self.sweep_account(now_ms)),
            _ => Ok((0, None)),
        }
    }

    fn forget(&mut self, account: &AccountRef, due: Due) -> Result<(), Interrupted> {
        self.forget_due(account, due);
        Ok(())
    }

    fn commit(&mut self, mut changes: Changes<'_>) -> Result<(), Interrupted> {
        self.make_room(&changes)?;
        let now_ms = self.now_ms;
        if let Some(new) = changes.new_account.take() {
            let (id, settings, wallet) = *new;
            self.store.accounts.create(id, settings, wallet)?;
        }
        self.confirm_token(changes.cells)?;
        for (key, cell, expires_ms) in changes.cells {
            if self.see_cell(key).is_some() {
                continue; // written already
            }
            if let Some(shard) = self.cell_shard(key) {
                shard.put(*key, *cell, *expires_ms, now_ms);
            }
        }
        let Some(account) = changes.account else { return Ok(()) };
        let tokens = core::mem::take(&mut changes.tokens);
        let slot = if tokens.is_empty() { None } else { self.slot(account) };
        if let (Some(writer), Some(slot)) = (&mut self.tokens, slot) {
            self.store.tokens.put(writer, slot, tokens, &self.store.accounts);
        }
        if let Some((slot, state)) = &mut self.account {
            debug_assert!(
                matches!(account, AccountRef::Id(_)) || *account == AccountRef::Slot(*slot)
            );
            self.counts.apply(*slot, state, &mut changes);
        }
        Ok(())
    }
}
