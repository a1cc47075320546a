//! Envoy as scenarios need it.

use std::path::{Path, PathBuf};

use serde_json::json;
use tollgate_gateway_tests::{MAX_RESPONSE_BODY, REPLAY_HEADERS, RunningGateway};
use tollgate_scenario::{RequestStep, StepError};

use crate::envoy::{Envoy, Options};
use crate::gateway::Writes;

/// How many lines of one header the library reads.
const MAX_LINES: usize = 64;

/// Envoy under scenarios. `WAITS`: its store is asked on the module's threads, because it waits for a disk; else on Envoy's own.
pub struct UnderScenarios<const WAITS: bool>(Envoy);

impl<const WAITS: bool> RunningGateway for UnderScenarios<WAITS> {
    const NAME: &'static str = "Envoy";

    fn start_for_scenarios(policy: &str, upstream: u16) -> Self {
        let writes = if WAITS { Writes::Threads } else { Writes::Inline };
        let filter = json!({
            "policy": {"file": "DIR/policy.json"},
            "store": writes.store(),
            "peer": "downstream",
            "cost": {"header": "x-test-cost"},
            "sender": {"header": "x-test-sender"},
            "invalid": {"header": "x-test-invalid"},
            "charge": {"header": "x-charge"},
            "metadata": "all",
            "replay_headers": REPLAY_HEADERS,
            "max_request_body": 64 << 20,
            "max_response_body": MAX_RESPONSE_BODY,
            "expire_interval_ms": 0,
            "policy_reload_interval_ms": 20,
        });
        let mut options = Options::new(filter, upstream);
        options.clock_ms = Some(1_600_000_000_000); // a time at which Envoy starts well
        options.files.push(("policy.json".to_owned(), policy.to_owned()));
        UnderScenarios(Envoy::start(options))
    }

    fn port(&self) -> u16 {
        self.0.port()
    }

    fn directory(&self) -> &Path {
        self.0.directory()
    }

    fn socket(&self) -> PathBuf {
        self.0.socket().to_path_buf()
    }

    fn set_clock_ms(&self, now_ms: u64) {
        self.0.set_clock_ms(now_ms);
    }

    fn replace_policy(&self, policy: &str) {
        self.0.replace_policy(policy);
    }

    fn restart(&mut self) {
        self.0.restart();
    }

    fn access_log(&self) -> String {
        self.0.access_log()
    }

    fn error_log(&self) -> String {
        self.0.log()
    }

    fn not_settled(logged: &str) -> Option<&str> {
        let (_, why) = logged.split_once("tollgate: a request was not settled: ")?;
        let why = why.lines().next().unwrap_or(why);
        Some(why.split_once("; it ends with its lease").map_or(why, |(why, _)| why))
    }

    fn carries(request: &RequestStep) -> Result<(), StepError> {
        let values = |wanted: &str| -> Vec<&[u8]> {
            let headers = request.headers.0.iter();
            let named =
                headers.filter(|(name, _)| name.as_ref().eq_ignore_ascii_case(wanted.as_bytes()));
            named.map(|(_, value)| value.as_ref()).collect()
        };
        let tokens = values("authorization");
        let bearer = |value: &&[u8]| value.to_ascii_lowercase().starts_with(b"bearer");
        // A first line with a bearer token is refused either way.
        if tokens.len() > 1 && !tokens.first().is_some_and(bearer) {
            let why = "Envoy joins the lines of Authorization to one of the first one's scheme";
            return Err(StepError::not_carried(why));
        }
        if values("x-forwarded-for").len() > MAX_LINES {
            let why = "Envoy joins the lines of X-Forwarded-For, so that they are not too many";
            return Err(StepError::not_carried(why));
        }
        Ok(())
    }

    fn ends_at(_: u64) -> Result<(), StepError> {
        Ok(())
    }
}
