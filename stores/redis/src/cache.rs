//! Credentials that were looked up before, so that a token that comes again needs no look-up.
//!
//! Nothing is decided by a stale one: every request of a token that is in force asks for its admission,
//! with the revision of its credential, and the account's script refuses another revision than the
//! present one. What would deny without asking, a revoked or expired token, is not answered from here.

use std::sync::Arc;

use quick_cache::sync::Cache;
use tollgate::transition::credential;
use tollgate::{AccountRef, AccountSettings, Credential, ScopeTable, Token, TokenDigest};

/// What is known of a token.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) token: Arc<Token>,
    /// Where the account has networks, else the default.
    pub(crate) settings: Arc<AccountSettings>,
    pub(crate) revision: u64,
}

impl Found {
    pub(crate) fn credential(self, scopes: &ScopeTable) -> Credential {
        let account = AccountRef::Id(self.token.account.clone());
        credential(self.token, account, self.settings, self.revision, scopes)
    }
}

/// A bounded number of tokens.
#[derive(Debug)]
pub(crate) struct CredentialCache(Option<Cache<TokenDigest, Found>>);

impl CredentialCache {
    /// With room for `tokens`; 0: nothing is kept.
    pub(crate) fn new(tokens: usize) -> Self {
        CredentialCache((tokens > 0).then(|| Cache::new(tokens)))
    }

    pub(crate) fn get(&self, digest: &TokenDigest, now_ms: u64) -> Option<Found> {
        let found = self.0.as_ref()?.get(digest)?;
        // An expired one may have been prolonged since.
        let expired = found.token.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms);
        (!expired && !found.token.revoked).then_some(found)
    }

    /// Keeps what was read, unless something later is known: also a revocation, so that what another thread
    /// read before it does not come back.
    pub(crate) fn put(&self, digest: &TokenDigest, found: &Found) {
        let Some(cache) = &self.0 else { return };
        if cache.get(digest).is_some_and(|known| known.revision > found.revision) {
            return;
        }
        cache.insert(*digest, found.clone());
    }

    /// The revision of what is kept, whether or not it is answered with.
    pub(crate) fn revision(&self, digest: &TokenDigest) -> Option<u64> {
        Some(self.0.as_ref()?.get(digest)?.revision)
    }

    /// Keeps what was read of the server after `known` was kept. If nothing was kept since, it is what counts
    /// also where it is earlier: the server lost the later one.
    pub(crate) fn put_after(&self, digest: &TokenDigest, known: Option<u64>, found: &Found) {
        if known.is_some() && self.revision(digest) == known {
            self.forget(digest);
        }
        self.put(digest, found);
    }

    pub(crate) fn forget(&self, digest: &TokenDigest) {
        if let Some(cache) = &self.0 {
            cache.remove(digest);
        }
    }
}
