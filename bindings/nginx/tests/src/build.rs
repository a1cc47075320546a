//! The module, built once.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use tollgate_gateway_tests::{built, from_debian, newest, root, run, target};

/// Debian's packages are installed where this runs as root beside apt-get; else they must be there.
fn prepare() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        let files = ["/usr/share/nginx/src/configure", "/usr/sbin/nginx"];
        from_debian(&files, &["nginx-core", "nginx-dev"]);
    });
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
    DONE.get_or_init(|| built("tollgate-c", "libtollgate_c.a")).clone()
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
