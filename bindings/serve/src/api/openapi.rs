//! The OpenAPI 3.1 description of `/v1` and `/api`, made from the types that are read and written.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header;
use serde::Serialize;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};

use crate::admin::{
    AccountsDescription, HousekeepingDescription, ReservationsDescription, TokensDescription,
};
use crate::reply::JSON;

/// What went wrong.
#[derive(Serialize, ToSchema)]
pub(crate) struct Error {
    /// For people.
    message: String,
    /// For programs.
    code: String,
}

#[derive(OpenApi)]
#[openapi(
    info(title = "tollgate", description = "Decisions on requests of a paid HTTP API, and their settlement.", license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")),
    paths(super::decide::handle, super::settle::handle),
    modifiers(&Security)
)]
struct Description;

struct Security;

impl Modify for Security {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let bearer = |text: &str| {
            let http = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(text));
            SecurityScheme::Http(http.build())
        };
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme(
            "api_token",
            bearer("The server's API token, where it was given one."),
        );
        components.add_security_scheme("admin_token", bearer("The operator's token."));
    }
}

/// The OpenAPI 3.1 description as JSON.
#[must_use]
pub fn description() -> String {
    let mut all = Description::openapi();
    all.merge(AccountsDescription::openapi());
    all.merge(HousekeepingDescription::openapi());
    all.merge(TokensDescription::openapi());
    all.merge(ReservationsDescription::openapi());
    all.to_pretty_json().unwrap_or_default()
}

pub(crate) fn handle() -> Response {
    static DESCRIPTION: LazyLock<Bytes> = LazyLock::new(|| description().into());
    ([(header::CONTENT_TYPE, JSON)], DESCRIPTION.clone()).into_response()
}
