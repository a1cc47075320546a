//! `tollgate demo`: a small paid API on this machine, behind the engine.
//!
//! With `--run` it is called over real HTTP, and what it answers is held against what is documented.

mod client;
mod curl;
mod gateway;
mod report;
mod upstream;
mod walk;

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use tollgate::Store;
use tollgate_scenario::Backend;

use self::gateway::{Clock, Gateway, SetupError};
use self::report::Row;
use crate::store::ScratchArgs;

/// Arguments of `tollgate demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Call every documented behaviour over HTTP, print what happened, and end: 0 if all of it was as
    /// documented, 1 if not.
    #[arg(long)]
    run: bool,

    /// Print JSON lines: one per row with --run, else one with the address and the tokens.
    #[arg(long)]
    json: bool,

    /// Address to listen on, of this machine only [default: 127.0.0.1:8080; with --run a free port].
    #[arg(long, value_name = "127.0.0.1:PORT")]
    listen: Option<SocketAddr>,

    #[command(flatten)]
    store: ScratchArgs,
}

/// Why the demo could not be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// Anybody could spend the demo's money.
    #[error("--listen {0} is not an address of this machine only; give 127.0.0.1:PORT")]
    NotLoopback(SocketAddr),
    /// The port is taken, say.
    #[error("cannot listen on {address}: {source}; give another with --listen 127.0.0.1:PORT")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// There is no such store.
    #[error("{0}")]
    Store(String),
    /// Tokens or accounts could not be made.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// Standard output or the runtime failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Runs the command. The exit code is 0, or 1 when a row of `--run` was not as documented.
///
/// # Errors
/// [`DemoError`] when the demo could not be shown at all.
pub(crate) fn run(args: DemoArgs) -> Result<ExitCode, DemoError> {
    let default_port = if args.run { 0 } else { 8080 };
    let address = args.listen.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, default_port).into());
    if !address.ip().is_loopback() {
        return Err(DemoError::NotLoopback(address));
    }
    let scratch = args.store.backend().map_err(|error| DemoError::Store(error.to_string()))?;
    let store = (&scratch).fresh().map_err(|error| DemoError::Store(error.to_string()))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if args.run {
        let rows = runtime.block_on(walk(address, store))?;
        show(&rows, args.json)?;
        let ok = rows.iter().all(Row::is_as_documented);
        return Ok(if ok { ExitCode::SUCCESS } else { ExitCode::from(1) });
    }
    runtime.block_on(serve(address, store, args.json))?;
    Ok(ExitCode::SUCCESS)
}

async fn walk(address: SocketAddr, store: Arc<dyn Store>) -> Result<Vec<Row>, DemoError> {
    // Time stands still, so that no limit refills between two rows.
    let gateway = Gateway::start(address, Clock::Standing, store).await?;
    let rows = walk::walk(&gateway).await;
    gateway.stop();
    Ok(rows)
}

async fn serve(address: SocketAddr, store: Arc<dyn Store>, json: bool) -> Result<(), DemoError> {
    let gateway = Gateway::start(address, Clock::System, store).await?;
    let text = if json { curl::json(&gateway) } else { curl::text(&gateway) };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    drop(out);
    tokio::signal::ctrl_c().await?;
    gateway.stop();
    Ok(())
}

fn show(rows: &[Row], json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        for row in rows {
            writeln!(out, "{}", row.json())?;
        }
    } else {
        out.write_all(report::table(rows).as_bytes())?;
    }
    out.flush()
}
