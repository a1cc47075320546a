//! OpenAPI documents before the validator of the specification's own schema, which is in Python.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::fs::{FlockOperation, flock};
use tollgate_gateway_tests::{is_root, run, target};

/// What is installed from PyPI.
const PACKAGE: &str = "openapi-spec-validator==0.7.1";

/// Each file of a directory; also every example beside the schema of its place.
const SCRIPT: &str = r#"
import json, pathlib, sys
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

count = 0
for file in sorted(pathlib.Path(sys.argv[1]).glob("*.json")):
    document = json.loads(file.read_text())
    errors = [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()]
    if errors:
        sys.exit(f"{file}: {errors}")
    for path, item in document["paths"].items():
        for operation in item.values():
            for status, response in operation["responses"].items():
                for content in response.get("content", {}).values():
                    schema = {**content["schema"], "components": document["components"]}
                    for name, example in content["examples"].items():
                        Draft202012Validator(schema).validate(example["value"])
                        assert example["value"]["code"] == name
                        count += 1
    for name, header in document["components"]["headers"].items():
        Draft202012Validator(header["schema"]).validate(header["example"])
print(count)
"#;

/// Validates every .json file of a directory; gives how many examples they have.
pub(super) fn validate(directory: &Path) -> u64 {
    let output = Command::new(python()).args(["-c", SCRIPT]).arg(directory).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

fn python() -> &'static Path {
    static DONE: OnceLock<PathBuf> = OnceLock::new();
    DONE.get_or_init(installed)
}

fn installed() -> PathBuf {
    let place = target().join("openapi-validator");
    fs::create_dir_all(&place).unwrap();
    // Tests of several processes may come here at once: one installs, and the others wait for it.
    let lock = File::create(place.join("lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let (environment, done) = (place.join("venv"), place.join(PACKAGE));
    let python = environment.join("bin/python");
    if !done.exists() {
        make_environment(&environment);
        let arguments = ["-m", "pip", "install", "--disable-pip-version-check", PACKAGE];
        run(Command::new(&python).args(arguments));
        fs::write(&done, "").unwrap();
    }
    python
}

/// Debian keeps a part of `venv` in a package of its own.
fn make_environment(place: &Path) {
    let make = || {
        let mut python = Command::new("python3");
        let made = python.args(["-m", "venv", "--clear"]).arg(place).output();
        made.is_ok_and(|output| output.status.success())
    };
    if make() {
        return;
    }
    let can = is_root() && Path::new("/usr/bin/apt-get").exists();
    assert!(can, "python3 with venv and pip is missing: apt-get install python3-venv");
    for arguments in
        [&["update"][..], &["install", "-y", "--no-install-recommends", "python3-venv"]]
    {
        run(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"));
    }
    assert!(make(), "python3 -m venv fails: {}", place.display());
}
