//! Tokens that were looked up before, so that one that comes again needs no look-up.
//!
//! A digest never changes its account: who that is stays right. What is known of the token itself decides
//! nothing when it is stale: every request of a token that is in force asks for its admission, with the
//! revision of its credential, and the account refuses another revision than the present one. What would
//! deny without asking, a revoked or expired token, is not answered from here.

use std::sync::Arc;

use quick_cache::sync::Cache;
use tollgate::transition::credential;
use tollgate::{AccountId, AccountRef, Credential, ScopeTable, TokenDigest};

use crate::answer::Found;

/// What is known of a digest.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) account: AccountId,
    found: Option<Arc<Found>>,
}

impl Known {
    /// What is known of the token, as long as it is in force.
    pub(crate) fn found(&self, now_ms: u64) -> Option<&Arc<Found>> {
        let found = self.found.as_ref()?;
        // An expired one may have been prolonged since.
        let expired = found.token.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms);
        (!expired && !found.token.revoked).then_some(found)
    }
}

/// The credential of what was found.
pub(crate) fn credential_of(found: &Found, scopes: &ScopeTable) -> Credential {
    let token = Arc::clone(&found.token);
    let account = AccountRef::Id(token.account.clone());
    let settings = found.settings.clone().unwrap_or_default();
    credential(token, account, settings, found.revision, scopes)
}

/// A bounded number of digests.
#[derive(Debug)]
pub(crate) struct TokenCache(Option<Cache<TokenDigest, Known>>);

impl TokenCache {
    /// With room for `tokens`; 0: nothing is kept.
    pub(crate) fn new(tokens: usize) -> Self {
        TokenCache((tokens > 0).then(|| Cache::new(tokens)))
    }

    pub(crate) fn get(&self, digest: &TokenDigest) -> Option<Known> {
        self.0.as_ref()?.get(digest)
    }

    /// Keeps whose a digest is.
    pub(crate) fn put_account(&self, digest: &TokenDigest, account: &AccountId) {
        let Some(cache) = &self.0 else { return };
        if cache.get(digest).is_none() {
            cache.insert(*digest, Known { account: account.clone(), found: None });
        }
    }

    /// Keeps what its account said of a token, unless something later is known.
    pub(crate) fn put(&self, digest: &TokenDigest, found: &Arc<Found>) {
        let Some(cache) = &self.0 else { return };
        let known = cache.get(digest).and_then(|known| known.found);
        if known.is_some_and(|known| known.revision > found.revision) {
            return;
        }
        let account = found.token.account.clone();
        cache.insert(*digest, Known { account, found: Some(Arc::clone(found)) });
    }

    /// Forgets all but whose it is.
    pub(crate) fn forget(&self, digest: &TokenDigest) {
        let Some(cache) = &self.0 else { return };
        if let Some(Known { account, found: Some(_) }) = cache.get(digest) {
            cache.insert(*digest, Known { account, found: None });
        }
    }

    /// Forgets what was found of an account's tokens: all of them have another revision now.
    pub(crate) fn forget_account(&self, account: &AccountId) {
        if let Some(cache) = &self.0 {
            cache.retain(|_, known| known.found.is_none() || known.account != *account);
        }
    }
}
