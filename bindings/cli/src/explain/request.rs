//! The request to explain, from flags or as a `request` step.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tollgate_scenario::UniqueKeys;

use crate::exit::Failure;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Request")]
pub(crate) struct RequestArgs {
    /// File with the request as a scenario's `request` step, or `-` for standard input
    #[arg(long, value_name = "FILE|-", conflicts_with_all = [
        "method", "target", "header", "peer", "body", "cost", "sender", "invalid", "now_ms",
    ])]
    request: Option<PathBuf>,
    /// Method
    #[arg(long, default_value = "GET")]
    method: String,
    /// Path and query, as sent
    #[arg(long, required_unless_present = "request")]
    target: Option<String>,
    /// Header, as sent; may be given more than once
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// Address of the TCP peer
    #[arg(long, value_name = "ADDRESS")]
    peer: Option<String>,
    /// Body
    #[arg(long, value_name = "TEXT")]
    body: Option<String>,
    /// Price in the ledger's minor unit; the route's own if absent
    #[arg(long, value_name = "AMOUNT")]
    cost: Option<u64>,
    /// Sender that must be approved for the account
    #[arg(long)]
    sender: Option<String>,
    /// The host's validation refused the request, with this message
    #[arg(long, value_name = "MESSAGE")]
    invalid: Option<String>,
    /// Time in Unix milliseconds; now if absent
    #[arg(long, value_name = "MS")]
    now_ms: Option<u64>,
}

impl RequestArgs {
    /// The request as a step.
    pub(crate) fn step(&self) -> Result<Value, Failure> {
        match &self.request {
            Some(file) => read(file),
            None => self.step_of_flags(),
        }
    }

    fn step_of_flags(&self) -> Result<Value, Failure> {
        let headers =
            self.header.iter().map(|header| pair(header)).collect::<Result<Vec<_>, _>>()?;
        Ok(json!({
            "op": "request",
            "id": "explained",
            "now_ms": self.now_ms.map_or_else(now_ms, Ok)?,
            // Arguments are UTF-8, and steps take each byte as a code point.
            "method": tollgate_scenario::wire_text(self.method.as_bytes()),
            "target": tollgate_scenario::wire_text(
                self.target.as_deref().unwrap_or_default().as_bytes()
            ),
            "headers": headers,
            "peer": peer(self.peer.as_deref())?,
            "body": self.body,
            "cost": self.cost,
            "sender": self.sender,
            "invalid": self.invalid,
        }))
    }
}

/// Adds the header, unless the request has one of its own.
pub(crate) fn add_authorization(step: &mut Value, authorization: Option<String>) {
    let headers = step.get_mut("headers").and_then(Value::as_array_mut);
    let (Some(headers), Some(authorization)) = (headers, authorization) else { return };
    let is_own = |header: &Value| {
        let name = header.get(0).and_then(Value::as_str);
        name.is_some_and(|name| name.eq_ignore_ascii_case("authorization"))
    };
    if !headers.iter().any(is_own) {
        headers.push(json!(["Authorization", authorization]));
    }
}

fn read(file: &Path) -> Result<Value, Failure> {
    let text = if file.as_os_str() == "-" {
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(file)
    };
    let text = text.map_err(|error| Failure::at(file.display(), error))?;
    let UniqueKeys(mut step) =
        serde_json::from_str(&text).map_err(|error| Failure::at(file.display(), error))?;
    if let Value::Object(fields) = &mut step {
        fields.entry("op").or_insert_with(|| "request".into());
    }
    Ok(step)
}

fn pair(header: &str) -> Result<Value, Failure> {
    let Some((name, value)) = header.split_once(':') else {
        // Not repeated: it may be a token.
        return Err(Failure::new("--header is 'NAME: VALUE', and one has no colon"));
    };
    let wire = |text: &str| tollgate_scenario::wire_text(text.trim().as_bytes());
    Ok(json!([wire(name), wire(value)]))
}

/// A step takes what is no address for none; on a command line it is a mistake.
fn peer(text: Option<&str>) -> Result<Option<&str>, Failure> {
    match text {
        Some(text) if text.parse::<std::net::IpAddr>().is_err() => {
            Err(Failure::new(format!("--peer {text}: this is no IP address")))
        }
        other => Ok(other),
    }
}

fn now_ms() -> Result<u64, Failure> {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .ok_or_else(|| Failure::new("the system's clock is before 1970; give --now-ms"))
}
