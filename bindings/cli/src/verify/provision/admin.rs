//! The JSON API for administration of `tollgate serve`: how each step becomes a request.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use super::{Provisioned, text};
use crate::exit::Failure;
use crate::verify::call::Call;
use crate::verify::client::{Bounds, Client};

pub(in crate::verify) struct AdminApi {
    client: Client,
    token: String,
    /// Digests by the text of the token, as the API told them.
    digests: HashMap<String, String>,
}

impl AdminApi {
    pub(super) fn new(url: &str, token_file: &Path, bounds: Bounds) -> Result<AdminApi, Failure> {
        let token = fs::read_to_string(token_file)
            .map_err(|error| Failure::at(token_file.display(), error))?;
        Ok(AdminApi {
            // What is provisioned does not count among the requests to the gateway.
            client: Client::new(url, Bounds { max_requests: u64::MAX, ..bounds })?,
            token: token.trim().to_owned(),
            digests: HashMap::new(),
        })
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    pub(super) async fn perform(&mut self, step: &Value) -> Result<Provisioned, Failure> {
        match text(step, "op") {
            "account" => {
                let path = format!("/api/accounts/{}", text(step, "id"));
                let members = ["balance", "networks", "spend_caps", "senders"];
                self.ask("PUT", &path, &picked(step, &members)).await?;
                Ok(Provisioned::Done)
            }
            "deposit" => {
                let path = format!("/api/accounts/{}/deposits", text(step, "account"));
                self.ask("POST", &path, &picked(step, &["amount"])).await?;
                Ok(Provisioned::Done)
            }
            "token" => self.put_token(step).await,
            "revoke" => {
                let Some(digest) = self.digests.get(text(step, "token")).cloned() else {
                    return Ok(Provisioned::CannotDo("the admin API named no digest of the token"));
                };
                let path = format!("/api/tokens/{digest}");
                self.ask("DELETE", &path, &Value::Null).await?;
                Ok(Provisioned::Done)
            }
            _ => Ok(Provisioned::CannotDo("the admin API has nothing for this step")),
        }
    }

    async fn put_token(&mut self, step: &Value) -> Result<Provisioned, Failure> {
        let path = format!("/api/accounts/{}/tokens", text(step, "account"));
        let members = ["token", "scopes", "networks", "quota", "spend_caps", "expires_ms"];
        let answer = self.ask("POST", &path, &picked(step, &members)).await?;
        let member = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
        let token = member("token");
        if let Some(digest) = member("digest") {
            let known = token.clone().unwrap_or_else(|| text(step, "token").to_owned());
            self.digests.insert(known, digest);
        }
        Ok(token.map_or(Provisioned::Done, Provisioned::WithToken))
    }

    async fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, Failure> {
        let mut call = Call::new(method, path).bearer(&self.token);
        if !body.is_null() {
            call = call.header("Content-Type", "application/json");
            call.body = body.to_string().into();
        }
        let fail =
            |why: &dyn std::fmt::Display| Failure::at("--admin", format!("{method} {path}: {why}"));
        let reply = self.client.send(&call).await.map_err(|error| fail(&error))?;
        if !(200..300).contains(&reply.status) {
            let json = reply.json().unwrap_or_default();
            let message = json.get("message").and_then(Value::as_str).unwrap_or("no message");
            return Err(fail(&format!("{}: {message}", reply.status)));
        }
        Ok(reply.json().unwrap_or_default())
    }
}

/// These members of a step, where it has them.
fn picked(step: &Value, members: &[&str]) -> Value {
    let mut body = Map::new();
    for name in members {
        if let Some(value) = step.get(name).filter(|value| !value.is_null()) {
            body.insert((*name).to_owned(), value.clone());
        }
    }
    Value::Object(body)
}
