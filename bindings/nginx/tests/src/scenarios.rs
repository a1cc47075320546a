//! nginx as scenarios need it.

use std::path::Path;

use tollgate_gateway_tests::{MAX_RESPONSE_BODY, REPLAY_HEADERS, RunningGateway};
use tollgate_scenario::{RequestStep, StepError};

use crate::nginx::{Nginx, Options};

const HTTP: &str = "
    tollgate_policy policy.json;
    tollgate_zone tollgate:4m;
    tollgate_store lmdb:DIR/db sync=never map=256m;
    tollgate_expire_interval 0;
    tollgate_max_response_body MAX_RESPONSE_BODY;
    tollgate_replay_headers REPLAY_HEADERS;
    client_header_buffer_size 16k;
    large_client_header_buffers 4 64k;
    underscores_in_headers on;
    ignore_invalid_headers off;
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Test-Peer;
    log_format t '$http_x_test_id|$tollgate_settled|';
    server {
        listen 127.0.0.1:PORT;
        listen unix:DIR/socket;
        client_max_body_size 64m;
        location = /up { return 200; }
        location / {
            access_log access.log t;
            tollgate on;
            tollgate_cost $http_x_test_cost;
            tollgate_sender $http_x_test_sender;
            tollgate_invalid $http_x_test_invalid;
            tollgate_charge $upstream_http_x_charge;
            add_header X-T-Verdict $tollgate_verdict always;
            add_header X-T-Code $tollgate_code always;
            add_header X-T-Account $tollgate_account always;
            add_header X-T-Route $tollgate_route always;
            proxy_set_header X-T-Account $tollgate_account;
            proxy_set_header X-T-Route $tollgate_route;
            proxy_set_header X-T-Reserved $tollgate_reserved;
            proxy_set_header X-T-Reservation $tollgate_reservation;
            proxy_http_version 1.1;
            proxy_set_header Connection close;
            proxy_read_timeout 1h;
            proxy_buffer_size 64k;
            proxy_buffers 8 64k;
            proxy_ignore_client_abort on;
            proxy_pass http://UPSTREAM;
        }
    }";

impl RunningGateway for Nginx {
    const NAME: &'static str = "nginx";

    fn start_for_scenarios(policy: &str, upstream: u16) -> Nginx {
        let http = HTTP
            .replace("MAX_RESPONSE_BODY", &MAX_RESPONSE_BODY.to_string())
            .replace("REPLAY_HEADERS", &REPLAY_HEADERS.join(" "));
        let mut options = Options::new(&http, upstream);
        options.workers = 1;
        options.clock_ms = Some(1_600_000_000_000); // nginx itself does not start in 1970
        options.files.push(("policy.json".to_owned(), policy.to_owned()));
        Nginx::start(options)
    }

    fn port(&self) -> u16 {
        self.port()
    }

    fn directory(&self) -> &Path {
        self.directory()
    }

    fn set_clock_ms(&self, now_ms: u64) {
        self.set_clock_ms(now_ms);
    }

    fn replace_policy(&self, policy: &str) {
        self.rewrite("policy.json", policy);
        self.reload();
    }

    /// New workers with the same configuration; the zone, like the store, stays.
    fn restart(&mut self) {
        self.reload();
    }

    fn access_log(&self) -> String {
        self.access_log()
    }

    fn error_log(&self) -> String {
        self.error_log()
    }

    fn not_settled(logged: &str) -> Option<&str> {
        let (_, why) = logged.split_once("tollgate could not settle a request: ")?;
        let why = why.split_once(": ").map_or(why, |(_, why)| why);
        Some(why.split_once("; it ends with its lease").map_or(why, |(why, _)| why))
    }

    fn carries(request: &RequestStep) -> Result<(), StepError> {
        if request.now_ms > 253_402_300_799_999 {
            return Err(StepError::not_carried("a clock after the year 9999"));
        }
        Ok(())
    }

    fn ends_at(now_ms: u64) -> Result<(), StepError> {
        if now_ms < 1000 {
            let why = "nginx writes no access log in the first second of 1970";
            return Err(StepError::not_carried(why));
        }
        Ok(())
    }
}
