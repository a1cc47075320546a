//! Logging in with the operator's token, and out again.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderValue, StatusCode, Uri, header};

use super::Desk;
use super::ask::Ask;
use super::draft::{Draft, Fields};
use super::guard::{self, read_form, set_cookie};
use super::shell::{self, Shell};
use crate::caller::Caller;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    shell: Shell,
    draft: Draft,
    next: String,
}

fn page(status: StatusCode, draft: Draft, next: &str) -> Response {
    let next = after_login(next).to_owned();
    shell::page(status, &LoginPage { shell: Shell::outside("Log in"), draft, next })
}

pub(super) async fn form(uri: Uri) -> Response {
    let query = Fields::parse(uri.query().unwrap_or_default().as_bytes());
    page(StatusCode::OK, Draft::default(), query.exact("next"))
}

/// Only a page of this server, as a path: never another site.
fn after_login(next: &str) -> &str {
    let is_own = next.starts_with("/settings/")
        && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
        && !next.starts_with("/settings/log");
    if is_own { next } else { "/settings/accounts" }
}

pub(super) async fn enter(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let now_ms = desk.shared.clock.now_ms();
    let caller = Caller::of(request.extensions());
    let (parts, body) = request.into_parts();
    let fields = match read_form(&parts, body).await {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let next = fields.exact("next").to_owned();
    let mut draft = Draft::default();
    if let Err(wait_s) = desk.attempts.take(caller, now_ms) {
        draft.wrong("token", format!("Too many attempts. Try again in {wait_s} s."));
        let mut response = page(StatusCode::TOO_MANY_REQUESTS, draft, &next);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait_s));
        return response;
    }
    let token = desk.shared.options.admin.as_ref().map(|admin| &admin.token);
    if !token.is_some_and(|token| token.is(fields.get("token").as_bytes())) {
        tracing::warn!(?caller, "somebody failed to log in to the settings page");
        draft.wrong("token", "This is not the operator's token.");
        return page(StatusCode::UNAUTHORIZED, draft, &next);
    }
    let Some(id) = desk.sessions.begin(now_ms) else {
        let message = "The system gives no entropy, so that there is no session. Try again.";
        return shell::refusal(StatusCode::SERVICE_UNAVAILABLE, message);
    };
    tracing::info!(?caller, "an operator logged in to the settings page");
    // The session that the browser had is not left behind.
    let former = guard::cookie(&parts.headers, guard::cookie_name(desk.is_tls));
    if let Some(visitor) = former.and_then(|id| desk.sessions.enter(id, now_ms)) {
        desk.sessions.end(&visitor);
    }
    let redirect = Redirect::to(after_login(&next));
    ([(header::SET_COOKIE, set_cookie(desk.is_tls, Some(&id)))], redirect).into_response()
}

pub(super) async fn leave(ask: Ask) -> Response {
    ask.desk.sessions.end(&ask.visitor);
    let cookie = set_cookie(ask.desk.is_tls, None);
    ([(header::SET_COOKIE, cookie)], Redirect::to("/settings/login")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_logging_in_nobody_is_sent_elsewhere() {
        let good = "/settings/keys?account=a%2Fb";
        assert_eq!(after_login(good), good);
        for bad in [
            "",
            "/",
            "//evil.example",
            "https://evil.example/settings/",
            "/settings\\..\\\\evil.example",
            "/settings/\\evil.example",
            "/settings/a\r\nset-cookie: x",
            "/settings/logout",
            "/settings/login?next=/settings/login",
        ] {
            assert_eq!(after_login(bad), "/settings/accounts", "{bad}");
        }
    }
}
