//! `cargo xtask install`: the C library as other builds find it, in the layout of cargo-c.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::metadata;
use crate::run::{Failure, Run, root};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where the library goes. The paths are those at which it will be used; `DESTDIR` comes before them when files are written.
#[derive(Debug)]
pub(crate) struct Places {
    prefix: String,
    libdir: String,
    destination: PathBuf,
}

impl Places {
    /// From the command line. A `libdir` without a leading slash is below the prefix.
    pub(crate) fn parse(args: &[&str]) -> Result<Self, String> {
        let (mut prefix, mut libdir) = (None, "lib");
        let mut pairs = args.chunks_exact(2);
        for pair in &mut pairs {
            match pair {
                ["--prefix", value] => prefix = Some((*value).to_string()),
                ["--libdir", value] => libdir = value,
                _ => return Err(format!("`install` takes no {:?}", pair.first())),
            }
        }
        if let [rest] = pairs.remainder() {
            return Err(format!("{rest:?} needs a value"));
        }
        let Some(prefix) = prefix.filter(|prefix| Path::new(prefix).is_absolute()) else {
            return Err("`install` needs `--prefix` with an absolute directory".to_string());
        };
        let destination = std::env::var_os("DESTDIR").unwrap_or_default().into();
        let libdir = join(&prefix, libdir);
        Ok(Places { prefix, libdir, destination })
    }

    /// A prefix of its own, whatever the environment says.
    pub(crate) fn at(prefix: &Path) -> Self {
        let prefix = prefix.to_string_lossy().into_owned();
        let libdir = join(&prefix, "lib");
        Places { prefix, libdir, destination: PathBuf::new() }
    }

    /// Where a path is written now.
    fn staged(&self, path: &str) -> PathBuf {
        if self.destination.as_os_str().is_empty() {
            return PathBuf::from(path);
        }
        self.destination.join(path.trim_start_matches('/'))
    }
}

fn join(prefix: &str, path: &str) -> String {
    Path::new(prefix).join(path).to_string_lossy().into_owned()
}

/// Builds the library in release and installs it.
pub(crate) fn install(places: &Places) -> Result<(), Failure> {
    let system_libraries = build()?;
    let built = PathBuf::from(metadata::target_directory()?).join("release");
    let include = places.staged(&join(&places.prefix, "include/tollgate"));
    let lib = places.staged(&places.libdir);
    for directory in [&include, &lib.join("pkgconfig")] {
        fs::create_dir_all(directory).map_err(|error| failed("made", directory, &error))?;
    }

    for name in ["tollgate.h", "tollgate.hpp"] {
        copy(&root().join("include").join(name), &include.join(name), 0o644)?;
    }
    let shared = format!("libtollgate.so.{VERSION}");
    copy(&built.join("libtollgate_c.so"), &lib.join(&shared), 0o755)?;
    link(&lib, &format!("libtollgate.so.{}", compatible(VERSION)), &shared)?;
    link(&lib, "libtollgate.so", &format!("libtollgate.so.{}", compatible(VERSION)))?;
    static_library(&built, &lib.join("libtollgate.a"))?;
    let description = lib.join("pkgconfig/tollgate.pc");
    fs::write(&description, pkg_config(places, &system_libraries))
        .map_err(|error| failed("written", &description, &error))?;
    println!("ok: tollgate {VERSION} is in {} and {}", lib.display(), include.display());
    Ok(())
}

/// Builds shared and static library, and gives what a program that links the static one must link besides.
fn build() -> Result<String, Failure> {
    let (ok, printed) =
        Run::cargo(["rustc", "--release", "--package", "tollgate-c", "--lib", "--color=never"])
            .args(["--", "--print", "native-static-libs"])
            .output()?;
    if !ok {
        return Err(Failure(format!("the C library does not build:\n{printed}")));
    }
    let line = printed.lines().find_map(|line| line.split_once("native-static-libs: "));
    line.map(|(_, libraries)| libraries.trim().to_string()).ok_or_else(|| {
        Failure(format!("rustc did not say what the static library needs:\n{printed}"))
    })
}

/// One object in which only the header's functions can be seen: what is inside (Rust's runtime, LMDB, ring) cannot
/// collide with what a host brings. Sections stay apart, so that `--gc-sections` still drops what a program does not use.
fn static_library(built: &Path, to: &Path) -> Result<(), Failure> {
    const ADVICE: &str =
        "binutils must be installed (Debian and Ubuntu: `apt-get install binutils`)";
    let work = built.join("libtollgate");
    fs::create_dir_all(&work).map_err(|error| failed("made", &work, &error))?;
    let [list, whole, ours, archive, from] =
        ["functions", "whole.o", "tollgate.o", "libtollgate.a", "../libtollgate_c.a"]
            .map(|name| work.join(name).to_string_lossy().into_owned());
    let functions = functions()?;
    fs::write(&list, functions.join("\n"))
        .map_err(|error| failed("written", Path::new(&list), &error))?;
    // Groups are made ordinary sections: one whose name is no longer global could not be merged with another's.
    let link =
        Run::program(Path::new("ld")).args(["-r", "--gc-sections", "--force-group-allocation"]);
    let roots = functions.iter().map(|function| format!("--undefined={function}"));
    link.args(roots).args(["-o", &whole, &from]).or(ADVICE)?;
    // Bitcode of the standard library is of no use to C compilers, and would mislead their plugins.
    Run::program(Path::new("objcopy"))
        .args(["--remove-section=.llvmbc", "--remove-section=.llvmcmd", "--strip-unneeded"])
        .args([&format!("--keep-global-symbols={list}"), &whole, &ours])
        .or(ADVICE)?;
    // `ar` would add to an archive that is there.
    let _ = fs::remove_file(&archive);
    Run::program(Path::new("ar")).args(["rcsD", &archive, &ours]).or(ADVICE)?;
    copy(Path::new(&archive), to, 0o644)
}

/// The functions of the header, sorted.
pub(crate) fn functions() -> Result<Vec<String>, Failure> {
    let header = root().join("include/tollgate.h");
    let text = fs::read_to_string(&header).map_err(|error| failed("read", &header, &error))?;
    Ok(functions_of(&text))
}

fn functions_of(header: &str) -> Vec<String> {
    let mut names: Vec<String> = header
        .lines()
        .filter(|line| !line.starts_with(['/', ' ', '#']) && !line.starts_with("typedef"))
        .filter_map(|line| line.split_once('('))
        .filter_map(|(before, _)| before.rsplit([' ', '*']).next())
        .filter(|name| name.starts_with("tollgate_"))
        .map(str::to_string)
        .collect();
    names.sort_unstable();
    names
}

/// What the soname ends with: versions that a program can work with. `bindings/c/build.rs` has the same rule.
pub(crate) fn compatible(version: &str) -> String {
    let mut numbers = version.split('.');
    match (numbers.next(), numbers.next()) {
        (Some("0"), Some(minor)) => format!("0.{minor}"),
        (major, _) => major.unwrap_or_default().to_string(),
    }
}

fn pkg_config(places: &Places, system_libraries: &str) -> String {
    let Places { prefix, libdir, .. } = places;
    // What is below the prefix is said so, and moves with it.
    let libdir = match Path::new(libdir).strip_prefix(prefix) {
        Ok(below) => format!("${{prefix}}/{}", below.display()),
        Err(_) => libdir.clone(),
    };
    format!(
        "prefix={prefix}
libdir={libdir}
includedir=${{prefix}}/include

Name: tollgate
Description: Policy engine for paid HTTP APIs
URL: {}
Version: {VERSION}
Libs: -L${{libdir}} -ltollgate
Libs.private: {system_libraries}
Cflags: -I${{includedir}}/tollgate
",
        env!("CARGO_PKG_REPOSITORY")
    )
}

/// Replaces a file, also one that a running program has mapped: that one keeps the old.
fn copy(from: &Path, to: &Path, mode: u32) -> Result<(), Failure> {
    let copied = remove(to)
        .and_then(|()| fs::copy(from, to))
        .and_then(|_| fs::set_permissions(to, fs::Permissions::from_mode(mode)));
    copied.map_err(|error| failed("installed", to, &error))
}

fn link(directory: &Path, name: &str, to: &str) -> Result<(), Failure> {
    let path = directory.join(name);
    remove(&path).and_then(|()| symlink(to, &path)).map_err(|error| failed("made", &path, &error))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure(format!("{} could not be {what}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soname_changes_with_what_is_compatible() {
        assert_eq!(compatible("0.1.0"), "0.1");
        assert_eq!(compatible("1.2.3"), "1");
    }

    #[test]
    fn functions_are_told_from_what_else_the_header_has() {
        let header = "// tollgate_a(b)\ntypedef void (*tollgate_fn)(void);\n  tollgate_c(d)\n#define \
                      tollgate_e(f)\nconst char *tollgate_g(void);\ntollgate_h_t tollgate_i(struct x *y,\n";
        assert_eq!(functions_of(header), ["tollgate_g", "tollgate_i"]);
    }

    #[test]
    fn arguments_are_read() {
        let places = Places::parse(&["--prefix", "/usr", "--libdir", "lib/arm"]).unwrap();
        assert_eq!(places.libdir, "/usr/lib/arm");
        let staged = Places { destination: "/tmp/x".into(), ..places };
        assert_eq!(staged.staged("/usr/lib"), Path::new("/tmp/x/usr/lib"));
        assert!(pkg_config(&staged, "-lc").contains("libdir=${prefix}/lib/arm\n"));
        assert!(Places::parse(&[]).unwrap_err().contains("--prefix"));
        assert!(Places::parse(&["--prefix", "usr"]).unwrap_err().contains("absolute"));
        assert!(Places::parse(&["--prefix"]).unwrap_err().contains("needs a value"));
        assert!(Places::parse(&["--root", "/usr"]).unwrap_err().contains("--root"));
    }
}
