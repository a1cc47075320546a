//! A filter's configuration, and what a route overrides of it.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use tollgate::{LiveEngine, NEVER_REPLAYED_HEADERS, REPLAY_HEADERS};

use crate::accounts;
use crate::host;
use crate::metadata::Metadata;
use crate::policy;
use crate::settings::{LimitsSettings, Peer, ResponseSource, Settings, Source, header_name};
use crate::stats::Counters;
use crate::store::{self, Place};

const MAX_BODY: u64 = 1 << 20;
const EXPIRE_INTERVAL_MS: u64 = 10_000;
const POLICY_RELOAD_INTERVAL_MS: u64 = 1_000;

/// A filter's configuration.
pub(crate) struct FilterConfig {
    own: Overrides,
    live: Arc<LiveEngine>,
    /// None where Envoy only checks its configuration.
    place: Option<Arc<Place>>,
    pub(crate) peer: Peer,
    pub(crate) metadata: Metadata,
    pub(crate) counters: Counters,
}

/// How many configurations of routes there are: as long as there are none, no request asks Envoy for its route's.
static ROUTES: AtomicUsize = AtomicUsize::new(0);

/// What a route overrides.
pub(crate) struct RouteConfig {
    own: Overrides,
    live: Option<Arc<LiveEngine>>,
}

#[derive(Default)]
struct Overrides {
    disabled: Option<bool>,
    cost: Option<Source>,
    sender: Option<Source>,
    invalid: Option<Source>,
    charge: Option<String>,
    replay_headers: Option<Vec<String>>,
    max_request_body: Option<u64>,
    max_response_body: Option<u64>,
    failure_mode_allow: Option<bool>,
}

impl FilterConfig {
    /// Reads a configuration, and opens what it names.
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub(crate) fn new(name: &str, json: &[u8], counters: Counters) -> Result<FilterConfig, String> {
        let checking_only = host::is_validation_mode();
        let settings = Settings::of_filter(json)?;
        let (Some(policy), Some(store)) = (&settings.policy, &settings.store) else {
            return Err("`policy` and `store` are missing".to_owned());
        };
        let own = Overrides::new(&settings)?;
        let limits: LimitsSettings = settings.limits.unwrap_or_default();
        store::check(store, limits)?;
        let reload = settings.policy_reload_interval_ms.unwrap_or(POLICY_RELOAD_INTERVAL_MS);
        let live = policy::engine(policy, settings.pepper_file.as_deref(), reload, checking_only)?;
        let namespace = settings.metadata_namespace.unwrap_or_else(|| "tollgate".to_owned());
        let metadata = Metadata::new(namespace, settings.metadata.as_ref())?;
        let expire = settings.expire_interval_ms.unwrap_or(EXPIRE_INTERVAL_MS);
        let place = match checking_only {
            true => None,
            false => Some(Place::named(name, store, limits, expire)?),
        };
        if let Some(path) = &settings.accounts_file {
            // A file that is wrong changes nothing.
            accounts::check(&live.load(), path)?;
            if let Some(store) = place.as_ref().and_then(|place| place.memory()) {
                accounts::fill(store, &live.load(), path)?;
            }
        }
        Ok(FilterConfig {
            own,
            live,
            place,
            peer: settings.peer.unwrap_or_default(),
            metadata,
            counters,
        })
    }

    /// Where state is kept.
    pub(crate) fn place(&self) -> Option<&Arc<Place>> {
        self.place.as_ref()
    }
}

impl RouteConfig {
    /// Reads a route's configuration.
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub(crate) fn new(json: &[u8]) -> Result<RouteConfig, String> {
        let settings = Settings::of_route(json)?;
        let own = Overrides::new(&settings)?;
        let reload = settings.policy_reload_interval_ms.unwrap_or(POLICY_RELOAD_INTERVAL_MS);
        let pepper = settings.pepper_file.as_deref();
        let engine = |source| policy::engine(source, pepper, reload, host::is_validation_mode());
        let live = settings.policy.as_ref().map(engine).transpose()?;
        ROUTES.fetch_add(1, Ordering::Release);
        Ok(RouteConfig { own, live })
    }

    /// Whether a request may have one.
    pub(crate) fn there_are_any() -> bool {
        ROUTES.load(Ordering::Acquire) > 0
    }
}

impl Drop for RouteConfig {
    fn drop(&mut self) {
        ROUTES.fetch_sub(1, Ordering::Release);
    }
}

impl Overrides {
    fn new(settings: &Settings) -> Result<Overrides, String> {
        let charge = match &settings.charge {
            Some(ResponseSource::Header(name)) => {
                Some(header_name(name).map_err(|why| format!("`charge`: {why}"))?)
            }
            None => None,
        };
        let replay_headers =
            settings.replay_headers.as_ref().map(|names| replay_headers(names)).transpose()?;
        Ok(Overrides {
            disabled: settings.disabled,
            cost: settings.cost.clone(),
            sender: settings.sender.clone(),
            invalid: settings.invalid.clone(),
            charge,
            replay_headers,
            max_request_body: settings.max_request_body,
            max_response_body: settings.max_response_body,
            failure_mode_allow: settings.failure_mode_allow,
        })
    }
}

fn replay_headers(names: &[String]) -> Result<Vec<String>, String> {
    let name = |name: &String| {
        let name = header_name(name).map_err(|why| format!("`replay_headers`: {why}"))?;
        match NEVER_REPLAYED_HEADERS.contains(&name.as_str()) {
            true => Err(format!(
                "`replay_headers`: `{name}` belongs to one connection, moment or client"
            )),
            false => Ok(name),
        }
    };
    names.iter().map(name).collect()
}

/// What holds for one request: its filter's configuration and its route's.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) config: Arc<FilterConfig>,
    pub(crate) route: Option<Arc<RouteConfig>>,
}

impl Rules {
    fn first<'a, T>(&'a self, of: impl Fn(&'a Overrides) -> Option<T>) -> Option<T> {
        let route = self.route.as_ref().and_then(|route| of(&route.own));
        route.or_else(|| of(&self.config.own))
    }

    pub(crate) fn disabled(&self) -> bool {
        self.first(|own| own.disabled).unwrap_or(false)
    }

    pub(crate) fn live(&self) -> &LiveEngine {
        let route = self.route.as_ref().and_then(|route| route.live.as_ref());
        route.unwrap_or(&self.config.live)
    }

    pub(crate) fn cost(&self) -> Option<&Source> {
        self.first(|own| own.cost.as_ref())
    }

    pub(crate) fn sender(&self) -> Option<&Source> {
        self.first(|own| own.sender.as_ref())
    }

    pub(crate) fn invalid(&self) -> Option<&Source> {
        self.first(|own| own.invalid.as_ref())
    }

    /// The response header that says what a request costs.
    pub(crate) fn charge(&self) -> Option<&str> {
        self.first(|own| own.charge.as_deref())
    }

    pub(crate) fn replay_headers(&self) -> impl Iterator<Item = &str> {
        let given = self.first(|own| own.replay_headers.as_ref());
        let default = given.is_none().then_some(REPLAY_HEADERS).into_iter().flatten();
        given.into_iter().flatten().map(String::as_str).chain(default)
    }

    pub(crate) fn max_request_body(&self) -> u64 {
        self.first(|own| own.max_request_body).unwrap_or(MAX_BODY)
    }

    pub(crate) fn max_response_body(&self) -> u64 {
        self.first(|own| own.max_response_body).unwrap_or(MAX_BODY)
    }

    pub(crate) fn failure_mode_allow(&self) -> bool {
        self.first(|own| own.failure_mode_allow).unwrap_or(false)
    }
}
