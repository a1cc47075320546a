//! Accounts: settings, money, claims and reservations, each account behind its own lock.

use alloc::boxed::Box;
use alloc::collections::BinaryHeap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::hash::{BuildHasherDefault, Hasher};

use crate::store::memory::sync::{
    AtomicU64, AtomicUsize, Mutex, MutexGuard, OnceLock, Ordering, RwLock,
};
use hashbrown::HashMap;

use crate::command::AccountSettings;
use crate::idempotency::{Claim, ClaimKey};
use crate::ledger::{AccountId, Reservation, ReservationId, Spend, Wallet};
use crate::store::StoreError;
use crate::store::memory::MemoryOptions;
use crate::store::memory::due::DueQueue;
use crate::token::TokenDigest;
use crate::transition::{Due, NEVER_MS};

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

/// The claims, reservations and spend of an account.
#[derive(Debug, Default)]
pub(super) struct Activity {
    pub(super) claims: HashMap<ClaimKey, (Claim, u64)>,
    pub(super) reservations: HashMap<ReservationId, (Reservation, u64)>,
    pub(super) token_spend: HashMap<TokenDigest, Spend, BuildHasherDefault<DigestHasher>>,
    /// At least one entry for each of them, at or before the time it falls due.
    due: DueQueue<Due>,
    /// The earliest time under which this account stands in the store's own list.
    registered_ms: Option<u64>,
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

    /// Whether there is room for one more, in the store and in an account that has `of_account` of them.
    /// Threads that ask at once may each add one.
    pub(super) fn has_room(
        &self,
        of_account: usize,
        max_per_account: usize,
    ) -> Result<(), StoreError> {
        if self.now.load(Ordering::Relaxed) < self.max && of_account < max_per_account {
            return Ok(());
        }
        Err(StoreError::Full { what: self.what })
    }

    pub(super) fn add(&self) {
        self.now.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove(&self) {
        let _ =
            self.now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| now.checked_sub(1));
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
            max_per_account: options.max_per_account,
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

/// Takes eight bytes of a token digest as its hash. Only operators put digests in, of secrets that
/// nobody chose: their bytes are uniform.
#[derive(Debug, Default)]
pub(super) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _: usize) {} // the length of the array, always the same

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Activity {
    /// Notes when an entry falls due that was noted for `before_ms` before. Gives the time under which
    /// the account must be registered with the store, if it is not registered early enough.
    pub(super) fn note_due(
        &mut self,
        before_ms: Option<u64>,
        due_ms: u64,
        due: Due,
    ) -> Option<u64> {
        // What was put off keeps its note, and gets another when that one comes up.
        if due_ms == NEVER_MS || before_ms.is_some_and(|before_ms| before_ms <= due_ms) {
            return None;
        }
        self.due.push(due_ms, due);
        self.drop_stale_notes();
        self.unregistered()
    }

    /// Drops the notes of what is gone when they are the greater part:
    /// else keys that are given up and claimed anew would pile up until each had fallen due.
    fn drop_stale_notes(&mut self) {
        let live = self.claims.len().saturating_add(self.reservations.len());
        if self.due.len() < live.saturating_mul(2).saturating_add(64) {
            return;
        }
        let Activity { claims, reservations, due, .. } = self;
        due.retain(|(noted_ms, due)| {
            let due_ms = match due {
                Due::Claim(key) => claims.get(key).map(|(_, due_ms)| *due_ms),
                Due::Reservation(id) => reservations.get(id).map(|(_, due_ms)| *due_ms),
            };
            due_ms.is_some_and(|due_ms| due_ms != NEVER_MS && due_ms >= *noted_ms)
        });
    }

    /// The time under which the account must be registered, if it is not registered early enough.
    pub(super) fn unregistered(&mut self) -> Option<u64> {
        let (earliest_ms, _) = self.due.first()?;
        if self.registered_ms.is_some_and(|registered_ms| registered_ms <= earliest_ms) {
            return None;
        }
        self.registered_ms = Some(earliest_ms);
        Some(earliest_ms)
    }

    /// The store took the account from its list of those with something due.
    pub(super) fn forget_registration(&mut self) {
        self.registered_ms = None;
    }

    /// The entry that fell due first, at or before `now_ms`.
    pub(super) fn due(&mut self, now_ms: u64) -> Option<Due> {
        while self.due.earliest_ms() <= now_ms {
            let (noted_ms, due) = self.due.first()?;
            if noted_ms > now_ms {
                return None;
            }
            let due_ms = match &due {
                Due::Claim(key) => self.claims.get(key).map(|(_, due_ms)| *due_ms),
                Due::Reservation(id) => self.reservations.get(id).map(|(_, due_ms)| *due_ms),
            };
            match due_ms {
                Some(due_ms) if due_ms <= now_ms => return Some(due),
                // It was put off since it was noted.
                Some(due_ms) => {
                    self.due.pop();
                    if due_ms != NEVER_MS {
                        self.due.push(due_ms, due);
                    }
                }
                None => self.due.pop(),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idempotency::Fingerprint;

    #[test]
    fn notes_of_what_is_gone_do_not_pile_up() {
        let mut activity = Activity::default();
        let fence = ReservationId(1);
        for round in 0..10_000_u64 {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&round.to_be_bytes());
            let key = ClaimKey(bytes);
            let claim = Claim {
                fingerprint: Fingerprint(bytes),
                fence,
                lease_until_ms: 0,
                expires_ms: 1_000_000,
                response: None,
            };
            activity.claims.insert(key, (claim, 1_000_000 + round));
            activity.note_due(None, 1_000_000 + round, Due::Claim(key));
            // Every hundredth stays.
            if round % 100 != 0 {
                activity.claims.remove(&key);
            }
            assert!(activity.due.len() <= 2 * activity.claims.len() + 66);
        }
        let mut found = 0;
        while let Some(due) = activity.due(u64::MAX) {
            let Due::Claim(key) = due else { panic!("{due:?}") };
            activity.claims.remove(&key).unwrap();
            found += 1;
        }
        assert_eq!(found, 100);
    }
}
