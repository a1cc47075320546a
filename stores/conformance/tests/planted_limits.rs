//! The same for stores of limits, stores that are full, and damaged records: each fault is found.
#![cfg(test)]
#![allow(
    clippy::arithmetic_side_effects,
    reason = "a fault is planted by it, or it would make the test fail"
)]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use tollgate::*;
use tollgate_conformance::{Bound, Damage, ModelBackend, ModelStore, Subject, limits, suite};
use tollgate_scenario::Backend;

/// A fault in a store of limits.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Planted {
    Nothing,
    OneOver,
    GivesNothingBack,
    GivesAllBack,
    PeekCounts,
    ForgetsEarly,
    ForgetsWhenFull,
    Racing,
}

struct Cells {
    planted: Planted,
    cells: Mutex<BTreeMap<CellKey, (Cell, u64)>>,
}

impl Cells {
    fn new(planted: Planted) -> Self {
        Cells { planted, cells: Mutex::default() }
    }

    fn get(&self, key: &CellKey, now_ms: u64) -> Option<Cell> {
        let kept_ms = if self.planted == Planted::ForgetsEarly { 0 } else { 60_000 };
        let cells = self.cells.lock().unwrap();
        let live =
            cells.get(key).filter(|(_, expires_ms)| expires_ms.saturating_add(kept_ms) > now_ms);
        live.map(|(cell, _)| *cell)
    }
}

const MOST: usize = 5_000;

impl LimitStore for Cells {
    fn take(
        &self,
        key: &CellKey,
        limit: &Limit,
        quota: &Quota,
        now_ms: u64,
    ) -> Result<Check, StoreError> {
        let over = u64::from(self.planted == Planted::OneOver);
        let quota = &Quota {
            units: quota.units.saturating_add(over),
            burst: quota.burst.saturating_add(over),
            ..*quota
        };
        let cell = self.get(key, now_ms);
        if self.planted == Planted::Racing {
            std::thread::yield_now();
        }
        let checked = check(limit.algorithm, quota, cell.as_ref(), now_ms, limit.cost);
        let mut cells = self.cells.lock().unwrap();
        if let Ok(cell) = checked.verdict {
            if cells.len() >= MOST && !cells.contains_key(key) {
                cells.retain(|_, (_, expires_ms)| expires_ms.saturating_add(60_000) > now_ms);
                match self.planted {
                    Planted::ForgetsWhenFull => drop(cells.pop_first()),
                    _ if cells.len() >= MOST => return Err(StoreError::Full { what: "cells" }),
                    _ => {}
                }
            }
            cells.insert(*key, (cell, expires_ms(limit.algorithm, quota, &cell)));
        }
        Ok(checked)
    }

    fn peek(
        &self,
        key: &CellKey,
        limit: &Limit,
        quota: &Quota,
        now_ms: u64,
    ) -> Result<Check, StoreError> {
        if self.planted == Planted::PeekCounts {
            return self.take(key, limit, quota, now_ms);
        }
        let cell = self.get(key, now_ms);
        Ok(check(limit.algorithm, quota, cell.as_ref(), now_ms, limit.cost))
    }

    fn give_back(
        &self,
        key: &CellKey,
        limit: &Limit,
        quota: &Quota,
        taken: &Cell,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let Some(stored) = self.get(key, now_ms) else { return Ok(()) };
        match self.planted {
            Planted::GivesNothingBack => {}
            Planted::GivesAllBack => drop(self.cells.lock().unwrap().remove(key)),
            _ => {
                let cell = give_back(quota, &stored, taken, limit.cost, now_ms);
                let expires_ms = expires_ms(limit.algorithm, quota, &cell);
                self.cells.lock().unwrap().insert(*key, (cell, expires_ms));
            }
        }
        Ok(())
    }

    fn expire(&self, now_ms: u64) -> Result<(), StoreError> {
        let kept_ms = if self.planted == Planted::ForgetsEarly { 0 } else { 60_000 };
        let mut cells = self.cells.lock().unwrap();
        cells.retain(|_, (_, expires_ms)| expires_ms.saturating_add(kept_ms) > now_ms);
        Ok(())
    }
}

type LimitTest = fn(&dyn Fn() -> Cells);

fn finds(test: LimitTest, planted: Planted) -> bool {
    catch_unwind(AssertUnwindSafe(|| test(&|| Cells::new(planted)))).is_err()
}

#[test]
fn every_fault_of_a_store_of_limits_is_found() {
    use Planted::*;
    let table: [(Planted, &str, LimitTest); 8] = [
        (OneOver, "every_check_is_that_of_the_model", limits::every_check_is_that_of_the_model),
        (OneOver, "threads_never_overshoot", limits::threads_never_overshoot),
        (
            GivesNothingBack,
            "what_is_given_back_can_be_taken_again",
            limits::what_is_given_back_can_be_taken_again,
        ),
        (
            GivesAllBack,
            "what_is_given_back_can_be_taken_again",
            limits::what_is_given_back_can_be_taken_again,
        ),
        (PeekCounts, "looking_counts_nothing", limits::looking_counts_nothing),
        (
            ForgetsEarly,
            "a_clock_set_back_gives_nothing_twice",
            limits::a_clock_set_back_gives_nothing_twice,
        ),
        (ForgetsWhenFull, "a_full_store_forgets_nothing", limits::a_full_store_forgets_nothing),
        (Racing, "threads_never_overshoot", limits::threads_never_overshoot),
    ];
    for (planted, name, test) in table {
        assert!(finds(test, planted), "{planted:?} passes {name}");
        // Between reading and writing it holds no lock; all else that this store does is sound.
        let races = matches!(planted, Racing) || name == "threads_never_overshoot";
        assert!(races || !finds(test, Nothing), "a sound store does not pass {name}");
    }
}

/// A model that takes so many reservations, and then drops the oldest.
struct Evicting {
    model: ModelStore,
    taken: Mutex<u32>,
}

impl Store for Evicting {
    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        if let Command::Admit(Admit { charge: Some(_), account, .. }) = command {
            let mut taken = self.taken.lock().unwrap();
            *taken += 1;
            if *taken > 20 {
                use tollgate::transition::{Due, Records};
                let mut records = self.model.records();
                if let Some((oldest, _)) = records.reservations(account)?.first() {
                    records.forget(account, Due::Reservation(*oldest))?;
                }
                return Err(StoreError::Full { what: "reservations" });
            }
        }
        self.model.perform(command, now_ms)
    }
}

#[test]
fn a_full_store_that_forgets_is_found() {
    let evicting = |_: Bound| -> Option<Result<Arc<dyn Store>, StoreError>> {
        Some(Ok(Arc::new(Evicting { model: ModelStore::new(), taken: Mutex::new(0) })))
    };
    let subject = Subject::new(ModelBackend).bounded(evicting);
    let test = || suite::bounds::full_of_reservations(&subject);
    assert!(catch_unwind(AssertUnwindSafe(test)).is_err());
}

/// Sound records, whatever was damaged.
#[derive(Clone, Copy)]
struct Heedless;

impl Backend for Heedless {
    fn fresh(&self) -> Result<Arc<dyn Store>, StoreError> {
        ModelBackend.fresh()
    }

    fn reopen(&self, store: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
        Ok(store)
    }

    fn keeps_state(&self) -> bool {
        true
    }
}

#[test]
fn a_store_that_decides_by_damaged_records_is_found() {
    let subject = Subject::new(Heedless).corruptible(|_, _: &Damage| true);
    let tests: [fn(&Subject); 6] = [
        suite::damage::a_damaged_token_lets_nobody_in,
        suite::damage::a_damaged_account_decides_nothing,
        suite::damage::a_damaged_wallet_spends_nothing,
        suite::damage::a_damaged_claim_neither_replays_nor_runs,
        suite::damage::a_damaged_reservation_posts_nothing,
        suite::damage::a_damaged_cell_counts_nothing,
    ];
    for (number, test) in tests.into_iter().enumerate() {
        let found = catch_unwind(AssertUnwindSafe(|| test(&subject))).is_err();
        assert!(found, "test {number} passes a store that heeds no damage");
    }
}
