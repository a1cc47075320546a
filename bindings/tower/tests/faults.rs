//! A store that fails before, after, twice, wrongly or late: the client's answer, the upstream and the
//! money.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "helpers of tests may fail as tests do"
)]

mod common;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::*;
use http_body_util::Full;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tollgate::*;
use tollgate_conformance::{Fault, FaultyAsyncStore, Kind, Plan};
use tollgate_tower::{Facts, TollgateLayer};

const START: u64 = 1_000_000;
/// The preset's lease.
const LEASE_MS: u64 = 300_000;

type Faulty = FaultyAsyncStore<MemoryStore>;

struct FaultyGateway {
    address: SocketAddr,
    store: Arc<Faulty>,
    upstream: Arc<Upstream>,
    /// One permit for each command that began to be slow.
    slowed: Arc<Semaphore>,
    /// Slow commands wait for a permit.
    release: Arc<Semaphore>,
    reported: Arc<Mutex<Vec<FinishError>>>,
    server: JoinHandle<()>,
}

impl Drop for FaultyGateway {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl FaultyGateway {
    async fn start() -> FaultyGateway {
        let live = Arc::new(LiveEngine::new(Engine::new(policy().compile().unwrap())));
        let (slowed, release) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let waits = (Arc::clone(&slowed), Arc::clone(&release));
        let store = FaultyAsyncStore::new(MemoryStore::default(), Plan::none()).slow(move || {
            let (slowed, release) = (Arc::clone(&waits.0), Arc::clone(&waits.1));
            Box::pin(async move {
                slowed.add_permits(1);
                release.acquire().await.unwrap().forget();
            })
        });
        let store = Arc::new(store);
        let admin = Admin::new(store.inner());
        let account = AccountId::new("acme").unwrap();
        admin.put_account(&account, Amount(START), AccountPatch::default(), NOW_MS).unwrap();
        let scopes = Some(vec!["sms:send".into(), "balance".into()]);
        let patch = TokenPatch { scopes, ..TokenPatch::default() };
        admin.put_token(&live.load().digest(&token(1)), &account, patch, NOW_MS).unwrap();

        let reported = Arc::new(Mutex::new(Vec::new()));
        let reports = Arc::clone(&reported);
        let layer = TollgateLayer::builder(live, Arc::clone(&store))
            .clock(|| NOW_MS)
            .facts(|parts| Facts {
                cost: (parts.uri.path() == "/sms/send").then_some(Amount(PRICE)),
                ..Facts::default()
            })
            .on_finish_error(move |_, error| reports.lock().unwrap().push(error.clone()))
            .build();
        let upstream = Arc::new(Upstream::default());
        let app = upstream::router(Arc::clone(&upstream)).layer(layer);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        let server = tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
        FaultyGateway { address, store, upstream, slowed, release, reported, server }
    }

    /// The first command of this kind meets the fault, and no other.
    fn once(&self, kind: Kind, fault: Fault) {
        let met = AtomicBool::new(false);
        self.store.follow(Plan::new(move |_, of| {
            (of == kind && !met.swap(true, Ordering::SeqCst)).then_some(fault)
        }));
    }

    async fn send(&self, call: &Call) -> Reply {
        within(client::send(self.address, call.clone())).await
    }

    async fn status(&self, call: &Call) -> (u16, String) {
        let reply = self.send(call).await;
        let code = match reply.status {
            201 if reply.is_replay() => "replay".to_owned(),
            201 => String::new(),
            _ => reply.code(),
        };
        (reply.status, code)
    }

    fn executions(&self) -> u64 {
        self.upstream.executions.load(Ordering::SeqCst) as u64
    }

    /// Posted and held.
    fn money(&self) -> (u64, u64) {
        let account = AccountId::new("acme").unwrap();
        let wallet = Admin::new(self.store.inner()).account(&account, NOW_MS).unwrap().wallet;
        assert_eq!(wallet.balance.0 + wallet.posted.0, START);
        (wallet.posted.0, wallet.held.0)
    }

    /// Where the account's reservations stand.
    fn states(&self) -> Vec<ReservationState> {
        let account = AccountId::new("acme").unwrap();
        let all = Admin::new(self.store.inner()).reservations(&account, NOW_MS).unwrap();
        all.into_iter().map(|(_, reservation)| reservation.state).collect()
    }

    /// Posted and held when every lease has ended.
    fn money_after_leases(&self) -> (u64, u64) {
        Admin::new(self.store.inner()).expire(NOW_MS + LEASE_MS).unwrap();
        self.money()
    }

    /// Lets what is slow go on, from now on.
    fn let_go(&self) {
        self.release.add_permits(1_000);
    }

    async fn next_slow(&self) {
        within(self.slowed.acquire()).await.unwrap().forget();
    }

    async fn until(&self, what: impl Fn(&FaultyGateway) -> bool) {
        within(async {
            while !what(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

fn unavailable() -> (u16, String) {
    (503, "store_unavailable".to_owned())
}

fn in_flight() -> (u16, String) {
    (409, "idempotency_in_flight".to_owned())
}

#[tokio::test]
async fn each_fault_at_each_command_is_answered_as_documented() {
    use Fault::*;
    let (done, replay) = ((201, String::new()), (201, "replay".to_owned()));
    let mut table = vec![
        (Kind::LookUp, Twice, done.clone(), replay.clone(), 1, 0),
        (Kind::Admit, Before, unavailable(), done.clone(), 1, 0),
        (Kind::Admit, After, unavailable(), in_flight(), 0, PRICE),
        (Kind::Admit, WrongOutcome, unavailable(), in_flight(), 0, PRICE),
        (Kind::Admit, Twice, in_flight(), in_flight(), 0, PRICE),
    ];
    for fault in [Before, After, WrongOutcome] {
        table.push((Kind::LookUp, fault, unavailable(), done.clone(), 1, 0));
    }
    for fault in [Before, After, WrongOutcome, Twice] {
        table.push((Kind::Settle, fault, done.clone(), replay.clone(), 1, 0));
    }
    for (kind, fault, first, retry, executions, orphaned) in table {
        let what = format!("{fault:?} at {kind:?}");
        let gateway = FaultyGateway::start().await;
        gateway.once(kind, fault);
        let call = Call::sms().key("order-1");
        assert_eq!(gateway.status(&call).await, first, "{what}");
        assert_eq!(gateway.store.met(), [(kind, fault)]);
        assert_eq!(gateway.status(&call).await, retry, "{what}");
        assert_eq!(gateway.executions(), executions, "{what}");
        assert_eq!(gateway.money(), (PRICE * executions, orphaned), "{what}");
        assert_eq!(gateway.money_after_leases(), (PRICE * executions, 0), "{what}");
        assert_eq!(*gateway.reported.lock().unwrap(), [], "{what}");
    }
}

#[tokio::test]
async fn a_settlement_that_never_gets_through_is_reported_and_the_response_stands() {
    for (fault, posted) in [(Fault::Before, 0), (Fault::After, PRICE), (Fault::WrongOutcome, PRICE)]
    {
        let gateway = FaultyGateway::start().await;
        gateway.store.follow(Plan::every(Kind::Settle, fault));
        let call = Call::sms().key("order-1");
        assert_eq!(gateway.status(&call).await, (201, String::new()));
        assert_eq!(gateway.store.met().len(), 3, "it is tried three times");
        let reported = gateway.reported.lock().unwrap().clone();
        assert!(matches!(reported[..], [FinishError::Store(_)]), "{reported:?}");
        assert_eq!(gateway.money(), (posted, PRICE - posted), "{fault:?}");
        // A duplicate meets what the store knows, and never runs.
        let expected = if posted > 0 { (201, "replay".to_owned()) } else { in_flight() };
        assert_eq!(gateway.status(&call).await, expected, "{fault:?}");
        assert_eq!(gateway.executions(), 1);
        assert_eq!(gateway.money_after_leases(), (posted, 0));
    }
}

#[tokio::test]
async fn a_slow_store_is_waited_for() {
    for kind in [Kind::LookUp, Kind::Admit, Kind::Settle] {
        let gateway = FaultyGateway::start().await;
        gateway.once(kind, Fault::Slow);
        let call = Call::sms().key("order-1");
        let (status, ()) = tokio::join!(gateway.status(&call), async {
            gateway.next_slow().await;
            assert_eq!(gateway.executions(), u64::from(kind == Kind::Settle));
            if kind == Kind::Settle {
                // Until it is settled, a duplicate is in flight.
                assert_eq!(gateway.status(&call).await, in_flight());
            }
            gateway.let_go();
        });
        assert_eq!(status, (201, String::new()), "{kind:?}");
        assert_eq!((gateway.executions(), gateway.money()), (1, (PRICE, 0)), "{kind:?}");
    }
}

/// Sends a call, and leaves when the store has begun to be slow.
async fn leave(gateway: &FaultyGateway, call: &Call) {
    let mut sender = client::connect(gateway.address).await;
    let sent = sender.send_request(call.request(Full::new(call.body.clone())));
    tokio::select! {
        _ = sent => panic!("it should not be answered yet"),
        () = gateway.next_slow() => {}
    }
    drop(sender);
}

#[tokio::test]
async fn a_client_that_leaves_while_the_store_decides_runs_nothing_and_pays_nothing() {
    for kind in [Kind::LookUp, Kind::Admit] {
        let gateway = FaultyGateway::start().await;
        gateway.once(kind, Fault::Slow);
        let call = Call::sms().key("order-1");
        leave(&gateway, &call).await;
        // Time for the server to notice.
        tokio::time::sleep(Duration::from_millis(100)).await;
        gateway.let_go();
        if kind == Kind::Admit {
            // What was admitted for nobody is given up.
            let voided = ReservationState::Voided { by_expiry: false };
            gateway.until(|gateway| gateway.states() == [voided.clone()]).await;
        } else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(gateway.states(), []);
        }
        assert_eq!((gateway.executions(), gateway.money()), (0, (0, 0)), "{kind:?}");
        // The key is free: it was not carried out.
        assert_eq!(gateway.status(&call).await, (201, String::new()), "{kind:?}");
        assert_eq!((gateway.executions(), gateway.money()), (1, (PRICE, 0)), "{kind:?}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_the_store_settles_finds_the_response_later() {
    let gateway = FaultyGateway::start().await;
    gateway.once(Kind::Settle, Fault::Slow);
    let call = Call::sms().key("order-1");
    let mut sender = client::connect(gateway.address).await;
    let sent = sender.send_request(call.request(Full::new(call.body.clone())));
    tokio::select! {
        response = sent => {
            // The head may come first, but not the end of the body.
            drop(response);
            gateway.next_slow().await;
        }
        () = gateway.next_slow() => {}
    }
    drop(sender);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(gateway.status(&call).await, in_flight());
    gateway.let_go();
    gateway.until(|gateway| gateway.money() == (PRICE, 0)).await;
    assert_eq!(gateway.status(&call).await, (201, "replay".to_owned()));
    assert_eq!(gateway.executions(), 1);
}

/// Clients that try again at once, and a store that fails every third command in every way but for
/// being slow.
#[tokio::test]
async fn under_random_faults_the_upstream_is_called_once_a_key() {
    const KEYS: u64 = 12;
    const QUICK: &[Fault] = &[Fault::Before, Fault::After, Fault::Twice, Fault::WrongOutcome];
    for seed in 0..6 {
        let gateway = Arc::new(FaultyGateway::start().await);
        gateway.store.follow(Plan::seeded(seed, 3, QUICK));
        let clients = (0..KEYS * 3).map(|number| {
            let gateway = Arc::clone(&gateway);
            tokio::spawn(async move {
                let call = Call::sms().key(&format!("order-{}", number % KEYS));
                let mut done = 0;
                for _ in 0..3 {
                    match gateway.send(&call).await {
                        reply if reply.is_replay() => break,
                        Reply { status: 201, .. } => {
                            done += 1;
                            break;
                        }
                        Reply { status: 503 | 409, .. } => {}
                        other => panic!("{other:?}"),
                    }
                }
                done
            })
        });
        let mut ran = 0;
        for client in clients.collect::<Vec<_>>() {
            ran += client.await.unwrap();
        }
        assert!(gateway.store.met().len() > 10, "seed {seed} proves little");
        assert_eq!(gateway.executions(), ran, "seed {seed}");
        assert!(ran <= KEYS, "seed {seed}: a key ran twice");
        // What was reported was given up; everything else that ran is posted.
        let given_up = gateway.reported.lock().unwrap().len() as u64;
        let (posted, held) = gateway.money_after_leases();
        assert_eq!(held, 0, "seed {seed}");
        assert!(
            posted <= PRICE * ran && posted >= PRICE * (ran - given_up),
            "seed {seed}: {posted}"
        );
    }
}
