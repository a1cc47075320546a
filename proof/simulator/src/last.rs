//! What must be so when a simulation is over: every record as the model has it, and nothing stuck.

use tollgate::{
    AccountPatch, Administration, Body, Command, Outcome, Request, ReservationState, Status,
};

use crate::catalogue::{ACCOUNTS, AUTHORIZATIONS, KEY_TEXTS, NOWHERE, ROUTES, TOKENS};
use crate::model::money::State;
use crate::world::{Checked, World, note, same};

/// Longer than every lease and retention.
const LONG_MS: u64 = 40 * 86_400_000;

impl World<'_> {
    pub(crate) fn last(&mut self) -> Checked {
        note!(self, "at the end");
        self.compare_all()?;
        // First what is held falls due, then what is kept of it.
        for _ in 0..2 {
            self.now_ms = self.latest_ms.max(self.now_ms) + LONG_MS;
            self.sweep()?;
            self.compare_all()?;
        }
        for account in 0..ACCOUNTS {
            let left = self.model.accounts[account].reservations.iter();
            let waits =
                |one: &crate::model::money::Reservation| one.is_held() && one.due_ms.is_none();
            same("whether only what waits for an operator is left", left.clone().all(waits), true)?;
            self.keys_are_free(account)?;
        }
        self.verify()
    }

    fn compare_all(&mut self) -> Checked {
        for account in 0..ACCOUNTS {
            self.compare_wallet(account)?;
            self.compare_reservations(account)?;
        }
        Ok(())
    }

    fn compare_reservations(&mut self, account: usize) -> Checked {
        let catalogue = self.catalogue;
        let list = Administration::ListReservations { account: &catalogue.accounts[account] };
        let outcome = self.store(&Command::Administer(&list), self.now_ms);
        let Ok(Outcome::Reservations(mut given)) = outcome else {
            return Err(format!("reservations were not listed: {outcome:?}"));
        };
        given.sort_by_key(|(number, _)| *number);
        let expected = &self.model.accounts[account].reservations;
        let numbers: Vec<u64> = given.iter().map(|(number, _)| number.0).collect();
        same("the reservations", numbers, expected.iter().map(|one| one.number).collect())?;
        for ((number, given), expected) in given.iter().zip(expected) {
            let state = match &given.state {
                ReservationState::Held => (0, 0, false, 0),
                ReservationState::Posted { amount, refunds, by_expiry } => {
                    (1, amount.0, *by_expiry, refunds.iter().map(|(_, amount)| amount.0).sum())
                }
                ReservationState::Voided { by_expiry } => (2, 0, *by_expiry, 0),
            };
            let expected_state = match &expected.state {
                State::Held => (0, 0, false, 0),
                State::Posted { amount, refunds, by_expiry } => {
                    (1, *amount, *by_expiry, refunds.iter().map(|(_, amount)| amount).sum::<u64>())
                }
                State::Voided { by_expiry } => (2, 0, *by_expiry, 0),
            };
            let what =
                format!("reservation {} (amount, state, posted, by expiry, refunded)", number.0);
            same(&what, (given.amount.0, state), (expected.amount, expected_state))?;
        }
        Ok(())
    }

    /// Past every retention, each key lets a request through.
    fn keys_are_free(&mut self, account: usize) -> Checked {
        let catalogue = self.catalogue;
        let open = Administration::PutAccount {
            account: &catalogue.accounts[account],
            opening_balance: tollgate::Amount::ZERO,
            settings: AccountPatch {
                networks: Some(Vec::new()),
                spend_caps: Some(Vec::new()),
                senders: None,
            },
        };
        self.administer(&open)?;
        let token = TOKENS + account;
        self.issue(token, account, true)?;
        let engine = &catalogue.policies[0].engine;
        for (method, target, name) in &ROUTES[1..NOWHERE] {
            for key in KEY_TEXTS {
                let headers = [("authorization", AUTHORIZATIONS[token]), ("idempotency-key", key)];
                let request = Request {
                    body: Body::Bytes(b"another body"),
                    peek: true,
                    ..Request::new(method.as_bytes(), target.as_bytes(), self.now_ms)
                        .with_headers(&headers)
                };
                let mut evaluation = engine.evaluate(&request);
                while let Some(command) = evaluation.command() {
                    let outcome = self.store(&command, self.now_ms);
                    evaluation.resume(outcome);
                }
                let status = evaluation.into_decision().status();
                same(&format!("{key} on {name}, past its retention"), status, Status::Allowed)?;
            }
        }
        Ok(())
    }
}
