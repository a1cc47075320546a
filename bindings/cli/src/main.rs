//! `tollgate`: the command line of the policy engine.

mod demo;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Policy engine for paid HTTP APIs.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a small paid API on this machine, and show what the engine does for it.
    Demo(demo::DemoArgs),
}

fn main() -> ExitCode {
    let Command::Demo(args) = Cli::parse().command;
    match demo::run(args) {
        Ok(code) => code,
        Err(error) => {
            let _ = std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("tollgate: {error}\n"),
            );
            ExitCode::from(2)
        }
    }
}
