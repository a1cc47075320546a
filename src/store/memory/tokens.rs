//! Tokens: one cache line each, with what the common path needs.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::store::memory::sync::{AtomicU64, Mutex, MutexGuard, Ordering, RwLock};

use crate::command::{Admission, Admit, Lookup, PlainAdmit, Token};
use crate::limit::{Algorithm, Cell, CellKey, GcraCell, Limit, Partition};
use crate::policy::{ScopeSet, ScopeTable};
use crate::store::memory::accounts::Accounts;
use crate::store::memory::slots::{Slot, Slots};
use crate::token::TokenDigest;
use crate::transition::admit_one_gcra;

const SHARDS: usize = 1024;
/// Accounts are fewer than this.
const NO_ACCOUNT: u32 = u32::MAX;

/// All tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    shards: Box<[Line]>,
    max_per_shard: usize,
    /// Scope lists that plain tokens share.
    scope_lists: RwLock<Vec<Arc<[Box<str>]>>>,
    /// The limit whose cells tokens carry inline: the first per-token GCRA limit that came by.
    inline_limit: AtomicU64,
}

/// A shard on a cache line of its own, wherever the allocation lies: threads that use neighbours do not
/// disturb each other.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line(Mutex<TokenShard>);

const _: () = assert!(cfg!(tollgate_shuttle) || size_of::<usize>() != 8 || size_of::<Line>() == 64);

/// A part of the tokens, by the first bytes of their digests.
#[derive(Debug, Default)]
pub(super) struct TokenShard {
    slots: Slots<TokenSlot>,
    /// Ids of the scope tables that look-ups came with; a slot names one by its position plus one.
    scope_tables: Vec<u64>,
}

/// A token: one cache line, so that finding it, checking it and counting its request is one miss.
#[derive(Debug)]
#[repr(align(64))]
struct TokenSlot {
    digest: TokenDigest,
    /// Its scopes in the bits of the scope table that `scope_table` names.
    scopes: ScopeSet,
    /// Theoretical arrival time of the inline limit; 0 when it is whole.
    tat_ns: u64,
    /// The whole record of a token that is more than an account and scopes.
    record: Option<Arc<Token>>,
    account: u32,
    scope_list: u16,
    revoked: bool,
    /// Which table `scopes` was computed for; 0: none yet.
    scope_table: u8,
}

const _: () = assert!(size_of::<TokenSlot>() == 64);

/// What a look-up found.
pub(super) struct Found {
    pub(super) account: u32,
    pub(super) scopes: ScopeSet,
    pub(super) revoked: bool,
    pub(super) record: Option<Arc<Token>>,
    pub(super) has_networks: bool,
    /// Read under the lock of the token's shard; 0 where the request was admitted at once.
    pub(super) revision: u64,
}

impl Tokens {
    pub(super) fn new(max: usize) -> Self {
        Tokens {
            shards: core::iter::repeat_with(Line::default).take(SHARDS).collect(),
            max_per_shard: max.div_ceil(SHARDS),
            scope_lists: RwLock::default(),
            inline_limit: AtomicU64::new(0),
        }
    }

    pub(super) fn shard_of(digest: &TokenDigest) -> usize {
        usize::from(u16::from_be_bytes([digest.as_bytes()[0], digest.as_bytes()[1]])) % SHARDS
    }

    pub(super) fn lock(&self, shard: usize) -> Option<MutexGuard<'_, TokenShard>> {
        self.shards.get(shard).map(|Line(shard)| shard.lock())
    }

    /// Finds a token, and admits its request at once where the look-up asks for it and one limit, which
    /// the token carries, is all that could hold it back: one lock, one cache line.
    #[inline]
    pub(super) fn look_up(
        &self,
        lookup: &Lookup<'_>,
        now_ms: u64,
        accounts: &Accounts,
    ) -> Option<(Found, Option<Admission>)> {
        let mut shard = self.lock(Self::shard_of(lookup.digest))?;
        let TokenShard { slots, scope_tables } = &mut *shard;
        let slot = find_mut(slots, lookup.digest)?;
        let known = scope_tables.get(usize::from(slot.scope_table).wrapping_sub(1));
        if known == Some(&lookup.scopes.id()) {
            return Some(self.found(slot, lookup, now_ms, accounts));
        }
        let number = shard.number_of(lookup.scopes.id());
        let slot = find_mut(&mut shard.slots, lookup.digest)?;
        slot.scopes = self.scopes_in(slot, lookup.scopes);
        slot.scope_table = number;
        Some(self.found(slot, lookup, now_ms, accounts))
    }

    #[inline]
    fn found(
        &self,
        slot: &mut TokenSlot,
        lookup: &Lookup<'_>,
        now_ms: u64,
        accounts: &Accounts,
    ) -> (Found, Option<Admission>) {
        let mut found = Found {
            account: slot.account,
            scopes: slot.scopes,
            revoked: slot.revoked,
            record: slot.record.clone(),
            has_networks: accounts.has_networks(slot.account),
            revision: 0,
        };
        let admission = match lookup.plain {
            Some(PlainAdmit { granted_by, limits: [limit] })
                if found.is_plain()
                    && granted_by.intersects(found.scopes)
                    && self.carries(limit) =>
            {
                let (admission, tat_ns) = admit_one_gcra(limit, None, slot.tat_ns, now_ms);
                slot.tat_ns = tat_ns;
                Some(admission)
            }
            _ => {
                found.revision = accounts.revision(slot.account);
                None
            }
        };
        (found, admission)
    }

    fn scopes_in(&self, slot: &TokenSlot, table: &ScopeTable) -> ScopeSet {
        match &slot.record {
            Some(record) => table.set(record.scopes.iter().map(|name| &**name)),
            None => table.set(self.scope_list(slot.scope_list).iter().map(|name| &**name)),
        }
    }

    fn scope_list(&self, number: u16) -> Arc<[Box<str>]> {
        self.scope_lists.read().get(usize::from(number)).cloned().unwrap_or_default()
    }

    /// The number of a scope list, which is kept once; `None` when there are too many different ones.
    fn intern(&self, scopes: &[Box<str>]) -> Option<u16> {
        let position = |lists: &Vec<Arc<[Box<str>]>>| {
            lists.iter().position(|list| **list == *scopes).and_then(|at| u16::try_from(at).ok())
        };
        if let Some(number) = position(&self.scope_lists.read()) {
            return Some(number);
        }
        let mut lists = self.scope_lists.write();
        if let Some(number) = position(&lists) {
            return Some(number);
        }
        // Few enough that looking for one stays cheap; tokens with rarer lists keep their own.
        let number = u16::try_from(lists.len()).ok().filter(|number| *number < 1024)?;
        lists.push(scopes.into());
        Some(number)
    }

    /// Whether cells of `limit` are carried by tokens.
    pub(super) fn carries(&self, limit: &Limit) -> bool {
        if limit.partition != Partition::Token || limit.algorithm != Algorithm::Gcra {
            return false;
        }
        let carried = self.inline_limit.load(Ordering::Relaxed);
        carried == limit.id.0
            || carried == 0
                && self
                    .inline_limit
                    .compare_exchange(0, limit.id.0, Ordering::Relaxed, Ordering::Relaxed)
                    .map_or_else(|now| now == limit.id.0, |_| true)
    }

    pub(super) fn carried(&self) -> u64 {
        self.inline_limit.load(Ordering::Relaxed)
    }

    /// The admission of a request that only the limit in its token's slot holds back: one lock, one
    /// cache line. `None` when more is asked.
    pub(super) fn admit_carried(
        &self,
        admit: &Admit<'_>,
        now_ms: u64,
        accounts: &Accounts,
    ) -> Option<Admission> {
        let [limit] = admit.limits else { return None };
        if !admit.asks_limits_only() || !self.carries(limit) {
            return None;
        }
        let mut shard = self.lock(Self::shard_of(admit.token))?;
        let slot = find_mut(&mut shard.slots, admit.token)?;
        if admit.revision.is_some_and(|revision| revision != accounts.revision(slot.account)) {
            return None;
        }
        let (admission, tat_ns) = admit_one_gcra(limit, admit.own_quota(), slot.tat_ns, now_ms);
        slot.tat_ns = tat_ns;
        Some(admission)
    }

    /// The record of a token whose shard is locked.
    pub(super) fn record(
        &self,
        shard: &TokenShard,
        digest: &TokenDigest,
        account_id: impl Fn(u32) -> Option<crate::AccountId>,
    ) -> Option<Arc<Token>> {
        let slot = shard.slots.find(hash_of(digest), |slot| slot.digest == *digest)?;
        self.record_of(slot, account_id)
    }

    fn record_of(
        &self,
        slot: &TokenSlot,
        account_id: impl Fn(u32) -> Option<crate::AccountId>,
    ) -> Option<Arc<Token>> {
        if let Some(record) = &slot.record {
            return Some(Arc::clone(record));
        }
        let scopes = self.scope_list(slot.scope_list).to_vec();
        let account = account_id(slot.account)?;
        Some(Arc::new(Token { revoked: slot.revoked, ..Token::plain(account, scopes) }))
    }

    /// All tokens of an account, sorted. Reads every slot: for operators, not for requests.
    pub(super) fn of_account(
        &self,
        account: u32,
        account_id: impl Fn(u32) -> Option<crate::AccountId>,
    ) -> Vec<(TokenDigest, Arc<Token>)> {
        let mut tokens = Vec::new();
        for Line(shard) in &self.shards {
            for slot in shard.lock().slots.iter().filter(|slot| slot.account == account) {
                tokens.extend(self.record_of(slot, &account_id).map(|token| (slot.digest, token)));
            }
        }
        tokens.sort_unstable_by_key(|(digest, _)| *digest);
        tokens
    }

    /// Whether `fresh` new tokens fit into a locked shard, after dead ones are dropped.
    pub(super) fn has_room(&self, shard: &mut TokenShard, fresh: usize, now_ms: u64) -> bool {
        if shard.slots.len().saturating_add(fresh) > self.max_per_shard {
            shard.slots.retain(|slot| {
                let expired = slot.record.as_ref().and_then(|record| record.expires_ms);
                !slot.revoked && expired.is_none_or(|expires_ms| expires_ms > now_ms)
            });
        }
        shard.slots.len().saturating_add(fresh) <= self.max_per_shard
    }

    /// Writes a token into its locked shard.
    pub(super) fn put(
        &self,
        shard: &mut TokenShard,
        digest: TokenDigest,
        account: u32,
        token: Token,
    ) {
        let list = if token.is_restricted() { None } else { self.intern(&token.scopes) };
        let revoked = token.revoked;
        let (scope_list, record) = match list {
            Some(number) => (number, None),
            None => (0, Some(Arc::new(token))),
        };
        let hash = hash_of(&digest);
        match shard.slots.find_mut(hash, |slot| slot.digest == digest) {
            Some(slot) => {
                *slot = TokenSlot {
                    digest,
                    tat_ns: slot.tat_ns,
                    record,
                    scope_list,
                    revoked,
                    account,
                    ..TokenSlot::EMPTY
                };
            }
            None => {
                let slot =
                    TokenSlot { digest, record, scope_list, revoked, account, ..TokenSlot::EMPTY };
                shard.slots.insert(slot);
            }
        }
    }
}

impl Found {
    fn is_plain(&self) -> bool {
        !self.revoked && !self.has_networks && self.record.is_none()
    }
}

impl Slot for TokenSlot {
    const EMPTY: TokenSlot = TokenSlot {
        digest: TokenDigest::new([0; 32]),
        scopes: ScopeSet(0),
        tat_ns: 0,
        record: None,
        account: NO_ACCOUNT,
        scope_list: 0,
        revoked: false,
        scope_table: 0,
    };

    fn is_empty(&self) -> bool {
        self.account == NO_ACCOUNT
    }

    fn hash(&self) -> u64 {
        hash_of(&self.digest)
    }
}

impl TokenShard {
    /// The number of a scope table in this shard, from 1. When there have been too many, numbering
    /// starts over, and every slot computes its scopes anew when it is next looked up.
    fn number_of(&mut self, id: u64) -> u8 {
        if let Some(position) = self.scope_tables.iter().position(|known| *known == id) {
            return u8::try_from(position.saturating_add(1)).unwrap_or(0);
        }
        if self.scope_tables.len() >= usize::from(u8::MAX) {
            self.scope_tables.clear();
            self.slots.iter_mut().for_each(|slot| slot.scope_table = 0);
        }
        self.scope_tables.push(id);
        u8::try_from(self.scope_tables.len()).unwrap_or(0)
    }

    pub(super) fn contains(&self, digest: &TokenDigest) -> bool {
        self.slots.find(hash_of(digest), |slot| slot.digest == *digest).is_some()
    }

    pub(super) fn cell(&self, key: &CellKey) -> Option<Cell> {
        let digest = TokenDigest::new(key.partition);
        let slot = self.slots.find(hash_of(&digest), |slot| slot.digest == digest)?;
        (slot.tat_ns != 0).then_some(Cell::Gcra(GcraCell { tat_ns: slot.tat_ns }))
    }

    pub(super) fn put_cell(&mut self, key: &CellKey, cell: &Cell) {
        let digest = TokenDigest::new(key.partition);
        if let (Some(slot), Cell::Gcra(cell)) = (find_mut(&mut self.slots, &digest), cell) {
            slot.tat_ns = cell.tat_ns;
        }
    }
}

fn find_mut<'s>(
    slots: &'s mut Slots<TokenSlot>,
    digest: &TokenDigest,
) -> Option<&'s mut TokenSlot> {
    slots.find_mut(hash_of(digest), |slot| slot.digest == *digest)
}

/// Digests are uniform, and nobody but an operator puts one in: eight of their bytes are the hash.
fn hash_of(digest: &TokenDigest) -> u64 {
    let [_, _, a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_tables_are_numbered_anew_after_many_reloads() {
        let tokens = Tokens::new(1 << 20);
        let accounts = Accounts::new(&crate::MemoryOptions::default());
        let digest = TokenDigest::new([7; 32]);
        let account = crate::AccountId::new("acme").unwrap();
        let shard = Tokens::shard_of(&digest);
        let token = Token::plain(account, alloc::vec!["pay".into()]);
        tokens.put(&mut tokens.lock(shard).unwrap(), digest, 0, token);
        for reload in 0..1_000 {
            // Another scope before it moves the bit of `pay`.
            let names = [alloc::format!("a{reload}").into(), Box::from("pay")];
            let table = ScopeTable::new(names.into_iter().skip(reload % 2));
            for _ in 0..2 {
                let lookup = Lookup { digest: &digest, scopes: &table, plain: None };
                let (found, _) = tokens.look_up(&lookup, 0, &accounts).unwrap();
                assert_eq!(table.names_in(found.scopes).collect::<Vec<_>>(), ["pay"]);
            }
            let shard = tokens.lock(shard).unwrap();
            assert!(shard.scope_tables.len() <= 255);
            assert!(shard.slots.iter().all(|slot| slot.scope_table > 0), "looked up without work");
        }
    }
}
