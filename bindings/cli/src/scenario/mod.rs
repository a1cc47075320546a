//! `tollgate scenario`: files of scenarios, or steps from a pipe.

mod files;
mod pipe;

use std::io::{self, Write};
use std::path::PathBuf;

use crate::exit::{Done, Failure};
use crate::store::ScratchArgs;

/// Run scenarios: files, or steps from a pipe.
///
/// With FILEs or directories, runs every scenario in them and reports. With `-`, reads one step per
/// line from standard input and writes one reply per line to standard output at once; a line that is no
/// step replies {"error": …}. A reply that is not what its step expects is reported on standard error.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Scenario files, directories whose .json files are meant, or `-` alone
    #[arg(required = true, value_name = "FILE|DIR|-")]
    paths: Vec<PathBuf>,
    /// Report in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: ScratchArgs,
}

pub(crate) fn run(args: Args, out: &mut dyn Write) -> Done {
    let piped = args.paths.iter().filter(|path| path.as_os_str() == "-").count();
    let backend = args.store.backend()?;
    match (piped, args.paths.len()) {
        (0, _) => files::run(&args.paths, &backend, args.json, out),
        (1, 1) => pipe::run(&backend, &mut io::stdin().lock(), out, &mut io::stderr()),
        _ => Err(Failure::new("`-` stands alone; run the files in a command of their own")),
    }
}
