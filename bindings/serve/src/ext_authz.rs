//! Envoy's `ext_authz` over gRPC: `envoy.service.auth.v3.Authorization/Check`. It carries everything but settlement.
//!
//! Source: the published protocol, `envoy/service/auth/v3/external_auth.proto`.

use std::sync::Arc;

use bytes::Bytes;
use envoy_types::ext_authz::v3::pb::{
    Address, Authorization, AuthorizationServer, CheckRequest, CheckResponse, DeniedHttpResponse,
    HeaderValue, HeaderValueOption, HttpResponse, HttpStatus, OkHttpResponse,
};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use envoy_types::pb::google::protobuf::BoolValue;
use envoy_types::pb::google::rpc;
use tollgate::{Answer, Verdict};
use tonic::{Code, Request, Response, Status};

use crate::caller::Caller;
use crate::decide::{Decided, decide};
use crate::forward::{settle_at_once, unreplayable, upstream_headers};
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
        let question = question(shared, request.into_inner())
            .ok_or_else(|| Status::invalid_argument("no attributes of an HTTP request came"))?;
        let decided = decide(shared, question).await;
        Ok(Response::new(give(shared, &decided).await))
    }
}

fn question(shared: &Shared, request: CheckRequest) -> Option<Question> {
    let attributes = request.attributes?;
    let peer = attributes.source.and_then(|source| source.address?.address);
    let http = attributes.request?.http?;
    let (method, target) = (http.method.clone().into(), http.path.clone().into());
    let mut question = Question::new(shared.live.load(), Via::EnvoyGrpc, method, target);
    if let Some(Address::SocketAddress(socket)) = peer {
        question.peer = socket.address.parse().ok();
    }
    let fits =
        (1..=128).contains(&http.id.len()) && http.id.bytes().all(|byte| byte.is_ascii_graphic());
    question.id = fits.then(|| http.id.as_str().into());
    let partial = header(&http, "x-envoy-auth-partial-body").is_some_and(|value| value == b"true");
    let facts = &shared.options.facts;
    let fact = |name: &Option<http::HeaderName>| {
        let value = header(&http, name.as_ref()?.as_str())?;
        Some(String::from_utf8_lossy(value).into_owned()).filter(|text| !text.is_empty())
    };
    if let Some(cost) = fact(&facts.cost) {
        question.cost = Some(tollgate::Amount(cost.parse().ok()?));
    }
    question.sender = fact(&facts.sender).map(Into::into);
    question.invalid = fact(&facts.invalid).map(Into::into);
    if partial {
        let message = "The request body is longer than the gateway reads. Send a shorter one.";
        question.invalid = Some(message.into());
        question.body = Payload::Sha256([0; 32]);
    }
    let names = question.engine.policy().header_names();
    question.headers = headers(&http, names);
    if !partial {
        let body = if http.raw_body.is_empty() { http.body.into_bytes() } else { http.raw_body };
        question.body = Payload::Bytes(Bytes::from(body));
    }
    Some(question)
}

/// The headers that the engine reads: as they came, where Envoy encodes them raw; else one line for each name.
fn headers(http: &HttpRequest, names: &[&'static str]) -> HeaderList {
    let named = |name: &str| names.iter().find(|known| known.eq_ignore_ascii_case(name)).copied();
    let raw = http.header_map.iter().flat_map(|map| &map.headers);
    let raw = raw.filter_map(|header| {
        let value =
            if header.raw_value.is_empty() { header.value.as_bytes() } else { &header.raw_value };
        Some((named(&header.key)?, Bytes::copy_from_slice(value)))
    });
    let joined = http.headers.iter();
    let joined = joined
        .filter_map(|(name, value)| Some((named(name)?, Bytes::copy_from_slice(value.as_bytes()))));
    let all = raw.chain(joined);
    HeaderList(all.map(|(name, value)| (Bytes::from_static(name.as_bytes()), value)).collect())
}

fn header<'h>(http: &'h HttpRequest, name: &str) -> Option<&'h [u8]> {
    if let Some(value) = http.headers.get(name) {
        return Some(value.as_bytes());
    }
    let map = http.header_map.as_ref()?;
    let found = map.headers.iter().find(|header| header.key.eq_ignore_ascii_case(name))?;
    Some(if found.raw_value.is_empty() { found.value.as_bytes() } else { &found.raw_value })
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
        match value {
            Some(value) => ok.headers.push(set(name.as_str(), value.as_bytes(), false)),
            // What the client sent in its place does not reach the upstream.
            None => ok.headers_to_remove.push(name.as_str().into()),
        }
    }
    ok.response_headers_to_add = answer_headers(&decided.answer);
    respond(Code::Ok, HttpResponse::OkResponse(ok))
}

/// A denial or a replay. `None` for a body that a protocol buffer's text cannot hold.
fn denied(answer: &Answer) -> Option<CheckResponse> {
    let body = std::str::from_utf8(&answer.body).ok()?.to_owned();
    let denied = DeniedHttpResponse {
        status: Some(HttpStatus { code: i32::from(answer.status) }),
        headers: answer_headers(answer),
        body,
    };
    let code = if answer.status == 401 { Code::Unauthenticated } else { Code::PermissionDenied };
    Some(respond(code, HttpResponse::DeniedResponse(denied)))
}

fn fault(fault: &Fault) -> CheckResponse {
    let body = serde_json::json!({ "message": fault.message, "code": fault.code }).to_string();
    let denied = DeniedHttpResponse {
        status: Some(HttpStatus { code: i32::from(fault.status.as_u16()) }),
        headers: vec![set("content-type", b"application/json", false)],
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

fn answer_headers(answer: &Answer) -> Vec<HeaderValueOption> {
    let mut seen: Vec<String> = Vec::new();
    let mut options = Vec::new();
    for (name, value) in &answer.headers {
        let name = name.to_ascii_lowercase();
        // Envoy makes the length itself.
        if name == "content-length" || name.starts_with("x-tollgate-") {
            continue;
        }
        options.push(set(&name, value, seen.contains(&name)));
        seen.push(name);
    }
    options
}

/// A header in place of one that is there, or behind it.
#[allow(deprecated)] // `append` is what Envoy reads here, see the protocol's note on it
fn set(name: &str, value: &[u8], append: bool) -> HeaderValueOption {
    let header = match std::str::from_utf8(value) {
        Ok(text) => HeaderValue { key: name.into(), value: text.into(), raw_value: Vec::new() },
        Err(_) => HeaderValue { key: name.into(), value: String::new(), raw_value: value.into() },
    };
    HeaderValueOption {
        header: Some(header),
        append: Some(BoolValue { value: append }),
        ..HeaderValueOption::default()
    }
}
