//! `tollgate verify`: whether a live gateway does what its policy says.
//!
//! The truth is the engine itself: every request is also decided in memory, under the same policy and at the
//! same time, and the answers are compared part by part. Each part has a check with a name.

mod call;
mod catalogue;
mod checks;
mod client;
mod findings;
mod judge;
mod needs;
mod numbers;
mod plan;
mod provision;
mod reference;
mod report;
mod session;
mod upstream;
mod vectors;

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use self::client::{Bounds, Client};
use self::plan::Plan;
use self::provision::ProvisionArgs;
use self::reference::Reference;
use self::session::{Parts, Session};
use self::upstream::Upstream;
use self::vectors::Vectors;
use crate::exit::{Done, Exit, Failure};
use crate::policy::{self, Format};

/// Ask a live gateway whether it does what its policy says, and report where it does not.
///
/// Every request is also decided in memory, under the same policy and at the same time; the answers must agree.
/// Accounts and tokens named verify-… are made for it, and with them the routes of the policy are called: run it
/// where that does no harm. With --upstream this command is the API behind the gateway, and sees what is carried out.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the gateway is: http://HOST:PORT, or https://
    #[arg(required_unless_present_any = ["needs", "list"])]
    url: Option<String>,
    /// Policy file; together with --preset a merge patch (RFC 7396, JSON) on the preset
    #[arg(long, value_name = "FILE", required_unless_present_any = ["preset", "list"])]
    policy: Option<PathBuf>,
    /// The preset of this name
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// How the policy file is written, if its name does not end in .toml or .json
    #[arg(long, value_enum)]
    format: Option<Format>,

    #[command(flatten)]
    provision: ProvisionArgs,
    /// File with the token of the admin API
    #[arg(long, value_name = "FILE", requires = "admin")]
    admin_token_file: Option<PathBuf>,

    /// Listen here, as the API behind the gateway, and count what is carried out
    #[arg(long, value_name = "ADDRESS:PORT")]
    upstream: Option<SocketAddr>,
    /// How to call routes: {"POST /sms/send": {"body", "headers", "params", "price", "never"}}
    #[arg(long, value_name = "FILE")]
    requests: Option<PathBuf>,
    /// The address from which the gateway sees this command [default: that of the connection]
    #[arg(long, value_name = "ADDRESS")]
    source: Option<std::net::IpAddr>,

    /// Scenario files, or a directory of them, to run as well where HTTP can carry them
    #[arg(long, value_name = "FILE|DIR")]
    vectors: Option<PathBuf>,
    /// Run only these checks; may be given more than once
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Leave these checks out; may be given more than once
    #[arg(long, value_name = "NAME")]
    skip: Vec<String>,
    /// The longest that may be waited for at once, for a limit to refill
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    wait: u64,
    /// The longest that an answer may take
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    timeout_ms: u64,
    /// The most requests in all
    #[arg(long, value_name = "NUMBER", default_value_t = 3_000)]
    max_requests: u64,
    /// The most requests in a second
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: u64,

    /// Print the accounts and tokens that the checks use, as JSON, and end
    #[arg(long)]
    needs: bool,
    /// Print the checks, and on what ground each stands, and end
    #[arg(long)]
    list: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args, out: &mut dyn Write) -> Done {
    check_names(args.only.iter().chain(&args.skip))?;
    if args.list {
        report::list(out, args.json)?;
        return Ok(Exit::Yes);
    }
    let plan = args.plan()?;
    if args.needs {
        let needs = provision::needed(&needs::needs(&plan));
        serde_json::to_writer_pretty(&mut *out, &needs)?;
        writeln!(out)?;
        return Ok(Exit::Yes);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::at("the runtime", error))?;
    runtime.block_on(verify(&args, plan, out))
}

fn check_names<'n>(names: impl Iterator<Item = &'n String>) -> Result<(), Failure> {
    for name in names {
        if catalogue::info(name).is_none() {
            return Err(Failure::new(format!("there is no check `{name}`; --list prints them")));
        }
    }
    Ok(())
}

impl Args {
    fn plan(&self) -> Result<Plan, Failure> {
        let (file, preset) = (self.policy.as_deref(), self.preset.as_deref());
        let place = policy::place(file, preset);
        let config = policy::load(file, self.format, preset)?.map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(|error| format!("\n  {error}")).collect();
            Failure::at(&place, format!("the policy has errors:{}", lines.concat()))
        })?;
        Plan::new(config, self.requests.as_deref())
    }

    fn bounds(&self) -> Bounds {
        let pause_us = 1_000_000_u64.checked_div(self.rate).unwrap_or(0);
        Bounds {
            timeout: Duration::from_millis(self.timeout_ms),
            max_requests: self.max_requests,
            pause: Duration::from_micros(pause_us),
        }
    }

    fn is_asked_for(&self, name: &str) -> bool {
        let is_in = |names: &[String]| names.iter().any(|known| known == name);
        // Nothing is known of a gateway that was not asked once.
        name == "answers-http"
            || ((self.only.is_empty() || is_in(&self.only)) && !is_in(&self.skip))
    }
}

async fn verify(args: &Args, plan: Plan, out: &mut dyn Write) -> Done {
    let bounds = args.bounds();
    let url = args.url.as_deref().unwrap_or_default();
    let client = Client::new(url, bounds)?;
    let vectors = Vectors::read(args.vectors.as_deref())?;
    let provision = args.provision.start(args.admin_token_file.as_deref(), bounds)?;
    let upstream = match args.upstream {
        Some(address) => Some(Upstream::start(address).await?),
        None => None,
    };
    let peer = match args.source {
        Some(address) => Some(address),
        None => client.own_address().await,
    };
    let peer = peer.map(|address| address.to_string());
    let reference = Reference::new(&plan, peer).map_err(|error| Failure::new(error.to_string()))?;
    // Whoever reads JSON is told too, beside it.
    let mut err = std::io::stderr();
    let told: &mut dyn Write = if args.json { &mut err } else { &mut *out };
    report::announce(told, &client, &plan, upstream.as_ref(), args.max_requests)?;
    let wait = Duration::from_secs(args.wait);
    let run = run_name()?;
    let mut session =
        Session::new(Parts { plan, client, upstream, reference, provision, run, wait });
    let shows_progress = !args.json && err.is_terminal();
    let began = |name: &str| {
        if shows_progress {
            // It is gone with the next one; where it cannot be shown it is not missed.
            let _ = write!(err, "\r\x1b[K{name} …");
        }
    };
    checks::run(&mut session, |name| args.is_asked_for(name), &vectors, began).await?;
    if shows_progress {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
    report::write(out, &session, args.json)
}

/// In the names of what this run makes.
fn run_name() -> Result<String, Failure> {
    let mut random = [0; 5];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::new(format!("the system gives no random bytes: {error}")))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
