//! The presets of the npm package are those of the library.
#![cfg(test)]

use serde_json::{Map, Value};
use tollgate::{PRESETS, PolicyConfig, preset};

const SOURCE: &str = include_str!("../../npm/src/presets.ts");

/// The table in the source, whose keys are quoted for this.
fn package() -> Map<String, Value> {
    let start = SOURCE.find("= {").unwrap().saturating_add(2);
    let end = SOURCE.rfind("};").unwrap().saturating_add(1);
    serde_json::from_str(SOURCE.get(start..end).unwrap()).unwrap()
}

#[test]
fn presets_of_the_package_are_those_of_the_library() {
    let package = package();
    let names: Vec<&str> = package.keys().map(String::as_str).collect();
    assert_eq!(names, PRESETS);
    for (name, written) in &package {
        let expected = preset(name).unwrap();
        let text = serde_json::to_string_pretty(&expected).unwrap();
        assert_eq!(
            PolicyConfig::from_json_value(written).unwrap(),
            expected,
            "write {name} in npm/src/presets.ts as:\n{text}"
        );
        // Every field is there, so that a merge patch meets what it meets in the library.
        assert_eq!(written, &serde_json::from_str::<Value>(&text).unwrap(), "{text}");
    }
}
