//! A part of the records, as a script read them at one moment: what only reads is decided over it in
//! Rust, by the same functions as in every other store.

use std::collections::BTreeMap;
use std::sync::Arc;

use tollgate::transition::{Change, Changes, Due, NEVER_MS, Records};
use tollgate::{
    AccountId, AccountRef, AccountSettings, Cell, CellKey, Claim, ClaimKey, Reservation,
    ReservationId, Spend, StoreError, Token, TokenDigest, Wallet,
};

/// Records of one account. What is committed changes the snapshot and nothing else.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// The account; `None`: there is none.
    pub(crate) account: Option<AccountId>,
    pub(crate) settings: Arc<AccountSettings>,
    pub(crate) wallet: Wallet,
    pub(crate) revision: u64,
    pub(crate) tokens: BTreeMap<TokenDigest, Arc<Token>>,
    pub(crate) spends: BTreeMap<TokenDigest, Spend>,
    pub(crate) claims: BTreeMap<ClaimKey, (Claim, u64)>,
    /// With the time when each falls due.
    pub(crate) reservations: BTreeMap<ReservationId, (Reservation, u64)>,
    pub(crate) cells: BTreeMap<CellKey, Cell>,
    /// What an administration changed.
    pub(crate) changed: Changed,
}

/// Settings and tokens that were committed.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    pub(crate) new_wallet: Option<Wallet>,
    pub(crate) settings: Option<Arc<AccountSettings>>,
    pub(crate) tokens: Vec<(TokenDigest, Arc<Token>)>,
}

impl Snapshot {
    fn is(&self, id: &AccountId) -> bool {
        self.account.as_ref() == Some(id)
    }
}

impl Records for Snapshot {
    type Error = StoreError;

    fn find_account(&mut self, id: &AccountId) -> Result<Option<AccountRef>, StoreError> {
        Ok(self.is(id).then(|| AccountRef::Id(id.clone())))
    }

    fn account_ids(
        &mut self,
        _: Option<&AccountId>,
        _: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        // A snapshot is of one account at most: all of them are listed without one.
        Ok(self.account.iter().cloned().collect())
    }

    fn account_id(&mut self, account: &AccountRef) -> Result<Option<AccountId>, StoreError> {
        let AccountRef::Id(id) = account else { return Ok(None) };
        Ok(self.is(id).then(|| id.clone()))
    }

    fn token(&mut self, digest: &TokenDigest) -> Result<Option<Arc<Token>>, StoreError> {
        Ok(self.tokens.get(digest).cloned())
    }

    fn tokens(&mut self, _: &AccountRef) -> Result<Vec<(TokenDigest, Arc<Token>)>, StoreError> {
        Ok(self.tokens.iter().map(|(digest, token)| (*digest, Arc::clone(token))).collect())
    }

    fn cell(&mut self, key: &CellKey) -> Result<Option<Cell>, StoreError> {
        Ok(self.cells.get(key).copied())
    }

    fn settings(&mut self, _: &AccountRef) -> Result<Arc<AccountSettings>, StoreError> {
        Ok(Arc::clone(&self.settings))
    }

    fn revision(&mut self, _: &AccountRef) -> Result<u64, StoreError> {
        Ok(self.revision)
    }

    fn wallet(&mut self, _: &AccountRef) -> Result<Wallet, StoreError> {
        Ok(self.wallet)
    }

    fn token_spend(&mut self, _: &AccountRef, token: &TokenDigest) -> Result<Spend, StoreError> {
        Ok(self.spends.get(token).copied().unwrap_or_default())
    }

    fn claim(&mut self, _: &AccountRef, key: &ClaimKey) -> Result<Option<Claim>, StoreError> {
        Ok(self.claims.get(key).map(|(claim, _)| claim.clone()))
    }

    fn reservation(
        &mut self,
        _: &AccountRef,
        id: ReservationId,
    ) -> Result<Option<Reservation>, StoreError> {
        Ok(self.reservations.get(&id).map(|(reservation, _)| reservation.clone()))
    }

    fn reservations(
        &mut self,
        _: &AccountRef,
    ) -> Result<Vec<(ReservationId, Reservation)>, StoreError> {
        Ok(self.reservations.iter().map(|(id, (one, _))| (*id, one.clone())).collect())
    }

    fn due(&mut self, _: &AccountRef, now_ms: u64) -> Result<Option<Due>, StoreError> {
        let claims = self.claims.iter().map(|(key, (_, due_ms))| (*due_ms, Due::Claim(*key)));
        let reservations =
            self.reservations.iter().map(|(id, (_, due_ms))| (*due_ms, Due::Reservation(*id)));
        let first = claims.chain(reservations).min();
        Ok(first.filter(|(due_ms, _)| *due_ms <= now_ms && *due_ms < NEVER_MS).map(|(_, due)| due))
    }

    fn forget(&mut self, _: &AccountRef, due: Due) -> Result<(), StoreError> {
        match due {
            Due::Claim(key) => drop(self.claims.remove(&key)),
            Due::Reservation(id) => drop(self.reservations.remove(&id)),
        }
        Ok(())
    }

    fn commit(&mut self, changes: Changes<'_>) -> Result<(), StoreError> {
        if let Some(new) = changes.new_account {
            let (id, settings, wallet) = *new;
            self.account = Some(id.clone());
            self.wallet = wallet;
            self.settings = Arc::new(settings);
            self.changed.new_wallet = Some(wallet);
            self.changed.settings = Some(Arc::clone(&self.settings));
        }
        if let Some(settings) = changes.settings {
            self.settings = Arc::clone(&settings);
            self.changed.settings = Some(settings);
        }
        for (digest, token) in changes.tokens {
            let token = Arc::new(token);
            self.tokens.insert(digest, Arc::clone(&token));
            self.changed.tokens.push((digest, token));
        }
        self.wallet = changes.wallet.unwrap_or(self.wallet);
        self.spends.extend(changes.token_spend);
        self.cells.extend(changes.cells.iter().map(|(key, cell, _)| (*key, *cell)));
        if let Some((id, reservation, due_ms)) = changes.reservation {
            self.reservations.insert(id, (reservation, due_ms));
        }
        match changes.claim {
            Some((key, Change::Put { record, due_ms })) => {
                self.claims.insert(key, (record, due_ms));
            }
            Some((key, Change::Remove)) => drop(self.claims.remove(&key)),
            None => {}
        }
        Ok(())
    }
}
