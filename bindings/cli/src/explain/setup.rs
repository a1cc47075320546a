//! The policy and the state under which a request is explained.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tollgate::TokenText;
use tollgate_scenario::{Runner, UniqueKeys};

use crate::exit::Failure;
use crate::policy::{self, Format};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Policy and state")]
pub(crate) struct SetupArgs {
    /// Policy file; together with --preset a merge patch (RFC 7396, JSON) on the preset
    #[arg(long, value_name = "FILE", required_unless_present_any = ["preset", "state"])]
    policy: Option<PathBuf>,
    /// The preset of this name
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// How the policy file is written, if its name does not end in .toml or .json
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Scenario steps to run first: a JSON list, or one step after the other
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Scope of the example token; may be given more than once
    #[arg(long, value_name = "NAME")]
    scope: Vec<String>,
    /// What the example account has, in the ledger's minor unit
    #[arg(long, value_name = "AMOUNT")]
    balance: Option<u64>,
    /// Network that the example account may be used from; may be given more than once
    #[arg(long, value_name = "NETWORK")]
    network: Vec<String>,
    /// Network that the example token may be used from; may be given more than once
    #[arg(long, value_name = "NETWORK")]
    token_network: Vec<String>,
    /// Approved senders of the example account, with commas between them
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    senders: Vec<String>,
}

/// The example token: well formed in every format, and of no use anywhere else.
const EXAMPLE_ENTROPY: [u8; 32] = [0; 32];

impl SetupArgs {
    /// Sets up policy and state. Gives the `Authorization` header of the example token, if there is one.
    pub(crate) fn run(&self, runner: &mut Runner) -> Result<Option<String>, Failure> {
        if self.policy.is_some() || self.preset.is_some() {
            self.set_policy(runner)?;
        }
        if let Some(file) = &self.state {
            run_state(runner, file)?;
        }
        if !self.has_example() {
            return Ok(None);
        }
        self.set_example(runner).map(Some)
    }

    fn set_policy(&self, runner: &mut Runner) -> Result<(), Failure> {
        let (file, preset) = (self.policy.as_deref(), self.preset.as_deref());
        let checked = policy::load(file, self.format, preset)?;
        let place = policy::place(file, preset);
        let config = checked.map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(|error| format!("\n  {error}")).collect();
            Failure::at(place, format!("the policy has errors:{}", lines.concat()))
        })?;
        let policy = serde_json::to_value(&config)?;
        try_step(runner, json!({ "op": "policy", "policy": policy }))
    }

    fn has_example(&self) -> bool {
        let lists = [&self.scope, &self.network, &self.token_network, &self.senders];
        self.balance.is_some() || lists.into_iter().any(|list| !list.is_empty())
    }

    fn set_example(&self, runner: &mut Runner) -> Result<String, Failure> {
        try_step(
            runner,
            json!({
                "op": "account", "id": "example", "balance": self.balance, "networks": self.network,
                "senders": self.senders,
            }),
        )?;
        let token = TokenText::generate(&EXAMPLE_ENTROPY);
        try_step(
            runner,
            json!({
                "op": "token", "token": token.expose(), "account": "example", "scopes": self.scope,
                "networks": self.token_network,
            }),
        )?;
        Ok(format!("Bearer {}", token.expose()))
    }
}

fn try_step(runner: &mut Runner, step: Value) -> Result<(), Failure> {
    runner.try_step(step).map(|_| ()).map_err(|error| Failure::new(error.to_string()))
}

/// Runs a list of steps, or steps one after the other as for `tollgate scenario -`. One that fails
/// must say so in its `expect`.
fn run_state(runner: &mut Runner, file: &Path) -> Result<(), Failure> {
    let fail = |error: &dyn std::fmt::Display| Failure::at(file.display(), error);
    let text = fs::read_to_string(file).map_err(|error| fail(&error))?;
    let mut number: usize = 0;
    for value in serde_json::Deserializer::from_str(&text).into_iter() {
        let UniqueKeys(value) = value.map_err(|error| fail(&error))?;
        let steps = match value {
            Value::Array(steps) => steps,
            step => vec![step],
        };
        for step in steps {
            let reply = runner.step(step.clone());
            if let Err(mismatches) = tollgate_scenario::check(&step, &reply) {
                let texts: Vec<String> = mismatches.iter().map(ToString::to_string).collect();
                return Err(fail(&format!("step {number}: {}", texts.join("; "))));
            }
            number = number.saturating_add(1);
        }
    }
    Ok(())
}
