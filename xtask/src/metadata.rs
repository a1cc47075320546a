//! The workspace, as cargo knows it.

use serde_json::Value;

use crate::run::{Failure, Run};

/// The names of the packages that are published.
pub(crate) fn published() -> Result<Vec<String>, Failure> {
    parse(&metadata()?).ok_or_else(|| Failure("`cargo metadata` gave no list of packages".into()))
}

/// The absolute path of the directory in which cargo builds.
pub(crate) fn target_directory() -> Result<String, Failure> {
    let metadata = metadata()?;
    let path = metadata.get("target_directory").and_then(Value::as_str);
    path.map(str::to_string)
        .ok_or_else(|| Failure("`cargo metadata` named no target directory".into()))
}

fn metadata() -> Result<Value, Failure> {
    let text = Run::cargo(["metadata", "--format-version", "1", "--no-deps"]).read()?;
    serde_json::from_str(&text)
        .map_err(|error| Failure(format!("`cargo metadata` gave no JSON: {error}")))
}

fn parse(metadata: &Value) -> Option<Vec<String>> {
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

    #[test]
    fn the_target_directory_is_absolute() {
        assert!(std::path::Path::new(&target_directory().unwrap()).is_absolute());
    }
}
