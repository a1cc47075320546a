//! The obvious store: maps behind one lock. What a store answers must be what this one answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tollgate::transition::{Change, Changes, Due, Records, expire_account, perform};
use tollgate::{
    AccountId, AccountRef, AccountSettings, Administration, Cell, CellKey, Claim, ClaimKey,
    Command, MAX_NOW_MS, Outcome, Refusal, Reservation, ReservationId, Spend, Store, StoreError,
    Token, TokenDigest, Wallet,
};

use crate::subject::Damage;

/// How long a cell still counts after it expired: threads that read the clock one after the other may
/// come in another order, and clocks are set back.
pub const KEPT_MS: u64 = 60_000;

/// What an account holds.
#[derive(Clone, Debug, Default)]
struct AccountRecords {
    settings: Arc<AccountSettings>,
    revision: u64,
    wallet: Wallet,
    token_spend: BTreeMap<TokenDigest, Spend>,
    claims: BTreeMap<ClaimKey, (Claim, u64)>,
    reservations: BTreeMap<ReservationId, (Reservation, u64)>,
}

/// All records, in maps. It is a [`Records`] at one time, which cells are read at.
#[derive(Clone, Debug, Default)]
pub struct ModelRecords {
    now_ms: u64,
    accounts: BTreeMap<AccountId, AccountRecords>,
    tokens: BTreeMap<TokenDigest, Arc<Token>>,
    cells: BTreeMap<CellKey, (Cell, u64)>,
    damaged: Vec<Damage>,
}

impl ModelRecords {
    /// Marks a record as damaged: reading it is an error from now on.
    pub fn damage(&mut self, damage: Damage) {
        self.damaged.push(damage);
    }

    /// Sets the time at which cells are read.
    pub fn at(&mut self, now_ms: u64) -> &mut Self {
        self.now_ms = now_ms;
        self
    }

    fn whole(&self, what: &'static str, is: impl Fn(&Damage) -> bool) -> Result<(), StoreError> {
        if self.damaged.iter().any(is) { Err(StoreError::Corrupt { what }) } else { Ok(()) }
    }

    fn account(&self, account: &AccountRef) -> Option<&AccountRecords> {
        match account {
            AccountRef::Id(id) => self.accounts.get(id),
            AccountRef::Slot(_) => None,
        }
    }

    fn account_mut(&mut self, account: &AccountRef) -> Option<&mut AccountRecords> {
        match account {
            AccountRef::Id(id) => self.accounts.get_mut(id),
            AccountRef::Slot(_) => None,
        }
    }

    /// Drops every cell that has been expired for longer than [`KEPT_MS`].
    pub fn drop_expired_cells(&mut self, now_ms: u64) {
        self.cells.retain(|_, (_, expires_ms)| expires_ms.saturating_add(KEPT_MS) > now_ms);
    }

    /// Takes the cells of other records in place of its own.
    pub fn take_cells(&mut self, other: &ModelRecords) {
        self.cells.clone_from(&other.cells);
    }
}

fn is_account(account: &AccountRef, id: &AccountId) -> bool {
    matches!(account, AccountRef::Id(own) if own == id)
}

impl Records for ModelRecords {
    type Error = StoreError;

    fn find_account(&mut self, id: &AccountId) -> Result<Option<AccountRef>, StoreError> {
        self.whole("an account", |damage| matches!(damage, Damage::Account(bad) if bad == id))?;
        Ok(self.accounts.contains_key(id).then(|| AccountRef::Id(id.clone())))
    }

    fn account_ids(
        &mut self,
        after: Option<&AccountId>,
        at_most: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        let later = |id: &&AccountId| after.is_none_or(|after| *id > after);
        Ok(self.accounts.keys().filter(later).take(at_most).cloned().collect())
    }

    fn account_id(&mut self, account: &AccountRef) -> Result<Option<AccountId>, StoreError> {
        Ok(match account {
            AccountRef::Id(id) if self.accounts.contains_key(id) => Some(id.clone()),
            _ => None,
        })
    }

    fn token(&mut self, digest: &TokenDigest) -> Result<Option<Arc<Token>>, StoreError> {
        self.whole("a token", |damage| matches!(damage, Damage::Token(bad) if bad == digest))?;
        Ok(self.tokens.get(digest).cloned())
    }

    fn tokens(
        &mut self,
        account: &AccountRef,
    ) -> Result<Vec<(TokenDigest, Arc<Token>)>, StoreError> {
        let mut all = Vec::new();
        for digest in self.tokens.keys().copied().collect::<Vec<_>>() {
            if let Some(token) = self.token(&digest)?.filter(|t| is_account(account, &t.account)) {
                all.push((digest, token));
            }
        }
        Ok(all)
    }

    fn cell(&mut self, key: &CellKey) -> Result<Option<Cell>, StoreError> {
        self.whole("a limiter cell", |damage| matches!(damage, Damage::Cell(bad) if bad == key))?;
        let kept = |expires_ms: u64| expires_ms.saturating_add(KEPT_MS) > self.now_ms;
        let cell = self.cells.get(key).filter(|(_, expires_ms)| kept(*expires_ms));
        Ok(cell.map(|(cell, _)| *cell))
    }

    fn settings(&mut self, account: &AccountRef) -> Result<Arc<AccountSettings>, StoreError> {
        self.whole(
            "an account",
            |damage| matches!(damage, Damage::Account(bad) if is_account(account, bad)),
        )?;
        Ok(self.account(account).map(|records| records.settings.clone()).unwrap_or_default())
    }

    fn revision(&mut self, account: &AccountRef) -> Result<u64, StoreError> {
        Ok(self.account(account).map_or(0, |records| records.revision))
    }

    fn wallet(&mut self, account: &AccountRef) -> Result<Wallet, StoreError> {
        self.whole(
            "a wallet",
            |damage| matches!(damage, Damage::Wallet(bad) if is_account(account, bad)),
        )?;
        Ok(self.account(account).map(|records| records.wallet).unwrap_or_default())
    }

    fn token_spend(
        &mut self,
        account: &AccountRef,
        spends_as: &TokenDigest,
    ) -> Result<Spend, StoreError> {
        let spend = self.account(account).and_then(|records| records.token_spend.get(spends_as));
        Ok(spend.copied().unwrap_or_default())
    }

    fn claim(&mut self, account: &AccountRef, key: &ClaimKey) -> Result<Option<Claim>, StoreError> {
        self.whole(
            "an idempotency claim",
            |damage| matches!(damage, Damage::Claim(bad, of) if is_account(account, bad) && of == key),
        )?;
        let claim = self.account(account).and_then(|records| records.claims.get(key));
        Ok(claim.map(|(claim, _)| claim.clone()))
    }

    fn reservation(
        &mut self,
        account: &AccountRef,
        id: ReservationId,
    ) -> Result<Option<Reservation>, StoreError> {
        self.whole(
            "a reservation",
            |damage| matches!(damage, Damage::Reservation(bad, of) if is_account(account, bad) && *of == id),
        )?;
        let found = self.account(account).and_then(|records| records.reservations.get(&id));
        Ok(found.map(|(reservation, _)| reservation.clone()))
    }

    fn reservations(
        &mut self,
        account: &AccountRef,
    ) -> Result<Vec<(ReservationId, Reservation)>, StoreError> {
        let ids: Vec<ReservationId> = match self.account(account) {
            Some(records) => records.reservations.keys().copied().collect(),
            None => Vec::new(),
        };
        let mut all = Vec::new();
        for id in ids {
            all.extend(self.reservation(account, id)?.map(|reservation| (id, reservation)));
        }
        Ok(all)
    }

    fn due(&mut self, account: &AccountRef, now_ms: u64) -> Result<Option<Due>, StoreError> {
        let Some(records) = self.account(account) else { return Ok(None) };
        let claims = records.claims.iter().map(|(key, (_, due_ms))| (*due_ms, Due::Claim(*key)));
        let reservations =
            records.reservations.iter().map(|(id, (_, due_ms))| (*due_ms, Due::Reservation(*id)));
        let first = claims.chain(reservations).min();
        Ok(first.filter(|(due_ms, _)| *due_ms <= now_ms).map(|(_, due)| due))
    }

    fn forget(&mut self, account: &AccountRef, due: Due) -> Result<(), StoreError> {
        let Some(records) = self.account_mut(account) else { return Ok(()) };
        match due {
            Due::Claim(key) => drop(records.claims.remove(&key)),
            Due::Reservation(id) => drop(records.reservations.remove(&id)),
        }
        Ok(())
    }

    fn commit(&mut self, changes: Changes<'_>) -> Result<(), StoreError> {
        if let Some(new) = changes.new_account {
            let (id, settings, wallet) = *new;
            let settings = Arc::new(settings);
            let records = AccountRecords { settings, wallet, ..AccountRecords::default() };
            self.accounts.insert(id.clone(), records);
        }
        for (key, cell, expires_ms) in changes.cells {
            self.cells.insert(*key, (*cell, *expires_ms));
        }
        let Some(account) = changes.account else { return Ok(()) };
        let revised = changes.settings.is_some() || !changes.tokens.is_empty();
        for (digest, token) in changes.tokens {
            self.tokens.insert(digest, Arc::new(token));
        }
        let Some(records) = self.account_mut(account) else { return Ok(()) };
        if revised {
            records.revision = records.revision.saturating_add(1);
        }
        if let Some(settings) = changes.settings {
            records.settings = settings;
        }
        if let Some(wallet) = changes.wallet {
            records.wallet = wallet;
        }
        if let Some((digest, spend)) = changes.token_spend {
            records.token_spend.insert(digest, spend);
        }
        if let Some((id, reservation, due_ms)) = changes.reservation {
            records.reservations.insert(id, (reservation, due_ms));
        }
        match changes.claim {
            Some((key, Change::Put { record, due_ms })) => {
                records.claims.insert(key, (record, due_ms));
            }
            Some((key, Change::Remove)) => drop(records.claims.remove(&key)),
            None => {}
        }
        Ok(())
    }
}

/// A store that performs each command on a copy of its [`ModelRecords`], and keeps the copy when that
/// went well. Slow, unbounded, and plain to see through.
#[derive(Debug, Default)]
pub struct ModelStore {
    records: Mutex<ModelRecords>,
}

impl ModelStore {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        ModelStore::default()
    }

    /// The records, locked.
    pub fn records(&self) -> MutexGuard<'_, ModelRecords> {
        // A test that failed with the lock held must not fail the others too.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for ModelStore {
    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        let mut records = self.records();
        let mut next = records.clone();
        next.at(now_ms);
        let outcome = perform_on(&mut next, command, now_ms)?;
        *records = next;
        Ok(outcome)
    }
}

/// Performs a command on records, [`Administration::Expire`] in all accounts.
pub(crate) fn perform_on(
    records: &mut ModelRecords,
    command: &Command<'_>,
    now_ms: u64,
) -> Result<Outcome, StoreError> {
    let Command::Administer(Administration::Expire) = command else {
        return perform(records, command, now_ms);
    };
    if now_ms > MAX_NOW_MS {
        return Ok(Outcome::Refused(Refusal::ClockOutOfRange));
    }
    let mut ended = 0_u64;
    for id in records.account_ids(None, usize::MAX)? {
        let account = AccountRef::Id(id);
        ended = ended.saturating_add(expire_account(records, &account, now_ms)?);
    }
    records.drop_expired_cells(now_ms);
    Ok(Outcome::Expired(ended))
}
