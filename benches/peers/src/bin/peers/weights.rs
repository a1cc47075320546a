//! Allocations and bytes, which the program `footprint` beside this one counts.

use std::error::Error;
use std::process::{Command, Stdio};

use tollgate_peers::report::Weight;

/// Those of everyone.
pub(crate) fn all(quick: bool) -> Result<Vec<Weight>, Box<dyn Error>> {
    let program = std::env::current_exe()?.with_file_name("footprint");
    eprintln!("counting allocations");
    let output = Command::new(&program)
        .args(quick.then_some("--quick"))
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{} does not run: {error}; build it too", program.display()))?;
    if !output.status.success() {
        return Err(format!("{} failed ({})", program.display(), output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}
