//! Work that must not be lost when the request that started it is.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::Handle;

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A future that is carried on when it is dropped before its end.
///
/// It runs on the caller's task as long as there is one. Dropped on a tokio runtime, what is left of it
/// becomes a task of its own; dropped elsewhere, it is polled once, which is enough for what waits for
/// nothing. A future that panicked is not carried on.
pub(crate) struct CarryOn<T: 'static> {
    future: Option<BoxFuture<T>>,
    bound: Option<Duration>,
    polling: bool,
}

impl<T: 'static> CarryOn<T> {
    /// Carried on to its end.
    pub(crate) fn to_end(future: impl Future<Output = T> + Send + 'static) -> CarryOn<T> {
        CarryOn { future: Some(Box::pin(future)), bound: None, polling: false }
    }

    /// Carried on for at most `bound`; not at all when that is zero. Needs a runtime with time enabled.
    pub(crate) fn within(
        future: impl Future<Output = T> + Send + 'static,
        bound: Duration,
    ) -> CarryOn<T> {
        CarryOn { future: Some(Box::pin(future)), bound: Some(bound), polling: false }
    }
}

impl<T: 'static> Future for CarryOn<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        let Some(future) = &mut this.future else { return Poll::Pending };
        // Stays true when the future panics.
        this.polling = true;
        let poll = future.as_mut().poll(cx);
        this.polling = false;
        if poll.is_ready() {
            this.future = None;
        }
        poll
    }
}

impl<T: 'static> Drop for CarryOn<T> {
    fn drop(&mut self) {
        let Some(mut future) = self.future.take() else { return };
        if self.polling || self.bound.is_some_and(|bound| bound.is_zero()) {
            return;
        }
        let bound = self.bound;
        match Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(async move {
                    match bound {
                        None => drop(future.await),
                        Some(bound) => drop(tokio::time::timeout(bound, future).await),
                    }
                });
            }
            Err(_) => {
                let _ = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn poll_once<T>(work: &mut CarryOn<T>) -> Poll<T> {
        Pin::new(work).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn without_a_runtime_what_waits_for_nothing_is_done() {
        let done = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&done);
        drop(CarryOn::to_end(async move { count.fetch_add(1, Ordering::SeqCst) }));
        assert_eq!(done.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn the_rest_runs_once_after_a_drop() {
        let (release, released) = tokio::sync::oneshot::channel::<()>();
        let (finished, end) = tokio::sync::oneshot::channel();
        let starts = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&starts);
        let mut work = CarryOn::to_end(async move {
            count.fetch_add(1, Ordering::SeqCst);
            released.await.unwrap();
            finished.send(()).unwrap();
        });
        assert!(poll_once(&mut work).is_pending());
        drop(work);
        release.send(()).unwrap();
        end.await.unwrap();
        assert_eq!(starts.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_panic_and_a_bound_of_zero_end_it() {
        let alive = Arc::new(());
        let kept = Arc::clone(&alive);
        let mut work: CarryOn<()> = CarryOn::to_end(async move {
            let _kept = kept;
            panic!("as the test wants");
        });
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = poll_once(&mut work);
        }));
        assert!(caught.is_err());
        drop(work);
        let kept = Arc::clone(&alive);
        drop(CarryOn::within(
            async move {
                let _kept = kept;
                std::future::pending::<()>().await;
            },
            Duration::ZERO,
        ));
        assert_eq!(Arc::strong_count(&alive), 1);
    }

    #[tokio::test]
    async fn a_bound_ends_what_would_never_end() {
        let (kept, dropped) = tokio::sync::oneshot::channel::<()>();
        let work = async move {
            let _kept = kept;
            std::future::pending::<()>().await;
        };
        drop(CarryOn::within(work, Duration::from_millis(10)));
        let dropped = tokio::time::timeout(Duration::from_secs(20), dropped);
        assert!(dropped.await.unwrap().is_err());
    }
}
