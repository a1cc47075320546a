//! `tollgate token`: new tokens, and their digests.

use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;
use tollgate::{Pepper, TokenFormat, TokenText, digest};

use crate::exit::{Done, Exit, Failure};

/// Make tokens, and the digests under which a store keeps them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new token out of 32 bytes of the system's entropy. It is shown this once: store the digest,
    /// and give the token to whom it is for.
    New(Options),
    /// Read a token from standard input and print its digest. Tokens are never arguments, as other users
    /// of the machine can see those.
    Digest {
        /// The token is of another system, and not one that tollgate made
        #[arg(long)]
        opaque: bool,
        #[command(flatten)]
        options: Options,
    },
}

#[derive(Debug, clap::Args)]
struct Options {
    /// File with the pepper that keys the digests: 16 to 64 bytes, taken as they are
    #[arg(long, value_name = "FILE")]
    pepper_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// No token is longer, nor a file that may hold a pepper.
const MAX_BYTES: u64 = 1024;

pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Done {
    match &args.command {
        Command::New(options) => new(options, out)?,
        Command::Digest { opaque, options } => digest_of_stdin(*opaque, options, out)?,
    }
    Ok(Exit::Yes)
}

fn new(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let pepper = pepper(options)?;
    let mut entropy = [0; 32];
    getrandom::fill(&mut entropy)
        .map_err(|error| Failure::new(format!("the system gives no entropy: {error}")))?;
    let token = TokenText::generate(&entropy);
    let digest = digest(token.expose().as_bytes(), pepper.as_ref()).to_string();
    if options.json {
        let made = json!({ "token": token.expose(), "digest": digest });
        serde_json::to_writer(&mut *out, &made)?;
        writeln!(out)?;
    } else {
        writeln!(out, "token   {}\ndigest  {digest}", token.expose())?;
    }
    Ok(())
}

fn digest_of_stdin(opaque: bool, options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let pepper = pepper(options)?;
    let mut text = String::new();
    io::stdin()
        .lock()
        .take(MAX_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| Failure::at("standard input", error))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    let format = if opaque { TokenFormat::Opaque } else { TokenFormat::Native };
    let token = TokenText::parse(format, text).map_err(|error| {
        let hint = if opaque { "" } else { " (here: --opaque)" };
        Failure::at("standard input", format!("{error}{hint}"))
    })?;
    let digest = digest(token.expose().as_bytes(), pepper.as_ref()).to_string();
    if options.json {
        serde_json::to_writer(&mut *out, &json!({ "digest": digest }))?;
        writeln!(out)?;
    } else {
        writeln!(out, "{digest}")?;
    }
    Ok(())
}

fn pepper(options: &Options) -> Result<Option<Pepper>, Failure> {
    let Some(file) = &options.pepper_file else { return Ok(None) };
    let fail = |error: &dyn std::fmt::Display| Failure::at(file.display(), error);
    let mut key = Vec::new();
    fs::File::open(file)
        .and_then(|opened| opened.take(MAX_BYTES).read_to_end(&mut key))
        .map_err(|error| fail(&error))?;
    Pepper::new(&key).map(Some).map_err(|error| fail(&error))
}
