//! Commands of every kind, one after the other.

use tollgate::{
    AccountPatch, Administration, Amount, Command, Finish, Idempotency, Lookup, Outcome,
    ReservationId, Settle, Store, StoreError, TokenPatch,
};

use super::{
    LEASE_MS, NOW_MS, RETENTION_MS, admit, digest, id, limits, named, response, with_key,
    with_look_up,
};

/// What each step is, does and answers.
pub(crate) type Step = (&'static str, Box<dyn Fn(&dyn Store) -> Result<String, StoreError>>);

fn step(
    name: &'static str,
    run: impl Fn(&dyn Store) -> Result<String, StoreError> + 'static,
) -> Step {
    (name, Box::new(run))
}

fn administer(
    name: &'static str,
    now_ms: u64,
    administration: impl Fn(&mut dyn FnMut(&Administration<'_>)) + 'static,
) -> Step {
    step(name, move |store| {
        let mut outcome = None;
        administration(&mut |administration| {
            outcome = Some(store.perform(&Command::Administer(administration), now_ms));
        });
        outcome.unwrap().map(|outcome: Outcome| format!("{outcome:?}"))
    })
}

fn charge(name: &'static str, amount: u64, key: Option<u8>) -> Step {
    charge_to("acme", name, amount, key, NOW_MS)
}

fn charge_to(
    account: &'static str,
    name: &'static str,
    amount: u64,
    key: Option<u8>,
    now_ms: u64,
) -> Step {
    let limits = limits(100);
    step(name, move |store| {
        let idempotency = key.map_or(Idempotency::Absent, with_key);
        let admission = admit(store, &named(account), &limits, amount, &idempotency, now_ms)?;
        Ok(format!("{admission:?}"))
    })
}

fn settle(name: &'static str, reservation: u64, amount: u64) -> Step {
    step(name, move |store| {
        let finish =
            Finish::Settle { amount: Some(Amount(amount)), response: Some(response().into()) };
        let (account, reservation) = (&named("acme"), ReservationId(reservation));
        let settle = Settle { account, reservation, finish: &finish };
        Ok(format!("{:?}", store.perform(&Command::Settle(settle), NOW_MS)?))
    })
}

/// On a store for at most three reservations and two claims.
pub(crate) fn story() -> Vec<Step> {
    const LONG_AFTER_MS: u64 = NOW_MS + 2 * LEASE_MS;
    const MUCH_LATER_MS: u64 = LONG_AFTER_MS + LEASE_MS + 10 * RETENTION_MS;
    vec![
        administer("an account", NOW_MS, |then| {
            then(&Administration::PutAccount {
                account: &id("acme"),
                opening_balance: Amount(1_000),
                settings: AccountPatch::default(),
            });
        }),
        administer("another account", NOW_MS, |then| {
            then(&Administration::PutAccount {
                account: &id("other"),
                opening_balance: Amount(50),
                settings: AccountPatch::default(),
            });
        }),
        administer("a token", NOW_MS, |then| {
            then(&Administration::PutToken {
                digest: &digest(1),
                account: &id("acme"),
                settings: TokenPatch::default(),
            });
        }),
        step("looked up", |store| {
            with_look_up(100, |look_up| {
                let look_up = Lookup { digest: &digest(1), ..*look_up };
                Ok(format!("{:?}", store.look_up(&look_up, NOW_MS)?))
            })
        }),
        charge("a charge", 10, None),
        charge("a charge with a key", 20, Some(1)),
        charge("the same key", 20, Some(1)),
        settle("settled", 2, 15),
        charge("replayed", 20, Some(1)),
        administer("a refund", NOW_MS, |then| {
            then(&Administration::Refund {
                account: &named("acme"),
                reservation: ReservationId(2),
                amount: Amount(5),
                reference: "r-1",
            });
        }),
        administer("a deposit", NOW_MS, |then| {
            then(&Administration::Deposit { account: &id("acme"), amount: Amount(7) });
        }),
        administer("rotated", NOW_MS, |then| {
            then(&Administration::RotateToken { old: &digest(1), new: &digest(2), grace_ms: 0 });
        }),
        administer("tokens", NOW_MS, |then| {
            then(&Administration::ListTokens { account: &id("acme") });
        }),
        charge("a third", 30, Some(2)),
        charge("refused: too many", 30, None),
        // What is due in the first account makes room for the other one.
        charge_to("other", "makes room", 40, Some(3), LONG_AFTER_MS),
        administer("reservations", LONG_AFTER_MS, |then| {
            then(&Administration::ListReservations { account: &id("acme") });
        }),
        administer("revoked", LONG_AFTER_MS, |then| {
            then(&Administration::RevokeToken { digest: &digest(2) });
        }),
        administer("expired", MUCH_LATER_MS, |then| then(&Administration::Expire)),
        administer("nothing to expire", MUCH_LATER_MS, |then| then(&Administration::Expire)),
        administer("inspected", MUCH_LATER_MS, |then| {
            then(&Administration::Inspect { account: &id("acme") });
        }),
    ]
}
