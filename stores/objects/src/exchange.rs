//! The exchange of messages and answers that performs one command, without any I/O of its own.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tollgate::{Outcome, StoreError};

use crate::answer::Answer;
use crate::message::Message;
use crate::wire::{Envelope, decode, encode, unavailable};

/// A message to be sent to an object.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// The [`name`](crate::name) of the object.
    pub object: String,
    /// What it is to [`perform`](crate::Object::perform).
    pub message: Vec<u8>,
    /// Whether it may be sent again as it is, at once, where its answer was lost: performing it twice comes
    /// to the same as once.
    pub repeatable: bool,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Messages carry customers' data.
        f.debug_struct("Call")
            .field("object", &self.object)
            .field("message_bytes", &self.message.len())
            .field("repeatable", &self.repeatable)
            .finish()
    }
}

/// Nobody knows whether a message was performed: it was lost, or its answer was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Lost {
    /// What happened, without secrets.
    pub reason: Box<str>,
}

impl Lost {
    /// With what happened.
    #[must_use]
    pub fn new(reason: &str) -> Self {
        Lost { reason: reason.into() }
    }
}

impl From<Lost> for StoreError {
    fn from(lost: Lost) -> Self {
        StoreError::Unavailable { reason: lost.reason }
    }
}

/// What came of a [`Call`]: the bytes that [`Object::perform`](crate::Object::perform) gave. An error of
/// that, which says that the message was not understood, is [`Lost`] too.
pub type Reply = Result<Vec<u8>, Lost>;

type Work<'a> = Pin<Box<dyn Future<Output = Result<Outcome, StoreError>> + Send + 'a>>;

/// One command on its way: it says what to send, takes the replies, and ends with the outcome.
///
/// ```text
/// while !exchange.calls().is_empty() {
///     let replies = …;                 // one for each call, in their order
///     exchange.resume(replies);
/// }
/// exchange.into_outcome()
/// ```
///
/// Calls of one round go to different objects and do not depend on each other: send them all at once, or
/// one after the other. None is to be sent twice unless it is [`repeatable`](Call::repeatable).
pub struct Exchange<'a> {
    work: Work<'a>,
    wire: Arc<Mutex<Round>>,
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
    pub(crate) fn start<F>(now_ms: u64, begin: impl FnOnce(Io) -> F) -> Self
    where
        F: Future<Output = Result<Outcome, StoreError>> + Send + 'a,
    {
        let wire = Arc::new(Mutex::new(Round::default()));
        let work = Box::pin(begin(Io { wire: Arc::clone(&wire), now_ms }));
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
        replies.resize_with(self.calls.len(), || Err(no_reply()));
        self.calls.clear();
        self.wire.lock().replies = Some(replies);
        self.go_on();
    }

    /// What the command came to. Before there are no more calls it is an error.
    ///
    /// # Errors
    /// [`StoreError`] when the command could not be performed.
    pub fn into_outcome(self) -> Result<Outcome, StoreError> {
        let given_up = || Err(unavailable("the exchange with the objects was given up too early"));
        self.outcome.unwrap_or_else(given_up)
    }

    fn go_on(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        match self.work.as_mut().poll(&mut context) {
            Poll::Ready(outcome) => self.outcome = Some(outcome),
            Poll::Pending => self.calls = std::mem::take(&mut self.wire.lock().calls),
        }
    }
}

fn no_reply() -> Lost {
    Lost::new("an object gave no answer")
}

/// Where the work leaves its calls and finds their replies.
#[derive(Default)]
struct Round {
    calls: Vec<Call>,
    replies: Option<Vec<Reply>>,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(crate) enum Failed {
    /// Nobody knows whether the message was performed.
    Lost(StoreError),
    /// The object says that it could not, and has changed nothing.
    Said(StoreError),
}

impl From<Failed> for StoreError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Lost(error) | Failed::Said(error) => error,
        }
    }
}

/// The work's end of the wire.
pub(crate) struct Io {
    wire: Arc<Mutex<Round>>,
    now_ms: u64,
}

impl Io {
    /// Sends messages to objects, which do not depend on each other.
    pub(crate) async fn round(
        &self,
        messages: Vec<(String, Message<'_>)>,
    ) -> Vec<Result<Answer, Failed>> {
        if messages.is_empty() {
            return Vec::new();
        }
        let mut calls = Vec::with_capacity(messages.len());
        let wanted = messages.len();
        for (object, message) in messages {
            let repeatable = message.is_repeatable();
            match encode(&Envelope { now_ms: self.now_ms, message }) {
                Ok(message) => calls.push(Call { object, message, repeatable }),
                Err(error) => return vec![Err(Failed::Said(error)); wanted],
            }
        }
        self.wire.lock().calls = calls;
        let replies = poll_fn(|_| match self.wire.lock().replies.take() {
            Some(replies) => Poll::Ready(replies),
            None => Poll::Pending,
        })
        .await;
        replies.into_iter().map(read).collect()
    }

    pub(crate) async fn ask(
        &self,
        object: String,
        message: &Message<'_>,
    ) -> Result<Answer, Failed> {
        let mut answers = self.round(vec![(object, message.clone())]).await;
        answers.pop().unwrap_or_else(|| Err(Failed::Lost(no_reply().into())))
    }
}

fn read(reply: Reply) -> Result<Answer, Failed> {
    let bytes = reply.map_err(|lost| Failed::Lost(lost.into()))?;
    match decode(&bytes) {
        Ok(Answer::Failed(failure)) => Err(Failed::Said(failure.into())),
        Ok(answer) => Ok(answer),
        // It was performed, perhaps.
        Err(error) => Err(Failed::Lost(error)),
    }
}
