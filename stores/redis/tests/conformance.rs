//! The suite that every store passes, on a server and on a cluster.
#![cfg(test)]

mod common;

use std::cell::RefCell;
use std::sync::Arc;

use tollgate::{Store, StoreError};
use tollgate_redis::{RedisOptions, RedisStore};
use tollgate_scenario::Backend;

thread_local! {
    /// How the latest store of the test on this thread was made.
    static LATEST: RefCell<Option<RedisOptions>> = const { RefCell::new(None) };
}

/// Stores with prefixes of their own, on a server or a cluster that all tests share.
struct Prefixed(fn() -> String);

fn latest() -> Arc<dyn Store> {
    let options = LATEST.with_borrow(|latest| latest.clone().unwrap());
    Arc::new(RedisStore::new(&options).unwrap())
}

impl Backend for Prefixed {
    fn fresh(&self) -> Result<Arc<dyn Store>, StoreError> {
        LATEST.set(Some(common::options(&(self.0)())));
        Ok(latest())
    }

    fn reopen(&self, _: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
        Ok(latest())
    }

    fn keeps_state(&self) -> bool {
        true
    }
}

mod server {
    use super::{Prefixed, common, latest};

    tollgate_conformance::store_suite!(
        backend = Prefixed(common::tied::server),
        durable,
        shared = |_| Ok(latest()),
    );
}

mod cluster {
    use super::{Prefixed, common, latest};

    tollgate_conformance::store_suite!(
        backend = Prefixed(common::tied::cluster),
        durable,
        shared = |_| Ok(latest()),
        limits_apart,
    );
}
