//! Policies: read, compiled, and read again when their file changes.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use tollgate::{
    CompiledPolicy, Engine, LiveEngine, PRESETS, Pepper, PolicyConfig, PolicyErrors, lint, preset,
};

use crate::numbers::restored;
use crate::settings::PolicySource;
use crate::{log, threads};

/// An engine with the policy of a configuration. Where that is a file, the engine follows it as long as it is used.
///
/// # Errors
/// What is wrong with the policy, with its lines, or with the pepper.
pub(crate) fn engine(
    source: &PolicySource,
    pepper_file: Option<&str>,
    reload_interval_ms: u64,
    checking_only: bool,
) -> Result<Arc<LiveEngine>, String> {
    let seen = file_of(source).map(Seen::of);
    let policy = compile(source)?;
    let mut engine = Engine::new(policy);
    if let Some(path) = pepper_file {
        let bytes = fs::read(path).map_err(|error| format!("pepper {path}: {error}"))?;
        let pepper = Pepper::new(&bytes).map_err(|error| format!("pepper {path}: {error}"))?;
        engine = engine.with_pepper(pepper);
    }
    let live = Arc::new(LiveEngine::new(engine));
    if let (Some(path), Some(seen)) = (file_of(source), seen) {
        log::info(&format!("policy {path} loaded"));
        if reload_interval_ms > 0 && !checking_only {
            let interval = Duration::from_millis(reload_interval_ms);
            threads::spawn(follow(path.to_owned(), seen, Arc::downgrade(&live), interval));
        }
    }
    Ok(live)
}

fn file_of(source: &PolicySource) -> Option<&str> {
    match source {
        PolicySource::File(path) => Some(path),
        PolicySource::Preset(_) | PolicySource::Inline(_) => None,
    }
}

fn compile(source: &PolicySource) -> Result<CompiledPolicy, String> {
    match source {
        PolicySource::File(path) => {
            compile_file(path).map_err(|error| format!("policy {path} not loaded: {error}"))
        }
        PolicySource::Preset(name) => {
            let config = preset(name).ok_or_else(|| {
                format!("there is no preset `{name}`; there are: {}", PRESETS.join(", "))
            })?;
            config.compile().map_err(|error| format!("preset {name}: {error}"))
        }
        PolicySource::Inline(value) => {
            let compiled = compile_inline(value);
            let compiled = match (&compiled, restored(value)) {
                (Err(_), Some(restored)) => compile_inline(&restored),
                _ => compiled,
            };
            compiled.map_err(|error| format!("policy not loaded: {error}"))
        }
    }
}

fn compile_inline(value: &serde_json::Value) -> Result<CompiledPolicy, PolicyErrors> {
    let config = PolicyConfig::from_json_value(value)?;
    warn_of(&config, "policy");
    config.compile()
}

fn compile_file(path: &str) -> Result<CompiledPolicy, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let end = Path::new(path).extension().and_then(|end| end.to_str());
    // Compiled from the text itself, so that every error has its line.
    let (compiled, config) = match end {
        Some("toml") => (CompiledPolicy::from_toml(&text), PolicyConfig::from_toml(&text)),
        Some("json") => (CompiledPolicy::from_json(&text), PolicyConfig::from_json(&text)),
        _ => return Err("the file's name must end in .toml or .json".to_owned()),
    };
    let compiled = compiled.map_err(|error| error.to_string())?;
    if let Ok(config) = config {
        warn_of(&config, &format!("policy {path}"));
    }
    Ok(compiled)
}

fn warn_of(config: &PolicyConfig, what: &str) {
    for warning in lint(config) {
        log::warn(&format!("{what}: {}: {}", warning.place, warning.message));
    }
}

/// What tells one content of a file from the next without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen(Option<(SystemTime, u64, u64)>);

impl Seen {
    fn of(path: &str) -> Seen {
        use std::os::unix::fs::MetadataExt;
        let metadata = fs::metadata(path).ok();
        Seen(metadata.and_then(|file| Some((file.modified().ok()?, file.len(), file.ino()))))
    }
}

/// Loads the file anew whenever it has changed, until nobody uses the engine. A file that does not compile changes nothing.
async fn follow(path: String, mut seen: Seen, engine: Weak<LiveEngine>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let Some(engine) = engine.upgrade() else { return };
        let now = Seen::of(&path);
        if now == seen {
            continue;
        }
        seen = now;
        match compile_file(&path) {
            Ok(policy) => {
                engine.reload(policy);
                log::info(&format!("policy {path} loaded"));
            }
            Err(error) => log::error(&format!("policy {path} not loaded: {error}")),
        }
    }
}
