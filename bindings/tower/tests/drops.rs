//! Futures and bodies that are dropped early, on stores that answer later and without a runtime.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "helpers of tests may fail as tests do"
)]

mod common;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use common::upstream::Stream;
use common::*;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::unbounded_channel;
use tollgate::*;
use tollgate_tower::{RequestBody, TollgateLayer};
use tower::{Layer, Service, ServiceExt, service_fn};

/// A store whose admissions and settlements wait after they were made: the answer is on its way.
struct Later {
    store: Arc<Watched>,
    admitted: Semaphore,
    answer: Semaphore,
}

impl AsyncStore for Later {
    async fn perform_async(
        &self,
        command: &Command<'_>,
        now_ms: u64,
    ) -> Result<Outcome, StoreError> {
        let outcome = self.store.perform(command, now_ms);
        if matches!(command, Command::Admit(_) | Command::Settle(_)) {
            self.admitted.add_permits(1);
            self.answer.acquire().await.unwrap().forget();
        }
        outcome
    }
}

fn request() -> Request<Full<Bytes>> {
    let call = Call::sms().key("k");
    call.request(Full::new(call.body.clone()))
}

fn finishes(store: &Watched) -> Vec<Finish> {
    store.finishes.lock().unwrap().iter().map(|(_, finish)| finish.clone()).collect()
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn a_client_that_leaves_while_the_store_decides_loses_nothing() {
    let parts = parts(policy());
    let store = Arc::clone(&parts.store);
    let later = Arc::new(Later {
        store: Arc::clone(&store),
        admitted: Semaphore::new(0),
        answer: Semaphore::new(0),
    });
    let price = RouteConfig { price: Some(Amount(5)), ..RouteConfig::default() };
    let mut priced = policy();
    let keyed = priced.routes.remove("POST /sms/send").unwrap();
    priced.routes.insert("POST /sms/send".into(), RouteConfig { price: price.price, ..keyed });
    parts.live.reload(priced.compile().unwrap());
    let layer = TollgateLayer::builder(Arc::clone(&parts.live), Arc::clone(&later))
        .clock(|| NOW_MS)
        .build();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let mut service = layer.layer(service_fn(move |_: Request<RequestBody<Full<Bytes>>>| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"done")))) }
    }));
    let mut call = service.ready().await.unwrap().call(request());
    assert!(poll_once(&mut call).is_pending());
    later.admitted.acquire().await.unwrap().forget();
    drop(call);
    assert!(finishes(&store).is_empty());
    // The answer comes when nobody waits for it any more.
    later.answer.add_permits(100);
    within(later.admitted.acquire()).await.unwrap().forget();
    assert_eq!(finishes(&store), [Finish::Void { response: None }]);
    assert_eq!(calls.load(Ordering::SeqCst), 0);

    // The key is free, and a settlement on its way is carried on when the response is dropped.
    let response = within(service.ready().await.unwrap().call(request())).await.unwrap();
    assert_eq!(response.status(), 200);
    later.answer.forget_permits(100);
    let mut body = pin!(response.into_body());
    let mut frame = body.frame();
    assert!(poll_once(&mut frame).is_pending());
    assert_eq!(finishes(&store).len(), 2);
    later.answer.add_permits(1);
    let data = within(frame).await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(&data[..], b"done");
    assert!(body.frame().await.is_none());
    assert_eq!(finishes(&store).len(), 2);
    let account = AccountId::new("acme").unwrap();
    let wallet = Admin::new(&store.memory).account(&account, NOW_MS).unwrap().wallet;
    assert_eq!((wallet.balance, wallet.held), (Amount(1_000_000 - 5), Amount::ZERO));
}

#[tokio::test]
async fn a_call_that_is_dropped_runs_on_and_is_settled_by_its_response() {
    for carry_on in [Duration::from_secs(20), Duration::ZERO] {
        let parts = parts(policy());
        let store = Arc::clone(&parts.store);
        let release = Arc::new(Semaphore::new(0));
        let upstream = Arc::clone(&release);
        let (alive, ended) = tokio::sync::oneshot::channel::<()>();
        let alive = Arc::new(std::sync::Mutex::new(Some(alive)));
        let service = service_fn(move |_: Request<RequestBody<Full<Bytes>>>| {
            let (upstream, alive) = (Arc::clone(&upstream), alive.lock().unwrap().take());
            async move {
                upstream.acquire().await.unwrap().forget();
                drop(alive);
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"done"))))
            }
        });
        let mut service = parts.builder.carry_on(carry_on).build().layer(service);
        let mut call = service.call(request());
        assert!(poll_once(&mut call).is_pending());
        drop(call);
        if carry_on.is_zero() {
            assert!(within(ended).await.is_err());
        }
        release.add_permits(1);
        within(async {
            while finishes(&store).is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        match &finishes(&store)[..] {
            [Finish::Settle { amount: None, response: Some(response) }] => {
                assert!(!carry_on.is_zero());
                assert_eq!(response.body.as_deref(), Some(&b"done"[..]));
            }
            other => {
                assert!(carry_on.is_zero());
                assert_eq!(other, [Finish::Unknown]);
            }
        }
    }
}

#[test]
fn without_a_runtime_a_dropped_response_is_settled_by_its_status() {
    let parts = parts(policy());
    let store = Arc::clone(&parts.store);
    let (chunks, receiver) = unbounded_channel();
    let receiver = Arc::new(std::sync::Mutex::new(Some(receiver)));
    let service = service_fn(move |_: Request<RequestBody<Full<Bytes>>>| {
        let receiver = receiver.lock().unwrap().take().unwrap();
        async { Ok::<_, Infallible>(Response::new(Stream(receiver))) }
    });
    let mut service = parts.builder.build().layer(service);
    let mut call = service.call(request());
    let Poll::Ready(Ok(response)) = poll_once(&mut call) else { panic!("it waits for nothing") };
    chunks.send(Ok("first")).unwrap();
    let mut body = pin!(response.into_body());
    assert!(poll_once(&mut body.frame()).is_ready());
    assert!(poll_once(&mut body.frame()).is_pending());
    assert!(finishes(&store).is_empty());
    body.set(tollgate_body());
    let [Finish::Settle { amount: None, response: Some(response) }] = &finishes(&store)[..] else {
        panic!("{:?}", finishes(&store));
    };
    assert_eq!((response.status, &response.body), (200, &None));
}

/// Another body of the same type: setting it drops the first.
fn tollgate_body() -> tollgate_tower::ResponseBody<Stream> {
    let service = service_fn(|_: Request<RequestBody<Full<Bytes>>>| async {
        Ok::<_, Infallible>(Response::new(Stream(unbounded_channel().1)))
    });
    let mut service = parts(policy()).builder.build().layer(service);
    let denied = Call::sms().without("authorization");
    let mut call = service.call(denied.request(Full::new(Bytes::new())));
    match poll_once(&mut call) {
        Poll::Ready(Ok(response)) => response.into_body(),
        _ => panic!("a denial waits for nothing"),
    }
}
