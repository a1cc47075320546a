//! One request on its way through Envoy: decided, passed on, captured, settled.
//!
//! Events of a filter come on one thread. No event calls Envoy in a way that could bring the next one: what is to happen is given back as a
//! value, and `hooks.rs` does it once the filter is no longer borrowed.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tollgate::{Answer, Body, Decision, Engine, Finish, Status, Verdict};

use crate::abi::{HeaderMap, ReceivedBody};
use crate::capture::{self, Capture};
use crate::config::Rules;
use crate::decide::{self, Asked, Question, Reply};
use crate::facts::Facts;
use crate::host::{RequestHeaders, Stream};
use crate::log;
use crate::mailbox::Mailbox;
use crate::settlement::{Ended, Open};
use crate::stats::Ending;
use crate::store::{Backend, Place};

/// What Envoy is to do with what came.
pub(crate) enum Flow {
    /// Pass it on.
    Continue,
    /// Hold it, and read little more.
    Hold,
    /// Hold it, and read on, up to a bound.
    HoldAndBuffer,
    /// Throw it away.
    Discard,
    /// Answer in the upstream's place.
    Answer(Box<OwnAnswer>),
}

/// What Envoy is to do with a stream that was woken.
pub(crate) enum Wake {
    /// Nothing.
    Nothing,
    /// Pass on the request that was held.
    Decoding,
    /// Pass on the response that was held.
    Encoding,
    /// Answer in the upstream's place.
    Answer(Box<OwnAnswer>),
}

/// A denial or a replay.
pub(crate) struct OwnAnswer {
    pub(crate) answer: Answer,
    /// A replay is sent as it was stored; a denial as Envoy sends answers of its own.
    pub(crate) stored: bool,
    /// For Envoy's logs.
    pub(crate) details: String,
}

/// Where a request stands.
enum Stage {
    /// Nothing is left to do with it.
    Passing,
    /// Nothing refuses it so far, and its body is awaited.
    AwaitsBody,
    /// The module's threads are asked.
    Asking(Arc<Mailbox<Reply>>),
    /// It was passed on.
    Forwarded(Option<Open>),
    /// The head of its response has come.
    Responding { open: Open, capture: Capture },
    /// Its response has come and is held until the settlement is done.
    Settling(Arc<Mailbox<Ended>>),
    /// It was answered in the upstream's place.
    Answered,
}

/// A request; Envoy's filter is one stream.
pub(crate) struct Filter {
    rules: Rules,
    stage: Stage,
    engine: Option<Arc<Engine>>,
    decision: Option<Decision>,
    /// Digests the request's body, where a key may need it.
    body: Option<Sha256>,
    /// How many bytes of it came.
    body_length: u64,
    body_is_whole: bool,
    /// Envoy answers in the upstream's place.
    envoy_answers: bool,
}

impl Filter {
    /// A stream that begins.
    pub(crate) fn new(rules: Rules) -> Filter {
        Filter {
            rules,
            stage: Stage::Passing,
            engine: None,
            decision: None,
            body: None,
            body_length: 0,
            body_is_whole: false,
            envoy_answers: false,
        }
    }

    /// The rules, of which those of the route are not known before there is a request.
    pub(crate) fn rules_mut(&mut self) -> &mut Rules {
        &mut self.rules
    }

    /// The head of the request has come.
    pub(crate) fn request_headers(&mut self, stream: &mut Stream<'_>, end: bool) -> Flow {
        if self.rules.disabled() {
            return Flow::Continue;
        }
        self.body_is_whole = end;
        if !end && stream.header(HeaderMap::Request, "idempotency-key", 0).is_some() {
            self.body = Some(Sha256::new());
        }
        self.ask(stream)
    }

    /// Some of the request's body has come.
    pub(crate) fn request_body(&mut self, stream: &mut Stream<'_>, end: bool) -> Flow {
        if let Some(body) = &mut self.body {
            let length = &mut self.body_length;
            stream.for_each_chunk(ReceivedBody::Request, |chunk| {
                *length = length.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
                body.update(chunk);
            });
        }
        self.body_is_whole |= end;
        match self.stage {
            Stage::AwaitsBody => self.await_body(stream),
            Stage::Asking(_) => Flow::Hold,
            Stage::Passing | Stage::Forwarded(_) | Stage::Responding { .. } => Flow::Continue,
            // A request that goes on after its response has ended: Envoy must not take it for what is held.
            Stage::Settling(_) | Stage::Answered => Flow::Discard,
        }
    }

    /// The request has ended, with trailers.
    pub(crate) fn request_trailers(&mut self, stream: &mut Stream<'_>) -> Flow {
        self.body_is_whole = true;
        match self.stage {
            Stage::AwaitsBody => self.ask(stream),
            Stage::Asking(_) | Stage::Settling(_) | Stage::Answered => Flow::Hold,
            Stage::Passing | Stage::Forwarded(_) | Stage::Responding { .. } => Flow::Continue,
        }
    }

    fn ask(&mut self, stream: &mut Stream<'_>) -> Flow {
        let rules = self.rules.clone();
        let opened = rules.config.place().and_then(|place| Some((place, place.backend()?)));
        let Some((place, backend)) = opened else { return self.without_store(stream) };
        let engine = Arc::clone(self.engine.get_or_insert_with(|| rules.live().load()));
        let until_body = self.body.is_some() && !self.body_is_whole;
        let digest = match &self.body {
            Some(body) if self.body_is_whole => body.clone().finalize().into(),
            None if self.body_is_whole => decide::EMPTY_BODY,
            // A body that is not looked at, or not yet: the digest of no known one.
            _ => [0; 32],
        };
        let facts = match Facts::of(stream, &rules) {
            Ok(facts) => facts,
            Err(why) => return self.misconfigured(&why),
        };
        let headers = RequestHeaders(stream);
        let request = facts.request(&headers, Body::Sha256(digest));
        let asked = match backend {
            Backend::Here(store) => decide::whole(&engine, &**store, &request, until_body),
            Backend::Disk { store, reads_here: true } => {
                decide::without_waiting(&engine, &**store, &request, until_body)
            }
            Backend::Disk { .. } | Backend::Network(_) => Asked::Waits,
        };
        match asked {
            Asked::Decided(decision) => {
                let open = Open::of(&decision, &engine, backend);
                self.decided(stream, place, decision, open)
            }
            Asked::NeedsBody => self.await_body(stream),
            Asked::Waits => {
                let mailbox = Arc::new(Mailbox::new(stream.scheduler()));
                let facts = facts.keep(stream, &engine);
                let body = (!until_body).then_some(digest);
                let question = Question { engine, backend: backend.clone(), facts, body };
                question.ask(Arc::clone(&mailbox));
                self.stage = Stage::Asking(mailbox);
                Flow::Hold
            }
        }
    }

    fn await_body(&mut self, stream: &mut Stream<'_>) -> Flow {
        if self.body_length > self.rules.max_request_body() {
            self.stage = Stage::Answered;
            let why = "The request's body is too long.";
            return Flow::Answer(Box::new(OwnAnswer::of(413, "body_too_long", why)));
        }
        self.stage = Stage::AwaitsBody;
        // Envoy reads on below half of its bound; where it stopped while a look-up waited, what is there already must be less than that.
        stream.raise_buffer_limit(self.rules.max_request_body().saturating_mul(2));
        match self.body_is_whole {
            true => self.ask(stream),
            false => Flow::HoldAndBuffer,
        }
    }

    fn decided(
        &mut self,
        stream: &mut Stream<'_>,
        place: &Place,
        decision: Decision,
        open: Option<Open>,
    ) -> Flow {
        static STORE_FAILS: log::Seldom = log::Seldom::new();
        if let Some(error) = decision.store_error() {
            STORE_FAILS.warn(crate::clock::now_ms(), || format!("the store fails: {error}"));
        }
        let Some(engine) = self.engine.clone() else { return self.without_store(stream) };
        let config = &self.rules.config;
        config.counters.decided(stream, decision.status());
        config.metadata.decided(stream, &engine, place, &decision);
        let stored = decision.verdict() == Verdict::Replay;
        if decision.verdict() != Verdict::Allow {
            self.stage = Stage::Answered;
            let details = format!("tollgate_{}", decision.status().code());
            let answer = engine.answer(&decision);
            return Flow::Answer(Box::new(OwnAnswer { answer, stored, details }));
        }
        self.stage = Stage::Forwarded(open.map(|mut open| {
            open.forwarded();
            if open.ticket().holds_key {
                // The bytes of a range would be replayed as if they were all.
                for name in ["range", "if-range"] {
                    stream.set_header(HeaderMap::Request, name, None);
                }
            }
            open
        }));
        self.decision = Some(decision);
        Flow::Continue
    }

    /// The store could not be opened so far.
    fn without_store(&mut self, stream: &mut Stream<'_>) -> Flow {
        self.rules.config.counters.decided(stream, Status::StoreUnavailable);
        if self.rules.failure_mode_allow() {
            self.rules.config.metadata.undecided(stream);
            self.stage = Stage::Passing;
            return Flow::Continue;
        }
        self.stage = Stage::Answered;
        let row = Status::StoreUnavailable.row();
        Flow::Answer(Box::new(OwnAnswer::of(row.http, row.code, row.message)))
    }

    fn misconfigured(&mut self, why: &str) -> Flow {
        static WRONG: log::Seldom = log::Seldom::new();
        WRONG.warn(crate::clock::now_ms(), || {
            format!("a request is answered with 500: cost: {why}")
        });
        self.stage = Stage::Answered;
        Flow::Answer(Box::new(OwnAnswer::internal_error()))
    }

    /// A thread of the module has a result.
    pub(crate) fn woken(&mut self, stream: &mut Stream<'_>) -> Wake {
        match core::mem::replace(&mut self.stage, Stage::Passing) {
            Stage::Asking(mailbox) => self.replied(stream, mailbox),
            Stage::Settling(mailbox) => match mailbox.take() {
                Some(ended) => {
                    self.ended(stream, ended);
                    Wake::Encoding
                }
                None => {
                    self.stage = Stage::Settling(mailbox);
                    Wake::Nothing
                }
            },
            other => {
                self.stage = other;
                Wake::Nothing
            }
        }
    }

    fn replied(&mut self, stream: &mut Stream<'_>, mailbox: Arc<Mailbox<Reply>>) -> Wake {
        let Some(Reply { asked, open }) = mailbox.take() else {
            self.stage = Stage::Asking(mailbox);
            return Wake::Nothing;
        };
        if self.envoy_answers {
            // What was reserved is voided with `open`.
            self.stage = Stage::Answered;
            return Wake::Nothing;
        }
        let rules = self.rules.clone();
        let flow = match (asked, rules.config.place()) {
            (Asked::Decided(decision), Some(place)) => self.decided(stream, place, decision, open),
            (Asked::NeedsBody, _) => self.await_body(stream),
            (Asked::Decided(_) | Asked::Waits, _) => self.without_store(stream),
        };
        match flow {
            Flow::Continue => Wake::Decoding,
            Flow::Answer(answer) => Wake::Answer(answer),
            Flow::Hold | Flow::HoldAndBuffer | Flow::Discard => Wake::Nothing,
        }
    }

    /// Envoy is about to answer in the upstream's place.
    pub(crate) fn local_reply(&mut self) {
        self.envoy_answers = true;
    }

    /// The head of a response has come, the upstream's or Envoy's own.
    pub(crate) fn response_headers(&mut self, stream: &mut Stream<'_>, end: bool) -> Flow {
        let open = match core::mem::replace(&mut self.stage, Stage::Passing) {
            Stage::Forwarded(open) => open,
            other => {
                self.stage = other;
                return Flow::Continue;
            }
        };
        let Some(open) = open else {
            self.add_headers(stream);
            return Flow::Continue;
        };
        if self.envoy_answers && stream.may_have_reached_an_upstream() {
            self.add_headers(stream);
            return self.settle(stream, open, Finish::Unknown);
        }
        // Where no upstream was reached, a redirection or a direct response of Envoy's is an answer like any other.
        if self.envoy_answers && capture::status(stream) >= 400 {
            self.add_headers(stream);
            return self.settle(stream, open, Finish::Void { response: None });
        }
        let capture = Capture::of(stream, &self.rules, open.ticket());
        self.add_headers(stream);
        if end {
            return self.settle(stream, open, capture.finish());
        }
        self.stage = Stage::Responding { open, capture };
        Flow::Continue
    }

    /// Some of the response's body has come.
    pub(crate) fn response_body(&mut self, stream: &mut Stream<'_>, end: bool) -> Flow {
        let whole = match &mut self.stage {
            Stage::Responding { capture, .. } => capture.add(stream),
            _ => false,
        };
        match end || whole {
            true => self.response_ends(stream),
            false => self.held(),
        }
    }

    /// What comes after what is held waits with it.
    fn held(&self) -> Flow {
        match self.stage {
            Stage::Settling(_) => Flow::Hold,
            _ => Flow::Continue,
        }
    }

    /// The response has ended; what came last is held until the settlement is done, so that whoever has all of it finds it replayed.
    pub(crate) fn response_ends(&mut self, stream: &mut Stream<'_>) -> Flow {
        match core::mem::replace(&mut self.stage, Stage::Passing) {
            Stage::Responding { open, capture } => self.settle(stream, open, capture.finish()),
            other => {
                self.stage = other;
                self.held()
            }
        }
    }

    fn settle(&mut self, stream: &mut Stream<'_>, open: Open, finish: Finish) -> Flow {
        self.ends(stream, &finish);
        match open.begin(finish) {
            Ok(ended) => {
                self.ended(stream, ended);
                Flow::Continue
            }
            Err(pending) => {
                let mailbox = Arc::new(Mailbox::new(stream.scheduler()));
                pending.go_on(Some(Arc::clone(&mailbox)));
                self.stage = Stage::Settling(mailbox);
                Flow::Hold
            }
        }
    }

    fn ends(&self, stream: &Stream<'_>, finish: &Finish) {
        let ending = match finish {
            Finish::Settle { .. } => Ending::Settled,
            Finish::Void { .. } => Ending::Voided,
            Finish::Unknown => Ending::Unknown,
        };
        self.rules.config.counters.ended(stream, ending);
    }

    fn ended(&self, stream: &mut Stream<'_>, ended: Ended) {
        match ended {
            Some(settled) => self.rules.config.metadata.settled(stream, settled),
            None => self.rules.config.counters.ended(stream, Ending::Failed),
        }
    }

    fn add_headers(&self, stream: &mut Stream<'_>) {
        let (Some(engine), Some(decision)) = (&self.engine, &self.decision) else { return };
        // Few upstreams have headers of these names, which are replaced then.
        let replaces = stream.with_names(HeaderMap::Response, |is_there| {
            let mut replaces = false;
            engine.for_each_header(decision, |name, _| replaces |= is_there(name));
            replaces
        });
        engine.for_each_header(decision, |name, value| match replaces {
            true => stream.set_header(HeaderMap::Response, name, Some(value)),
            false => stream.add_header(HeaderMap::Response, name, value),
        });
    }

    /// The stream is over, with all that came of it or without.
    pub(crate) fn complete(&mut self, stream: &mut Stream<'_>) {
        let (open, finish) = match core::mem::replace(&mut self.stage, Stage::Passing) {
            Stage::Forwarded(Some(open)) if stream.may_have_reached_an_upstream() => {
                (open, Finish::Unknown)
            }
            Stage::Forwarded(Some(open)) => (open, Finish::Void { response: None }),
            Stage::Responding { open, capture } if client_left(stream) => {
                (open, capture.without_body().finish())
            }
            Stage::Responding { open, .. } => (open, Finish::Unknown),
            Stage::Asking(mailbox) => return drop(mailbox.close()),
            Stage::Settling(mailbox) => {
                if let Some(ended) = mailbox.close() {
                    self.ended(stream, ended);
                }
                return;
            }
            Stage::Passing | Stage::AwaitsBody | Stage::Forwarded(None) | Stage::Answered => return,
        };
        self.ends(stream, &finish);
        match open.begin(finish) {
            Ok(ended) => self.ended(stream, ended),
            Err(pending) => pending.go_on(None),
        }
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        // Nobody wakes a filter that is gone.
        match &self.stage {
            Stage::Asking(mailbox) => drop(mailbox.close()),
            Stage::Settling(mailbox) => drop(mailbox.close()),
            _ => {}
        }
    }
}

/// Whether a response broke off because the client went away: the upstream has done its part. Any other end leaves that open.
fn client_left(stream: &Stream<'_>) -> bool {
    let details = stream.response_code_details();
    [b"downstream_remote_disconnect".as_slice(), b"http2.remote_reset", b"http3.remote_reset"]
        .iter()
        .any(|left| details.starts_with(left))
}

impl OwnAnswer {
    fn of(status: u16, code: &str, message: &str) -> OwnAnswer {
        let body = serde_json::json!({ "message": message, "code": code });
        let headers = vec![
            ("content-type".into(), b"application/json".to_vec()),
            ("cache-control".into(), b"no-store".to_vec()),
        ];
        let answer = Answer { status, headers, body: body.to_string().into_bytes() };
        OwnAnswer { answer, stored: false, details: format!("tollgate_{code}") }
    }

    /// The module cannot go on with this request.
    pub(crate) fn internal_error() -> OwnAnswer {
        OwnAnswer::of(500, "internal_error", "The request could not be processed.")
    }
}
