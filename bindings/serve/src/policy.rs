//! The policy is read again when its file changes, on SIGHUP, and when an operator says so.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::shared::Shared;

/// How often the file is looked at. Its content is compared: neither dates nor links tell the truth everywhere.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Reads the policy again and puts it in the place of the old one, between two requests. One with errors changes nothing.
///
/// # Errors
/// What is wrong with it, with its lines.
pub(crate) async fn reload(shared: &Arc<Shared>) -> Result<(), String> {
    // One after the other: what was read first must not come last.
    let _reloading = shared.reloading.lock().await;
    let load = Arc::clone(&shared.options.load_policy);
    let loaded = tokio::task::spawn_blocking(move || load()).await;
    match loaded.unwrap_or_else(|_| Err("the policy could not be read".into())) {
        Ok(policy) => {
            shared.live.reload(policy);
            shared.metrics.reloaded("loaded");
            tracing::info!("the policy was loaded anew");
            Ok(())
        }
        Err(error) => {
            shared.metrics.reloaded("failed");
            tracing::error!(%error, "the policy stays as it was");
            Err(error)
        }
    }
}

/// Follows the file for as long as the server runs.
pub(crate) async fn follow(shared: Arc<Shared>, path: PathBuf, mut seen: Option<Vec<u8>>) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        let now = content(path.clone()).await;
        // While it is being replaced it may be gone: the policy in force stays.
        if now.is_none() || now == seen {
            continue;
        }
        // What is wrong was logged.
        let _ = reload(&shared).await;
        // What was loaded is what was seen only if it is still there; else it is looked at again.
        seen = content(path.clone()).await.filter(|after| Some(after) == now.as_ref());
    }
}

/// What the file says now.
pub(crate) async fn content(path: PathBuf) -> Option<Vec<u8>> {
    tokio::task::spawn_blocking(move || fs::read(path).ok()).await.ok().flatten()
}
