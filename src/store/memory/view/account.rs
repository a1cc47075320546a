//! The locked account of a view.

use alloc::boxed::Box;

use super::View;
use crate::ledger::{AccountRef, Reservation, ReservationId};
use crate::store::StoreError;
use crate::store::memory::accounts::{AccountState, Accounts, Count};
use crate::store::memory::activity::{Activity, Swept};
use crate::transition::{Change, Changes, Due};

/// The store's counts of claims and reservations, and by how much this command changes them. They are
/// shared by all threads, so they are written once, at the end, and not at all where as many are new as
/// are gone.
pub(super) struct Counts<'s> {
    accounts: &'s Accounts,
    claims: isize,
    reservations: isize,
}

impl<'s> Counts<'s> {
    pub(super) fn new(accounts: &'s Accounts) -> Self {
        Counts { accounts, claims: 0, reservations: 0 }
    }

    /// Makes the changes to an account that is locked.
    #[inline]
    pub(super) fn apply(&mut self, slot: u32, state: &mut AccountState, changes: &mut Changes<'_>) {
        let accounts = self.accounts;
        if let Some(settings) = changes.settings.take() {
            let has_networks = !settings.networks.is_empty();
            state.settings = settings;
            accounts.mark_networks(slot, has_networks);
            accounts.revise(slot);
        }
        if let Some(wallet) = changes.wallet {
            state.wallet = wallet;
        }
        if changes.token_spend.is_none() && changes.reservation.is_none() && changes.claim.is_none()
        {
            return;
        }
        let activity = state.activity.get_or_insert_with(Box::default);
        if let Some((digest, spend)) = changes.token_spend {
            activity.put_spend(digest, spend);
        }
        if let Some((id, record, due_ms)) = changes.reservation.take() {
            let is_new = activity.put_reservation(id, record, due_ms);
            self.reservations = self.reservations.saturating_add(isize::from(is_new));
        }
        let change = match changes.claim.take() {
            None => 0,
            Some((key, Change::Put { record, due_ms })) => {
                isize::from(activity.put_claim(key, record, due_ms))
            }
            Some((key, Change::Remove)) => {
                isize::saturating_sub(0, isize::from(activity.remove_claim(&key)))
            }
        };
        self.claims = self.claims.saturating_add(change);
        if let Some(due_ms) = activity.unregistered() {
            accounts.register_due(slot, due_ms);
        }
    }

    fn has_room(&self, count: &Count, change: isize, of_account: usize) -> Result<(), StoreError> {
        count.has_room(change, of_account, self.accounts.max_per_account)
    }
}

impl Drop for Counts<'_> {
    fn drop(&mut self) {
        self.accounts.claims.change(self.claims);
        self.accounts.reservations.change(self.reservations);
    }
}

impl View<'_> {
    #[inline]
    pub(super) fn state(&mut self, account: &AccountRef) -> Option<&mut AccountState> {
        let slot = self.slot(account)?;
        self.account.as_mut().filter(|(locked, _)| *locked == slot).map(|(_, guard)| &mut **guard)
    }

    #[inline]
    pub(super) fn activity(&mut self, account: &AccountRef) -> Option<&mut Activity> {
        self.state(account)?.activity.as_deref_mut()
    }

    /// Puts the account back on the store's list of those with something due, after it was taken off.
    pub(in crate::store::memory) fn register_due(&mut self) {
        let Some((slot, state)) = &mut self.account else { return };
        let Some(activity) = &mut state.activity else { return };
        activity.forget_registration();
        if let Some(due_ms) = activity.unregistered() {
            self.store.accounts.register_due(*slot, due_ms);
        }
    }

    /// Checks the bounds on what an account holds.
    pub(super) fn make_room_in_account(
        &mut self,
        account: &AccountRef,
        changes: &Changes<'_>,
    ) -> Result<(), StoreError> {
        let accounts = &self.store.accounts;
        let activity = self.activity(account);
        let (claims, reservations) = activity
            .as_ref()
            .map_or((0, 0), |activity| (activity.claims(), activity.reservations()));
        // What is known already needs no room; looked for only where there is none.
        if let Some((key, Change::Put { .. })) = &changes.claim
            && let full @ Err(_) =
                self.counts.has_room(&accounts.claims, self.counts.claims, claims)
            && self.activity(account).is_none_or(|activity| activity.claim(key).is_none())
        {
            return full;
        }
        if let Some((id, ..)) = &changes.reservation
            && let full @ Err(_) =
                self.counts.has_room(&accounts.reservations, self.counts.reservations, reservations)
            && self.activity(account).is_none_or(|activity| activity.reservation(*id).is_none())
        {
            return full;
        }
        Ok(())
    }

    /// See [`Records::sweep`](crate::transition::Records::sweep).
    pub(super) fn sweep_account(
        &mut self,
        now_ms: u64,
    ) -> (u64, Option<(ReservationId, Reservation)>) {
        let activity = self.account.as_mut().and_then(|(_, state)| state.activity.as_deref_mut());
        let Some(activity) = activity else { return (0, None) };
        let Swept { claims, reservations, lease } = activity.sweep(now_ms);
        self.counts.claims = self.counts.claims.saturating_sub(claims);
        self.counts.reservations = self.counts.reservations.saturating_sub(reservations);
        (u64::try_from(claims).unwrap_or(0), lease.map(|(id, held)| (id, held.clone())))
    }

    pub(super) fn forget_due(&mut self, account: &AccountRef, due: Due) {
        let Some(activity) = self.activity(account) else { return };
        match due {
            Due::Claim(key) => {
                let gone = isize::from(activity.remove_claim(&key));
                self.counts.claims = self.counts.claims.saturating_sub(gone);
            }
            Due::Reservation(id) => {
                let gone = isize::from(activity.remove_reservation(id));
                self.counts.reservations = self.counts.reservations.saturating_sub(gone);
            }
        }
    }
}
