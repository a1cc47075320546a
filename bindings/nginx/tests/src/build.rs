//! The module and the clock, built once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// The workspace.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").canonicalize().unwrap()
}

/// The target directory that this test was built in.
fn target() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // …/PROFILE/deps/TEST, and …/PROFILE/PROGRAM.
    let deps = test.parent().unwrap();
    let profile = if deps.ends_with("deps") { deps.parent().unwrap() } else { deps };
    profile.parent().unwrap().to_path_buf()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}\n{}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

/// Debian's packages are installed where this runs as root beside apt-get; else they must be there.
fn prepare() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        let there = Path::new("/usr/share/nginx/src/configure").exists()
            && Path::new("/usr/sbin/nginx").exists();
        if there {
            return;
        }
        let root = rustix::process::geteuid().is_root() && Path::new("/usr/bin/apt-get").exists();
        assert!(root, "nginx and its headers are missing: apt-get install nginx-core nginx-dev");
        // No service of the package's is started.
        let policy = Path::new("/usr/sbin/policy-rc.d");
        let ours = !policy.exists();
        if ours {
            fs::write(policy, "#!/bin/sh\nexit 101\n").unwrap();
            run(Command::new("chmod").arg("755").arg(policy));
        }
        let apt = |arguments: &[&str]| {
            run(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"));
        };
        apt(&["update"]);
        apt(&["install", "-y", "--no-install-recommends", "nginx-core", "nginx-dev"]);
        if ours {
            let _ = fs::remove_file(policy);
        }
    });
}

fn newest(paths: impl IntoIterator<Item = PathBuf>) -> SystemTime {
    let changed = |path: PathBuf| fs::metadata(&path).unwrap().modified().unwrap();
    paths.into_iter().map(changed).max().unwrap()
}

fn sources() -> Vec<PathBuf> {
    let module = root().join("bindings/nginx");
    let mut sources: Vec<PathBuf> =
        fs::read_dir(module.join("src")).unwrap().map(|entry| entry.unwrap().path()).collect();
    sources.extend([module.join("config"), module.join("module.map"), module.join("build")]);
    sources.push(root().join("include/tollgate.h"));
    sources
}

/// The static library, in the release profile that users build.
fn library() -> PathBuf {
    static DONE: OnceLock<PathBuf> = OnceLock::new();
    DONE.get_or_init(|| {
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--release", "-p", "tollgate-c"]).current_dir(root());
        // What cargo tells this test about its package would make some build scripts run anew.
        for (name, _) in std::env::vars_os() {
            let told = name.to_string_lossy();
            if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
                .iter()
                .any(|set| told.starts_with(set))
            {
                cargo.env_remove(&name);
            }
        }
        run(cargo.env("CARGO_TARGET_DIR", target()));
        target().join("release/libtollgate_c.a")
    })
    .clone()
}

/// The shared library of the same build.
#[must_use]
pub fn shared_library() -> PathBuf {
    library().with_extension("so")
}

/// The module as users build it.
#[must_use]
pub fn module() -> PathBuf {
    static DONE: OnceLock<PathBuf> = OnceLock::new();
    DONE.get_or_init(|| module_built_with("plain", "", "")).clone()
}

/// The module with more flags for compiler and linker, in a directory of this name.
#[must_use]
pub fn module_built_with(name: &str, cflags: &str, ldflags: &str) -> PathBuf {
    prepare();
    let library = library();
    let out = target().join("nginx").join(name);
    let built = out.join("ngx_http_tollgate_module.so");
    let mut parts = sources();
    parts.push(library.clone());
    if built.exists() && newest([built.clone()]) > newest(parts) {
        return built;
    }
    run(Command::new("bash")
        .arg(root().join("bindings/nginx/build"))
        .arg(&out)
        .env("TOLLGATE_LIB", &library)
        .env("CARGO_TARGET_DIR", target())
        .env("CFLAGS", cflags)
        .env("LDFLAGS", ldflags));
    built
}

/// The clock to preload.
#[must_use]
pub fn clock_shim() -> PathBuf {
    static DONE: OnceLock<PathBuf> = OnceLock::new();
    DONE.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("clock.c");
        let out = target().join("nginx");
        fs::create_dir_all(&out).unwrap();
        let shim = out.join(format!("clock-{}.so", std::process::id()));
        run(Command::new("cc")
            .args(["-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-o"])
            .arg(&shim)
            .arg(source)
            .arg("-ldl"));
        // Tests of several processes may come here at once: the last whole one stays.
        let place = out.join("clock.so");
        fs::rename(&shim, &place).unwrap();
        place
    })
    .clone()
}
