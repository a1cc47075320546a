//! Small sequences that once went wrong.

// Helpers of tests may do what tests may; `clippy.toml` allows it in test functions alone.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]

use tollgate::*;

const NOW_MS: u64 = 1_700_000_000_000;
const POST: &[u8] = b"POST";

struct Shop {
    engine: Engine,
    store: MemoryStore,
    account: AccountId,
}

impl Shop {
    fn new(policy: &str) -> Shop {
        let config = PolicyConfig::from_toml(policy).unwrap();
        let shop = Shop {
            engine: Engine::new(config.compile().unwrap()),
            store: MemoryStore::default(),
            account: AccountId::new("acme").unwrap(),
        };
        let admin = shop.admin();
        admin.put_account(&shop.account, Amount(100), AccountPatch::default(), NOW_MS).unwrap();
        let patch = TokenPatch { scopes: Some(vec!["pay".into()]), ..Default::default() };
        let digest = shop.engine.digest(&token());
        admin.put_token(&digest, &shop.account, patch, NOW_MS).unwrap();
        shop
    }

    fn admin(&self) -> Admin<'_, MemoryStore> {
        Admin::new(&self.store)
    }

    fn ask(&self, key: Option<&str>, peek: bool, now_ms: u64) -> Decision {
        let headers = [
            ("authorization", "Bearer shop-token"),
            (if key.is_some() { "idempotency-key" } else { "x-none" }, key.unwrap_or_default()),
        ];
        let request =
            Request { peek, ..Request::new(POST, b"/pay", now_ms).with_headers(&headers) };
        self.engine.decide(&self.store, &request)
    }

    fn wallet(&self, now_ms: u64) -> Wallet {
        self.admin().account(&self.account, now_ms).unwrap().wallet
    }
}

fn token() -> TokenText {
    TokenText::parse(TokenFormat::Opaque, "shop-token").unwrap()
}

const PAY: &str = r#"
    [tokens]
    format = "opaque"
    [scopes]
    pay = ["POST /pay"]
    [routes."POST /pay"]
    price = 10
    lease_ms = 1000
"#;

#[test]
fn a_clock_that_runs_backwards_finds_the_units_of_the_earlier_window() {
    for algorithm in ["fixed_window", "sliding_window"] {
        let shop = Shop::new(&format!(
            r#"
            [tokens]
            format = "opaque"
            [scopes]
            pay = ["POST /pay"]
            [limits.all]
            per = "global"
            quota = 1
            window_ms = 1000
            algorithm = "{algorithm}"
            "#
        ));
        assert_eq!(shop.ask(None, false, NOW_MS).status(), Status::Allowed);
        // Two threads read the clock, and the one that read it first comes last.
        shop.admin().expire(NOW_MS + 2_000).unwrap();
        assert_eq!(shop.ask(None, false, NOW_MS + 1).status(), Status::RateLimited, "{algorithm}");
    }
}

#[test]
fn a_peek_ends_no_lease() {
    let shop = Shop::new(PAY);
    assert_eq!(shop.ask(None, false, NOW_MS).status(), Status::Allowed);
    let before = shop.wallet(NOW_MS + 1_000);
    let peeked = shop.ask(None, true, NOW_MS + 1_000);
    assert_eq!(peeked.status(), Status::Allowed);
    assert_eq!(shop.wallet(NOW_MS + 1_000), before);
}

#[test]
fn a_peek_sees_the_money_that_ended_leases_free() {
    let shop = Shop::new(&PAY.replace("price = 10", "price = 100"));
    shop.admin()
        .put_account(
            &shop.account,
            Amount(0),
            AccountPatch {
                spend_caps: Some(vec![SpendCap {
                    per: Period::Lifetime,
                    amount: Amount(100),
                    shadow: false,
                }]),
                ..Default::default()
            },
            NOW_MS,
        )
        .unwrap();
    assert_eq!(shop.ask(None, false, NOW_MS).status(), Status::Allowed);
    assert_eq!(shop.ask(None, true, NOW_MS + 999).status(), Status::SpendCapExceeded);
    assert_eq!(shop.ask(None, true, NOW_MS + 1_000).status(), Status::Allowed);
    assert_eq!(shop.ask(None, false, NOW_MS + 1_000).status(), Status::Allowed);
}

#[test]
fn a_key_that_came_free_does_not_let_its_first_holder_back_in() {
    let shop = Shop::new(&format!(
        "{PAY}\non_expiry = \"hold\"\nidempotency = {{ on_orphan = \"rerun\" }}"
    ));
    let first = shop.ask(Some("k"), false, NOW_MS);
    let second = shop.ask(Some("k"), false, NOW_MS + 1_000);
    let finish = |decision: &Decision, finish| {
        let ticket = decision.ticket().unwrap();
        shop.engine.finish(&shop.store, ticket, finish, NOW_MS + 1_001)
    };
    // The one that took the key over gives it up.
    finish(&second, Finish::Void { response: None }).unwrap();
    let late = finish(&first, Finish::Settle { amount: None, response: None });
    assert_eq!(late, Err(FinishError::Refused(Refusal::StaleFence)));
    assert_eq!(shop.wallet(NOW_MS + 1_001).posted, Amount(0));
}

#[test]
fn held_money_can_be_resolved_after_another_execution_took_the_key() {
    let shop = Shop::new(&format!(
        "{PAY}\non_expiry = \"hold\"\nidempotency = {{ on_orphan = \"rerun\" }}"
    ));
    let first = shop.ask(Some("k"), false, NOW_MS);
    let second = shop.ask(Some("k"), false, NOW_MS + 1_000);
    assert_eq!(second.status(), Status::Allowed);
    let reservation = first.ticket().unwrap().reservation;
    let late = shop.engine.finish(
        &shop.store,
        first.ticket().unwrap(),
        Finish::Settle { amount: None, response: None },
        NOW_MS + 1_001,
    );
    assert_eq!(late, Err(FinishError::Refused(Refusal::StaleFence)));
    let void = Finish::Void { response: None };
    let resolved = shop.admin().resolve(&shop.account, reservation, void, NOW_MS + 1_002);
    assert_eq!(resolved, Ok(Settled { posted: Some(Amount(0)) }));
    assert_eq!(shop.wallet(NOW_MS + 1_002).held, Amount(10));
    // The key is the second one's still.
    assert_eq!(shop.ask(Some("k"), false, NOW_MS + 1_003).status(), Status::IdempotencyInFlight);
}

#[test]
fn a_key_whose_money_was_settled_by_expiry_can_be_resolved() {
    let shop = Shop::new(&format!("{PAY}\non_expiry = \"settle\"\nidempotency = true"));
    let first = shop.ask(Some("k"), false, NOW_MS);
    let reservation = first.ticket().unwrap().reservation;
    let later_ms = NOW_MS + 2_000;
    let resolve = |finish| shop.admin().resolve(&shop.account, reservation, finish, later_ms);
    let void = Finish::Void { response: None };
    assert_eq!(resolve(void), Err(AdminError::Refused(Refusal::LeaseEnded)));
    let response = |status| {
        let stored = StoredResponse { status, headers: Box::default(), body: None };
        Finish::Settle { amount: None, response: Some(stored.into()) }
    };
    for _ in 0..2 {
        assert_eq!(resolve(response(201)), Ok(Settled { posted: Some(Amount(10)) }));
    }
    assert_eq!(resolve(response(202)), Err(AdminError::Refused(Refusal::AlreadyFinished)));
    let replay = shop.ask(Some("k"), false, later_ms);
    assert_eq!(replay.replay().map(|stored| stored.status), Some(201));
    assert_eq!(shop.wallet(later_ms).posted, Amount(10));
}

#[test]
fn a_refund_sees_what_time_did_without_a_sweep() {
    let shop =
        Shop::new(&format!("{PAY}\non_expiry = \"settle\"\n[reservations]\nretention_ms = 5000"));
    let decision = shop.ask(None, false, NOW_MS);
    let ticket = decision.ticket().unwrap();
    let refund = |reference, now_ms| {
        shop.admin().refund(&ticket.account, ticket.reservation, Amount(4), reference, now_ms)
    };
    assert_eq!(refund("a", NOW_MS + 999), Err(AdminError::Refused(Refusal::NotPosted)));
    assert_eq!(refund("a", NOW_MS + 1_000), Ok(()));
    assert_eq!(refund("b", NOW_MS + 6_000), Err(AdminError::Refused(Refusal::UnknownReservation)));
    assert_eq!(shop.wallet(NOW_MS + 6_000).refunded, Amount(4));
}

#[test]
fn a_composite_sees_a_revocation_where_only_limits_are_asked() {
    let config = PolicyConfig::from_toml(&format!(
        "{PAY}\n[limits.l]\nper = \"token\"\nquota = 2\nwindow_ms = 1000"
    ));
    let engine = Engine::new(config.unwrap().compile().unwrap());
    let store = CompositeStore::new(MemoryStore::default(), MemoryStore::default());
    let (account, digest) = (AccountId::new("acme").unwrap(), engine.digest(&token()));
    let admin = Admin::new(&store);
    admin.put_account(&account, Amount(0), AccountPatch::default(), NOW_MS).unwrap();
    // It expires some day, so that its look-up does not admit at once.
    let scopes = Some(vec!["pay".into()]);
    let patch = TokenPatch { scopes, expires_ms: Some(Some(NOW_MS * 2)), ..Default::default() };
    admin.put_token(&digest, &account, patch, NOW_MS).unwrap();
    let headers = [("authorization", "Bearer shop-token")];
    let free = Some(Amount(0));
    let request =
        Request { cost: free, ..Request::new(POST, b"/pay", NOW_MS).with_headers(&headers) };
    let mut evaluation = engine.evaluate(&request);
    let outcome = store.perform(&evaluation.command().unwrap(), NOW_MS);
    evaluation.resume(outcome);
    admin.revoke_token(&digest, NOW_MS).unwrap();
    while let Some(command) = evaluation.command() {
        let outcome = store.perform(&command, NOW_MS);
        evaluation.resume(outcome);
    }
    assert_eq!(evaluation.into_decision().status(), Status::InvalidToken);
}

#[test]
fn an_observation_with_detail_tells_what_the_wallet_has() {
    let shop = Shop::new(PAY);
    let digest = shop.engine.digest(&token());
    let account = AccountRef::Id(shop.account.clone());
    let admit =
        Admit { mode: Mode::Observe, detail: true, ..Admit::limits_only(&digest, &account, &[]) };
    let detail = shop.store.admit(&admit, NOW_MS).unwrap().detail.unwrap();
    assert_eq!(detail.available, Amount(100));
}

#[test]
fn an_account_is_counted_together_by_name_and_by_slot() {
    let shop = Shop::new(&format!(
        "{PAY}\n[limits.l]\nper = \"account\"\nquota = 3\nwindow_ms = 60000\nalgorithm = \"fixed_window\""
    ));
    let digest = shop.engine.digest(&token());
    let headers = [("authorization", "Bearer shop-token")];
    let request = Request::new(POST, b"/pay", NOW_MS).with_headers(&headers);
    let mut evaluation = shop.engine.evaluate(&request);
    let outcome = shop.store.perform(&evaluation.command().unwrap(), NOW_MS);
    evaluation.resume(outcome);
    let Some(Command::Admit(by_slot)) = evaluation.command() else { panic!("no admission") };
    let name = AccountRef::Id(shop.account.clone());
    let left = |account| {
        let admit = Admit { ..Admit::limits_only(&digest, account, by_slot.limits) };
        shop.store.admit(&admit, NOW_MS).unwrap().tightest.unwrap().left.remaining
    };
    assert_ne!(name, *by_slot.account);
    assert_eq!([left(&name), left(by_slot.account), left(&name)], [2, 1, 0]);
}
