//! Secrets: tokens from entropy and from standard input, peppers from files.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use tollgate::{Pepper, TokenDigest, TokenFormat, TokenText, digest};

use crate::exit::Failure;

/// No token is longer, nor a file that may hold a pepper.
const MAX_BYTES: u64 = 1024;

/// Which token is meant.
#[derive(Debug, clap::Args)]
pub(super) struct Given {
    /// The token's digest, in place of the token on standard input
    #[arg(long, value_name = "HEX", conflicts_with = "opaque")]
    digest: Option<String>,
    /// The token is of another system, and not one that tollgate made
    #[arg(long)]
    opaque: bool,
}

impl Given {
    /// Its digest; the token itself is read from standard input.
    pub(super) fn digest(&self, pepper: Option<&Pepper>) -> Result<TokenDigest, Failure> {
        if let Some(hex) = &self.digest {
            // The text is not repeated: it may be a token, given by mistake.
            return TokenDigest::from_hex(hex).map_err(|error| Failure::at("--digest", error));
        }
        let mut text = String::new();
        io::stdin()
            .lock()
            .take(MAX_BYTES)
            .read_to_string(&mut text)
            .map_err(|error| Failure::at("standard input", error))?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        let format = if self.opaque { TokenFormat::Opaque } else { TokenFormat::Native };
        let token = TokenText::parse(format, text).map_err(|error| {
            let hint = if self.opaque { "" } else { " (here: --opaque)" };
            Failure::at("standard input", format!("{error}{hint}"))
        })?;
        Ok(digest(token.expose().as_bytes(), pepper))
    }
}

/// A new token and its digest.
pub(super) fn new_token(pepper: Option<&Pepper>) -> Result<(TokenText, TokenDigest), Failure> {
    let mut entropy = [0; 32];
    getrandom::fill(&mut entropy)
        .map_err(|error| Failure::new(format!("the system gives no entropy: {error}")))?;
    let token = TokenText::generate(&entropy);
    let digest = digest(token.expose().as_bytes(), pepper);
    Ok((token, digest))
}

pub(crate) fn pepper(file: Option<&Path>) -> Result<Option<Pepper>, Failure> {
    let Some(file) = file else { return Ok(None) };
    let fail = |error: &dyn std::fmt::Display| Failure::at(file.display(), error);
    let mut key = Vec::new();
    fs::File::open(file)
        .and_then(|opened| opened.take(MAX_BYTES).read_to_end(&mut key))
        .map_err(|error| fail(&error))?;
    Pepper::new(&key).map(Some).map_err(|error| fail(&error))
}
