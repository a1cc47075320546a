//! Accounts: settings, money, claims and reservations, each account behind its own lock.

use alloc::boxed::Box;
use alloc::collections::BinaryHeap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::store::memory::sync::{
    AtomicU64, AtomicUsize, Mutex, MutexGuard, OnceLock, Ordering, RwLock,
};
use hashbrown::HashMap;

use crate::command::AccountSettings;
use crate::ledger::{AccountId, Wallet};
use crate::store::StoreError;
use crate::store::memory::MemoryOptions;
use crate::store::memory::activity::Activity;

const CHUNK: usize = 1024;
const DUE_SHARDS: usize = 16;

/// Slots of accounts, the one that is due first on top.
type DueAccounts = BinaryHeap<Reverse<(u64, u32)>>;

/// All accounts, by slot; slots are given out in order and never taken back.
#[derive(Debug)]
pub(super) struct Accounts {
    /// Chunks are made when they are first needed and never move, so reading one takes no lock.
    chunks: Box<[OnceLock<Box<Chunk>>]>,
    slots: RwLock<HashMap<AccountId, u32>>,
    creation: Mutex<()>,
    max: usize,
    /// Accounts by a time at or before the one at which something in them falls due.
    due: Box<[Mutex<DueAccounts>]>,
    /// How many claims and reservations there are in all accounts.
    pub(super) claims: Count,
    pub(super) reservations: Count,
    /// The most of each in one account.
    pub(super) max_per_account: usize,
}

#[derive(Debug)]
struct Chunk {
    accounts: Box<[OnceLock<Account>]>,
    /// One bit an account: whether it has networks, so that a look-up without them reads no more.
    has_networks: [AtomicU64; CHUNK / 64],
}

#[derive(Debug)]
struct Account {
    id: AccountId,
    /// Changes with every change of its settings or tokens.
    revision: AtomicU64,
    state: Mutex<AccountState>,
}

/// What an account holds.
#[derive(Debug)]
pub(super) struct AccountState {
    pub(super) settings: Arc<AccountSettings>,
    pub(super) wallet: Wallet,
    /// Made with the first claim or charge: most accounts of a large store are idle.
    pub(super) activity: Option<Box<Activity>>,
}

/// A bounded count.
#[derive(Debug)]
pub(super) struct Count {
    what: &'static str,
    now: AtomicUsize,
    max: usize,
}

impl Count {
    fn new(what: &'static str, max: usize) -> Self {
        Count { what, now: AtomicUsize::new(0), max }
    }

    /// Whether there is room for one more, in the store, whose count is yet to be changed by `change`, and
    /// in an account that has `of_account` of them. Threads that ask at once may each add one.
    #[inline]
    pub(super) fn has_room(
        &self,
        change: isize,
        of_account: usize,
        max_per_account: usize,
    ) -> Result<(), StoreError> {
        let now = self.now.load(Ordering::Relaxed).saturating_add_signed(change);
        if now < self.max && of_account < max_per_account {
            return Ok(());
        }
        Err(StoreError::Full { what: self.what })
    }

    #[inline]
    pub(super) fn change(&self, change: isize) {
        if change > 0 {
            self.now.fetch_add(change.unsigned_abs(), Ordering::Relaxed);
        } else if change < 0 {
            self.now.fetch_sub(change.unsigned_abs(), Ordering::Relaxed);
        }
    }
}

impl Accounts {
    pub(super) fn new(options: &MemoryOptions) -> Self {
        let max = options.max_accounts.min(u32::MAX as usize);
        let chunks = core::iter::repeat_with(OnceLock::new).take(max.div_ceil(CHUNK)).collect();
        Accounts {
            chunks,
            slots: RwLock::default(),
            creation: Mutex::default(),
            max,
            due: core::iter::repeat_with(Mutex::default).take(DUE_SHARDS).collect(),
            claims: Count::new("idempotency claims", options.max_claims),
            reservations: Count::new("reservations", options.max_reservations),
            max_per_account: options.max_per_account.min(Activity::MAX),
        }
    }

    /// Held while an account is created, so that two do not create the same one.
    pub(super) fn creation(&self) -> MutexGuard<'_, ()> {
        self.creation.lock()
    }

    pub(super) fn find(&self, id: &AccountId) -> Option<u32> {
        self.slots.read().get(id).copied()
    }

    /// Looks at every account: for operators, not for requests.
    pub(super) fn ids(&self, after: Option<&AccountId>, at_most: usize) -> Vec<AccountId> {
        let slots = self.slots.read();
        let mut ids: Vec<&AccountId> =
            slots.keys().filter(|id| after.is_none_or(|after| *id > after)).collect();
        ids.sort_unstable();
        ids.into_iter().take(at_most).cloned().collect()
    }

    pub(super) fn id(&self, slot: u32) -> Option<AccountId> {
        self.account(slot).map(|account| account.id.clone())
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Mutex<AccountState>> {
        self.account(slot).map(|account| &account.state)
    }

    #[inline]
    fn chunk(&self, slot: u32) -> Option<(&Chunk, usize)> {
        let slot = slot as usize;
        let chunk = self.chunks.get(slot / CHUNK)?.get()?;
        Some((chunk, slot % CHUNK))
    }

    fn account(&self, slot: u32) -> Option<&Account> {
        let (chunk, index) = self.chunk(slot)?;
        chunk.accounts.get(index)?.get()
    }

    #[inline]
    pub(super) fn has_networks(&self, slot: u32) -> bool {
        self.chunk(slot)
            .and_then(|(chunk, index)| chunk.has_networks.get(index / 64).map(|word| (word, index)))
            .is_some_and(|(word, index)| word.load(Ordering::Acquire) & bit(index) != 0)
    }

    /// Says whether an account has networks. Called with its lock held, after the settings are written.
    pub(super) fn mark_networks(&self, slot: u32, has: bool) {
        let Some((chunk, index)) = self.chunk(slot) else { return };
        let Some(word) = chunk.has_networks.get(index / 64) else { return };
        if has {
            word.fetch_or(bit(index), Ordering::AcqRel);
        } else {
            word.fetch_and(!bit(index), Ordering::AcqRel);
        }
    }

    /// Which state of an account's settings and tokens this is.
    pub(super) fn revision(&self, slot: u32) -> u64 {
        self.account(slot).map_or(0, |account| account.revision.load(Ordering::Acquire))
    }

    /// Says that settings or a token were changed. Called after that, with their lock still held.
    pub(super) fn revise(&self, slot: u32) {
        if let Some(account) = self.account(slot) {
            account.revision.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Creates an account. Called with [`creation`](Self::creation) held.
    pub(super) fn create(
        &self,
        id: &AccountId,
        settings: AccountSettings,
        wallet: Wallet,
    ) -> Result<u32, StoreError> {
        let full = StoreError::Full { what: "accounts" };
        let mut slots = self.slots.write();
        let next = slots.len();
        let slot = u32::try_from(next).map_err(|_| full.clone())?;
        let chunk =
            self.chunks.get(next / CHUNK).filter(|_| next < self.max).ok_or(full.clone())?;
        let has_networks = !settings.networks.is_empty();
        let state = AccountState { settings: Arc::new(settings), wallet, activity: None };
        let account =
            Account { id: id.clone(), revision: AtomicU64::new(0), state: Mutex::new(state) };
        let place = chunk.get_or_init(Chunk::empty).accounts.get(next % CHUNK).ok_or(full)?;
        let _ = place.set(account);
        self.mark_networks(slot, has_networks);
        slots.insert(id.clone(), slot);
        Ok(slot)
    }

    /// Notes that something in an account falls due at `due_ms`.
    pub(super) fn register_due(&self, slot: u32, due_ms: u64) {
        if let Some(shard) = self.due.get(slot as usize % DUE_SHARDS) {
            shard.lock().push(Reverse((due_ms, slot)));
        }
    }

    /// The accounts that may have something due, which are no longer noted after this.
    pub(super) fn take_due(&self, now_ms: u64) -> Vec<u32> {
        let mut slots = Vec::new();
        for shard in &self.due {
            let mut shard = shard.lock();
            while let Some(&Reverse((due_ms, slot))) = shard.peek() {
                if due_ms > now_ms {
                    break;
                }
                shard.pop();
                slots.push(slot);
            }
        }
        slots.sort_unstable();
        slots.dedup();
        slots
    }
}

const fn bit(index: usize) -> u64 {
    1 << (index % 64)
}

impl Chunk {
    fn empty() -> Box<Chunk> {
        Box::new(Chunk {
            accounts: core::iter::repeat_with(OnceLock::new).take(CHUNK).collect(),
            has_networks: [const { AtomicU64::new(0) }; CHUNK / 64],
        })
    }
}
