//! limitador: fixed windows, limits chosen by expressions over the request.

use std::collections::HashMap;
use std::fmt;

use limitador::RateLimiter;
use limitador::limit::{Context, Limit, Namespace};

use super::{Limiter, Terms};

/// limitador in memory, with one limit per `key` in one namespace.
///
/// A request is a map of variables, from which a context for expressions is made, as its documentation
/// and its own server do. It reads the system's clock. Its cache is twice as large as there are keys,
/// so that it forgets none.
pub struct Limitador {
    limiter: RateLimiter,
    namespace: Namespace,
}

impl Limitador {
    /// An empty limiter, with room for so many keys.
    ///
    /// # Panics
    /// When `key` is no expression, which it is.
    #[must_use]
    pub fn new(terms: Terms, keys: usize) -> Self {
        let limiter = RateLimiter::new(keys as u64 * 2);
        let variables = ["key".try_into().expect("an expression")];
        let units = u64::from(terms.units);
        limiter.add_limit(Limit::new("api", units, terms.window_s, [], variables));
        Limitador { limiter, namespace: "api".into() }
    }
}

impl fmt::Debug for Limitador {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limitador").finish_non_exhaustive()
    }
}

impl Limiter for Limitador {
    type Key = String;

    fn key(&self, number: u64) -> String {
        number.to_string()
    }

    fn take(&self, key: &String, _: u64) -> bool {
        let context = context([("key", key.as_str())]);
        let checked = self.limiter.check_rate_limited_and_update(&self.namespace, &context, 1);
        !checked.expect("the variable is there").limited
    }
}

/// What limitador's expressions read.
#[must_use]
pub fn context<const N: usize>(variables: [(&str, &str); N]) -> Context<'static> {
    let owned = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    HashMap::from(owned).into()
}
