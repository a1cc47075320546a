//! The packages of the workspace, as cargo knows them.

use serde_json::Value;

use crate::run::{Failure, Run};

/// The names of the packages that are published.
pub(crate) fn published() -> Result<Vec<String>, Failure> {
    let text = Run::cargo(["metadata", "--format-version", "1", "--no-deps"]).read()?;
    parse(&text).ok_or_else(|| Failure("`cargo metadata` gave no list of packages".into()))
}

fn parse(text: &str) -> Option<Vec<String>> {
    let metadata: Value = serde_json::from_str(text).ok()?;
    let packages = metadata.get("packages")?.as_array()?;
    // `publish = false` is an empty list of registries; without the line it is null.
    let published = packages.iter().filter(|package| {
        package.get("publish").and_then(Value::as_array).is_none_or(|list| !list.is_empty())
    });
    let name = |package: &Value| Some(package.get("name")?.as_str()?.to_string());
    Some(published.filter_map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_is_published_and_xtask_is_not() {
        let published = published().unwrap();
        assert!(published.contains(&"tollgate".to_string()));
        assert!(!published.contains(&"xtask".to_string()));
    }
}
