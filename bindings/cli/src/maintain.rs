//! `tollgate store`: what a store as a whole needs now and then.

use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use crate::exit::{Done, Exit, Failure};
use crate::store::StoreArgs;
use crate::table::write_table;

/// Back a store up, see how full it is, and reclaim what is due.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Copy an LMDB store into a new directory, while it is in use. Redis has its own ways.
    Backup {
        /// A directory that does not exist yet
        #[arg(value_name = "DIRECTORY")]
        into: PathBuf,
        /// Leave free pages out: the copy is as small as it can be, and takes longer
        #[arg(long)]
        compact: bool,
    },
    /// Show how much is in an LMDB store.
    Info,
    /// End what is due: leases, claims past their retention, cells that are whole again. Servers do this
    /// on their own, every few seconds.
    Expire,
}

pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Done {
    let (store, now_ms) = args.store.open()?;
    match &args.command {
        Command::Backup { into, compact } => {
            store.lmdb()?.backup(into, *compact).map_err(|error| Failure::at("backup", error))?;
        }
        Command::Info => {
            let rows = store.statistics()?;
            if args.json {
                let map: serde_json::Map<String, serde_json::Value> =
                    rows.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
                serde_json::to_writer_pretty(&mut *out, &map)?;
                writeln!(out)?;
            } else {
                let rows: Vec<[String; 2]> = rows
                    .into_iter()
                    .map(|(name, value)| [name.replace('_', " "), value.to_string()])
                    .collect();
                write_table(out, "", &rows)?;
            }
        }
        Command::Expire => {
            let ended = store.admin().expire(now_ms)?;
            if args.json {
                writeln!(out, "{}", json!({ "expired": ended }))?;
            } else {
                writeln!(out, "{ended} leases and claims ended")?;
            }
        }
    }
    Ok(Exit::Yes)
}
