//! What all pages have around them, and the pages that only say something.

use std::sync::Arc;

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::StatusCode;

use super::assets;

/// The frame of a page.
pub(super) struct Shell {
    pub title: String,
    /// The part of the navigation that it belongs to.
    pub part: &'static str,
    /// `None`: nobody is logged in.
    pub csrf: Option<Arc<str>>,
    /// The number of the page's forms: each acts once.
    pub once: String,
    pub notice: Option<String>,
}

impl Shell {
    /// The frame of pages for those who are not logged in.
    pub(super) fn outside(title: &str) -> Self {
        Shell { title: title.to_owned(), part: "", csrf: None, once: String::new(), notice: None }
    }

    pub(super) fn csrf(&self) -> &str {
        self.csrf.as_deref().unwrap_or_default()
    }

    pub(super) fn is_inside(&self) -> bool {
        self.csrf.is_some()
    }

    pub(super) fn style(&self) -> &'static str {
        assets::style_path()
    }

    pub(super) fn script(&self) -> &'static str {
        assets::script_path()
    }
}

/// A page as a response.
pub(super) fn page(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage {
    shell: Shell,
    message: String,
}

/// Says in a sentence why there is no page.
pub(super) fn refusal(status: StatusCode, message: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    page(status, &MessagePage { shell: Shell::outside(title), message: message.to_owned() })
}

/// The same for what needs no explanation.
pub(super) fn message(status: StatusCode) -> Response {
    refusal(
        status,
        match status {
            StatusCode::NOT_FOUND => "There is nothing at this address.",
            StatusCode::METHOD_NOT_ALLOWED => "This address takes another method.",
            _ => "Something went wrong. Nothing was changed.",
        },
    )
}
