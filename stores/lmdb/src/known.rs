//! Credentials that were read before, so that a token that comes again is not read and decoded again.
//!
//! What is kept is told only when it is what a snapshot of now would tell: nothing at all was committed since, by
//! whatever process, which is one number to read; or else its account's revision is the same, which is one record to
//! read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quick_cache::sync::Cache;
use tollgate::transition::{Records, credential};
use tollgate::{
    AccountRef, AccountSettings, Admission, Admit, AdmitVerdict, LookedUp, Lookup, Mode, Shadows,
    Token, TokenDigest,
};

use crate::error::Fault;
use crate::store::LmdbStore;
use crate::view::View;

/// What is known of a token.
struct Known {
    token: Arc<Token>,
    account: AccountRef,
    settings: Arc<AccountSettings>,
    revision: u64,
    /// The number of the last transaction in whose snapshot it was so.
    seen: AtomicUsize,
}

/// A bounded number of tokens.
pub(crate) struct KnownTokens(Option<Cache<TokenDigest, Arc<Known>>>);

impl KnownTokens {
    /// With room for `tokens`; 0: nothing is kept.
    pub(crate) fn new(tokens: usize) -> Self {
        KnownTokens((tokens > 0).then(|| Cache::new(tokens)))
    }

    fn get(&self, digest: &TokenDigest) -> Option<Arc<Known>> {
        self.0.as_ref()?.get(digest)
    }

    fn put(&self, digest: &TokenDigest, known: Arc<Known>) {
        if let Some(cache) = &self.0 {
            cache.insert(*digest, known);
        }
    }

    /// As in a process that starts now.
    #[cfg(test)]
    pub(crate) fn forget_all(&self) {
        if let Some(cache) = &self.0 {
            cache.clear();
        }
    }

    fn forget(&self, digest: &TokenDigest) {
        if let Some(cache) = &self.0 {
            cache.remove(digest);
        }
    }
}

impl Known {
    fn looked_up(&self, lookup: &Lookup<'_>) -> LookedUp {
        let (token, settings) = (Arc::clone(&self.token), Arc::clone(&self.settings));
        let account = self.account.clone();
        let credential = credential(token, account, settings, self.revision, lookup.scopes);
        LookedUp { credential: Some(credential), admission: None }
    }
}

impl LmdbStore {
    /// The number of the last transaction that was committed, by any process.
    fn last_commit(&self) -> usize {
        self.env.info().last_txn_id
    }

    pub(crate) fn credential_of(
        &self,
        lookup: &Lookup<'_>,
        now_ms: u64,
    ) -> Result<LookedUp, Fault> {
        let known = self.known.get(lookup.digest);
        if let Some(known) = &known
            && known.seen.load(Ordering::Relaxed) == self.last_commit()
        {
            return Ok(known.looked_up(lookup));
        }
        let snapshot = self.reading()?;
        let mut view = View::read(&snapshot, now_ms);
        if let Some(known) = known {
            if view.revision(&known.account)? == known.revision {
                known.seen.store(snapshot.txn.id(), Ordering::Relaxed);
                return Ok(known.looked_up(lookup));
            }
            self.known.forget(lookup.digest);
        }
        let Some(token) = view.token(lookup.digest)? else { return Ok(LookedUp::default()) };
        let Some(account) = view.find_account(&token.account)? else {
            return Ok(LookedUp::default());
        };
        let known = Arc::new(Known {
            settings: view.settings(&account)?,
            revision: view.revision(&account)?,
            seen: AtomicUsize::new(snapshot.txn.id()),
            token,
            account,
        });
        self.known.put(lookup.digest, Arc::clone(&known));
        Ok(known.looked_up(lookup))
    }

    /// The admission of a request of which nothing but its credential's revision is left to compare, where that is
    /// known without a transaction.
    pub(crate) fn admitted_at_once(&self, admit: &Admit<'_>) -> Option<Admission> {
        if admit.mode != Mode::Apply || !admit.limits.is_empty() || !admit.asks_limits_only() {
            return None;
        }
        let known = self.known.get(admit.token)?;
        let is_so = known.seen.load(Ordering::Relaxed) == self.last_commit()
            && admit.revision == Some(known.revision)
            && *admit.account == known.account;
        is_so.then(|| Admission {
            verdict: AdmitVerdict::Admitted { reservation: None },
            tightest: None,
            shadows: Shadows::default(),
            detail: None,
        })
    }
}
