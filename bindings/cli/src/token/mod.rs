//! `tollgate token`: new tokens, their digests, and the tokens of a store.

mod secret;
mod stored;

use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use crate::exit::{Done, Exit, Failure};
use crate::store::StoreArgs;
pub(crate) use secret::pepper;
use secret::{Given, new_token};

/// Make tokens and their digests; issue, rotate, revoke and list those of a store.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new token out of 32 bytes of the system's entropy. It is shown this once. With --account
    /// a store takes it; without, put the digest into one yourself.
    New {
        #[command(flatten)]
        options: Options,
        #[command(flatten)]
        issue: stored::Issue,
    },
    /// Read a token from standard input and print its digest. Tokens are never arguments, as other users
    /// of the machine can see those.
    Digest {
        #[command(flatten)]
        given: Given,
        #[command(flatten)]
        options: Options,
    },
    /// Revoke a token for good, at once.
    Revoke {
        #[command(flatten)]
        given: Given,
        #[command(flatten)]
        options: Options,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Put a new token in the place of one, which still works for a while. The new one is shown this once.
    Rotate {
        #[command(flatten)]
        given: Given,
        /// How long the old one still works, in milliseconds
        #[arg(long, value_name = "MS", default_value_t = 86_400_000)]
        grace_ms: u64,
        #[command(flatten)]
        options: Options,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// List an account's tokens, by digest.
    List {
        account: String,
        #[command(flatten)]
        options: Options,
        #[command(flatten)]
        store: StoreArgs,
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

pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Done {
    match &args.command {
        Command::New { issue, options } => {
            let (token, digest) = new_token(pepper(options.pepper_file.as_deref())?.as_ref())?;
            issue.put(&digest)?;
            show_new(&token, &digest, options.json, out)?;
        }
        Command::Digest { given, options } => {
            let digest = given.digest(pepper(options.pepper_file.as_deref())?.as_ref())?;
            show_digest(&digest, options.json, out)?;
        }
        Command::Revoke { given, store, options } => {
            let digest = given.digest(pepper(options.pepper_file.as_deref())?.as_ref())?;
            let (store, now_ms) = store.open()?;
            store.admin().revoke_token(&digest, now_ms)?;
            show_digest(&digest, options.json, out)?;
        }
        Command::Rotate { given, grace_ms, store, options } => {
            let pepper = pepper(options.pepper_file.as_deref())?;
            let old = given.digest(pepper.as_ref())?;
            let (store, now_ms) = store.open()?;
            let (token, new) = new_token(pepper.as_ref())?;
            store.admin().rotate_token(&old, &new, *grace_ms, now_ms)?;
            show_new(&token, &new, options.json, out)?;
        }
        Command::List { account, store, options } => {
            stored::list(account, store, options.json, out)?;
        }
    }
    Ok(Exit::Yes)
}

fn show_new(
    token: &tollgate::TokenText,
    digest: &tollgate::TokenDigest,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    if as_json {
        let made = json!({ "token": token.expose(), "digest": digest.to_string() });
        serde_json::to_writer(&mut *out, &made)?;
        writeln!(out)?;
    } else {
        writeln!(out, "token   {}\ndigest  {digest}", token.expose())?;
    }
    Ok(())
}

fn show_digest(
    digest: &tollgate::TokenDigest,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    if as_json {
        serde_json::to_writer(&mut *out, &json!({ "digest": digest.to_string() }))?;
        writeln!(out)?;
    } else {
        writeln!(out, "{digest}")?;
    }
    Ok(())
}
