//! The presets of the npm package are those of the library.

use serde_json::{Map, Value};
use tollgate::{PRESETS, PolicyConfig, preset};

const SOURCE: &str = include_str!("../npm/src/presets.ts");

/// The table in the source, whose keys are quoted for this.
fn package() -> Map<String, Value> {
    let start = SOURCE.find("= {").expect("the table begins") + 2;
    let end = SOURCE.rfind("};").expect("the table ends") + 1;
    serde_json::from_str(&SOURCE[start..end]).expect("the table is JSON")
}

#[test]
fn presets_of_the_package_are_those_of_the_library() {
    let package = package();
    let names: Vec<&str> = package.keys().map(String::as_str).collect();
    assert_eq!(names, PRESETS);
    for (name, written) in &package {
        let expected = preset(name).expect("a preset");
        let text = serde_json::to_string_pretty(&expected).expect("JSON");
        assert_eq!(
            PolicyConfig::from_json_value(written).expect("a policy"),
            expected,
            "write {name} in npm/src/presets.ts as:\n{text}"
        );
        // Every field is there, so that a merge patch meets what it meets in the library.
        assert_eq!(written, &serde_json::from_str::<Value>(&text).expect("JSON"), "{text}");
    }
}
