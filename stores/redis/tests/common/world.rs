//! One account with a token, and requests of it.
#![allow(dead_code, reason = "not every test has a world")]

use std::sync::Arc;

use tollgate::*;

pub(crate) const NOW_MS: u64 = 1_700_000_000_000;

pub(crate) fn acme() -> AccountId {
    AccountId::new("acme").unwrap()
}

pub(crate) fn acme_ref() -> AccountRef {
    AccountRef::Id(acme())
}

pub(crate) fn token(name: &str) -> TokenDigest {
    digest(name.as_bytes(), None)
}

/// Performs an administration that must be done.
pub(crate) fn done(store: &dyn Store, administration: &Administration<'_>) {
    let outcome = store.perform(&Command::Administer(administration), NOW_MS).unwrap();
    assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
}

/// The account `acme` with this balance and the token `t`.
pub(crate) fn set_up(store: &dyn Store, balance: u64) {
    let settings = AccountPatch::default();
    let opening_balance = Amount(balance);
    done(store, &Administration::PutAccount { account: &acme(), opening_balance, settings });
    put_token(store, "t", TokenPatch::default());
}

pub(crate) fn put_token(store: &dyn Store, name: &str, patch: TokenPatch) {
    let settings = TokenPatch { scopes: Some(vec!["all".into()]), ..patch };
    done(store, &Administration::PutToken { digest: &token(name), account: &acme(), settings });
}

pub(crate) fn inspect(store: &dyn Store) -> Wallet {
    inspect_if_any(store).unwrap()
}

/// `None`: the store knows of no account, or does not answer.
pub(crate) fn inspect_if_any(store: &dyn Store) -> Option<Wallet> {
    let inspect = Administration::Inspect { account: &acme() };
    match store.perform(&Command::Administer(&inspect), NOW_MS) {
        Ok(Outcome::Account(view)) => Some(view.wallet),
        _ => None,
    }
}

pub(crate) fn reservations(store: &dyn Store) -> Vec<(ReservationId, Reservation)> {
    let list = Administration::ListReservations { account: &acme() };
    match store.perform(&Command::Administer(&list), NOW_MS).unwrap() {
        Outcome::Reservations(all) => all,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn key(number: u64) -> Idempotency {
    let mut claim = [0; 32];
    claim[..8].copy_from_slice(&number.to_be_bytes());
    Idempotency::Key {
        claim: ClaimKey(claim),
        fingerprint: Fingerprint(claim),
        rule: IdempotencyRule {
            required: false,
            retention_ms: 86_400_000,
            on_orphan: OnOrphan::Conflict,
            on_store_failure: FailureMode::Closed,
        },
    }
}

pub(crate) const RULE: ChargeRule = ChargeRule {
    price: None,
    lease_ms: 3_600_000,
    on_expiry: OnExpiry::Void,
    retention_ms: 86_400_000,
};

/// A request that costs money, with the key of this number and these limits.
pub(crate) fn charge(
    store: &dyn Store,
    number: u64,
    amount: u64,
    limits: &[Limit],
) -> Result<Admission, StoreError> {
    let (token, account, idempotency) = (token("t"), acme_ref(), key(number));
    let plain = Admit::limits_only(&token, &account, limits);
    let charge = Some(Amount(amount));
    let admit = Admit { idempotency: &idempotency, charge, charge_rule: &RULE, ..plain };
    store.admit(&admit, NOW_MS)
}

/// A request that only limits hold back.
pub(crate) fn plain(store: &dyn Store, limits: &[Limit]) -> Result<Admission, StoreError> {
    store.admit(&Admit::limits_only(&token("t"), &acme_ref(), limits), NOW_MS)
}

pub(crate) fn admitted(admission: Result<Admission, StoreError>) -> Option<ReservationId> {
    match admission.unwrap().verdict {
        AdmitVerdict::Admitted { reservation } => reservation,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn settle(
    store: &dyn Store,
    reservation: ReservationId,
    finish: &Finish,
) -> Result<Outcome, StoreError> {
    let account = acme_ref();
    store.perform(&Command::Settle(Settle { account: &account, reservation, finish }), NOW_MS)
}

pub(crate) fn answer(text: &str) -> Finish {
    let response =
        StoredResponse { status: 200, headers: Box::default(), body: Some(text.as_bytes().into()) };
    Finish::Settle { amount: None, response: Some(Arc::new(response)) }
}

/// Why the store could not answer.
pub(crate) fn reason<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Unavailable { reason }) => reason.into(),
        other => panic!("{other:?}"),
    }
}

/// Money is where it must be.
pub(crate) fn conserved(wallet: &Wallet) {
    let total = |a: Amount, b: Amount| a.checked_add(b).unwrap();
    assert_eq!(
        total(wallet.deposited, wallet.refunded),
        total(wallet.balance, wallet.posted),
        "{wallet:?}"
    );
    assert!(wallet.held <= wallet.balance, "{wallet:?}");
}
