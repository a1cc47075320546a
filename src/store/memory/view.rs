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
use crate::store::memory::tokens::{TokenShard, Tokens};
use crate::token::TokenDigest;
use crate::transition::{Changes, Due, Records};

mod account;

use account::Counts;

/// What one command has locked: tokens, then an account, then cells, each group in the order of its
/// shards. What is not locked reads as absent.
pub(super) struct View<'s> {
    store: &'s MemoryStore,
    now_ms: u64,
    tokens: ArrayVec<(usize, MutexGuard<'s, TokenShard>), 2>,
    /// Before the account, and so written before it is free: else another command could take back
    /// what is not yet added.
    counts: Counts<'s>,
    account: Option<(u32, MutexGuard<'s, AccountState>)>,
    cells: ArrayVec<(usize, MutexGuard<'s, CellShard>), MAX_LIMITS_PER_ROUTE>,
}

impl<'s> View<'s> {
    pub(super) fn new(store: &'s MemoryStore, now_ms: u64) -> Self {
        View {
            store,
            now_ms,
            tokens: ArrayVec::new(),
            account: None,
            counts: Counts::new(&store.accounts),
            cells: ArrayVec::new(),
        }
    }

    /// Locks the shards of at most two tokens.
    pub(super) fn lock_tokens(&mut self, digests: &[&TokenDigest]) {
        let mut shards: ArrayVec<usize, 2> =
            digests.iter().take(2).map(|digest| Tokens::shard_of(digest)).collect();
        shards.sort_unstable();
        for shard in shards {
            if self.tokens.last().is_some_and(|(last, _)| *last == shard) {
                continue;
            }
            self.tokens.extend(self.store.tokens.lock(shard).map(|guard| (shard, guard)));
        }
    }

    pub(super) fn lock_account(&mut self, account: &AccountRef) {
        let slot = match account {
            AccountRef::Slot(slot) => Some(*slot),
            AccountRef::Id(id) => self.store.accounts.find(id),
        };
        self.account = slot
            .and_then(|slot| self.store.accounts.get(slot).map(|account| (slot, account.lock())));
    }

    /// Locks the shards of the cells that tokens do not carry.
    pub(super) fn lock_cells(&mut self, admit: &Admit<'_>) {
        let mut shards: ArrayVec<usize, MAX_LIMITS_PER_ROUTE> = ArrayVec::new();
        for limit in admit.limits {
            // Asking also makes tokens carry the first limit that they can.
            let carried = self.store.tokens.carries(limit);
            let key = limit.cell_key(admit.token, admit.account, admit.source);
            if !(carried && self.token_shard(&key).is_some()) {
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

    /// The locked shard of the token that carries this cell.
    fn token_shard(&mut self, key: &CellKey) -> Option<&mut TokenShard> {
        if key.limit.0 != self.store.tokens.carried() {
            return None;
        }
        let digest = TokenDigest::new(key.partition);
        self.shard_of_token(&digest).filter(|shard| shard.contains(&digest))
    }

    fn shard_of_token(&mut self, digest: &TokenDigest) -> Option<&mut TokenShard> {
        let shard = Tokens::shard_of(digest);
        self.tokens.iter_mut().find(|(locked, _)| *locked == shard).map(|(_, guard)| &mut **guard)
    }

    fn cell_shard(&mut self, key: &CellKey) -> Option<&mut CellShard> {
        let shard = self.store.cells.shard_of(key);
        self.cells.iter_mut().find(|(locked, _)| *locked == shard).map(|(_, guard)| &mut **guard)
    }

    /// Checks every bound that the changes could meet, before any of them is made.
    fn make_room(&mut self, changes: &Changes<'_>) -> Result<(), StoreError> {
        let now_ms = self.now_ms;
        for (index, (key, ..)) in changes.cells.iter().enumerate() {
            if self.token_shard(key).is_some() {
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
        for (digest, _) in &changes.tokens {
            let store = self.store;
            let Some(shard) = self.shard_of_token(digest) else { continue };
            let fresh = changes.tokens.len();
            if !shard.contains(digest) && !store.tokens.has_room(shard, fresh, now_ms) {
                return Err(StoreError::Full { what: "tokens" });
            }
        }
        let Some(account) = changes.account else { return Ok(()) };
        self.make_room_in_account(account, changes)
    }
}

impl Records for View<'_> {
    type Error = StoreError;

    fn find_account(&mut self, id: &AccountId) -> Result<Option<AccountRef>, StoreError> {
        Ok(self.store.accounts.find(id).map(AccountRef::Slot))
    }

    fn account_ids(
        &mut self,
        after: Option<&AccountId>,
        at_most: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        Ok(self.store.accounts.ids(after, at_most))
    }

    fn account_id(&mut self, account: &AccountRef) -> Result<Option<AccountId>, StoreError> {
        Ok(match account {
            AccountRef::Slot(slot) => self.store.accounts.id(*slot),
            AccountRef::Id(id) => self.store.accounts.find(id).map(|_| id.clone()),
        })
    }

    fn token(&mut self, digest: &TokenDigest) -> Result<Option<Arc<Token>>, StoreError> {
        let store = self.store;
        Ok(self
            .shard_of_token(digest)
            .and_then(|shard| store.tokens.record(shard, digest, |slot| store.accounts.id(slot))))
    }

    fn tokens(
        &mut self,
        account: &AccountRef,
    ) -> Result<Vec<(TokenDigest, Arc<Token>)>, StoreError> {
        let AccountRef::Slot(slot) = account else { return Ok(Vec::new()) };
        Ok(self.store.tokens.of_account(*slot, |slot| self.store.accounts.id(slot)))
    }

    fn cell(&mut self, key: &CellKey) -> Result<Option<Cell>, StoreError> {
        if let Some(shard) = self.token_shard(key) {
            return Ok(shard.cell(key));
        }
        let now_ms = self.now_ms;
        Ok(self.cell_shard(key).and_then(|shard| shard.get(key, now_ms)))
    }

    fn settings(&mut self, account: &AccountRef) -> Result<Arc<AccountSettings>, StoreError> {
        Ok(self.state(account).map(|state| Arc::clone(&state.settings)).unwrap_or_default())
    }

    fn revision(&mut self, account: &AccountRef) -> Result<u64, StoreError> {
        let slot = match account {
            AccountRef::Slot(slot) => Some(*slot),
            AccountRef::Id(id) => self.store.accounts.find(id),
        };
        Ok(slot.map_or(0, |slot| self.store.accounts.revision(slot)))
    }

    fn wallet(&mut self, account: &AccountRef) -> Result<Wallet, StoreError> {
        Ok(self.state(account).map(|state| state.wallet).unwrap_or_default())
    }

    fn token_spend(
        &mut self,
        account: &AccountRef,
        spends_as: &TokenDigest,
    ) -> Result<Spend, StoreError> {
        Ok(self.activity(account).map(|activity| activity.spend(spends_as)).unwrap_or_default())
    }

    fn claim(&mut self, account: &AccountRef, key: &ClaimKey) -> Result<Option<Claim>, StoreError> {
        Ok(self.activity(account).and_then(|activity| activity.claim(key)).cloned())
    }

    fn reservation(
        &mut self,
        account: &AccountRef,
        id: ReservationId,
    ) -> Result<Option<Reservation>, StoreError> {
        Ok(self.activity(account).and_then(|activity| activity.reservation(id)).cloned())
    }

    fn reservations(
        &mut self,
        account: &AccountRef,
    ) -> Result<Vec<(ReservationId, Reservation)>, StoreError> {
        let mut all: Vec<_> = self
            .activity(account)
            .into_iter()
            .flat_map(|activity| activity.iter_reservations())
            .map(|(id, reservation)| (id, reservation.clone()))
            .collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        Ok(all)
    }

    fn due(&mut self, account: &AccountRef, now_ms: u64) -> Result<Option<Due>, StoreError> {
        Ok(self.activity(account).and_then(|activity| activity.due(now_ms)))
    }

    #[inline]
    fn sweep(
        &mut self,
        account: &AccountRef,
        now_ms: u64,
    ) -> Result<(u64, Option<(ReservationId, Reservation)>), StoreError> {
        match self.activity(account) {
            Some(activity) if activity.may_be_due(now_ms) => Ok(self.sweep_account(now_ms)),
            _ => Ok((0, None)),
        }
    }

    fn forget(&mut self, account: &AccountRef, due: Due) -> Result<(), StoreError> {
        self.forget_due(account, due);
        Ok(())
    }

    fn commit(&mut self, mut changes: Changes<'_>) -> Result<(), StoreError> {
        self.make_room(&changes)?;
        let now_ms = self.now_ms;
        if let Some(new) = changes.new_account.take() {
            let (id, settings, wallet) = *new;
            self.store.accounts.create(id, settings, wallet)?;
        }
        for (key, cell, expires_ms) in changes.cells {
            if let Some(shard) = self.token_shard(key) {
                shard.put_cell(key, cell);
            } else if let Some(shard) = self.cell_shard(key) {
                shard.put(*key, *cell, *expires_ms, now_ms);
            }
        }
        let Some(account) = changes.account else { return Ok(()) };
        for (digest, token) in core::mem::take(&mut changes.tokens) {
            let store = self.store;
            let Some(AccountRef::Slot(slot)) = self.find_account(&token.account)? else { continue };
            if let Some(shard) = self.shard_of_token(&digest) {
                store.tokens.put(shard, digest, slot, token);
                store.accounts.revise(slot);
            }
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
