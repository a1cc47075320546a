//! The store in this process's memory: sharded, bounded, gone with the process.

mod accounts;
mod activity;
mod cells;
mod due;
mod kept;
mod limits;
mod records;
mod slot;
mod sync;
mod table;
mod tokens;
mod view;

use alloc::sync::Arc;

use crate::MAX_NOW_MS;
use crate::command::{
    Administration, Admission, Admit, Command, Credential, LookedUp, Lookup, Mode, Outcome,
    PlainAdmission, Refusal,
};
use crate::ledger::AccountRef;
use crate::store::{Store, StoreError};
use crate::transition::{self, perform};

use accounts::Accounts;
use cells::Cells;
use tokens::Tokens;
use view::{Interrupted, View};

/// Bounds of a [`MemoryStore`]. At a bound, new entries are refused with [`StoreError::Full`] after
/// what has expired was reclaimed; a live entry is never dropped.
///
/// Every charge and every idempotency key leaves a reservation for `reservations.retention_ms`, and
/// every key a claim for `idempotency.retention_ms`, so the bounds must hold what comes in meanwhile.
/// Cells are kept in 64 parts, among which their bound is divided, rounded up: near it, one part may be
/// full before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryOptions {
    /// Accounts.
    pub max_accounts: usize,
    /// Tokens, revoked and expired ones included until they are reclaimed.
    pub max_tokens: usize,
    /// Limiter cells beside the one that every token carries.
    pub max_cells: usize,
    /// Idempotency claims, open and completed.
    pub max_claims: usize,
    /// Reservations, open and finished.
    pub max_reservations: usize,
    /// Claims of one account, and reservations of one account: no customer fills the store for all.
    pub max_per_account: usize,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        MemoryOptions {
            max_accounts: 1 << 20,
            max_tokens: 1 << 22,
            max_cells: 1 << 20,
            max_claims: 1 << 20,
            max_reservations: 1 << 20,
            max_per_account: 1 << 18,
        }
    }
}

/// A store in this process's memory, for tests and for servers of one process.
///
/// Locks are taken in one order (tokens' writer, account, cells, then one token), so commands never deadlock; two
/// requests wait for each other only when they share a token, an account or a cell's shard.
#[derive(Debug)]
pub struct MemoryStore {
    tokens: Tokens,
    accounts: Accounts,
    cells: Cells,
}

impl Default for MemoryStore {
    fn default() -> Self {
        MemoryStore::new(MemoryOptions::default())
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(options: MemoryOptions) -> Self {
        MemoryStore {
            tokens: Tokens::new(options.max_tokens),
            accounts: Accounts::new(&options),
            cells: Cells::new(options.max_cells),
        }
    }

    fn admit_in_view(&self, admit: &Admit<'_>, now_ms: u64) -> Result<Admission, Interrupted> {
        let mut view = View::new(self, now_ms);
        view.watch_token(admit.token);
        let needs_account = admit.charge.is_some()
            || admit.sender.is_some()
            || admit.detail
            || matches!(admit.idempotency, crate::command::Idempotency::Key { .. });
        // An observation looks at limits alone, unless it is to tell of the money too.
        if needs_account && (admit.mode != Mode::Observe || admit.detail) {
            view.lock_account(admit.account);
        }
        view.lock_cells(admit);
        // An admission reads its token without holding it, and holds it when it commits: where another request
        // counted there meanwhile, it is decided again. That one got through, so they do not starve each other.
        loop {
            match transition::admit(&mut view, admit, now_ms) {
                Err(Interrupted::Overtaken) if view.watch_again() => {}
                outcome => return outcome,
            }
        }
    }

    /// Starts afresh where the token is gone, and with it the place of its cell.
    fn admit_in_views(&self, admit: &Admit<'_>, now_ms: u64) -> Result<Admission, StoreError> {
        loop {
            match self.admit_in_view(admit, now_ms) {
                Ok(admission) => return Ok(admission),
                Err(Interrupted::Overtaken) => {}
                Err(Interrupted::Failed(error)) => return Err(error),
            }
        }
    }

    fn find(&self, lookup: &Lookup<'_>) -> LookedUp {
        let Some(found) = self.tokens.look_up(lookup, &self.accounts) else {
            return LookedUp::default();
        };
        let settings = if found.has_networks {
            self.accounts.get(found.account).map(|account| Arc::clone(&account.lock().settings))
        } else {
            None
        };
        let credential = Credential {
            account: AccountRef::Slot(found.account),
            scopes: found.scopes,
            revoked: found.revoked,
            token: found.record,
            settings,
            revision: found.revision,
        };
        LookedUp { credential: Some(credential), admission: None }
    }

    /// Ends what is due in every account that has something due, and reclaims cells.
    fn expire(&self, now_ms: u64) -> Result<Outcome, StoreError> {
        self.cells.reclaim(now_ms);
        self.expire_accounts(now_ms).map(|(_, ended)| Outcome::Expired(ended))
    }

    /// Gives in how many accounts something was due, and how many leases and claims ended.
    fn expire_accounts(&self, now_ms: u64) -> Result<(usize, u64), StoreError> {
        let mut ended = 0_u64;
        let due = self.accounts.take_due(now_ms);
        for slot in &due {
            let account = AccountRef::Slot(*slot);
            let mut view = View::new(self, now_ms);
            view.lock_account(&account);
            ended = ended.saturating_add(transition::expire_account(&mut view, &account, now_ms)?);
            view.register_due();
        }
        Ok((due.len(), ended))
    }

    fn administer(
        &self,
        command: &Command<'_>,
        administration: &Administration<'_>,
        now_ms: u64,
    ) -> Result<Outcome, StoreError> {
        let _creating = match administration {
            Administration::PutAccount { .. } => Some(self.accounts.creation()),
            _ => None,
        };
        let mut view = View::new(self, now_ms);
        match administration {
            // With its account, whose revision then stays as it is for who has the account.
            Administration::PutToken { account, .. } => {
                view.lock_tokens();
                view.lock_account(&AccountRef::Id((*account).clone()));
            }
            Administration::RevokeToken { digest }
            | Administration::RotateToken { old: digest, .. } => {
                view.lock_tokens();
                view.lock_account_of(digest);
            }
            Administration::ListTokens { .. } => view.lock_tokens(),
            Administration::PutAccount { account, .. }
            | Administration::Deposit { account, .. }
            | Administration::Resolve { account, .. }
            | Administration::Inspect { account }
            | Administration::ListReservations { account } => {
                if let Some(slot) = self.accounts.find(account) {
                    view.lock_account(&AccountRef::Slot(slot));
                }
            }
            Administration::Refund { account, .. } => view.lock_account(account),
            Administration::Expire => {
                return if now_ms > MAX_NOW_MS {
                    Ok(Outcome::Refused(Refusal::ClockOutOfRange))
                } else {
                    self.expire(now_ms)
                };
            }
            Administration::ListAccounts { .. } | Administration::NameAccount { .. } => {}
        }
        Ok(perform(&mut view, command, now_ms)?)
    }
}

impl Store for MemoryStore {
    #[cfg_attr(not(feature = "small"), inline(always))]
    fn admit_plain(&self, lookup: &Lookup<'_>, now_ms: u64) -> Option<PlainAdmission> {
        if now_ms > MAX_NOW_MS {
            return None;
        }
        self.tokens.admit_plain(lookup, now_ms, &self.accounts)
    }

    fn look_up(&self, lookup: &Lookup<'_>, now_ms: u64) -> Result<LookedUp, StoreError> {
        let admitted = self.admit_plain(lookup, now_ms).map(LookedUp::from);
        Ok(admitted.unwrap_or_else(|| self.find(lookup)))
    }

    #[inline]
    fn admit(&self, admit: &Admit<'_>, now_ms: u64) -> Result<Admission, StoreError> {
        // An account's cells are named by its slot, whatever it is called by here.
        if let AccountRef::Id(id) = admit.account
            && let Some(slot) = self.accounts.find(id)
        {
            let account = &AccountRef::Slot(slot);
            return self.admit(&Admit { account, ..*admit }, now_ms);
        }
        if let Some(admission) = self.tokens.admit_carried(admit, now_ms, &self.accounts) {
            return Ok(admission);
        }
        match self.admit_in_views(admit, now_ms) {
            // What is due in other accounts makes room too; nothing was changed yet.
            Err(StoreError::Full { .. }) if self.expire_accounts(now_ms)?.0 > 0 => {
                self.admit_in_views(admit, now_ms)
            }
            outcome => outcome,
        }
    }

    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        match command {
            Command::Lookup(lookup) => self.look_up(lookup, now_ms).map(Outcome::LookedUp),
            Command::Admit(admit) => self.admit(admit, now_ms).map(Outcome::Admission),
            Command::Settle(settle) => {
                let mut view = View::new(self, now_ms);
                view.lock_account(settle.account);
                Ok(perform(&mut view, command, now_ms)?)
            }
            Command::Administer(administration) => self.administer(command, administration, now_ms),
        }
    }
}
