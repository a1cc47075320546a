//! The exchange of calls and replies that performs one command, without any I/O of its own.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use redis::{Cmd, Value};
use tollgate::{Outcome, StoreError};

use crate::failure::CallError;
use crate::scripts::ServerScript;

/// Names one exchange among all that are under way at a server, so that what is sent twice is applied
/// once. Never use one again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce(pub [u8; 16]);

impl Nonce {
    fn halves(self) -> [u64; 2] {
        let number = u128::from_be_bytes(self.0);
        let half = |number: u128| u64::try_from(number & u128::from(u64::MAX)).unwrap_or(0);
        [half(number.wrapping_shr(64)), half(number)]
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A command to be sent to the server.
#[derive(Clone)]
pub struct Call {
    command: Cmd,
    key: String,
}

impl Call {
    pub(crate) fn new(name: &str, key: String) -> Self {
        let mut command = Cmd::new();
        command.arg(name).arg(&key);
        Call { command, key }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<[u8]>) -> Self {
        self.command.arg(arg.as_ref());
        self
    }

    /// The command, for a connection of the `redis` crate.
    #[must_use]
    pub fn command(&self) -> &Cmd {
        &self.command
    }

    /// A key by whose cluster slot the command is routed; all its keys are in that slot of a cluster.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.key.as_bytes()
    }

    /// The command as it goes over the wire: an array of bulk strings in RESP.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.command.get_packed_command()
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Arguments carry customers' data.
        f.debug_struct("Call").field("key", &self.key).finish_non_exhaustive()
    }
}

/// What came of a [`Call`].
pub type Reply = Result<Value, CallError>;

type Work<'a> = Pin<Box<dyn Future<Output = Result<Outcome, StoreError>> + Send + 'a>>;

/// One command on its way: it says what to send, takes the replies, and ends with the outcome.
///
/// ```text
/// while !exchange.calls().is_empty() {
///     let replies = …;                 // one for each call, in their order; sent over any connection
///     exchange.resume(replies);
/// }
/// exchange.into_outcome()
/// ```
///
/// Calls of one round do not depend on each other: send them as one pipeline, or one after the other.
/// A call whose reply is lost, because a connection broke, may be sent again as it is.
pub struct Exchange<'a> {
    work: Work<'a>,
    wire: Arc<Wire>,
    calls: Vec<Call>,
    outcome: Option<Result<Outcome, StoreError>>,
}

impl fmt::Debug for Exchange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("calls", &self.calls).finish_non_exhaustive()
    }
}

impl<'a> Exchange<'a> {
    /// Starts the work that `begin` makes of its end of the wire.
    pub(crate) fn start<F>(nonce: Nonce, begin: impl FnOnce(Io) -> F) -> Self
    where
        F: Future<Output = Result<Outcome, StoreError>> + Send + 'a,
    {
        let wire = Arc::new(Wire::default());
        let io = Io { wire: Arc::clone(&wire), nonce, step: AtomicU32::new(0) };
        let work = Box::pin(begin(io));
        let mut exchange = Exchange { work, wire, calls: Vec::new(), outcome: None };
        exchange.go_on();
        exchange
    }

    /// What to send now. None: the outcome is there.
    #[must_use]
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// Takes the replies to all [`calls`](Self::calls), in their order. A reply that is missing counts as
    /// lost.
    pub fn resume(&mut self, replies: Vec<Reply>) {
        if self.outcome.is_some() {
            return;
        }
        let mut replies = replies;
        replies.resize_with(self.calls.len(), || Err(CallError::lost("there was no reply")));
        self.calls.clear();
        self.wire.0.lock().replies = Some(replies);
        self.go_on();
    }

    /// What the command came to. Before there are no more calls it is an error.
    ///
    /// # Errors
    /// [`StoreError`] when the command could not be performed.
    pub fn into_outcome(self) -> Result<Outcome, StoreError> {
        self.outcome.unwrap_or_else(|| {
            let reason = "the exchange with the server was given up before its end";
            Err(StoreError::Unavailable { reason: reason.into() })
        })
    }

    fn go_on(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        match self.work.as_mut().poll(&mut context) {
            Poll::Ready(outcome) => self.outcome = Some(outcome),
            Poll::Pending => self.calls = std::mem::take(&mut self.wire.0.lock().calls),
        }
    }
}

/// Where the work leaves its calls and finds their replies.
#[derive(Default)]
struct Wire(Mutex<Round>);

#[derive(Default)]
struct Round {
    calls: Vec<Call>,
    replies: Option<Vec<Reply>>,
}

/// The work's end of the wire.
pub(crate) struct Io {
    wire: Arc<Wire>,
    nonce: Nonce,
    step: AtomicU32,
}

/// A script with its keys, all in one slot, and its arguments.
pub(crate) struct ScriptCall {
    pub(crate) script: &'static ServerScript,
    pub(crate) keys: Vec<String>,
    pub(crate) args: Vec<Vec<u8>>,
}

impl ScriptCall {
    fn call(&self, name: &str, which: &str) -> Call {
        let mut command = Cmd::new();
        command.arg(name).arg(which).arg(self.keys.len()).arg(&self.keys);
        for arg in &self.args {
            command.arg(arg.as_slice());
        }
        Call { command, key: self.keys.first().cloned().unwrap_or_default() }
    }
}

impl Io {
    /// A name for the next step that must not be applied twice.
    pub(crate) fn next_nonce(&self) -> String {
        format!("{}{:x}", self.nonce, self.step.fetch_add(1, Ordering::Relaxed))
    }

    /// 20 bits that another exchange hardly has.
    pub(crate) fn salt(&self) -> u64 {
        let [own, count] = self.nonce.halves();
        (own ^ count.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_shr(44)
    }

    /// Sends calls that do not depend on each other.
    pub(crate) async fn round(&self, calls: Vec<Call>) -> Vec<Reply> {
        if calls.is_empty() {
            return Vec::new();
        }
        self.wire.0.lock().calls = calls;
        poll_fn(|_| match self.wire.0.lock().replies.take() {
            Some(replies) => Poll::Ready(replies),
            None => Poll::Pending,
        })
        .await
        .into_iter()
        .map(|reply| match reply {
            Ok(Value::ServerError(error)) => Err(CallError::from(error)),
            reply => reply,
        })
        .collect()
    }

    pub(crate) async fn call(&self, call: Call) -> Reply {
        let mut replies = self.round(vec![call]).await;
        replies.pop().unwrap_or_else(|| Err(CallError::lost("there was no reply")))
    }

    /// Runs scripts that do not depend on each other, by their digests; those that the server does not
    /// know are sent.
    pub(crate) async fn scripts(&self, scripts: &[ScriptCall]) -> Vec<Reply> {
        let calls = scripts.iter().map(|one| one.call("EVALSHA", one.script.digest())).collect();
        let mut replies = self.round(calls).await;
        let unknown = |reply: &Reply| matches!(reply, Err(error) if error.is_unknown_script());
        let again: Vec<usize> = replies
            .iter()
            .enumerate()
            .filter(|(_, reply)| unknown(reply))
            .map(|(at, _)| at)
            .collect();
        let texts = again.iter().filter_map(|at| scripts.get(*at));
        let calls = texts.map(|one| one.call("EVAL", one.script.text())).collect();
        for (at, reply) in again.into_iter().zip(self.round(calls).await) {
            if let Some(place) = replies.get_mut(at) {
                *place = reply;
            }
        }
        replies
    }

    pub(crate) async fn script(&self, script: ScriptCall) -> Reply {
        let mut replies = self.scripts(&[script]).await;
        replies.pop().unwrap_or_else(|| Err(CallError::lost("there was no reply")))
    }
}

/// The bytes of a reply; `None`: the server has no such value.
pub(crate) fn bulk(value: Value) -> Result<Option<Vec<u8>>, StoreError> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes)),
        _ => Err(wrong_shape()),
    }
}

/// The members of a reply that is a list.
pub(crate) fn list(value: Value) -> Result<Vec<Vec<u8>>, StoreError> {
    let bytes = |value| bulk(value)?.ok_or_else(wrong_shape);
    match value {
        Value::Array(values) | Value::Set(values) => values.into_iter().map(bytes).collect(),
        Value::Map(pairs) => {
            pairs.into_iter().flat_map(|(key, value)| [key, value]).map(bytes).collect()
        }
        _ => Err(wrong_shape()),
    }
}

pub(crate) fn wrong_shape() -> StoreError {
    let reason = "the server's reply has another form than expected; is it a Redis or Valkey server, \
                  and is the prefix used by this store alone?";
    StoreError::Unavailable { reason: reason.into() }
}
