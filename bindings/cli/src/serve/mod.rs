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
    let mut options = args.options()?;
    let wanted = options.bounds.max_connections;
    options.bounds.max_connections = raise_descriptor_limit(wanted);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.threads())
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("no runtime: {error}")))?;
    let done = runtime.block_on(async {
        let telemetry = telemetry::start(args.log_format(), args.otlp());
        let telemetry = telemetry.map_err(Failure::new)?;
        let allowed = options.bounds.max_connections;
        if allowed < wanted {
            tracing::warn!("the system's limit of open files allows {allowed} connections, not {wanted}; raise it (ulimit -n)");
        }
        let done = serve(options, args.drain()).await;
        // Waits for a collector, on a thread that may wait.
        let _ = tokio::task::spawn_blocking(move || drop(telemetry)).await;
        done
    });
    // Threads that wait for a store that hangs are left behind.
    runtime.shutdown_timeout(LEFT_BEHIND_AFTER);
    done
}

const LEFT_BEHIND_AFTER: Duration = Duration::from_secs(2);

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
        _ = terminate.recv() => tracing::warn!("stopped at once"),
    }
    Ok(ExitCode::SUCCESS)
}

fn place(bound: &Bound) -> String {
    match bound {
        Bound::Tcp(address) => address.to_string(),
        Bound::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// Descriptors for all that is no client's connection.
const OWN_DESCRIPTORS: usize = 512;

/// A connection is a file descriptor, and shells give programs a thousand. Gives how many connections can be served: with one more
/// the policy could not be read again, and no store be reached.
fn raise_descriptor_limit(max_connections: usize) -> usize {
    let wanted = max_connections.saturating_add(OWN_DESCRIPTORS);
    let limit = rlimit::increase_nofile_limit(u64::try_from(wanted).unwrap_or(u64::MAX));
    let Ok(limit) = limit else { return max_connections };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    max_connections.min(limit.saturating_sub(OWN_DESCRIPTORS)).max(1)
}
