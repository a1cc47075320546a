//! What criterion left on disk.

use std::path::PathBuf;

/// Medians of one group, in nanoseconds per decision.
#[derive(Debug)]
pub(crate) struct Estimates {
    pub(crate) get: Contenders,
    pub(crate) get_hot: Contenders,
    pub(crate) composed_claim: f64,
    pub(crate) tollgate_cycle: f64,
    /// The time in which each of one, and each of two, threads makes one decision.
    pub(crate) threads: [f64; 2],
    pub(crate) threads_composed: [f64; 2],
}

/// One benchmark for all three.
#[derive(Debug)]
pub(crate) struct Contenders {
    pub(crate) floor: f64,
    pub(crate) composed: f64,
    pub(crate) tollgate: f64,
}

impl Estimates {
    /// Those of a group.
    pub(crate) fn read(group: &str) -> Result<Self, String> {
        let one = |id: &str| median(group, id);
        let all = |id: &str| -> Result<Contenders, String> {
            Ok(Contenders {
                floor: one(&format!("{id}/floor"))?,
                composed: one(&format!("{id}/composed"))?,
                tollgate: one(&format!("{id}/tollgate"))?,
            })
        };
        Ok(Estimates {
            get: all("get")?,
            get_hot: all("get-hot")?,
            composed_claim: one("post/composed-claim")?,
            tollgate_cycle: one("post/tollgate-cycle")?,
            threads: [one("get-threads/1")?, one("get-threads/2")?],
            threads_composed: [one("get-threads-composed/1")?, one("get-threads-composed/2")?],
        })
    }
}

/// How much faster `threads` of 2 decide than 1 alone.
pub(crate) fn speed_up([one, two]: [f64; 2]) -> f64 {
    2.0 * one / two
}

/// Where criterion writes; `cargo xtask bench` says it to both.
fn directory() -> PathBuf {
    if let Some(home) = std::env::var_os("CRITERION_HOME") {
        return home.into();
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    PathBuf::from(target).join("criterion")
}

fn median(group: &str, id: &str) -> Result<f64, String> {
    // In names of directories criterion replaces the separator.
    let file = directory().join(group).join(id.replace('/', "_")).join("new/estimates.json");
    let unread = |error: &dyn std::fmt::Display| {
        format!("{}: {error}; run `cargo xtask bench`, which measures first", file.display())
    };
    let text = std::fs::read_to_string(&file).map_err(|error| unread(&error))?;
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|error| unread(&error))?;
    json.pointer("/median/point_estimate")
        .and_then(serde_json::Value::as_f64)
        .filter(|nanoseconds| nanoseconds.is_finite() && *nanoseconds > 0.0)
        .ok_or_else(|| unread(&"it has no positive median"))
}
