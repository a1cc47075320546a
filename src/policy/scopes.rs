//! Scope names, and sets of them as bits.

use alloc::boxed::Box;

use sha2::{Digest, Sha256};

/// The most scopes that a policy may have: a set of them is one machine word.
pub const MAX_SCOPES: usize = 64;

/// A set of scopes of one [`ScopeTable`]; meaningless beside another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScopeSet(pub(crate) u64);

impl ScopeSet {
    /// Whether the two sets share a scope.
    #[must_use]
    pub fn intersects(self, other: ScopeSet) -> bool {
        self.0 & other.0 != 0
    }
}

/// The scope names of a policy, sorted; a name's position is its bit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeTable {
    names: Box<[Box<str>]>,
    id: u64,
}

impl ScopeTable {
    /// Takes the names in any order; at most [`MAX_SCOPES`] are kept, which `compile` has checked.
    pub(crate) fn new(names: impl IntoIterator<Item = Box<str>>) -> Self {
        let mut names: alloc::vec::Vec<Box<str>> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        names.truncate(MAX_SCOPES);
        let mut hash = Sha256::new();
        for name in &names {
            hash.update((name.len() as u64).to_be_bytes());
            hash.update(name.as_bytes());
        }
        let digest: [u8; 32] = hash.finalize().into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        // Zero is left free for stores to mean "none".
        let id = u64::from_be_bytes([a, b, c, d, e, f, g, h]).max(1);
        ScopeTable { names: names.into(), id }
    }

    /// The names, sorted.
    #[must_use]
    pub fn names(&self) -> &[Box<str>] {
        &self.names
    }

    /// The same for every table with the same names, and no other: sets may be exchanged between
    /// tables of one id.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The set of those of `names` that this policy knows.
    #[must_use]
    pub fn set<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> ScopeSet {
        let mut bits = 0;
        for name in names {
            if let Ok(bit) = self.names.binary_search_by(|known| (**known).cmp(name)) {
                bits |= 1_u64.wrapping_shl(u32::try_from(bit).unwrap_or(0));
            }
        }
        ScopeSet(bits)
    }

    /// The names in a set, sorted.
    pub fn names_in(&self, set: ScopeSet) -> impl Iterator<Item = &str> {
        self.names
            .iter()
            .zip(0_u32..)
            .filter(move |(_, bit)| set.0.wrapping_shr(*bit) & 1 == 1)
            .map(|(name, _)| &**name)
    }
}
