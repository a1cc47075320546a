//! nginx with the module before an upstream, with one account.

use crate::accounts::{Accounts, TOKEN};
use crate::client::{Client, Response, request};
use crate::nginx::{Nginx, Options};
use crate::upstream::Upstream;

/// A policy with one route for each thing that matters here. `POST /pay` costs 5 and takes a key.
pub const POLICY: &str = r#"{
  "tokens": {"format": "opaque"},
  "scopes": {"all": ["POST /pay", "PUT /pay", "GET /paid", "GET /read", "GET /file.txt", "POST /free", "GET /quota"]},
  "limits": {"token": {"per": "token", "quota": 1000000, "window_ms": 60000}},
  "routes": {
    "POST /pay": {"idempotency": true, "price": 5},
    "PUT /pay": {"idempotency": true, "price": 5},
    "POST /free": {"idempotency": true},
    "GET /paid": {"idempotency": true, "price": 3}
  }
}"#;

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
        let token = format!("Bearer {TOKEN}");
        let mut all = vec![("Authorization", token.as_str())];
        all.extend_from_slice(headers);
        self.nginx.send(method, target, &all, body)
    }

    /// A payment under a key.
    #[must_use]
    pub fn pay(&self, key: &str) -> Response {
        self.ask("POST", "/pay", &[("Idempotency-Key", key)], b"{\"to\":1}")
    }

    /// The same, sent on a connection that is left open.
    #[must_use]
    pub fn begin_to_pay(&self, key: &str) -> Client {
        let mut client = Client::connect(self.nginx.port());
        let token = format!("Bearer {TOKEN}");
        let headers = [("Authorization", token.as_str()), ("Idempotency-Key", key)];
        client.write(&request("POST", "/pay", &headers, b"{\"to\":1}"));
        client
    }
}
