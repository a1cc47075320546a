//! A token's place: one cache line, locked, read and counted in with one atomic exchange.

use crate::store::memory::sync::{AtomicU32, AtomicU64, Ordering, Wait};
use crate::token::TokenDigest;

/// Somebody has the slot. Whoever has it calls nothing that could wait: it is a matter of nanoseconds.
const LOCKED: u32 = 1;
const OCCUPIED: u32 = 1 << 1;
const REVOKED: u32 = 1 << 2;
const HAS_RECORD: u32 = 1 << 3;
/// Above the flags: the number of the scope list, or of the record.
const NUMBER_SHIFT: u32 = 4;

/// The largest number that a [`Rest`] can have.
pub(super) const MAX_NUMBER: u32 = u32::MAX >> NUMBER_SHIFT;

/// A place for a token. All of it is atomic, so that it can be looked at before it is locked, and so
/// that it needs no memory but its own line; what is decided is read under the lock.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Slot {
    state: AtomicU32,
    account: AtomicU32,
    digest: [AtomicU64; 4],
    scopes: AtomicU64,
    scope_table: AtomicU64,
    tat_ns: AtomicU64,
}

#[cfg(not(tollgate_shuttle))]
const _: () = assert!(size_of::<Slot>() == 64);

/// A token digest as it is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    words: [u64; 4],
    hash: u64,
}

impl Key {
    #[cfg_attr(not(feature = "small"), inline(always))]
    pub(super) fn of(digest: &TokenDigest) -> Self {
        Key::of_words(digest.as_words())
    }

    /// Digests are uniform, and nobody but an operator puts one in: a sum of their words that is
    /// spread by a product (Knuth's multiplicative hash) serves also those that are made up.
    #[cfg_attr(not(feature = "small"), inline(always))]
    fn of_words(words: [u64; 4]) -> Self {
        let [a, b, c, d] = words;
        let sum = a.wrapping_add(b).wrapping_add(c.wrapping_add(d));
        Key { words, hash: sum.wrapping_mul(0x9e37_79b9_7f4a_7c15) }
    }

    #[cfg_attr(not(feature = "small"), inline(always))]
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }
}

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) digest: TokenDigest,
    pub(super) account: u32,
    pub(super) revoked: bool,
    pub(super) rest: Rest,
    /// Its scopes in the bits of the scope table `scope_table`.
    pub(super) scopes: u64,
    /// The id of that table; 0: none yet.
    pub(super) scope_table: u64,
    /// Theoretical arrival time of the limit that tokens carry; 0 when it is whole.
    pub(super) tat_ns: u64,
}

impl Contents {
    pub(super) fn key(&self) -> Key {
        Key::of(&self.digest)
    }
}

/// Where the rest of a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// It is plain: the number of its list of scopes.
    ScopeList(u32),
    /// The number of its record.
    Record(u32),
}

/// What a look at a slot tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Empty,
    Other,
    /// It seemed to be the token's: lock it, and look again.
    Same,
}

impl Slot {
    /// Looks without the lock: what it tells may be over already.
    #[cfg_attr(not(feature = "small"), inline(always))]
    pub(super) fn look(&self, key: &Key) -> Look {
        if self.state.load(Ordering::Acquire) & OCCUPIED == 0 {
            return Look::Empty;
        }
        if is(&self.digest, key) { Look::Same } else { Look::Other }
    }

    /// Whether its digest begins like this one.
    #[cfg_attr(not(feature = "small"), inline(always))]
    pub(super) fn begins_like(&self, key: &Key) -> bool {
        let [first, ..] = &self.digest;
        let [wanted, ..] = key.words;
        first.load(Ordering::Relaxed) == wanted
    }

    #[cfg_attr(not(feature = "small"), inline(always))]
    pub(super) fn lock(&self) -> Locked<'_> {
        let mut wait = Wait::new();
        loop {
            let state = self.state.load(Ordering::Relaxed);
            let took = |from| {
                let to = from | LOCKED;
                self.state.compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed)
            };
            if state & LOCKED == 0 && took(state).is_ok() {
                return Locked { slot: self, state };
            }
            wait.a_moment();
        }
    }
}

#[cfg_attr(not(feature = "small"), inline(always))]
fn is(digest: &[AtomicU64; 4], key: &Key) -> bool {
    digest.iter().zip(key.words).all(|(word, wanted)| word.load(Ordering::Relaxed) == wanted)
}

/// A slot that nobody else reads or writes until this is dropped.
#[derive(Debug)]
pub(super) struct Locked<'s> {
    slot: &'s Slot,
    /// What its state will be.
    state: u32,
}

impl Drop for Locked<'_> {
    #[cfg_attr(not(feature = "small"), inline(always))]
    fn drop(&mut self) {
        self.slot.state.store(self.state, Ordering::Release);
    }
}

impl Locked<'_> {
    #[cfg_attr(not(feature = "small"), inline(always))]
    pub(super) fn is(&self, key: &Key) -> bool {
        self.state & OCCUPIED != 0 && is(&self.slot.digest, key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state & OCCUPIED == 0
    }

    #[cfg_attr(not(feature = "small"), inline(always))]
    pub(super) fn account(&self) -> u32 {
        self.slot.account.load(Ordering::Relaxed)
    }

    #[cfg_attr(not(feature = "small"), inline(always))]
    pub(super) fn is_revoked(&self) -> bool {
        self.state & REVOKED != 0
    }

    /// Whether it is neither revoked nor has a record.
    #[cfg_attr(not(feature = "small"), inline(always))]
    pub(super) fn is_plain(&self) -> bool {
        self.state & (REVOKED | HAS_RECORD) == 0
    }

    #[cfg_attr(not(feature = "small"), inline(always))]
    pub(super) fn rest(&self) -> Rest {
        let number = self.state >> NUMBER_SHIFT;
        if self.state & HAS_RECORD == 0 { Rest::ScopeList(number) } else { Rest::Record(number) }
    }

    /// Its scopes, where they are known in the bits of this table.
    #[cfg_attr(not(feature = "small"), inline(always))]
    pub(super) fn scopes_in(&self, table: u64) -> Option<u64> {
        (self.slot.scope_table.load(Ordering::Relaxed) == table)
            .then(|| self.slot.scopes.load(Ordering::Relaxed))
    }

    pub(super) fn set_scopes(&mut self, table: u64, scopes: u64) {
        self.slot.scopes.store(scopes, Ordering::Relaxed);
        self.slot.scope_table.store(table, Ordering::Relaxed);
    }

    #[cfg_attr(not(feature = "small"), inline(always))]
    pub(super) fn tat_ns(&self) -> u64 {
        self.slot.tat_ns.load(Ordering::Relaxed)
    }

    #[cfg_attr(not(feature = "small"), inline(always))]
    pub(super) fn set_tat_ns(&mut self, tat_ns: u64) {
        self.slot.tat_ns.store(tat_ns, Ordering::Relaxed);
    }

    pub(super) fn contents(&self) -> Option<Contents> {
        if self.is_empty() {
            return None;
        }
        let slot = self.slot;
        Some(Contents {
            digest: TokenDigest::from_words(
                slot.digest.each_ref().map(|word| word.load(Ordering::Relaxed)),
            ),
            account: self.account(),
            revoked: self.is_revoked(),
            rest: self.rest(),
            scopes: slot.scopes.load(Ordering::Relaxed),
            scope_table: slot.scope_table.load(Ordering::Relaxed),
            tat_ns: self.tat_ns(),
        })
    }

    /// Writes all of it, or empties it.
    pub(super) fn set(&mut self, contents: Option<&Contents>) {
        let Some(contents) = contents else {
            self.state = 0;
            return;
        };
        for (word, value) in self.slot.digest.iter().zip(contents.digest.as_words()) {
            word.store(value, Ordering::Relaxed);
        }
        self.slot.account.store(contents.account, Ordering::Relaxed);
        self.set_scopes(contents.scope_table, contents.scopes);
        self.set_tat_ns(contents.tat_ns);
        let (flag, number) = match contents.rest {
            Rest::ScopeList(number) => (0, number),
            Rest::Record(number) => (HAS_RECORD, number),
        };
        let revoked = if contents.revoked { REVOKED } else { 0 };
        self.state = OCCUPIED | flag | revoked | number.wrapping_shl(NUMBER_SHIFT);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_set_is_read(
            digest: [u8; 32],
            account: u32,
            revoked: bool,
            record: bool,
            number in 0..=MAX_NUMBER,
            words: [u64; 3],
        ) {
            let rest = if record { Rest::Record(number) } else { Rest::ScopeList(number) };
            let [scopes, scope_table, tat_ns] = words;
            let digest = TokenDigest::new(digest);
            let contents = Contents { digest, account, revoked, rest, scopes, scope_table, tat_ns };
            let slot = Slot::default();
            prop_assert_eq!(slot.look(&contents.key()), Look::Empty);
            slot.lock().set(Some(&contents));
            prop_assert_eq!(slot.look(&contents.key()), Look::Same);
            let mut locked = slot.lock();
            prop_assert_eq!(locked.contents(), Some(contents));
            prop_assert_eq!((locked.account(), locked.rest()), (account, rest));
            prop_assert_eq!((locked.is_revoked(), locked.tat_ns()), (revoked, tat_ns));
            prop_assert_eq!(locked.scopes_in(scope_table), Some(scopes));
            prop_assert_eq!(locked.scopes_in(!scope_table), None);
            locked.set(None);
            drop(locked);
            prop_assert_eq!(slot.lock().contents(), None);
        }
    }
}
