//! `tollgate serve`: decisions over HTTP, for proxies and services that cannot link the engine.

mod args;

use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tollgate_serve::{Bound, Server, telemetry};

use crate::exit::Failure;

pub(crate) use args::Args;

/// Serves until SIGTERM or an interrupt.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let options = args.options()?;
    raise_descriptor_limit(options.bounds.max_connections);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.threads())
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("no runtime: {error}")))?;
    runtime.block_on(async {
        let telemetry = telemetry::start(args.log_format(), args.otlp());
        let telemetry = telemetry.map_err(Failure::new)?;
        let done = serve(options, args.drain()).await;
        // Waits for a collector, on a thread that may wait.
        let _ = tokio::task::spawn_blocking(move || drop(telemetry)).await;
        done
    })
}

async fn serve(options: tollgate_serve::Options, drain: Duration) -> Result<ExitCode, Failure> {
    let signals = (|| {
        let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        let [terminate, interrupt, hangup] = kinds.map(signal);
        Ok::<_, std::io::Error>((terminate?, interrupt?, hangup?))
    })();
    let (mut terminate, mut interrupt, mut hangup) =
        signals.map_err(|error| Failure::new(format!("signals cannot be waited for: {error}")))?;
    let server = Server::start(options).await.map_err(|error| Failure::new(error.to_string()))?;
    for bound in server.bound() {
        tracing::info!("decides at {}", place(bound));
    }
    if let Some(bound) = server.admin_bound() {
        tracing::info!("administration at {}", place(bound));
    }
    loop {
        tokio::select! {
            _ = hangup.recv() => server.reload().await,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tracing::info!("stopping: requests under way are answered");
    tokio::select! {
        () = server.stop(drain) => tracing::info!("stopped"),
        // Whoever asks twice is in a hurry.
        _ = interrupt.recv() => tracing::warn!("stopped at once"),
    }
    Ok(ExitCode::SUCCESS)
}

fn place(bound: &Bound) -> String {
    match bound {
        Bound::Tcp(address) => address.to_string(),
        Bound::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// A connection is a file descriptor, and shells give programs a thousand. Where more cannot be had, fewer connections are served.
fn raise_descriptor_limit(max_connections: usize) {
    let wanted = u64::try_from(max_connections).unwrap_or(u64::MAX).saturating_add(1024);
    let _ = rlimit::increase_nofile_limit(wanted);
}
