//! The settings page: what operators do by hand, as pages that need no script.
//!
//! Every page is behind a session (`session`), every post behind that session's token and its origin (`guard`). A form's handler
//! reads what was sent into a `Draft`, which keeps input and problems together, and on success redirects.

mod account;
mod accounts;
mod ask;
mod assets;
mod attempts;
mod chart;
mod decisions;
mod draft;
mod figures;
mod guard;
mod keys;
mod limits;
mod login;
mod made;
mod money;
mod networks;
mod new_key;
mod reservations;
mod session;
mod shell;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Redirect};
use axum::routing::{get, post};
use http::StatusCode;

use crate::shared::Shared;
use attempts::Attempts;
use session::Sessions;

/// What the pages share.
pub(crate) struct Desk {
    shared: Arc<Shared>,
    sessions: Sessions,
    attempts: Attempts,
    /// Held while a list is read, changed and written back: two operators do not undo each other's change.
    lists: tokio::sync::Mutex<()>,
    /// Whether the listener speaks TLS itself, so that cookies may be bound to it.
    is_tls: bool,
}

/// The pages, below `/settings`.
pub(crate) fn router(shared: &Arc<Shared>) -> Router {
    let desk = Arc::new(Desk {
        shared: Arc::clone(shared),
        sessions: Sessions::default(),
        attempts: Attempts::default(),
        lists: tokio::sync::Mutex::new(()),
        is_tls: shared.options.admin.as_ref().is_some_and(|admin| admin.tls.is_some()),
    });
    let inside = Router::new()
        .route("/settings/logout", post(login::leave))
        .route("/settings/accounts", get(accounts::list).post(accounts::create))
        .route("/settings/account", get(account::show))
        .route("/settings/keys", get(keys::list))
        .route("/settings/keys/new", get(new_key::form).post(new_key::create))
        .route("/settings/keys/made", get(made::show))
        .route("/settings/keys/rotate", get(keys::ask_rotate).post(keys::rotate))
        .route("/settings/keys/revoke", get(keys::ask_revoke).post(keys::revoke))
        .route("/settings/networks", get(networks::show))
        .route("/settings/networks/add", post(networks::add))
        .route("/settings/networks/remove", get(networks::ask_remove).post(networks::remove))
        .route("/settings/money", get(money::show))
        .route("/settings/money/deposit", post(money::deposit))
        .route("/settings/money/caps/add", post(money::add_cap))
        .route("/settings/money/caps/remove", post(money::remove_cap))
        .route("/settings/money/senders/add", post(money::add_sender))
        .route("/settings/money/senders/remove", post(money::remove_sender))
        .route("/settings/limits", get(limits::show))
        .route("/settings/reservations", get(reservations::list))
        .route("/settings/reservations/settle", get(reservations::ask).post(reservations::settle))
        .route("/settings/reservations/void", get(reservations::ask).post(reservations::void))
        .route("/settings/decisions", get(decisions::list))
        .route("/settings/decision", get(decisions::show))
        .route("/settings/{*rest}", get(async || shell::message(StatusCode::NOT_FOUND)))
        .method_not_allowed_fallback(async || shell::message(StatusCode::METHOD_NOT_ALLOWED))
        .layer(from_fn_with_state(Arc::clone(&desk), guard::enter));
    let outside = Router::new()
        .route("/", get(async || Redirect::to("/settings")))
        .route("/settings", get(async || Redirect::to("/settings/accounts")))
        .route("/settings/login", get(login::form).post(login::enter))
        .route("/settings/assets/{name}", get(assets::serve))
        .method_not_allowed_fallback(async || {
            shell::message(StatusCode::METHOD_NOT_ALLOWED).into_response()
        });
    inside.merge(outside).layer(axum::middleware::from_fn(guard::protect)).with_state(desk)
}
