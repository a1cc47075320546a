//! The same records as plain maps, over which `transition` says what is right. Nothing is ever dropped by
//! age.
#![allow(dead_code, reason = "not every test compares")]
#![allow(clippy::arithmetic_side_effects, reason = "small numbers")]

use std::collections::BTreeMap;
use std::sync::Arc;

use tollgate::transition::{Change, Changes, Due, Records, expire_account, perform};
use tollgate::*;

#[derive(Default)]
pub(crate) struct Model {
    accounts: BTreeMap<AccountId, State>,
    tokens: BTreeMap<TokenDigest, (Arc<Token>, u64)>,
    cells: BTreeMap<CellKey, Cell>,
    /// The token that the command at hand is about.
    asked: Option<TokenDigest>,
}

#[derive(Default)]
struct State {
    settings: Arc<AccountSettings>,
    wallet: Wallet,
    version: u64,
    settings_revision: u64,
    spends: BTreeMap<TokenDigest, Spend>,
    claims: BTreeMap<ClaimKey, (Claim, u64)>,
    reservations: BTreeMap<ReservationId, (Reservation, u64)>,
}

impl Model {
    pub(crate) fn perform(&mut self, command: &Command<'_>, now_ms: u64) -> Outcome {
        self.asked = match command {
            Command::Lookup(lookup) => Some(*lookup.digest),
            Command::Admit(admit) => Some(*admit.token),
            _ => None,
        };
        if now_ms <= MAX_NOW_MS
            && let Command::Administer(Administration::Expire) = command
        {
            let ids: Vec<AccountId> = self.accounts.keys().cloned().collect();
            let end = |id| expire_account(self, &AccountRef::Id(id), now_ms).unwrap();
            return Outcome::Expired(ids.into_iter().map(end).sum());
        }
        perform(self, command, now_ms).unwrap()
    }

    fn state(&mut self, account: &AccountRef) -> Option<&mut State> {
        let AccountRef::Id(id) = account else { return None };
        self.accounts.get_mut(id)
    }
}

type Done<T> = Result<T, StoreError>;

impl Records for Model {
    type Error = StoreError;

    fn find_account(&mut self, id: &AccountId) -> Done<Option<AccountRef>> {
        Ok(self.accounts.contains_key(id).then(|| AccountRef::Id(id.clone())))
    }

    fn account_ids(
        &mut self,
        _: Option<&tollgate::AccountId>,
        _: usize,
    ) -> Result<Vec<tollgate::AccountId>, Self::Error> {
        Ok(Vec::new())
    }

    fn account_id(&mut self, account: &AccountRef) -> Done<Option<AccountId>> {
        let AccountRef::Id(id) = account else { return Ok(None) };
        Ok(self.accounts.contains_key(id).then(|| id.clone()))
    }

    fn token(&mut self, digest: &TokenDigest) -> Done<Option<Arc<Token>>> {
        Ok(self.tokens.get(digest).map(|(token, _)| Arc::clone(token)))
    }

    fn tokens(&mut self, account: &AccountRef) -> Done<Vec<(TokenDigest, Arc<Token>)>> {
        let AccountRef::Id(id) = account else { return Ok(Vec::new()) };
        let own = self.tokens.iter().filter(|(_, (token, _))| token.account == *id);
        Ok(own.map(|(digest, (token, _))| (*digest, Arc::clone(token))).collect())
    }

    fn cell(&mut self, key: &CellKey) -> Done<Option<Cell>> {
        Ok(self.cells.get(key).copied())
    }

    fn settings(&mut self, account: &AccountRef) -> Done<Arc<AccountSettings>> {
        Ok(self.state(account).map(|state| Arc::clone(&state.settings)).unwrap_or_default())
    }

    fn revision(&mut self, account: &AccountRef) -> Done<u64> {
        let own = self.asked.and_then(|digest| self.tokens.get(&digest).cloned());
        let own = own.filter(|(token, _)| AccountRef::Id(token.account.clone()) == *account);
        let own = own.map_or(0, |(_, revision)| revision);
        Ok(self.state(account).map_or(0, |state| state.settings_revision.max(own)))
    }

    fn wallet(&mut self, account: &AccountRef) -> Done<Wallet> {
        Ok(self.state(account).map(|state| state.wallet).unwrap_or_default())
    }

    fn token_spend(&mut self, account: &AccountRef, token: &TokenDigest) -> Done<Spend> {
        let spend = self.state(account).and_then(|state| state.spends.get(token).copied());
        Ok(spend.unwrap_or_default())
    }

    fn claim(&mut self, account: &AccountRef, key: &ClaimKey) -> Done<Option<Claim>> {
        let claims = self.state(account).map(|state| &state.claims);
        Ok(claims.and_then(|claims| claims.get(key)).map(|(claim, _)| claim.clone()))
    }

    fn reservation(
        &mut self,
        account: &AccountRef,
        id: ReservationId,
    ) -> Done<Option<Reservation>> {
        let all = self.state(account).map(|state| &state.reservations);
        Ok(all.and_then(|all| all.get(&id)).map(|(reservation, _)| reservation.clone()))
    }

    fn reservations(&mut self, account: &AccountRef) -> Done<Vec<(ReservationId, Reservation)>> {
        let Some(state) = self.state(account) else { return Ok(Vec::new()) };
        Ok(state.reservations.iter().map(|(id, (one, _))| (*id, one.clone())).collect())
    }

    fn due(&mut self, account: &AccountRef, now_ms: u64) -> Done<Option<Due>> {
        let Some(state) = self.state(account) else { return Ok(None) };
        let claims = state.claims.iter().map(|(key, (_, due))| (*due, Due::Claim(*key)));
        let reservations =
            state.reservations.iter().map(|(id, (_, due))| (*due, Due::Reservation(*id)));
        let first = claims.chain(reservations).min();
        Ok(first.filter(|(due_ms, _)| *due_ms <= now_ms).map(|(_, due)| due))
    }

    fn forget(&mut self, account: &AccountRef, due: Due) -> Done<()> {
        let Some(state) = self.state(account) else { return Ok(()) };
        match due {
            Due::Claim(key) => drop(state.claims.remove(&key)),
            Due::Reservation(id) => drop(state.reservations.remove(&id)),
        }
        Ok(())
    }

    fn commit(&mut self, changes: Changes<'_>) -> Done<()> {
        if let Some(new) = changes.new_account {
            let (id, settings, wallet) = *new;
            let settings = Arc::new(settings);
            let state =
                State { settings, wallet, version: 1, settings_revision: 1, ..State::default() };
            self.accounts.insert(id.clone(), state);
        }
        self.cells.extend(changes.cells.iter().map(|(key, cell, _)| (*key, *cell)));
        let Some(state) = changes.account.and_then(|account| match account {
            AccountRef::Id(id) => self.accounts.get_mut(id),
            AccountRef::Slot(_) => None,
        }) else {
            return Ok(());
        };
        if changes.settings.is_some() || !changes.tokens.is_empty() {
            state.version += 1;
        }
        if let Some(settings) = changes.settings {
            state.settings = settings;
            state.settings_revision = state.version;
        }
        for (digest, token) in changes.tokens {
            self.tokens.insert(digest, (Arc::new(token), state.version));
        }
        state.wallet = changes.wallet.unwrap_or(state.wallet);
        state.spends.extend(changes.token_spend);
        if let Some((id, reservation, due_ms)) = changes.reservation {
            state.reservations.insert(id, (reservation, due_ms));
        }
        match changes.claim {
            Some((key, Change::Put { record, due_ms })) => {
                state.claims.insert(key, (record, due_ms));
            }
            Some((key, Change::Remove)) => drop(state.claims.remove(&key)),
            None => {}
        }
        Ok(())
    }
}
