//! The claims, reservations and spend of an account, and when they fall due.

use alloc::vec::Vec;

use crate::idempotency::{Claim, ClaimKey};
use crate::ledger::{Reservation, ReservationId, Spend};
use crate::store::memory::due::DueQueue;
use crate::store::memory::kept::{Kept, Key};
use crate::token::TokenDigest;
use crate::transition::{Due, NEVER_MS};

/// The claims, reservations and spend of an account.
#[derive(Debug)]
pub(super) struct Activity {
    due: DueQueue<Note>,
    /// The earliest time under which this account stands in the store's own list; else `NEVER_MS`.
    registered_ms: u64,
    claims: Dated<ClaimKey, Claim>,
    reservations: Dated<ReservationId, Reservation>,
    spends: Kept<TokenDigest, Spend>,
}

/// What [`Activity::sweep`] removed, and where it stopped.
pub(super) struct Swept<'a> {
    pub(super) claims: isize,
    pub(super) reservations: isize,
    pub(super) lease: Option<(ReservationId, &'a Reservation)>,
}

/// Records that fall due.
#[derive(Debug)]
struct Dated<K, T> {
    records: Kept<K, T>,
    /// By place, and apart from the records: what comes up is mostly decided without reading those.
    times: Vec<Times>,
}

/// When the record in a place falls due.
#[derive(Clone, Copy, Debug)]
struct Times {
    due_ms: u64,
    /// The time of its one note that counts: at or before `due_ms`. `NEVER_MS` where there is none, as in
    /// a place that is free.
    noted_ms: u64,
}

/// The place of a record that falls due. What is in it now may be another record than was noted: only a
/// note of the time in [`Times`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Note {
    Claim(u32),
    Reservation(u32),
}

impl Key for ClaimKey {
    #[inline]
    fn word(&self) -> u64 {
        self.0.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

impl Key for ReservationId {
    #[inline]
    fn word(&self) -> u64 {
        self.0
    }
}

impl Key for TokenDigest {
    #[inline]
    fn word(&self) -> u64 {
        self.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

impl Default for Activity {
    fn default() -> Self {
        Activity {
            due: DueQueue::default(),
            registered_ms: NEVER_MS,
            claims: Dated { records: Kept::default(), times: Vec::new() },
            reservations: Dated { records: Kept::default(), times: Vec::new() },
            spends: Kept::default(),
        }
    }
}

impl Activity {
    /// The most claims, and the most reservations.
    pub(super) const MAX: usize = Kept::<ClaimKey, ()>::MAX;

    pub(super) fn claims(&self) -> usize {
        self.claims.records.len()
    }

    pub(super) fn reservations(&self) -> usize {
        self.reservations.records.len()
    }

    #[inline]
    pub(super) fn claim(&mut self, key: &ClaimKey) -> Option<&Claim> {
        self.claims.get(key)
    }

    #[inline]
    pub(super) fn reservation(&mut self, id: ReservationId) -> Option<&Reservation> {
        self.reservations.get(&id)
    }

    /// In no order.
    pub(super) fn iter_reservations(&self) -> impl Iterator<Item = (ReservationId, &Reservation)> {
        self.reservations.records.iter().map(|(_, id, record)| (*id, record))
    }

    #[inline]
    pub(super) fn spend(&mut self, spends_as: &TokenDigest) -> Spend {
        self.spends.get(spends_as).copied().unwrap_or_default()
    }

    #[inline]
    pub(super) fn put_spend(&mut self, spends_as: TokenDigest, spend: Spend) {
        match self.spends.place(&spends_as).and_then(|place| self.spends.at_mut(place)) {
            Some(known) => *known = spend,
            None => {
                self.spends.insert(spends_as, spend);
            }
        }
    }

    /// Gives whether the claim is new.
    #[inline]
    pub(super) fn put_claim(&mut self, key: ClaimKey, record: Claim, due_ms: u64) -> bool {
        let (place, noted_ms) = self.claims.put(key, record, due_ms);
        self.note(Note::Claim(place), due_ms, noted_ms);
        noted_ms.is_none()
    }

    /// Gives whether the reservation is new.
    #[inline]
    pub(super) fn put_reservation(
        &mut self,
        id: ReservationId,
        record: Reservation,
        due_ms: u64,
    ) -> bool {
        let (place, noted_ms) = self.reservations.put(id, record, due_ms);
        self.note(Note::Reservation(place), due_ms, noted_ms);
        noted_ms.is_none()
    }

    /// Gives whether it was there.
    #[inline]
    pub(super) fn remove_claim(&mut self, key: &ClaimKey) -> bool {
        self.claims.remove(key)
    }

    /// Gives whether it was there.
    #[inline]
    pub(super) fn remove_reservation(&mut self, id: ReservationId) -> bool {
        self.reservations.remove(&id)
    }

    /// Notes when the record in a place falls due, unless a note of it is early enough: what was put off
    /// keeps its note, and gets another when that one comes up.
    #[inline]
    fn note(&mut self, note: Note, due_ms: u64, noted_ms: Option<u64>) {
        if due_ms == NEVER_MS || noted_ms.is_some_and(|noted_ms| noted_ms <= due_ms) {
            return;
        }
        self.due.push(due_ms, note);
        self.set_noted(note, due_ms);
        let live = self.claims().saturating_add(self.reservations());
        if self.due.len() >= live.saturating_mul(2).saturating_add(64) {
            self.drop_stale_notes();
        }
    }

    /// Drops the notes of what is gone when they are the greater part:
    /// else keys that are given up and claimed anew would pile up until each had fallen due.
    #[cold]
    fn drop_stale_notes(&mut self) {
        let claims = self.claims.noted().map(|(ms, place)| (ms, Note::Claim(place)));
        let held = self.reservations.noted().map(|(ms, place)| (ms, Note::Reservation(place)));
        let mut notes: Vec<_> = claims.chain(held).collect();
        notes.sort_unstable();
        self.due = DueQueue::default();
        for (noted_ms, note) in notes {
            self.due.push(noted_ms, note);
        }
    }

    #[inline]
    fn set_noted(&mut self, note: Note, due_ms: u64) {
        match note {
            Note::Claim(place) => self.claims.set_noted(place, due_ms),
            Note::Reservation(place) => self.reservations.set_noted(place, due_ms),
        }
    }

    /// The record that fell due first, at or before `now_ms`.
    #[inline]
    pub(super) fn due(&mut self, now_ms: u64) -> Option<Due> {
        match self.find_due(now_ms)? {
            Note::Claim(place) => self.claims.records.at(place).map(|(key, _)| Due::Claim(*key)),
            Note::Reservation(place) => {
                self.reservations.records.at(place).map(|(id, _)| Due::Reservation(*id))
            }
        }
    }

    /// Removes what fell due until `now_ms`, and stops at the first lease of held money, which it gives.
    pub(super) fn sweep(&mut self, now_ms: u64) -> Swept<'_> {
        let (mut claims, mut reservations) = (0, 0);
        while let Some(note) = self.find_due(now_ms) {
            match note {
                Note::Claim(place) => {
                    self.claims.remove_at(place);
                    claims = isize::saturating_add(claims, 1);
                }
                Note::Reservation(place) => {
                    let held = self.reservations.records.at(place);
                    if held.is_some_and(|(_, held)| held.holds_money()) {
                        let lease = self.reservations.records.at(place);
                        let lease = lease.map(|(id, held)| (*id, held));
                        return Swept { claims, reservations, lease };
                    }
                    self.reservations.remove_at(place);
                    reservations = isize::saturating_add(reservations, 1);
                }
            }
        }
        Swept { claims, reservations, lease: None }
    }

    /// Whether anything may be due.
    #[inline]
    pub(super) fn may_be_due(&self, now_ms: u64) -> bool {
        self.due.earliest_ms() <= now_ms
    }

    /// The note of the record that fell due first.
    fn find_due(&mut self, now_ms: u64) -> Option<Note> {
        while self.due.earliest_ms() <= now_ms {
            let (noted_ms, note) = self.due.first()?;
            let due_ms = match note {
                Note::Claim(place) => self.claims.due_ms(place, noted_ms),
                Note::Reservation(place) => self.reservations.due_ms(place, noted_ms),
            };
            if due_ms == Some(noted_ms) {
                return Some(note);
            }
            self.due.pop();
            // It may have been put off since it was noted.
            let Some(due_ms) = due_ms else { continue };
            if due_ms != NEVER_MS {
                self.due.push(due_ms, note);
            }
            self.set_noted(note, due_ms);
        }
        None
    }

    /// The time under which the account must be registered with the store, if it is not registered
    /// early enough.
    #[inline]
    pub(super) fn unregistered(&mut self) -> Option<u64> {
        let earliest_ms = self.due.earliest_ms();
        if self.registered_ms <= earliest_ms {
            return None;
        }
        self.registered_ms = earliest_ms;
        Some(earliest_ms)
    }

    /// The store took the account from its list of those with something due.
    pub(super) fn forget_registration(&mut self) {
        self.registered_ms = NEVER_MS;
    }
}

impl<K: Key, T> Dated<K, T> {
    #[inline]
    fn get(&mut self, key: &K) -> Option<&T> {
        self.records.get(key)
    }

    /// Writes a record. Gives its place, and the time of its note if it was there before.
    #[inline]
    fn put(&mut self, key: K, record: T, due_ms: u64) -> (u32, Option<u64>) {
        if let Some(place) = self.records.place(&key)
            && let Some(known) = self.records.at_mut(place)
            && let Some(times) = self.times.get_mut(place as usize)
        {
            *known = record;
            times.due_ms = due_ms;
            return (place, Some(times.noted_ms));
        }
        let place = self.records.insert(key, record);
        let fresh = Times { due_ms, noted_ms: NEVER_MS };
        match self.times.get_mut(place as usize) {
            Some(times) => *times = fresh,
            None => self.times.push(fresh),
        }
        (place, None)
    }

    /// When the record in a place falls due; `None` if `noted_ms` is not the time of its note.
    #[inline]
    fn due_ms(&self, place: u32, noted_ms: u64) -> Option<u64> {
        let times = self.times.get(place as usize)?;
        (times.noted_ms == noted_ms).then_some(times.due_ms)
    }

    #[inline]
    fn set_noted(&mut self, place: u32, noted_ms: u64) {
        if let Some(times) = self.times.get_mut(place as usize) {
            times.noted_ms = noted_ms;
        }
    }

    /// Gives whether it was there.
    #[inline]
    fn remove(&mut self, key: &K) -> bool {
        self.records.place(key).is_some_and(|place| self.remove_at(place))
    }

    #[inline]
    fn remove_at(&mut self, place: u32) -> bool {
        self.set_noted(place, NEVER_MS);
        self.records.remove_at(place)
    }

    /// The times of notes, each with its place.
    fn noted(&self) -> impl Iterator<Item = (u64, u32)> {
        let noted = self.times.iter().zip(0..).map(|(times, place)| (times.noted_ms, place));
        noted.filter(|(noted_ms, _)| *noted_ms != NEVER_MS)
    }
}

#[cfg(test)]
mod tests;
