//! A rustc that compiles for `wasm32-unknown-unknown`, with std. Only WebAssembly is built by it; everything else uses
//! the ordinary one.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::backends;
use crate::run::{Failure, Run, root};

/// The target triple.
pub(super) const TARGET: &str = "wasm32-unknown-unknown";

const ADVICE: &str = "run `rustup target add wasm32-unknown-unknown`";

/// The compiler: the ordinary one if it has the target, else one made from Debian's packages where that can be done
/// without asking. Nothing is ever downloaded by rustup from here.
pub(super) fn rustc() -> Result<PathBuf, Failure> {
    let ordinary = PathBuf::from(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    if has_target(&ordinary) {
        return Ok(ordinary);
    }
    let Some(home) = home(std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) else {
        return Err(Failure(format!("rustc cannot compile for {TARGET}: {ADVICE}")));
    };
    let made = home.join("rustc");
    if has_target(&made) {
        return Ok(made);
    }
    if !backends::may_install() {
        return Err(Failure(format!("rustc cannot compile for {TARGET}: {ADVICE}")));
    }
    make(&home)?;
    if has_target(&made) {
        return Ok(made);
    }
    Err(Failure(format!("{} was made, and still has no {TARGET}: {ADVICE}", made.display())))
}

/// Where one is kept: for all checkouts of a user, since it is large and changes with none of them.
fn home(cache: Option<OsString>, user: Option<OsString>) -> Option<PathBuf> {
    let absolute = |directory: OsString| Some(PathBuf::from(directory)).filter(|d| d.is_absolute());
    let cache = cache
        .and_then(absolute)
        .or_else(|| user.and_then(absolute).map(|user| user.join(".cache")))?;
    Some(cache.join("tollgate/wasm-toolchain"))
}

fn make(home: &Path) -> Result<(), Failure> {
    println!("\nmaking a compiler for {TARGET} from Debian's packages, once: a minute, 550 MB");
    Run::program(&root().join("xtask/wasm-toolchain"))
        .args([home.to_string_lossy()])
        .or(&format!("what went wrong is above; the ordinary way is: {ADVICE}"))
}

/// Whether this compiler runs, has std for the target, and can link for it.
fn has_target(rustc: &Path) -> bool {
    let printed =
        Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
    let Some(printed) = printed.ok().filter(|output| output.status.success()) else {
        return false;
    };
    has_std(Path::new(String::from_utf8_lossy(&printed.stdout).trim()))
}

fn has_std(libdir: &Path) -> bool {
    // With a hash in its name where rustup put it; not `libstd_detect`.
    let is_std = |name: &str| {
        name == "libstd.rlib" || (name.starts_with("libstd-") && name.ends_with(".rlib"))
    };
    let mut files = fs::read_dir(libdir).into_iter().flatten().flatten();
    files.any(|file| is_std(&file.file_name().to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_kept_in_the_cache_directory() {
        let home = |cache: &str, user: &str| home(Some(cache.into()), Some(user.into()));
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(home("/cache", "/home/u"), path("/cache/tollgate/wasm-toolchain"));
        assert_eq!(home("", "/home/u"), path("/home/u/.cache/tollgate/wasm-toolchain"));
        assert_eq!(home("cache", "/home/u"), path("/home/u/.cache/tollgate/wasm-toolchain"));
        assert_eq!(home("", ""), None);
    }

    #[test]
    fn a_compiler_without_std_for_the_target_does_not_do() {
        assert!(!has_target(Path::new("/nonexistent/rustc")));
        assert!(!has_target(Path::new("true")), "what prints nothing names no directory");
        assert!(!has_std(Path::new("/nonexistent")));
    }

    #[test]
    fn std_is_known_by_its_file() {
        let output = Command::new("rustc").args(["--print", "target-libdir"]).output().unwrap();
        let libdir = String::from_utf8(output.stdout).unwrap();
        assert!(has_std(Path::new(libdir.trim())));
    }
}
