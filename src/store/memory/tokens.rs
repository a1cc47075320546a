//! Tokens: one cache line each, with what the common path needs.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::command::{Admission, Admit, Lookup, PlainAdmission, PlainAdmit, Token};
use crate::ledger::{AccountId, AccountRef};
use crate::limit::{Algorithm, Cell, CellKey, GcraCell, Limit, Partition};
use crate::policy::{ScopeSet, ScopeTable};
use crate::store::StoreError;
use crate::store::memory::accounts::Accounts;
use crate::store::memory::records::TokenRecords;
use crate::store::memory::slot::{Contents, Key, Locked, MAX_NUMBER, Rest};
use crate::store::memory::sync::{AtomicU64, Mutex, MutexGuard, Ordering, RwLock};
use crate::store::memory::table::{Table, Writer};
use crate::token::TokenDigest;
use crate::transition::admit_one_gcra;

/// Different scope lists that tokens share; those with rarer lists keep their own.
const MAX_SCOPE_LISTS: usize = 1024;

/// All tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    table: Table,
    /// The limit whose cells tokens carry: the first per-token GCRA limit that came by.
    carried: AtomicU64,
    max: usize,
    writer: Mutex<Writer>,
    records: TokenRecords,
    /// Scope lists that plain tokens share.
    scope_lists: RwLock<Vec<Arc<[Box<str>]>>>,
}

/// What a look-up found.
pub(super) struct Found {
    pub(super) account: u32,
    pub(super) scopes: ScopeSet,
    pub(super) revoked: bool,
    pub(super) record: Option<Arc<Token>>,
    pub(super) has_networks: bool,
    /// Read while the token was locked.
    pub(super) revision: u64,
}

/// The token of an admission, as it stood when it was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) key: Key,
    /// The carried cell, where it was asked for.
    pub(super) tat_ns: Option<u64>,
    /// The account's revision, where it was asked for.
    pub(super) revision: Option<u64>,
}

impl Tokens {
    pub(super) fn new(max: usize) -> Self {
        let max = max.min(MAX_NUMBER as usize / 2);
        Tokens {
            table: Table::new(max),
            carried: AtomicU64::new(0),
            max,
            writer: Mutex::default(),
            records: TokenRecords::new(max),
            scope_lists: RwLock::default(),
        }
    }

    /// Held while tokens are added, changed or listed. Requests need it not.
    pub(super) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock()
    }

    /// Admits at once what a look-up asks for, where one limit, which the token carries, is all that could hold
    /// it back: one lock, one cache line. `None` where it is otherwise, and then nothing was counted.
    ///
    /// In line, as is all that it calls, so that what it finds goes from registers into the decision: written to
    /// memory and read again by another width it would wait for the memory, 10 ns in 100.
    #[cfg_attr(not(feature = "small"), inline(always))]
    pub(super) fn admit_plain(
        &self,
        lookup: &Lookup<'_>,
        now_ms: u64,
        accounts: &Accounts,
    ) -> Option<PlainAdmission> {
        let PlainAdmit { granted_by, limits: [limit] } = lookup.plain? else { return None };
        if !self.carries(limit) {
            return None;
        }
        let mut slot = self.table.find_in_line(&Key::of(lookup.digest))?;
        let account = slot.account();
        let scopes = ScopeSet(slot.scopes_in(lookup.scopes.id())?);
        let is_plain = slot.is_plain() && !accounts.has_networks(account);
        if !is_plain || !granted_by.intersects(scopes) {
            return None;
        }
        let admitted = admit_one_gcra(limit, None, slot.tat_ns(), now_ms);
        slot.set_tat_ns(admitted.tat_ns);
        drop(slot);
        let (account, admission) = (AccountRef::Slot(account), admitted.admission(limit, now_ms));
        Some(PlainAdmission { account, scopes, admission })
    }

    /// Finds a token.
    pub(super) fn look_up(&self, lookup: &Lookup<'_>, accounts: &Accounts) -> Option<Found> {
        let mut slot = self.table.find(&Key::of(lookup.digest))?;
        let account = slot.account();
        let scopes = match slot.scopes_in(lookup.scopes.id()) {
            Some(scopes) => ScopeSet(scopes),
            None => self.learn_scopes(&mut slot, lookup.scopes),
        };
        let record = match slot.rest() {
            Rest::ScopeList(_) => None,
            Rest::Record(number) => self.records.get(number),
        };
        // The revision first: what changes after it is admitted under another one.
        let revision = accounts.revision(account);
        Some(Found {
            account,
            scopes,
            revoked: slot.is_revoked(),
            record,
            has_networks: accounts.has_networks(account),
            revision,
        })
    }

    #[cold]
    fn learn_scopes(&self, slot: &mut Locked<'_>, table: &ScopeTable) -> ScopeSet {
        let scopes = match slot.rest() {
            Rest::ScopeList(number) => {
                table.set(self.scope_list(number).iter().map(|name| &**name))
            }
            Rest::Record(number) => {
                let record = self.records.get(number);
                table.set(record.iter().flat_map(|token| &token.scopes).map(|name| &**name))
            }
        };
        slot.set_scopes(table.id(), scopes.0);
        scopes
    }

    fn scope_list(&self, number: u32) -> Arc<[Box<str>]> {
        self.scope_lists.read().get(number as usize).cloned().unwrap_or_default()
    }

    /// The number of a scope list, which is kept once; `None` when there are too many different ones.
    fn intern(&self, scopes: &[Box<str>]) -> Option<u32> {
        let position = |lists: &Vec<Arc<[Box<str>]>>| {
            lists.iter().position(|list| **list == *scopes).and_then(|at| u32::try_from(at).ok())
        };
        if let Some(number) = position(&self.scope_lists.read()) {
            return Some(number);
        }
        let mut lists = self.scope_lists.write();
        if let Some(number) = position(&lists) {
            return Some(number);
        }
        // Few enough that looking for one stays cheap.
        let number = u32::try_from(lists.len()).ok().filter(|_| lists.len() < MAX_SCOPE_LISTS)?;
        lists.push(scopes.into());
        Some(number)
    }

    /// Whether cells of `limit` are carried by tokens.
    #[inline]
    pub(super) fn carries(&self, limit: &Limit) -> bool {
        if limit.partition != Partition::Token || limit.algorithm != Algorithm::Gcra {
            return false;
        }
        let carried = self.carried.load(Ordering::Relaxed);
        carried == limit.id.0
            || carried == 0
                && self
                    .carried
                    .compare_exchange(0, limit.id.0, Ordering::Relaxed, Ordering::Relaxed)
                    .map_or_else(|now| now == limit.id.0, |_| true)
    }

    /// The token of a cell that tokens carry.
    pub(super) fn carrier(&self, key: &CellKey) -> Option<Key> {
        let carried = self.carried.load(Ordering::Relaxed);
        (key.limit.0 == carried).then(|| Key::of(&TokenDigest::new(key.partition)))
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
        let mut slot = self.table.find(&Key::of(admit.token))?;
        if admit.revision.is_some_and(|revision| revision != accounts.revision(slot.account())) {
            return None;
        }
        let admitted = admit_one_gcra(limit, admit.own_quota(), slot.tat_ns(), now_ms);
        slot.set_tat_ns(admitted.tat_ns);
        drop(slot);
        Some(admitted.admission(limit, now_ms))
    }

    /// The time in the cell that a token carries; `None`: no such token.
    pub(super) fn tat_ns(&self, token: &Key) -> Option<u64> {
        Some(self.table.find(token)?.tat_ns())
    }

    /// Writes what an admission makes of the cell that its token carries, if the token and its account
    /// are still as they were seen; else writes nothing and gives `false`. From here on the admission
    /// has happened.
    pub(super) fn count(&self, seen: &Seen, tat_ns: Option<u64>, accounts: &Accounts) -> bool {
        let Some(mut slot) = self.table.find(&seen.key) else {
            // It was never there, or is gone with its cell.
            return seen.tat_ns.is_none();
        };
        let same_cell = seen.tat_ns.is_none_or(|seen_ns| seen_ns == slot.tat_ns());
        let revision = accounts.revision(slot.account());
        if !same_cell || seen.revision.is_some_and(|seen| seen != revision) {
            return false;
        }
        if let Some(tat_ns) = tat_ns {
            slot.set_tat_ns(tat_ns);
        }
        true
    }

    /// The account of a token.
    pub(super) fn account(&self, digest: &TokenDigest) -> Option<u32> {
        Some(self.table.find(&Key::of(digest))?.account())
    }

    /// The record of a token.
    pub(super) fn record(
        &self,
        digest: &TokenDigest,
        account_id: impl Fn(u32) -> Option<AccountId>,
    ) -> Option<Arc<Token>> {
        let contents = self.table.find(&Key::of(digest))?.contents()?;
        self.record_of(&contents, account_id)
    }

    fn record_of(
        &self,
        contents: &Contents,
        account_id: impl Fn(u32) -> Option<AccountId>,
    ) -> Option<Arc<Token>> {
        let list = match contents.rest {
            Rest::Record(number) => return self.records.get(number),
            Rest::ScopeList(number) => self.scope_list(number),
        };
        let account = account_id(contents.account)?;
        Some(Arc::new(Token { revoked: contents.revoked, ..Token::plain(account, list.to_vec()) }))
    }

    /// All tokens of an account, sorted. Reads every slot: for operators, not for requests.
    pub(super) fn of_account(
        &self,
        writer: &Writer,
        account: u32,
        account_id: impl Fn(u32) -> Option<AccountId>,
    ) -> Vec<(TokenDigest, Arc<Token>)> {
        let mut tokens = Vec::new();
        self.table.for_each(writer, |contents| {
            if contents.account == account {
                let token = self.record_of(contents, &account_id);
                tokens.extend(token.map(|token| (contents.digest, token)));
            }
        });
        tokens.sort_unstable_by_key(|(digest, _)| *digest);
        tokens
    }

    /// Makes room for tokens that are to be put, after dead ones are dropped where it is short.
    pub(super) fn make_room(
        &self,
        writer: &mut Writer,
        tokens: &[(TokenDigest, Token)],
        now_ms: u64,
    ) -> Result<(), StoreError> {
        const FULL: StoreError = StoreError::Full { what: "tokens" };
        let keys = || tokens.iter().map(|(digest, _)| Key::of(digest));
        let fresh: Vec<Key> = keys().filter(|key| self.table.find(key).is_none()).collect();
        let short = |writer: &Writer| writer.len().saturating_add(fresh.len()) > self.max;
        if short(writer) {
            self.drop_dead(writer, now_ms);
        }
        if short(writer) {
            return Err(FULL);
        }
        fresh.iter().try_for_each(|key| self.table.make_room(writer, key)).map_err(|_| FULL)
    }

    fn drop_dead(&self, writer: &mut Writer, now_ms: u64) {
        let is_live = |contents: &Contents| {
            let record = match contents.rest {
                Rest::Record(number) => self.records.get(number),
                Rest::ScopeList(_) => None,
            };
            let expires_ms = record.and_then(|record| record.expires_ms);
            !contents.revoked && expires_ms.is_none_or(|expires_ms| expires_ms > now_ms)
        };
        self.table.retain(writer, is_live, |contents| self.forget(contents.rest));
    }

    fn forget(&self, rest: Rest) {
        if let Rest::Record(number) = rest {
            self.records.remove(number);
        }
    }

    /// Writes tokens of one account, for which there is room, at once: nobody sees one without the other.
    pub(super) fn put(
        &self,
        writer: &mut Writer,
        account: u32,
        tokens: Vec<(TokenDigest, Token)>,
        accounts: &Accounts,
    ) {
        let tokens: Vec<Contents> = tokens
            .into_iter()
            .filter_map(|(digest, token)| self.contents(digest, account, token))
            .collect();
        let mut held = Vec::new();
        let mut fresh = Vec::new();
        for contents in tokens {
            let Some(mut slot) = self.table.find(&contents.key()) else {
                fresh.push(contents);
                continue;
            };
            self.forget(slot.rest());
            let tat_ns = slot.tat_ns();
            slot.set(Some(&Contents { tat_ns, ..contents }));
            held.push(slot);
        }
        for contents in fresh {
            let _ = self.table.insert(writer, &contents);
        }
        accounts.revise(account);
    }

    fn contents(&self, digest: TokenDigest, account: u32, token: Token) -> Option<Contents> {
        let list = if token.is_restricted() { None } else { self.intern(&token.scopes) };
        let revoked = token.revoked;
        let rest = match list {
            Some(number) => Rest::ScopeList(number),
            None => Rest::Record(self.records.add(token)?),
        };
        Some(Contents { digest, account, revoked, rest, scopes: 0, scope_table: 0, tat_ns: 0 })
    }
}

/// A cell that a token carries, as others see it; `None`: as if there were none.
pub(super) fn carried_cell(tat_ns: u64) -> Option<Cell> {
    (tat_ns != 0).then_some(Cell::Gcra(GcraCell { tat_ns }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_learnt_anew_after_every_reload() {
        let tokens = Tokens::new(1 << 20);
        let accounts = Accounts::new(&crate::MemoryOptions::default());
        let digest = TokenDigest::new([7; 32]);
        let account = AccountId::new("acme").unwrap();
        let token = alloc::vec![(digest, Token::plain(account, alloc::vec!["pay".into()]))];
        let mut writer = tokens.writer();
        tokens.make_room(&mut writer, &token, 0).unwrap();
        tokens.put(&mut writer, 0, token, &accounts);
        for reload in 0..1_000 {
            // Another scope before it moves the bit of `pay`.
            let names = [alloc::format!("a{reload}").into(), Box::from("pay")];
            let table = ScopeTable::new(names.into_iter().skip(reload % 2));
            for _ in 0..2 {
                let lookup = Lookup { digest: &digest, scopes: &table, plain: None };
                let found = tokens.look_up(&lookup, &accounts).unwrap();
                assert_eq!(table.names_in(found.scopes).collect::<Vec<_>>(), ["pay"]);
            }
            let slot = tokens.table.find(&Key::of(&digest)).unwrap();
            assert!(slot.scopes_in(table.id()).is_some(), "looked up without work");
        }
    }
}
