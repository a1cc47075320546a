//! `cargo xtask wasm`: the npm package, from its Rust to its `dist`.

use std::fs;
use std::path::{Path, PathBuf};

use super::npm::Project;
use super::toolchain::Toolchain;
use super::{copy, failed, make_directory, remove_directory, size, toolchain, work};
use crate::run::{Failure, Run, root};

/// The npm project, in the workspace.
pub(super) const PROJECT: &str = "bindings/wasm/npm";

const CRATE: &str = "tollgate-wasm";
const PROFILE: &str = "wasm";
const MODULE: &str = "tollgate_wasm.wasm";
const BOUND_MODULE: &str = "tollgate_wasm_bg.wasm";

/// What goes from wasm-bindgen into the package: the module itself comes from wasm-opt.
const GLUE: &[&str] = &["tollgate_wasm.js", "tollgate_wasm.d.ts"];

/// How wasm-opt is run. The features are those that rustc uses for this target by default: every Node since 20, workerd and
/// every browser of the last years have them. None that the compiler did not use is let in.
const OPTIMISE: &[&str] = &[
    "--enable-bulk-memory",
    "--enable-bulk-memory-opt",
    "--enable-call-indirect-overlong",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
    "--strip-target-features",
];

const LICENSES: &[&str] = &["LICENSE-APACHE", "LICENSE-MIT"];

/// A build of the module.
struct Build {
    /// Its directory in `generated` and in `dist`.
    name: &'static str,
    features: &'static str,
    /// rustc's, and wasm-opt's.
    opt_level: &'static str,
    optimise: &'static [&'static str],
}

/// Functions with one caller stay apart: it makes the module larger, and what is compressed of it a twentieth smaller.
const SMALL: &[&str] = &["-Oz", "--one-caller-inline-max-function-size=20", "--converge"];

/// The first is small, for browsers; the second is quick, for servers.
const BUILDS: [Build; 2] = [
    Build { name: "engine", features: "small", opt_level: "z", optimise: SMALL },
    Build { name: "objects", features: "objects", opt_level: "3", optimise: &["-O3"] },
];

/// Builds it. What can be taken from an earlier run without a doubt is: everything else is made anew.
pub(crate) fn build() -> Result<(), Failure> {
    let project = Project::at(PROJECT);
    project.install()?;
    let toolchain = toolchain::find()?;
    let generated = project.path("generated");
    remove_directory(&generated)?;
    for build in &BUILDS {
        let bound = bind(&compile(&toolchain, build)?, build)?;
        let optimised = optimise(&project, &bound, build)?;
        let directory = generated.join(build.name);
        make_directory(&directory)?;
        for name in GLUE {
            copy(&bound.join(name), &directory.join(name))?;
        }
        copy(&optimised, &directory.join(BOUND_MODULE))?;
    }
    for name in LICENSES {
        copy(&root().join(name), &project.path(name))?;
    }
    project.run("build")?;
    for build in &BUILDS {
        size::check(build.name, &generated.join(build.name).join(BOUND_MODULE), &toolchain)?;
    }
    println!("ok: the npm package is built in {PROJECT}");
    Ok(())
}

/// Compiles the crate, and gives the module.
fn compile(toolchain: &Toolchain, build: &Build) -> Result<PathBuf, Failure> {
    // A directory of its own: cargo throws away what another rustc has made.
    let target = work()?.join(build.name);
    let mut cargo = Run::cargo(["build", "--package", CRATE, "--lib", "--profile", PROFILE]);
    if toolchain.has_small_std {
        cargo = cargo.quiet_env("RUSTC_BOOTSTRAP", "1");
    }
    cargo
        .args(["--features", build.features])
        .env("CARGO_PROFILE_WASM_OPT_LEVEL", build.opt_level)
        .args(["--target", toolchain::TARGET, "--target-dir", &target.to_string_lossy()])
        .env("RUSTC", &toolchain.rustc.to_string_lossy())
        .quiet_env("CARGO_ENCODED_RUSTFLAGS", &flags(toolchain)?)
        .or("the crate does not build for WebAssembly; see above")?;
    Ok(target.join(toolchain::TARGET).join(PROFILE).join(MODULE))
}

/// Paths of this machine are in no message of what is published, and the same sources give the same bytes elsewhere.
fn flags(toolchain: &Toolchain) -> Result<String, Failure> {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"));
    let registry = std::env::var_os("CARGO_HOME").map(PathBuf::from).or(home);
    let mut flags = vec![format!("--remap-path-prefix={}=/tollgate", root().display())];
    if let Some(registry) = registry {
        flags.push(format!("--remap-path-prefix={}=/cargo", registry.display()));
    }
    if toolchain.has_small_std {
        // As its std was made. The compiler is a stable one, in which this has no stable name yet.
        flags.extend(["-Zunstable-options", "-Cpanic=immediate-abort"].map(String::from));
    }
    Ok(flags.join("\u{1f}"))
}

/// Makes glue and declarations, and gives the directory in which they are.
fn bind(module: &Path, build: &Build) -> Result<PathBuf, Failure> {
    let bound = work()?.join("bound").join(build.name);
    remove_directory(&bound)?;
    Run::cargo(["run", "--quiet", "--package", "xtask-wasm", "--"])
        .args([module.to_string_lossy(), bound.to_string_lossy()])
        .or("no bindings can be made of the module; see above")?;
    Ok(bound)
}

/// Runs wasm-opt, and gives the module that it wrote. It takes seconds and only depends on its input, its arguments and its
/// own version, which are kept beside what it wrote.
fn optimise(project: &Project, bound: &Path, build: &Build) -> Result<PathBuf, Failure> {
    let input = bound.join(BOUND_MODULE);
    let read = |path: &Path| fs::read(path).map_err(|error| failed("read", path, &error));
    let lock = project.path("package-lock.json");
    let arguments = [build.optimise, OPTIMISE].concat().join(" ");
    let wanted = [arguments.as_bytes(), &read(&lock)?, &read(&input)?].concat();

    let directory = work()?.join("optimised").join(build.name);
    let (made_from, output) = (directory.join("made-from"), directory.join(BOUND_MODULE));
    if output.exists() && fs::read(&made_from).is_ok_and(|known| known == wanted) {
        println!("\nwasm-opt: its input is what it was");
        return Ok(output);
    }
    remove_directory(&directory)?;
    make_directory(&directory)?;
    project
        .program("wasm-opt")
        .args(build.optimise.iter().copied())
        .args(OPTIMISE.iter().copied())
        .args([input.to_string_lossy().as_ref(), "-o", &output.to_string_lossy()])
        .or("wasm-opt refuses the module; if it names a feature, add it in xtask/src/wasm/package.rs")?;
    fs::write(&made_from, wanted).map_err(|error| failed("written", &made_from, &error))?;
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_of_this_machine_is_compiled_in() {
        let toolchain = Toolchain { rustc: "rustc".into(), has_small_std: true };
        let flags = flags(&toolchain).unwrap();
        let remapped = format!("--remap-path-prefix={}=", root().display());
        assert!(flags.split('\u{1f}').any(|flag| flag.starts_with(&remapped)), "{flags}");
        assert!(flags.contains("=/cargo"), "{flags}");
    }
}
