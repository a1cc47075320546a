//! A request of somebody who is logged in, and how it is answered.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Redirect, Response};
use http::request::Parts;
use http::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tollgate::{AccountId, AccountView, Admin, AdminError, Refusal, Store};

use super::Desk;
use super::draft::{Draft, Fields};
use super::guard;
use super::session::{self, Visitor};
use super::shell::{self, Shell};

/// What a handler of a page is given.
pub(super) struct Ask {
    pub desk: Arc<Desk>,
    pub visitor: Visitor,
    pub query: Fields,
    pub now_ms: u64,
    sent: Fields,
    /// Not of a HEAD, whose answer nobody sees.
    is_seen: bool,
}

/// Why there is no page.
pub(super) enum Halt {
    NotFound(&'static str),
    Admin(AdminError),
}

pub(super) type Answered = Result<Response, Halt>;

impl From<AdminError> for Halt {
    fn from(error: AdminError) -> Self {
        Halt::Admin(error)
    }
}

impl IntoResponse for Halt {
    fn into_response(self) -> Response {
        match self {
            Halt::NotFound(message) => shell::refusal(StatusCode::NOT_FOUND, message),
            Halt::Admin(AdminError::Refused(Refusal::UnknownAccount)) => {
                shell::refusal(StatusCode::NOT_FOUND, "There is no such account.")
            }
            Halt::Admin(AdminError::Refused(refusal)) => {
                let message = super::draft::sentence(&refusal.to_string());
                shell::refusal(StatusCode::CONFLICT, &message)
            }
            Halt::Admin(AdminError::Store(error)) => {
                tracing::warn!(%error, "an operator's page failed");
                let message = "The store is not available. Nothing was changed; try again.";
                shell::refusal(StatusCode::SERVICE_UNAVAILABLE, message)
            }
        }
    }
}

impl FromRequestParts<Arc<Desk>> for Ask {
    type Rejection = Response;

    async fn from_request_parts(
        parts: &mut Parts,
        desk: &Arc<Desk>,
    ) -> Result<Self, Self::Rejection> {
        // `guard::enter` has put it there, or the request had not come here.
        let visitor = guard::visitor(parts)
            .ok_or_else(|| shell::message(StatusCode::INTERNAL_SERVER_ERROR))?;
        Ok(Ask {
            desk: Arc::clone(desk),
            visitor,
            query: Fields::parse(parts.uri.query().unwrap_or_default().as_bytes()),
            now_ms: desk.shared.clock.now_ms(),
            sent: parts.extensions.remove().unwrap_or_default(),
            is_seen: parts.method == Method::GET,
        })
    }
}

/// An account that a page is about.
#[derive(Clone)]
pub(super) struct Account {
    pub id: AccountId,
    /// Names it in the query of an address. Not in the path: browsers take `..` out of a path, however it is encoded.
    pub query: String,
    /// The tab.
    pub tab: &'static str,
}

impl Account {
    fn new(id: AccountId, tab: &'static str) -> Self {
        let query = format!("account={}", encoded(id.as_str()));
        Account { id, query, tab }
    }

    pub(super) fn name(&self) -> &str {
        self.id.as_str()
    }
}

/// A text in the query of an address.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

impl Ask {
    /// What was filled in.
    pub(super) fn draft(&self) -> Draft {
        Draft::of(self.sent.clone())
    }

    /// The account that the address names, which must exist, and how it stands.
    pub(super) async fn account(&self, tab: &'static str) -> Result<(Account, AccountView), Halt> {
        let Ok(id) = AccountId::new(self.query.exact("account")) else {
            return Err(Halt::NotFound("There is no such account."));
        };
        let now_ms = self.now_ms;
        let asked = id.clone();
        let view = self.administer(move |admin| admin.account(&asked, now_ms)).await?;
        Ok((Account::new(id, tab), view))
    }

    pub(super) async fn administer<T: Send + 'static>(
        &self,
        work: impl FnOnce(Admin<'_, dyn Store>) -> Result<T, AdminError> + Send + 'static,
    ) -> Result<T, AdminError> {
        self.desk.shared.store.administer(work).await
    }

    /// The frame of a page. The notice that waits is on the first page that is seen.
    pub(super) fn shell(&self, title: impl Into<String>, part: &'static str) -> Shell {
        let notice = self.is_seen.then(|| self.desk.sessions.take_notice(&self.visitor)).flatten();
        Shell {
            title: title.into(),
            part,
            csrf: Some(Arc::clone(&self.visitor.csrf)),
            // Without entropy the page is shown, and its forms are refused.
            once: session::random().unwrap_or_default(),
            notice,
        }
    }

    /// The new key that waits, once.
    pub(super) fn take_made(&self, account: &AccountId) -> Option<session::Made> {
        if !self.is_seen {
            return None;
        }
        self.desk.sessions.take_made(&self.visitor, account, self.now_ms)
    }

    /// On to another page, which says this.
    pub(super) fn done(&self, to: &str, notice: impl Into<String>) -> Answered {
        self.desk.sessions.leave_notice(&self.visitor, notice.into());
        Ok(Redirect::to(to).into_response())
    }
}
