//! nginx with the module before an upstream, with one account.

use tollgate_gateway_tests::{
    Accounts, Client, POLICY, Response, Upstream, begin_to_pay, send_as_account,
};

use crate::nginx::{Nginx, Options};

/// How the store is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// On the worker's own thread.
    Inline,
    /// In the thread pool, where each commit is synced.
    Pooled,
}

impl Writes {
    /// Both.
    pub const BOTH: [Writes; 2] = [Writes::Inline, Writes::Pooled];

    /// Directives of zone and store.
    #[must_use]
    pub fn store(self) -> &'static str {
        match self {
            Writes::Inline => {
                "tollgate_zone tollgate:1m; tollgate_store lmdb:DIR/db sync=interval:100ms map=256m;"
            }
            Writes::Pooled => {
                "tollgate_zone tollgate:1m; tollgate_store lmdb:DIR/db sync=every_commit map=256m;"
            }
        }
    }
}

/// The gateway, what is behind it, and what is in its store.
pub struct Gateway {
    /// nginx; stopped before the rest.
    pub nginx: Nginx,
    /// The service.
    pub upstream: Upstream,
    /// Accounts.
    pub accounts: Accounts,
}

impl Gateway {
    /// With these directives in the server and in `location /`.
    #[must_use]
    pub fn start(writes: Writes, upstream: Upstream, server: &str, location: &str) -> Gateway {
        let options = Gateway::options(writes, upstream.port(), server, location);
        Gateway::with(options, upstream)
    }

    /// With these options, of [`options`](Self::options), say.
    #[must_use]
    pub fn with(options: Options, upstream: Upstream) -> Gateway {
        let nginx = Nginx::start(options);
        let accounts = Accounts::open(nginx.directory(), 1_000_000, &["all"]);
        Gateway { nginx, upstream, accounts }
    }

    /// The options of [`start`](Self::start).
    #[must_use]
    pub fn options(writes: Writes, upstream: u16, server: &str, location: &str) -> Options {
        let http = format!(
            "tollgate_policy policy.json;
             {store}
             log_format t '$http_x_id|$status|$tollgate_verdict|$tollgate_code|$tollgate_status|$tollgate_account|$tollgate_route|$tollgate_reserved|$tollgate_settled|$tollgate_shadow';
             access_log access.log t;
             server {{
                 listen 127.0.0.1:PORT;
                 location = /up {{ access_log off; return 200; }}
                 {server}
                 location / {{
                     tollgate on;
                     tollgate_charge $upstream_http_x_charge;
                     proxy_pass http://UPSTREAM;
                     {location}
                 }}
             }}",
            store = writes.store()
        );
        let mut options = Options::new(&http, upstream);
        options.files.push(("policy.json".to_owned(), POLICY.to_owned()));
        options
    }

    /// A request of the account's.
    #[must_use]
    pub fn ask(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        send_as_account(self.nginx.port(), method, target, headers, body)
    }

    /// A payment under a key.
    #[must_use]
    pub fn pay(&self, key: &str) -> Response {
        self.ask("POST", "/pay", &[("Idempotency-Key", key)], b"{\"to\":1}")
    }

    /// The same, sent on a connection that is left open.
    #[must_use]
    pub fn begin_to_pay(&self, key: &str) -> Client {
        begin_to_pay(self.nginx.port(), key)
    }
}
