//! The OpenAPI 3.1 description of `/v1` and `/api`, made from the types that are read and written.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header;
use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};
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
    let mut all = serde_json::to_value(&all).unwrap_or_default();
    widen_integers(&mut all);
    serde_json::to_string_pretty(&all).unwrap_or_default()
}

/// All whole numbers here have 64 bits and no sign, for which OpenAPI has no format: `int64` would end in the middle.
fn widen_integers(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(widen_integers),
        Value::Object(members) => {
            if members.get("format").is_some_and(|format| format == "int64") {
                members.remove("format");
                members.entry("maximum").or_insert(u64::MAX.into());
            }
            members.values_mut().for_each(widen_integers);
        }
        _ => {}
    }
}

/// Names and values of headers, in order.
pub(super) fn headers() -> Schema {
    let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[\\u0000-\\u00ff]*$"));
    let pair = ArrayBuilder::new().items(text).min_items(Some(2)).max_items(Some(2));
    Schema::Array(ArrayBuilder::new().items(pair).build())
}

pub(crate) fn handle() -> Response {
    static DESCRIPTION: LazyLock<Bytes> = LazyLock::new(|| description().into());
    ([(header::CONTENT_TYPE, JSON)], DESCRIPTION.clone()).into_response()
}
