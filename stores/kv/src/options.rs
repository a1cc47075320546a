//! The bounds of a store.

/// Options of a [`KvStore`](crate::KvStore).
///
/// At a bound, new entries are refused with [`StoreError::Full`](tollgate::StoreError::Full) after what
/// has expired was reclaimed; a live entry is never dropped. All processes that use a map should give
/// the same options: each keeps to its own bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KvOptions {
    /// Accounts.
    pub max_accounts: u64,
    /// Tokens, revoked and expired ones included until they are reclaimed.
    pub max_tokens: u64,
    /// Limiter cells.
    pub max_cells: u64,
    /// Idempotency claims, open and completed.
    pub max_claims: u64,
    /// Reservations, open and finished.
    pub max_reservations: u64,
    /// Claims of one account, and reservations of one account: no customer fills the store for all.
    pub max_per_account: u64,
    /// How often a transaction is begun, at most, for one command whose transactions the map refuses with
    /// [`KvError::Conflict`](crate::KvError::Conflict). 0 is taken for 1.
    pub max_attempts: u32,
}

impl Default for KvOptions {
    fn default() -> Self {
        KvOptions {
            max_accounts: 1 << 24,
            max_tokens: 1 << 26,
            max_cells: 1 << 22,
            max_claims: 1 << 24,
            max_reservations: 1 << 24,
            max_per_account: 1 << 20,
            max_attempts: 16,
        }
    }
}
