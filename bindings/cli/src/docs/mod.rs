//! `tollgate docs`: the reference of an API, written from its policy.
//!
//! Every example is an answer of the engine, and only what the policy can answer is listed.

mod examples;
mod facts;
mod markdown;
mod openapi;
mod words;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use similar::TextDiff;

use self::facts::Facts;
use crate::exit::{Done, Exit, Failure};
use crate::policy::{self, Format};

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// The reference for people
    Markdown,
    /// An OpenAPI 3.1 description
    Openapi,
    /// Both
    All,
}

/// Write the reference of an API from its policy: errors, headers, scopes, limits, keys and money.
///
/// Every example is an answer of the engine itself, and only what the policy can answer is listed. The same policy
/// gives the same text.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Policy file; together with --preset a merge patch (RFC 7396, JSON) on the preset
    #[arg(long, value_name = "FILE", required_unless_present = "preset")]
    policy: Option<PathBuf>,
    /// The preset of this name
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// How the policy file is written, if its name does not end in .toml or .json
    #[arg(long, value_enum)]
    policy_format: Option<Format>,
    /// A route that the API charges for by request, where the policy has no price; may be given more than once
    #[arg(long, value_name = "ROUTE")]
    charged: Vec<String>,
    /// The API's name
    #[arg(long, value_name = "TEXT", default_value = "API reference")]
    title: String,
    /// What to write [default: markdown, and with a directory all]
    #[arg(long, value_enum)]
    format: Option<Output>,
    /// Write policy.md and openapi.json into this directory, instead of to standard output
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Say whether the files in this directory are what would be written: exit code 1 if not
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    check: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Done {
    let (file, preset) = (args.policy.as_deref(), args.preset.as_deref());
    let place = policy::place(file, preset);
    let config = policy::load(file, args.policy_format, preset)?.map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(|error| format!("\n  {error}")).collect();
        Failure::at(&place, format!("the policy has errors:{}", lines.concat()))
    })?;
    let facts = Facts::new(&config, &args.charged)?;
    let directory = args.out.as_deref().or(args.check.as_deref());
    let format = args.format.unwrap_or(match directory {
        Some(_) => Output::All,
        None => Output::Markdown,
    });
    let mut texts: Vec<(&str, String)> = Vec::new();
    if format != Output::Openapi {
        texts.push(("policy.md", markdown::write(&facts, &args.title)));
    }
    if format != Output::Markdown {
        let document = openapi::write(&facts, &args.title);
        texts.push(("openapi.json", format!("{}\n", serde_json::to_string_pretty(&document)?)));
    }
    match (&args.out, &args.check, texts.as_slice()) {
        (Some(directory), _, _) => write_files(directory, &texts),
        (_, Some(directory), _) => check(out, directory, &texts),
        (None, None, [(_, text)]) => {
            out.write_all(text.as_bytes())?;
            Ok(Exit::Yes)
        }
        (None, None, _) => Err(Failure::new("--format all is two files: say where with --out DIR")),
    }
}

fn write_files(directory: &Path, texts: &[(&str, String)]) -> Done {
    fs::create_dir_all(directory).map_err(|error| Failure::at(directory.display(), error))?;
    for (name, text) in texts {
        let path = directory.join(name);
        fs::write(&path, text).map_err(|error| Failure::at(path.display(), error))?;
    }
    Ok(Exit::Yes)
}

/// Compares what is there with what would be written.
fn check(out: &mut dyn Write, directory: &Path, texts: &[(&str, String)]) -> Done {
    let mut same = true;
    for (name, text) in texts {
        let path = directory.join(name);
        let place = path.display().to_string();
        let found = match fs::read_to_string(&path) {
            Ok(found) => found,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Failure::at(place, error)),
        };
        if found == *text {
            continue;
        }
        same = false;
        let diff = TextDiff::from_lines(&found, text);
        let from = format!("{place} (is there)");
        let to = format!("{place} (by the policy)");
        write!(out, "{}", diff.unified_diff().header(&from, &to))?;
    }
    Ok(Exit::yes_if(same))
}
