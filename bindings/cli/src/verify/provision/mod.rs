//! How accounts and tokens come to a gateway that is not ours.

mod admin;
mod pipe;
mod tokens;

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::client::Bounds;
use crate::exit::Failure;

pub(super) use tokens::needed;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Accounts and tokens")]
#[group(multiple = false)]
pub(super) struct ProvisionArgs {
    /// A program that makes accounts and tokens: it reads scenario steps (`account`, `token`, `revoke`, `deposit`)
    /// as JSON, a line each, and answers a line each, {} or {"error": TEXT}. The shell runs it
    #[arg(long, value_name = "COMMAND")]
    provision: Option<String>,
    /// The admin API of `tollgate serve`; its token is read from --admin-token-file
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// What an operator made by hand: {"tokens": {NAME: TOKEN}}; `--needs` prints what is needed
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
}

/// Performs `account`, `token`, `revoke` and `deposit` steps on the gateway.
pub(super) enum Provision {
    /// A program.
    Pipe(Box<pipe::Pipe>),
    /// An admin API.
    Admin(Box<admin::AdminApi>),
    /// A file of what is there already.
    Tokens(tokens::Tokens),
    /// Nothing: only what needs no token is checked.
    Nothing,
}

/// What became of a step.
pub(super) enum Provisioned {
    Done,
    /// The gateway chose the token's text itself, or somebody did before.
    WithToken(String),
    /// There is no way to do this.
    CannotDo(&'static str),
}

impl ProvisionArgs {
    pub(super) fn start(
        &self,
        admin_token: Option<&Path>,
        bounds: Bounds,
    ) -> Result<Provision, Failure> {
        if let Some(command) = &self.provision {
            return Ok(Provision::Pipe(Box::new(pipe::Pipe::start(command, bounds.timeout)?)));
        }
        if let Some(url) = &self.admin {
            let file = admin_token
                .ok_or_else(|| Failure::new("--admin needs --admin-token-file FILE as well"))?;
            return Ok(Provision::Admin(Box::new(admin::AdminApi::new(url, file, bounds)?)));
        }
        match &self.tokens {
            Some(file) => Ok(Provision::Tokens(tokens::Tokens::read(file)?)),
            None => Ok(Provision::Nothing),
        }
    }
}

impl Provision {
    /// Performs a step. `name` is how the checks call the account and its token.
    pub(super) async fn perform(
        &mut self,
        name: &str,
        step: &Value,
    ) -> Result<Provisioned, Failure> {
        match self {
            Provision::Pipe(pipe) => pipe.perform(step).await,
            Provision::Admin(admin) => admin.perform(step).await,
            Provision::Tokens(tokens) => Ok(tokens.perform(name, step)),
            Provision::Nothing => Ok(Provisioned::CannotDo(
                "there are no accounts and tokens: give --provision, --admin or --tokens",
            )),
        }
    }

    /// What must never be shown.
    pub(super) fn secret(&self) -> Option<&str> {
        match self {
            Provision::Admin(admin) => Some(admin.token()),
            _ => None,
        }
    }
}

/// A member of a step as text.
fn text<'s>(step: &'s Value, member: &str) -> &'s str {
    step.get(member).and_then(Value::as_str).unwrap_or_default()
}
