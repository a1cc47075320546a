//! The `tollgate` command.
#![forbid(unsafe_code)]

mod account;
mod check;
mod demo;
mod exit;
mod explain;
mod maintain;
mod policy;
mod replay;
mod reservation;
mod scenario;
mod serve;
mod settings;
mod store;
mod table;
mod token;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::exit::{Exit, Failure};

/// Decide requests of a paid HTTP API: run scenarios, check policies, explain decisions, administer
/// accounts, tokens and reservations.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, after_help = exit::HELP, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

// One variant and one module per subcommand.
#[derive(Debug, Subcommand)]
enum Command {
    #[command(after_help = exit::HELP)]
    Scenario(scenario::Args),
    #[command(after_help = exit::HELP)]
    Check(check::Args),
    #[command(after_help = exit::HELP)]
    Explain(Box<explain::Args>),
    #[command(after_help = exit::HELP)]
    Token(Box<token::Args>),
    #[command(after_help = exit::HELP)]
    Account(Box<account::Args>),
    #[command(after_help = exit::HELP)]
    Reservation(Box<reservation::Args>),
    #[command(after_help = exit::HELP)]
    Store(Box<maintain::Args>),
    #[command(after_help = exit::HELP)]
    Replay(Box<replay::Args>),
    #[command(after_help = exit::HELP)]
    Serve(Box<serve::Args>),
    /// Serve a small paid API on this machine, and show what the engine does for it.
    #[command(after_help = exit::HELP)]
    Demo(demo::DemoArgs),
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let mut stdout = io::stdout().lock();
    let done = match command {
        Command::Scenario(args) => scenario::run(args, &mut stdout),
        Command::Check(args) => check::run(&args, &mut stdout),
        Command::Explain(args) => explain::run(&args, &mut stdout),
        Command::Token(args) => token::run(&args, &mut stdout),
        Command::Account(args) => account::run(&args, &mut stdout),
        Command::Reservation(args) => reservation::run(&args, &mut stdout),
        Command::Store(args) => maintain::run(&args, &mut stdout),
        Command::Replay(args) => replay::run(&args, &mut stdout),
        Command::Serve(args) => {
            // Its threads print too.
            drop(stdout);
            return serve::run(&args).unwrap_or_else(|error| failed(&error));
        }
        Command::Demo(args) => {
            // Its tasks print too.
            drop(stdout);
            return demo::run(args).unwrap_or_else(|error| failed(&error));
        }
    };
    let done = done.and_then(|exit| stdout.flush().map(|()| exit).map_err(Failure::from));
    match done {
        Ok(exit) => exit.into(),
        // Whoever read the output has seen enough.
        Err(Failure::OutputClosed) => Exit::Yes.into(),
        Err(Failure::Said(message)) => failed(&message),
        Err(Failure::Refused(refusal)) => {
            let _ = writeln!(io::stderr(), "tollgate: {refusal}");
            Exit::No.into()
        }
    }
}

fn failed(message: &dyn Display) -> ExitCode {
    // Where standard error is closed too there is nobody to tell.
    let _ = writeln!(io::stderr(), "tollgate: {message}");
    ExitCode::from(2)
}
