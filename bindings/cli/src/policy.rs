//! Policies from files and presets.

use std::fs;
use std::path::Path;

use clap::ValueEnum;
use tollgate::{CompiledPolicy, PRESETS, PolicyConfig, PolicyErrors, preset};

use crate::exit::Failure;

/// How a policy file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Toml,
    Json,
}

/// A policy that could be read as text: what it says, or what is wrong with it.
pub(crate) type Checked = Result<PolicyConfig, PolicyErrors>;

/// The policy of a file, of a preset, or of a preset changed by the merge patch in a file.
pub(crate) fn load(
    file: Option<&Path>,
    format: Option<Format>,
    preset_name: Option<&str>,
) -> Result<Checked, Failure> {
    let base = preset_name.map(named_preset).transpose()?;
    match (file, base) {
        (None, None) => Err(Failure::new("give a policy file or --preset NAME")),
        (None, Some(base)) => Ok(base.compile().map(|_| base)),
        (Some(file), base) => {
            let format = format.map_or_else(|| by_extension(file), Ok)?;
            let text =
                fs::read_to_string(file).map_err(|error| Failure::at(file.display(), error))?;
            match base {
                None => Ok(from_text(format, &text)),
                Some(base) => patched(&base, file, format, &text),
            }
        }
    }
}

/// What `load` gives, as the name of a place for messages.
pub(crate) fn place(file: Option<&Path>, preset_name: Option<&str>) -> String {
    match (file, preset_name) {
        (Some(file), _) => file.display().to_string(),
        (None, name) => format!("preset {}", name.unwrap_or_default()),
    }
}

fn named_preset(name: &str) -> Result<PolicyConfig, Failure> {
    preset(name).ok_or_else(|| {
        Failure::new(format!("there is no preset `{name}`; there are: {}", PRESETS.join(", ")))
    })
}

fn by_extension(file: &Path) -> Result<Format, Failure> {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => Ok(Format::Toml),
        Some("json") => Ok(Format::Json),
        _ => Err(Failure::at(
            file.display(),
            "the name ends neither in .toml nor in .json; say --format toml or --format json",
        )),
    }
}

fn from_text(format: Format, text: &str) -> Checked {
    // Compiling from the text gives all errors at once, and with their lines.
    let (compiled, config) = match format {
        Format::Toml => (CompiledPolicy::from_toml(text), PolicyConfig::from_toml(text)),
        Format::Json => (CompiledPolicy::from_json(text), PolicyConfig::from_json(text)),
    };
    compiled.and(config)
}

fn patched(
    base: &PolicyConfig,
    file: &Path,
    format: Format,
    text: &str,
) -> Result<Checked, Failure> {
    if format != Format::Json {
        let message = "with --preset the file is a merge patch (RFC 7396), which is JSON";
        return Err(Failure::at(file.display(), message));
    }
    let patch = serde_json::from_str(text).map_err(|error| Failure::at(file.display(), error))?;
    Ok(base.merge_patch(&patch).and_then(|config| config.compile().map(|_| config)))
}
