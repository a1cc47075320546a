//! Who gets in, and what every answer carries.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::Desk;
use super::draft::Fields;
use super::session::Visitor;
use super::shell;

/// Most bytes of a form.
const MAX_FORM_BYTES: usize = 64 << 10;

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// `same-origin` and not `no-referrer`: with that, browsers send `Origin: null` with the page's own forms, and where a form
/// came from could no longer be told. No other site learns anything from either.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
];

/// Refuses what another site sent, and adds the headers of every answer.
pub(super) async fn protect(request: Request, next: Next) -> Response {
    let is_foreign = !is_safe(request.method()) && !is_from_here(&request);
    let mut response = match is_foreign {
        true => {
            tracing::warn!(path = request.uri().path(), "a form of another site was refused");
            shell::refusal(
                StatusCode::FORBIDDEN,
                "This form was not sent by the settings page itself, so nothing was changed.",
            )
        }
        false => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Assets say how long they may be kept; pages must not be.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Lets sessions in. A post must also carry the session's token, and counts once.
pub(super) async fn enter(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let now_ms = desk.shared.clock.now_ms();
    let name = cookie_name(desk.is_tls);
    let visitor = cookie(request.headers(), name).and_then(|id| desk.sessions.enter(id, now_ms));
    let Some(visitor) = visitor else { return log_in_first(&request) };
    if is_safe(request.method()) {
        let mut request = request;
        request.extensions_mut().insert(visitor);
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let fields = match read_form(&parts, body).await {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    if !visitor.sent(fields.get("csrf")) {
        return shell::refusal(
            StatusCode::FORBIDDEN,
            "This form does not belong to your session, so nothing was changed. Open the page again and send it from there.",
        );
    }
    if !desk.sessions.is_first(&visitor, fields.get("once")) {
        return shell::refusal(
            StatusCode::CONFLICT,
            "This form was sent before, and acted once. Open the page again to see what holds now.",
        );
    }
    parts.extensions.insert(visitor);
    parts.extensions.insert(fields);
    next.run(Request::from_parts(parts, axum::body::Body::empty())).await
}

fn log_in_first(request: &Request) -> Response {
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    // What was posted is lost with its session; the page it came from is not.
    if !is_safe(request.method()) {
        return Redirect::to("/settings/login").into_response();
    }
    let next = percent_encoding::utf8_percent_encode(target, percent_encoding::NON_ALPHANUMERIC);
    Redirect::to(&format!("/settings/login?next={next}")).into_response()
}

/// Reads a form.
///
/// # Errors
/// The answer to what is no form, or too long.
pub(super) async fn read_form(parts: &Parts, body: axum::body::Body) -> Result<Fields, Response> {
    let media_type = parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let essence = media_type.unwrap_or_default().split(|byte| *byte == b';').next();
    if !essence.unwrap_or_default().eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
        let message = "Send the page's own form, as application/x-www-form-urlencoded.";
        return Err(shell::refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    match Limited::new(body, MAX_FORM_BYTES).collect().await {
        Ok(body) => Ok(Fields::parse(&body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => {
            let message = "The form is too long, so nothing was changed. Send less at once.";
            Err(shell::refusal(StatusCode::PAYLOAD_TOO_LARGE, message))
        }
        Err(_) => {
            let message = "The form did not arrive whole, so nothing was changed. Send it again.";
            Err(shell::refusal(StatusCode::BAD_REQUEST, message))
        }
    }
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whether a browser says that the page itself sent this: every browser sends one of the two headers with a post.
fn is_from_here(request: &Request) -> bool {
    let headers = request.headers();
    let site = headers.get("sec-fetch-site");
    let origin = headers.get(header::ORIGIN);
    if site.is_some_and(|site| site != "same-origin") {
        return false;
    }
    match origin {
        None => site.is_some(),
        Some(origin) => origin.to_str().is_ok_and(|origin| is_own(origin, request)),
    }
}

/// Compares host and port. The scheme is left to the browser: a proxy in front may have taken TLS off.
fn is_own(origin: &str, request: &Request) -> bool {
    let Some((_, origin)) = origin.split_once("://") else { return false };
    let own = request.uri().authority().map(|authority| authority.as_str());
    let own =
        own.or_else(|| request.headers().get(header::HOST).and_then(|host| host.to_str().ok()));
    own.is_some_and(|own| own.eq_ignore_ascii_case(origin))
}

/// `__Host-`: only this host can have set it, over TLS (RFC 6265bis).
pub(super) fn cookie_name(is_tls: bool) -> &'static str {
    if is_tls { "__Host-tollgate_session" } else { "tollgate_session" }
}

/// A cookie's value.
pub(super) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.find(|(given, _)| given.trim() == name).map(|(_, value)| value.trim())
}

/// A cookie that keeps a session, or with `None` ends it.
pub(super) fn set_cookie(is_tls: bool, id: Option<&str>) -> String {
    let (name, value) = (cookie_name(is_tls), id.unwrap_or_default());
    let secure = if is_tls { "; Secure" } else { "" };
    let age = if id.is_some() { "" } else { "; Max-Age=0" };
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{age}")
}

/// The visitor of a request that `enter` let in.
pub(super) fn visitor(parts: &Parts) -> Option<Visitor> {
    parts.extensions.get().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(headers: &[(&'static str, &'static str)]) -> Request {
        let mut request = Request::new(axum::body::Body::empty());
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_static(value));
        }
        request
    }

    #[test]
    fn only_the_page_itself_may_post() {
        let own = ("host", "gate.example:8443");
        for good in [
            &[own, ("origin", "https://gate.example:8443")][..],
            &[own, ("origin", "http://GATE.example:8443"), ("sec-fetch-site", "same-origin")],
            &[own, ("sec-fetch-site", "same-origin")],
        ] {
            assert!(is_from_here(&post(good)), "{good:?}");
        }
        for bad in [
            &[own][..],
            &[own, ("origin", "null")],
            &[own, ("origin", "https://gate.example")],
            &[own, ("origin", "https://gate.example:8444")],
            &[own, ("origin", "https://evil.example")],
            &[own, ("origin", "https://gate.example:8443.evil.example")],
            &[own, ("origin", "https://gate.example:8443"), ("sec-fetch-site", "cross-site")],
            &[own, ("origin", "https://gate.example:8443"), ("sec-fetch-site", "same-site")],
            &[own, ("origin", "null"), ("sec-fetch-site", "same-origin")],
            &[own, ("sec-fetch-site", "none")],
            &[("origin", "https://gate.example:8443")],
        ] {
            assert!(!is_from_here(&post(bad)), "{bad:?}");
        }
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", HeaderValue::from_static("a=1; tollgate_session_x=2"));
        headers.append("cookie", HeaderValue::from_static("tollgate_session=3; b=4"));
        assert_eq!(cookie(&headers, "tollgate_session"), Some("3"));
        assert_eq!(cookie(&headers, "session"), None);
    }
}
