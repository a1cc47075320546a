//! The npm package as a stranger gets it: packed, installed into an empty project, used from there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::npm::{self, Project};
use super::{copy, failed, make_directory, package};
use crate::run::{Failure, Run};

/// What the stranger's project is made of.
const FIXTURES: &str = "test/stranger";

/// Programs and configurations of the compiler among the fixtures.
const PROGRAMS: &[&str] = &["plain.mjs", "typed.js"];
const CONFIGURATIONS: &[&str] = &["tsconfig.nodenext.json", "tsconfig.bundler.json"];

/// What every package has.
const REQUIRED: &[&str] = &["package.json", "README.md", "LICENSE-APACHE", "LICENSE-MIT"];

/// Packs, looks at what is in the package, installs it, and uses it.
pub(super) fn test() -> Result<(), Failure> {
    let project = Project::at(package::PROJECT);
    let elsewhere = Elsewhere::new()?;
    let (archive, files) = pack(&project, &elsewhere)?;
    let described = fs::read_to_string(project.path("package.json"))
        .map_err(|error| failed("read", &project.path("package.json"), &error))?;
    let described: Value = serde_json::from_str(&described)
        .map_err(|error| Failure(format!("package.json is no JSON: {error}")))?;
    let faults = faults(&files, &described);
    if !faults.is_empty() {
        return Err(Failure(format!(
            "the npm package is not as it should be: {}",
            faults.join("; ")
        )));
    }
    println!("ok: the package has {} files, and what its package.json names", files.len());

    install(&project, &elsewhere, &archive)?;
    for configuration in CONFIGURATIONS {
        project
            .program("tsc")
            .args(["--project", &elsewhere.0.join(configuration).to_string_lossy()])
            .or("the package's declarations do not suit a strict project")?;
    }
    for name in PROGRAMS {
        let printed = Run::program(Path::new("node")).within(&elsewhere.0).args([*name]).shown()?;
        if printed.trim_end() != "ok" {
            return Err(Failure(format!("{name} should print \"ok\", but printed:\n{printed}")));
        }
        println!("ok: {name} of a stranger's project works");
    }
    Ok(())
}

/// A directory that has nothing to do with the workspace, and is removed at the end.
struct Elsewhere(PathBuf);

impl Elsewhere {
    fn new() -> Result<Self, Failure> {
        let name = format!("tollgate-stranger-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        make_directory(&directory)?;
        Ok(Elsewhere(directory))
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Packs the project, and gives the archive's name and the files in it.
fn pack(project: &Project, elsewhere: &Elsewhere) -> Result<(String, BTreeSet<String>), Failure> {
    let printed = npm::npm(&project.path(""))
        .args(["pack", "--ignore-scripts", "--json", "--pack-destination"])
        .args([elsewhere.0.to_string_lossy()])
        .shown()?;
    let answer: Value = serde_json::from_str(&printed)
        .map_err(|error| Failure(format!("`npm pack` gave no JSON: {error}\n{printed}")))?;
    packed(&answer)
        .ok_or_else(|| Failure(format!("`npm pack` does not say what it packed:\n{printed}")))
}

fn packed(answer: &Value) -> Option<(String, BTreeSet<String>)> {
    let package = answer.get(0)?;
    let archive = package.get("filename")?.as_str()?.to_string();
    let files = package.get("files")?.as_array()?;
    let path = |file: &Value| Some(file.get("path")?.as_str()?.to_string());
    Some((archive, files.iter().map(path).collect::<Option<_>>()?))
}

/// Makes the stranger's project. The package depends on nothing, so no registry is asked.
fn install(project: &Project, elsewhere: &Elsewhere, archive: &str) -> Result<(), Failure> {
    let fixtures = project.path(FIXTURES);
    let entries = fs::read_dir(&fixtures).map_err(|error| failed("read", &fixtures, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| failed("read", &fixtures, &error))?;
        copy(&entry.path(), &elsewhere.0.join(entry.file_name()))?;
    }
    npm::npm(&elsewhere.0)
        .args(["install", "--ignore-scripts", "--offline", &format!("./{archive}")])
        .or("a package that depends on nothing installs without a registry")
}

/// What is wrong with the files of a package, by its `package.json`.
fn faults(files: &BTreeSet<String>, described: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for required in REQUIRED {
        if !files.contains(*required) {
            faults.push(format!("{required} is missing"));
        }
    }
    if !files.iter().any(|file| file.ends_with(".wasm")) {
        faults.push("there is no .wasm".to_string());
    }
    for file in files {
        if !belongs(file) {
            faults.push(format!("{file} does not belong there: see `files` in package.json"));
        }
        let module = file.strip_suffix(".js").filter(|module| module.starts_with("dist/"));
        let declared = module.map(|module| format!("{module}.d.ts"));
        if declared.is_some_and(|types| !files.contains(&types)) {
            faults.push(format!("{file} has no declarations beside it"));
        }
    }
    let exports = described.get("exports").unwrap_or(&Value::Null);
    let named = paths(exports);
    if named.is_empty() {
        faults.push("package.json has no exports".to_string());
    }
    for path in named {
        if !files.contains(&path) {
            faults.push(format!("package.json exports {path}, which is not there"));
        }
    }
    for dependency in ["dependencies", "peerDependencies", "optionalDependencies"] {
        if described.get(dependency).is_some() {
            faults.push(format!("package.json has {dependency}: the package needs nothing else"));
        }
    }
    for script in ["preinstall", "install", "postinstall"] {
        if described.get("scripts").is_some_and(|scripts| scripts.get(script).is_some()) {
            faults.push(format!("package.json has the script {script}: installing runs nothing"));
        }
    }
    faults
}

/// Only what is needed to use it: modules, declarations, the WebAssembly.
fn belongs(file: &str) -> bool {
    let is_built = file.starts_with("dist/");
    let is_used = [".js", ".d.ts", ".wasm"].iter().any(|ending| file.ends_with(ending));
    REQUIRED.contains(&file) || (is_built && is_used)
}

/// The paths in `exports`, whatever the conditions.
fn paths(exports: &Value) -> Vec<String> {
    match exports {
        Value::String(path) => vec![path.trim_start_matches("./").to_string()],
        Value::Object(conditions) => conditions.values().flat_map(paths).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn files(more: &[&str]) -> BTreeSet<String> {
        let usual = ["dist/index.js", "dist/index.d.ts", "dist/generated/a_bg.wasm"];
        REQUIRED.iter().chain(&usual).chain(more).map(|name| (*name).to_string()).collect()
    }

    fn described() -> Value {
        json!({"exports": {".": {"types": "./dist/index.d.ts", "default": "./dist/index.js"}}})
    }

    #[test]
    fn a_package_in_order_has_no_faults() {
        assert_eq!(faults(&files(&[]), &described()), [""; 0]);
    }

    #[test]
    fn what_is_missing_is_named() {
        for name in REQUIRED.iter().chain(&["dist/generated/a_bg.wasm", "dist/index.d.ts"]) {
            let mut fewer = files(&[]);
            fewer.remove(*name);
            assert!(!faults(&fewer, &described()).is_empty(), "{name}");
        }
    }

    #[test]
    fn what_is_too_much_is_named() {
        for name in
            ["src/index.ts", "dist/index.js.map", "test/a.js", "dist/test.ts", "tsconfig.json"]
        {
            let faults = faults(&files(&[name]), &described());
            assert!(faults.iter().any(|fault| fault.starts_with(name)), "{name}: {faults:?}");
        }
        assert_eq!(faults(&files(&["dist/bare.js"]), &described()).len(), 1);
    }

    #[test]
    fn what_package_json_should_not_say_is_named() {
        assert_eq!(faults(&files(&[]), &json!({})), ["package.json has no exports"]);
        let mut more = described();
        more["dependencies"] = json!({"left-pad": "1.0.0"});
        more["scripts"] = json!({"postinstall": "node fetch.js", "build": "tsc"});
        assert_eq!(faults(&files(&[]), &more).len(), 2);
        let elsewhere =
            json!({"exports": {".": "./dist/index.js", "./x": {"node": "./dist/x.js"}}});
        assert!(faults(&files(&[]), &elsewhere)[0].contains("dist/x.js"));
    }

    #[test]
    fn the_answer_of_npm_pack_is_read() {
        let answer = json!([{"filename": "a-1.tgz", "files": [{"path": "README.md", "size": 1}]}]);
        let (archive, files) = packed(&answer).unwrap();
        assert_eq!((archive.as_str(), files.len()), ("a-1.tgz", 1));
        assert_eq!(packed(&json!([])), None);
    }
}
