//! Envoy's `ext_authz` over gRPC: `envoy.service.auth.v3.Authorization/Check`. It carries everything but settlement.
//!
//! Source: the published protocol, `envoy/service/auth/v3/external_auth.proto`.

use std::sync::Arc;

use bytes::Bytes;
use envoy_types::ext_authz::v3::pb::{
    Address, Authorization, AuthorizationServer, CheckRequest, CheckResponse, DeniedHttpResponse,
    HeaderValue, HeaderValueOption, HttpResponse, HttpStatus, OkHttpResponse,
};
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use envoy_types::pb::google::rpc;
use tollgate::{Answer, Verdict};
use tonic::{Code, Request, Response, Status};

use crate::caller::Caller;
use crate::decide::{Decided, decide};
use crate::forward::{request_id, settle_at_once, unreplayable, upstream_headers};
use crate::question::{HeaderList, Payload, Question, Via};
use crate::reply::Fault;
use crate::shared::Shared;

/// The service.
pub(crate) fn service(shared: Arc<Shared>) -> AuthorizationServer<Check> {
    let bounds = &shared.options.bounds;
    let max = bounds.max_body_bytes.saturating_add(bounds.max_head_bytes).saturating_add(64 << 10);
    AuthorizationServer::new(Check(shared)).max_decoding_message_size(max)
}

/// Answers Envoy's questions.
pub(crate) struct Check(Arc<Shared>);

#[tonic::async_trait]
impl Authorization for Check {
    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        let shared = &self.0;
        let caller = Caller::of(request.extensions());
        caller
            .must_be_one_of(&shared.options.proxies)
            .map_err(|fault| Status::permission_denied(fault.message))?;
        let question = question(shared, request.into_inner())?;
        let decided = decide(shared, question).await;
        Ok(Response::new(give(shared, &decided).await))
    }
}

fn question(shared: &Shared, request: CheckRequest) -> Result<Question, Status> {
    let none = || Status::invalid_argument("no attributes of an HTTP request came");
    let attributes = request.attributes.ok_or_else(none)?;
    let peer = attributes.source.and_then(|source| source.address?.address);
    let http = attributes.request.and_then(|request| request.http).ok_or_else(none)?;
    let (method, target) = (http.method.clone().into(), http.path.clone().into());
    let mut question = Question::new(shared.live.load(), Via::EnvoyGrpc, method, target);
    if let Some(Address::SocketAddress(socket)) = peer {
        question.peer = socket.address.parse().ok();
    }
    // Envoy's `id` is its own name for the stream, which no log has but its own.
    let id = once(&http, "x-request-id").ok().flatten();
    question.id = id.and_then(|id| std::str::from_utf8(id).ok()).and_then(request_id);
    add_facts(shared, &http, &mut question)?;
    let names = question.engine.policy().header_names();
    question.headers = headers(&http, names);
    if each(&http, "x-envoy-auth-partial-body").any(|value| value == b"true") {
        let message = "The request body is longer than the gateway reads. Send a shorter one.";
        question.invalid = Some(message.into());
        question.body = Payload::Sha256([0; 32]);
    } else {
        let body = if http.raw_body.is_empty() { http.body.into_bytes() } else { http.raw_body };
        question.body = Payload::Bytes(Bytes::from(body));
    }
    Ok(question)
}

/// What Envoy tells in headers that clients must not set.
fn add_facts(shared: &Shared, http: &HttpRequest, question: &mut Question) -> Result<(), Status> {
    let names = &shared.options.facts;
    let text = |name: &Option<http::HeaderName>| -> Result<Option<String>, Status> {
        let Some(name) = name else { return Ok(None) };
        let value = once(http, name.as_str())?.unwrap_or_default();
        let text = std::str::from_utf8(value)
            .map_err(|_| Status::invalid_argument(format!("{name} is not UTF-8")))?;
        Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
    };
    if let Some(cost) = text(&names.cost)? {
        let number = cost.parse().map_err(|_| {
            Status::invalid_argument("the cost is no whole number of the ledger's minor unit")
        })?;
        question.cost = Some(tollgate::Amount(number));
    }
    question.sender = text(&names.sender)?.map(Into::into);
    question.invalid = text(&names.invalid)?.map(Into::into);
    Ok(())
}

/// Names and values: as they came, where Envoy encodes them raw; else one line for each name.
fn lines(http: &HttpRequest) -> impl Iterator<Item = (&str, &[u8])> {
    let raw = http.header_map.iter().flat_map(|map| &map.headers).map(|header| {
        let value =
            if header.raw_value.is_empty() { header.value.as_bytes() } else { &header.raw_value };
        (header.key.as_str(), value)
    });
    let joined = http.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    raw.chain(joined)
}

fn each<'h>(http: &'h HttpRequest, name: &str) -> impl Iterator<Item = &'h [u8]> {
    lines(http).filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// A header that Envoy sets, at most once: what is there twice was set by somebody else too.
fn once<'h>(http: &'h HttpRequest, name: &str) -> Result<Option<&'h [u8]>, Status> {
    let mut values = each(http, name);
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(Status::invalid_argument(format!(
            "{name} came more than once; Envoy must set it in place of what clients send"
        ))),
    }
}

/// The headers that the engine reads.
fn headers(http: &HttpRequest, names: &[&'static str]) -> HeaderList {
    let known = lines(http).filter_map(|(key, value)| {
        let name = names.iter().find(|name| name.eq_ignore_ascii_case(key))?;
        Some((Bytes::from_static(name.as_bytes()), Bytes::copy_from_slice(value)))
    });
    HeaderList(known.collect())
}

async fn give(shared: &Arc<Shared>, decided: &Decided) -> CheckResponse {
    if decided.decision.verdict() != Verdict::Allow {
        return denied(&decided.answer).unwrap_or_else(|| fault(&unreplayable()));
    }
    match settle_at_once(shared, decided).await {
        Ok(()) => allowed(shared, decided),
        Err(error) => fault(&error),
    }
}

fn allowed(shared: &Shared, decided: &Decided) -> CheckResponse {
    let mut ok = OkHttpResponse::default();
    for (name, value) in upstream_headers(shared, decided) {
        match value.as_ref().and_then(|value| value.to_str().ok()) {
            Some(value) => ok.headers.push(set(name.as_str(), value, false)),
            // What the client sent in its place does not reach the upstream.
            None => ok.headers_to_remove.push(name.as_str().into()),
        }
    }
    ok.response_headers_to_add = answer_headers(&decided.answer).unwrap_or_default();
    respond(Code::Ok, HttpResponse::OkResponse(ok))
}

/// A denial or a replay. `None` for a body or a header that is no text: Envoy reads no other bytes here.
fn denied(answer: &Answer) -> Option<CheckResponse> {
    let denied = DeniedHttpResponse {
        status: Some(HttpStatus { code: i32::from(answer.status) }),
        headers: answer_headers(answer)?,
        body: std::str::from_utf8(&answer.body).ok()?.to_owned(),
    };
    let code = if answer.status == 401 { Code::Unauthenticated } else { Code::PermissionDenied };
    Some(respond(code, HttpResponse::DeniedResponse(denied)))
}

fn fault(fault: &Fault) -> CheckResponse {
    let body = serde_json::json!({ "message": fault.message, "code": fault.code }).to_string();
    let denied = DeniedHttpResponse {
        status: Some(HttpStatus { code: i32::from(fault.status.as_u16()) }),
        headers: vec![set("content-type", "application/json", false)],
        body,
    };
    respond(Code::PermissionDenied, HttpResponse::DeniedResponse(denied))
}

fn respond(code: Code, http_response: HttpResponse) -> CheckResponse {
    CheckResponse {
        status: Some(rpc::Status { code: i32::from(code), ..rpc::Status::default() }),
        http_response: Some(http_response),
        ..CheckResponse::default()
    }
}

/// `None` where a value is no text.
fn answer_headers(answer: &Answer) -> Option<Vec<HeaderValueOption>> {
    let mut seen: Vec<String> = Vec::new();
    let mut options = Vec::new();
    for (name, value) in &answer.headers {
        let name = name.to_ascii_lowercase();
        // Envoy makes the length itself.
        if name == "content-length" || name.starts_with("x-tollgate-") {
            continue;
        }
        options.push(set(&name, std::str::from_utf8(value).ok()?, seen.contains(&name)));
        seen.push(name);
    }
    Some(options)
}

/// A header in place of one that is there, or behind it.
fn set(name: &str, value: &str, append: bool) -> HeaderValueOption {
    let header = HeaderValue { key: name.into(), value: value.into(), raw_value: Vec::new() };
    let action = match append {
        true => HeaderAppendAction::AppendIfExistsOrAdd,
        false => HeaderAppendAction::OverwriteIfExistsOrAdd,
    };
    HeaderValueOption {
        header: Some(header),
        append_action: action.into(),
        ..HeaderValueOption::default()
    }
}
