//! What Envoy does with what a filter says: it holds and passes on, finds an upstream, answers itself, and ends streams.

use super::stream::{End, Headers, Metadata, State, Stream, Upstream};
use crate::abi::{body_status, headers_status};

/// Why a stream ended, in Envoy's words.
pub(super) mod details {
    pub(in super::super) const CLIENT_LEFT: &str = "downstream_remote_disconnect";
    pub(in super::super) const BROKEN_OFF: &str =
        "upstream_reset_after_response_started{connection_termination}";
    pub(super) const VIA_UPSTREAM: &str = "via_upstream";
    pub(super) const NO_UPSTREAM: &str = "no_healthy_upstream";
    pub(super) const NO_ANSWER: &str =
        "upstream_reset_before_response_started{connection_termination}";
    pub(super) const TIME_OUT: &str = "response_timeout";
    pub(super) const TOO_LARGE: &str = "request_payload_too_large";
    pub(super) const DIRECT: &str = "direct_response";
}

/// Headers of a list of texts.
pub(super) fn headers(pairs: &[(&str, &str)]) -> Headers {
    pairs.iter().map(|(name, value)| ((*name).into(), value.as_bytes().into())).collect()
}

// The client.
impl Stream {
    /// The head of the request comes.
    pub(super) fn sends_head(&self, request: Headers, end: bool) {
        {
            let mut state = self.change();
            assert!(!state.decode.begun, "a request has one head");
            state.request = request;
            state.decode.begun = true;
            state.decode.ended = end;
        }
        if let Some(status) = self.on_request_headers(end) {
            self.change().decode.continued = status == headers_status::CONTINUE;
            if status == headers_status::CONTINUE {
                self.passes_request();
            }
        }
    }

    /// Whether more of the request may come.
    pub(super) fn may_send(&self) -> bool {
        let state = self.state();
        !self.is_gone() && state.decode.begun && !state.decode.ended && !state.aborted
    }

    /// Some of the request's body comes, in so many pieces.
    pub(super) fn sends_body(&self, pieces: &[&[u8]], end: bool) {
        if !self.may_send() {
            return;
        }
        self.change().pieces[0] = pieces.iter().map(|piece| (*piece).into()).collect();
        self.change().decode.ended = end;
        let status = self.on_request_body(end);
        self.change().pieces[0].clear();
        let Some(status) = status else { return };
        self.change().decode.continued = status == body_status::CONTINUE;
        if status != body_status::STOP_ITERATION_NO_BUFFER {
            self.change().decode.held.extend(pieces.concat());
        }
        let (held, limit) = (self.state().decode.held.len(), self.state().buffer_limit);
        match status {
            body_status::CONTINUE => self.passes_request(),
            body_status::STOP_ITERATION_AND_BUFFER
                if limit > 0 && u64::try_from(held).unwrap() > limit =>
            {
                self.replies(413, b"Payload Too Large", details::TOO_LARGE);
            }
            _ => {}
        }
    }

    /// The request ends with trailers.
    pub(super) fn sends_trailers(&self) {
        if !self.may_send() {
            return;
        }
        self.change().decode.ended = true;
        if let Some(status) = self.on_request_trailers() {
            self.change().decode.continued = status == headers_status::CONTINUE;
            if status == headers_status::CONTINUE {
                self.passes_request();
            }
        }
    }

    /// The client goes away, if the stream is there.
    pub(super) fn leaves(&self) {
        if !self.is_gone() {
            self.ends_because(details::CLIENT_LEFT);
        }
    }

    /// Destroys the filter without a word, as when a worker ends.
    pub(super) fn is_destroyed(&self) {
        if !self.is_gone() {
            self.change().note_end("destroyed");
            self.destroy();
        }
    }
}

// The upstream.
impl Stream {
    /// A connection that was waited for is there.
    pub(super) fn upstream_connects(&self) {
        let mut state = self.change();
        if state.waits_for_response() && state.upstream == Upstream::Connecting {
            state.upstream = Upstream::Reached;
            state.attempted = 1;
        }
    }

    /// The upstream that had the request is lost, and another connection is waited for.
    pub(super) fn is_tried_again(&self) {
        let mut state = self.change();
        state.upstream = Upstream::Connecting;
        state.attempted = 0;
        state.tries += 1;
    }

    /// Whether a response may begin.
    pub(super) fn may_answer(&self) -> bool {
        !self.is_gone()
            && self.state().waits_for_response()
            && self.state().upstream == Upstream::Reached
    }

    /// The upstream's response begins.
    pub(super) fn upstream_answers(&self, status: u16, more: &[(&str, &str)], end: bool) {
        if !self.may_answer() {
            return;
        }
        self.change().details = details::VIA_UPSTREAM.as_bytes().into();
        let status = status.to_string();
        let mut response = headers(&[(":status", &status)]);
        response.extend(headers(more));
        self.head_of_response(response, end);
    }

    /// Whether more of a response may come.
    pub(super) fn may_go_on(&self) -> bool {
        let state = self.state();
        !self.is_gone() && state.encode.begun && !state.encode.ended && !state.aborted
    }

    /// Some of its body comes.
    pub(super) fn upstream_sends(&self, pieces: &[&[u8]], end: bool) {
        if self.may_go_on() {
            self.body_of_response(pieces, end);
        }
    }

    /// It ends with trailers.
    pub(super) fn upstream_sends_trailers(&self) {
        if !self.may_go_on() {
            return;
        }
        self.change().encode.ended = true;
        let Some(status) = self.on_response_trailers() else { return };
        self.change().encode.continued = status == headers_status::CONTINUE;
        if status == headers_status::CONTINUE {
            self.passes_response();
        }
    }

    /// The upstream's connection breaks, or could not be made.
    pub(super) fn upstream_breaks(&self) {
        if self.may_go_on() {
            self.ends_because(details::BROKEN_OFF);
        } else if self.state().waits_for_response() && !self.is_gone() {
            self.replies(503, b"upstream connect error", details::NO_ANSWER);
        }
    }

    /// Nothing has come for too long; possible until the response is all there.
    pub(super) fn times_out(&self) {
        if !self.is_gone() && !self.state().encode.ended {
            self.replies(504, b"timeout", details::TIME_OUT);
        }
    }
}

// Envoy itself.
impl Stream {
    fn passes_request(&self) {
        let first = {
            let mut state = self.change();
            if state.aborted {
                return;
            }
            let held = core::mem::take(&mut state.decode.held);
            state.decode.through.extend(held);
            !core::mem::replace(&mut state.decode.passed, true)
        };
        if first {
            self.change().tries = 1;
            let upstream = self.state().upstream.clone();
            match upstream {
                Upstream::Reached => self.change().attempted = 1,
                Upstream::Connecting => {}
                Upstream::None => self.replies(503, b"no healthy upstream", details::NO_UPSTREAM),
                Upstream::Direct(status, body) => self.replies(status, body, details::DIRECT),
            }
        }
    }

    pub(super) fn continues_decoding(&self) {
        if self.is_gone() || self.state().decode.continued {
            return;
        }
        if self.state().aborted {
            return self.worker.fault("a request that was answered is passed on");
        }
        self.passes_request();
        // As Envoy: only now, whatever has come of it.
        self.change().decode.continued = true;
    }

    pub(super) fn continues_encoding(&self) {
        if self.is_gone() || self.state().encode.continued {
            return;
        }
        self.passes_response();
        self.change().encode.continued = true;
    }

    /// An answer of Envoy's own.
    fn replies(&self, status: u16, body: &[u8], details: &str) {
        let begun = self.state().encode.begun;
        self.on_local_reply(status, details.as_bytes(), begun);
        if begun {
            return self.ends_because(details);
        }
        self.change().aborted = true;
        self.change().details = details.as_bytes().into();
        let code = status.to_string();
        let length = body.len().to_string();
        let response = headers(&[(":status", &code), ("content-length", &length)]);
        // A response to HEAD has no body.
        let empty = body.is_empty() || self.state().is_head();
        self.head_of_response(response, empty);
        if !empty {
            self.body_of_response(&[body], true);
        }
    }

    /// An answer of the filter's, as Envoy's own: the filter's own hooks for responses are not called.
    pub(super) fn replies_for_the_filter(
        &self,
        status: u16,
        more: Headers,
        body: &[u8],
        details: &[u8],
    ) {
        if self.is_gone() {
            return;
        }
        if self.state().encode.begun {
            return self.worker.fault("a request that was answered is answered again");
        }
        self.change().own_reply = true;
        self.on_local_reply(status, details, false);
        self.change().aborted = true;
        self.change().details = details.into();
        let mut response = headers(&[(":status", &status.to_string())]);
        response.extend(more);
        let empty = body.is_empty() || self.state().is_head();
        self.head_of_response(response, empty);
        if !empty {
            self.body_of_response(&[body], true);
        }
    }

    /// An answer of the filter's that takes the way of any other.
    pub(super) fn head_for_the_filter(&self, response: Headers, end: bool) {
        if self.state().encode.begun {
            return self.worker.fault("a request that was answered is answered again");
        }
        self.head_of_response(response, end);
    }

    pub(super) fn head_of_response(&self, response: Headers, end: bool) {
        if self.is_gone() {
            return;
        }
        {
            let mut state = self.change();
            assert!(!state.encode.begun, "a response has one head");
            state.response = response;
            state.encode.begun = true;
            state.encode.ended = end;
        }
        if self.state().own_reply {
            return self.passes_response();
        }
        let Some(status) = self.on_response_headers(end) else { return };
        self.change().encode.continued = status == headers_status::CONTINUE;
        if status == headers_status::CONTINUE {
            self.passes_response();
        }
    }

    pub(super) fn body_of_response(&self, pieces: &[&[u8]], end: bool) {
        if self.is_gone() {
            return;
        }
        self.change().encode.ended = end;
        if self.state().own_reply {
            self.change().encode.held.extend(pieces.concat());
            return self.passes_response();
        }
        self.change().pieces[1] = pieces.iter().map(|piece| (*piece).into()).collect();
        let status = self.on_response_body(end);
        self.change().pieces[1].clear();
        let Some(status) = status else { return };
        self.change().encode.continued = status == body_status::CONTINUE;
        if status == body_status::STOP_ITERATION_NO_BUFFER {
            return self.worker.fault("some of a response is thrown away");
        }
        self.change().encode.held.extend(pieces.concat());
        if status == body_status::CONTINUE {
            self.passes_response();
        }
    }

    fn passes_response(&self) {
        {
            let mut state = self.change();
            if !core::mem::replace(&mut state.encode.passed, true) {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let headers = state.response.iter();
                state.client.headers =
                    headers.map(|(name, value)| (name.to_string(), text(value))).collect();
            }
            let held = core::mem::take(&mut state.encode.held);
            state.client.body.extend(held);
            state.client.ended = state.encode.ended;
            if !(state.client.ended && state.ends_at_once) {
                return;
            }
        }
        self.is_over();
    }

    /// The response is all there: the stream ends.
    pub(super) fn is_over(&self) {
        if !self.is_gone() && self.state().client.ended {
            self.change().note_end("over");
            self.on_complete();
            self.destroy();
        }
    }

    fn ends_because(&self, details: &str) {
        self.change().details = details.as_bytes().into();
        self.change().note_end(details);
        self.on_complete();
        self.destroy();
    }
}

impl State {
    fn waits_for_response(&self) -> bool {
        self.decode.passed && !self.encode.begun && !self.aborted
    }

    fn is_head(&self) -> bool {
        self.request.iter().any(|(name, value)| &**name == ":method" && **value == *b"HEAD")
    }

    /// The status of the response so far.
    pub(super) fn status(&self) -> u16 {
        let status = self.response.iter().find(|(name, _)| &**name == ":status");
        status.map_or(0, |(_, value)| String::from_utf8_lossy(value).parse().unwrap())
    }

    /// An upstream has the request, or one that was tried before may have had it.
    fn may_be_done(&self) -> bool {
        self.attempted > 0 || self.tries > 1
    }

    /// What a request came to that the filter let pass, by what happened here, whatever the module made of it.
    fn note_end(&mut self, why: &str) {
        let by_envoy = self.aborted && self.decode.passed;
        self.end = match (self.decode.passed, self.encode.begun) {
            (false, _) => End::Never,
            // An answer of Envoy's own in an upstream's place.
            (true, true) if by_envoy && self.may_be_done() => End::Unknown,
            (true, true) if by_envoy && self.status() >= 400 => End::NotDone,
            (true, true) if self.encode.ended => End::Whole(self.status()),
            (true, true) if why == details::CLIENT_LEFT => End::ClientLeft(self.status()),
            (true, true) => End::Unknown,
            (true, false) if self.may_be_done() || why == "destroyed" => End::Unknown,
            (true, false) => End::NotDone,
        };
    }

    pub(super) fn metadata(&self, namespace: &str, key: &str) -> Option<&Metadata> {
        let mut all = self.metadata.iter();
        all.find(|(space, name, _)| space == namespace && name == key).map(|(_, _, value)| value)
    }

    pub(super) fn set_metadata(&mut self, namespace: &str, key: &str, value: Metadata) {
        self.metadata.retain(|(space, name, _)| !(space == namespace && name == key));
        self.metadata.push((namespace.to_owned(), key.to_owned(), value));
    }
}
