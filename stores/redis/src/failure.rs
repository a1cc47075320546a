//! What can go wrong with a call, in words without secrets.

use redis::{ErrorKind, RedisError, ServerError};
use tollgate::StoreError;

/// The format of records that the scripts know.
const FORMAT: u32 = 1;
/// What scripts answer about an account of a later one.
const LATER_FORMAT: &str = "TGFORMAT";

/// Why a call has no reply that could be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The server refused the call, and nothing of it was applied.
    #[error("the server answered {code}")]
    Server {
        /// The first word of its answer: `NOSCRIPT`, `OOM`, …
        code: Box<str>,
        /// The rest where it is about a script, else nothing: it could repeat what was sent.
        detail: Box<str>,
    },
    /// There is no reply, and nobody knows whether the call was applied. It may be sent again.
    #[error("{reason}")]
    Lost {
        /// What happened.
        reason: Box<str>,
    },
}

impl CallError {
    /// No reply, for this reason.
    #[must_use]
    pub fn lost(reason: &str) -> Self {
        CallError::Lost { reason: reason.into() }
    }

    pub(crate) fn is_unknown_script(&self) -> bool {
        matches!(self, CallError::Server { code, .. } if &**code == "NOSCRIPT")
    }

    fn server(code: &str, detail: Option<&str>) -> Self {
        // What a server says to a command of many words before it has a password.
        let locked = detail.is_some_and(|detail| detail.contains("unauthenticated"));
        let code = if locked { "NOAUTH" } else { code };
        let tells = |detail: &&str| detail.contains("script:") || code == LATER_FORMAT;
        let detail = detail.filter(tells).unwrap_or_default();
        CallError::Server { code: code.into(), detail: detail.chars().take(200).collect() }
    }
}

impl From<ServerError> for CallError {
    fn from(error: ServerError) -> Self {
        CallError::server(error.code(), error.details())
    }
}

impl From<RedisError> for CallError {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::Server(_) | ErrorKind::Extension => {
                CallError::server(error.code().unwrap_or("ERR"), error.detail())
            }
            ErrorKind::AuthenticationFailed => CallError::server("WRONGPASS", None),
            // The words of the library are not passed on: they may have what was sent, or a URL.
            ErrorKind::Io if error.is_timeout() => {
                CallError::lost("the server did not answer in time")
            }
            ErrorKind::Io if error.is_connection_refusal() => {
                CallError::lost("the server refused the connection; is it running there?")
            }
            ErrorKind::Io => CallError::lost("the connection broke"),
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => CallError::lost(
                "the server's answer cannot be read; is it a Redis or Valkey server?",
            ),
            ErrorKind::ClusterConnectionNotFound => {
                CallError::lost("no node of the cluster can be reached")
            }
            ErrorKind::InvalidClientConfig => {
                CallError::lost("the connection's settings are not valid; look at the URL")
            }
            _ => CallError::lost("the connection cannot be used"),
        }
    }
}

impl From<CallError> for StoreError {
    fn from(error: CallError) -> Self {
        if let CallError::Server { code, detail } = &error
            && &**code == LATER_FORMAT
        {
            let number = detail.split_whitespace().next().unwrap_or_default();
            let found = number.parse().unwrap_or(u32::MAX);
            return StoreError::NewerFormat { found, known: FORMAT };
        }
        let reason = match &error {
            CallError::Lost { reason } => {
                return StoreError::Unavailable { reason: reason.clone() };
            }
            CallError::Server { code, detail } => match &**code {
                "OOM" => "the server has reached its maxmemory; raise it".into(),
                "READONLY" => "the server is a read-only replica; connect to the primary".into(),
                "LOADING" => "the server is still loading its data".into(),
                "MASTERDOWN" => "the replica has lost its primary".into(),
                "CLUSTERDOWN" | "TRYAGAIN" => {
                    "the cluster does not serve every slot at the moment".into()
                }
                "MOVED" | "ASK" | "CROSSSLOT" => {
                    "the server is a node of a cluster; use a URL of redis+cluster://".into()
                }
                "NOAUTH" => "the server asks for a password; put it into the URL".into(),
                "WRONGPASS" => "the server does not accept user and password of the URL".into(),
                "NOPERM" => "the user may not run what this store needs; see the README".into(),
                "MISCONF" => "the server cannot write its data to disk and refuses writes".into(),
                code if detail.is_empty() => format!("the server answered {code}"),
                code => format!("the server answered {code}: {detail}"),
            },
        };
        StoreError::Unavailable { reason: reason.into() }
    }
}
