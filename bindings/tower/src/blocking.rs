//! Stores that wait for a disk or a network on the caller's thread.

use tokio::runtime::{Handle, RuntimeFlavor};
use tollgate::{AsyncStore, Command, Outcome, Store, StoreError};

/// A [`Store`] that may take long over a command, in an asynchronous server.
///
/// Every `Store` is an [`AsyncStore`] that answers at once, which is right for one in memory. One that
/// waits for a disk, such as LMDB with a sync on every commit, would hold up all other tasks of its
/// thread. This tells the runtime, which moves them to another thread meanwhile
/// ([`tokio::task::block_in_place`]). On a runtime of one thread there is none, and it just waits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Blocking<S>(pub S);

impl<S: Store> AsyncStore for Blocking<S> {
    async fn perform_async(
        &self,
        command: &Command<'_>,
        now_ms: u64,
    ) -> Result<Outcome, StoreError> {
        let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
        match flavor {
            Ok(RuntimeFlavor::MultiThread) => {
                tokio::task::block_in_place(|| self.0.perform(command, now_ms))
            }
            _ => self.0.perform(command, now_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;

    /// Answers when the barrier opens.
    struct Slow<'b>(&'b Barrier, &'b AtomicBool);

    impl Store for Slow<'_> {
        fn perform(&self, _: &Command<'_>, _: u64) -> Result<Outcome, StoreError> {
            self.1.store(true, Ordering::SeqCst);
            self.0.wait();
            Ok(Outcome::Done)
        }
    }

    #[test]
    fn other_tasks_of_the_thread_go_on() {
        static BARRIER: Barrier = Barrier::new(2);
        static WAITS: AtomicBool = AtomicBool::new(false);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
            .unwrap();
        let expire = tollgate::Administration::Expire;
        runtime.block_on(async {
            let store = tokio::spawn(async move {
                let store = Blocking(Slow(&BARRIER, &WAITS));
                store.perform_async(&Command::Administer(&expire), 0).await
            });
            // Runs on the one worker, which the store holds: only another thread can open the barrier.
            let other = tokio::spawn(async {
                while !WAITS.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                BARRIER.wait();
            });
            other.await.unwrap();
            assert!(matches!(store.await.unwrap(), Ok(Outcome::Done)));
        });
    }

    #[test]
    fn on_one_thread_and_outside_a_runtime_it_just_waits() {
        let barrier = Barrier::new(1);
        let waits = AtomicBool::new(false);
        let store = Blocking(Slow(&barrier, &waits));
        let expire = tollgate::Administration::Expire;
        let command = Command::Administer(&expire);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let outcome = runtime.block_on(store.perform_async(&command, 0));
        assert!(matches!(outcome, Ok(Outcome::Done)));
        let mut outside = std::pin::pin!(store.perform_async(&command, 0));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(std::future::Future::poll(outside.as_mut(), &mut context).is_ready());
    }
}
