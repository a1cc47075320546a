//! The C library as its users get it: installed, found by pkg-config, linked by C and C++ compilers, and run under
//! memory checkers.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::install::{self, Places};
use crate::metadata;
use crate::run::{Failure, Run, root};

const WARNINGS: &str = "-O1 -g -Wall -Wextra -Werror -pedantic";
const SANITIZERS: &str = "-fsanitize=address,undefined -fno-sanitize-recover=all";
const PROGRAMS: &[&str] = &["gateway", "steps", "gateway-cpp"];

/// How the examples are built: compilers, standards, and whether the library is linked in.
struct Build {
    c: &'static str,
    cpp: &'static str,
    standards: [&'static str; 2],
    is_static: bool,
}

const fn build(c: &'static str, standards: [&'static str; 2], is_static: bool) -> Build {
    let cpp = if matches!(c.as_bytes(), b"gcc") { "g++" } else { "clang++" };
    Build { c, cpp, standards, is_static }
}

const BUILDS: &[Build] = &[
    build("gcc", ["-std=c99", "-std=c++17"], false),
    build("gcc", ["-std=c11", "-std=c++20"], true),
    build("clang", ["-std=c11", "-std=c++17"], false),
    build("clang", ["-std=c99", "-std=c++20"], true),
];

/// Installs the library into a directory of its own, and has it used from there.
pub(crate) fn test() -> Result<(), Failure> {
    let work = Work::new()?;
    install::install(&Places::at(&work.path("prefix")))?;
    exports(&work)?;
    dead_code(&work)?;
    for build in BUILDS {
        examples(&work, build, WARNINGS)?;
    }
    for build in BUILDS.iter().filter(|build| !build.is_static) {
        sanitized(&work, build)?;
    }
    valgrind(&work)
}

/// A directory in the target directory, removed at the end.
struct Work(PathBuf);

impl Work {
    fn new() -> Result<Self, Failure> {
        let work = Work(PathBuf::from(metadata::target_directory()?).join("installed"));
        let _ = fs::remove_dir_all(&work.0);
        work.directory("prefix")?;
        Ok(work)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    /// An empty directory.
    fn directory(&self, name: &str) -> Result<String, Failure> {
        let path = self.path(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path)
            .map_err(|error| Failure(format!("{} could not be made: {error}", path.display())))?;
        Ok(self.text(name))
    }

    /// A program that finds the installed library by pkg-config.
    fn run(&self, program: &str) -> Run {
        Run::program(Path::new(program)).env("PKG_CONFIG_PATH", &self.text("prefix/lib/pkgconfig"))
    }

    fn pkg_config(&self, question: &[&str]) -> Result<Vec<String>, Failure> {
        let answer = self.run("pkg-config").args(question).args(["tollgate"]).read()?;
        Ok(answer.split_whitespace().map(str::to_string).collect())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Both libraries give the header's functions and nothing else.
fn exports(work: &Work) -> Result<(), Failure> {
    let expected: BTreeSet<String> = install::functions()?.into_iter().collect();
    for (library, symbols) in [("libtollgate.so", "--dynamic"), ("libtollgate.a", "--extern-only")]
    {
        let path = work.text(&format!("prefix/lib/{library}"));
        let listed =
            Run::program(Path::new("nm")).args(["--defined-only", symbols, &path]).read()?;
        let given: BTreeSet<String> = listed
            .lines()
            .filter_map(|line| line.split_once(" T "))
            .map(|(_, name)| name.to_string())
            .collect();
        let others =
            listed.lines().filter(|line| !line.contains(" T ") && line.contains(' ')).count();
        if given != expected || others > 0 {
            let odd: Vec<_> = given.symmetric_difference(&expected).collect();
            return Err(Failure(format!(
                "{library} does not give just the header's functions: {odd:?} differ, and {others} \
                 symbols are no functions"
            )));
        }
        println!(
            "ok: {library} gives the {} functions of the header and nothing else",
            given.len()
        );
    }
    let dynamic = work.text("prefix/lib/libtollgate.so");
    let soname = format!("[libtollgate.so.{}]", install::compatible(env!("CARGO_PKG_VERSION")));
    let header = Run::program(Path::new("readelf")).args(["--dynamic", &dynamic]).read()?;
    if !header.contains(&soname) {
        return Err(Failure(format!("libtollgate.so has not the soname {soname}")));
    }
    println!("ok: its soname is {soname}");
    Ok(())
}

/// A program that uses little of the static library gets little of it.
fn dead_code(work: &Work) -> Result<(), Failure> {
    const MOST_BYTES: u64 = 200_000;
    let source = work.path("little.c");
    let text = "#include <tollgate.h>\nint main(void) { return tollgate_version()[0] == 0; }\n";
    let program = work.text("little");
    fs::write(&source, text).map_err(|error| Failure(format!("no source was written: {error}")))?;
    let libraries = work.pkg_config(&["--static", "--libs"])?;
    work.run("gcc")
        .args(work.pkg_config(&["--cflags"])?)
        .args([&work.text("little.c"), &work.text("prefix/lib/libtollgate.a")])
        .args(libraries.iter().filter(|one| *one != "-ltollgate"))
        .args(["-Wl,--gc-sections", "-s", "-o", &program])
        .or("the static library does not link")?;
    let bytes = fs::metadata(&program).map_or(u64::MAX, |data| data.len());
    if bytes > MOST_BYTES {
        return Err(Failure(format!(
            "a program that asks for the version has {bytes} bytes: what it does not use is not dropped"
        )));
    }
    println!("ok: a static program that asks for the version has {bytes} bytes");
    Ok(())
}

/// Builds the examples by their own Makefile and compares what they print.
fn examples(work: &Work, build: &Build, flags: &str) -> Result<(), Failure> {
    let directory = work.directory("examples")?;
    let makefile = root().join("bindings/c/examples/Makefile");
    let [c, cpp] = build.standards;
    work.run("make")
        .args(["--silent", "-C", &directory, "-f", &makefile.to_string_lossy()])
        .args([format!("CC={}", build.c), format!("CXX={}", build.cpp)])
        .args([format!("CFLAGS={flags}"), format!("CXXFLAGS={flags}")])
        .args([
            format!("CSTD={c}"),
            format!("CXXSTD={cpp}"),
            format!("STATIC={}", u8::from(build.is_static)),
        ])
        .or("an example does not compile without warnings, or does not link")?;
    for program in PROGRAMS {
        prints_what_is_written(program, Run::program(&work.path(&format!("examples/{program}"))))?;
    }
    Ok(())
}

fn prints_what_is_written(program: &str, run: Run) -> Result<(), Failure> {
    let expected = root().join(format!("bindings/c/examples/{program}.out"));
    let expected = fs::read_to_string(&expected)
        .map_err(|error| Failure(format!("{} could not be read: {error}", expected.display())))?;
    let printed = run.shown()?;
    if printed != expected {
        return Err(Failure(format!(
            "{program} does not print what stands in bindings/c/examples/{program}.out, but:\n{printed}"
        )));
    }
    println!("ok: {program} prints what is written");
    Ok(())
}

/// Compiles a source of the tests against the shared library.
fn compile(work: &Work, compiler: &str, source: &str, flags: &str) -> Result<PathBuf, Failure> {
    let path = root().join("bindings/c/tests/installed").join(source);
    let standard = if source.ends_with(".cpp") { "-std=c++17" } else { "-std=c11" };
    let program = work.text(&format!("{source}.program"));
    work.run(compiler)
        .args([standard, "-D_POSIX_C_SOURCE=200809L"])
        .args(flags.split(' '))
        .args(work.pkg_config(&["--cflags"])?)
        .args([&*path.to_string_lossy(), "-o", &program])
        .args(work.pkg_config(&["--libs"])?)
        .args(["-pthread", &format!("-Wl,-rpath,{}", work.text("prefix/lib"))])
        .or("a test program does not compile without warnings")?;
    Ok(PathBuf::from(program))
}

/// Everything under AddressSanitizer, with its look for leaks, and UndefinedBehaviorSanitizer.
fn sanitized(work: &Work, build: &Build) -> Result<(), Failure> {
    const ADVICE: &str = "the sanitizer's report is above";
    let flags = format!("{WARNINGS} {SANITIZERS}");
    examples(work, build, &flags)?;
    let leaks = |run: Run| run.env("ASAN_OPTIONS", "detect_leaks=1");
    for (compiler, source) in [(build.c, "abi.c"), (build.cpp, "wrapper.cpp")] {
        let program = compile(work, compiler, source, &flags)?;
        leaks(Run::program(&program)).args([work.directory("state")?]).or(ADVICE)?;
    }
    leaks(Run::program(&compile(work, build.c, "threads.c", &flags)?)).or(ADVICE)
}

/// Everything under memcheck: it sees the library's own code too, which has no instrumentation.
fn valgrind(work: &Work) -> Result<(), Failure> {
    let suppressions = root().join("bindings/c/tests/installed/valgrind.supp");
    let memcheck = || {
        let leaks = "--errors-for-leak-kinds=definite,indirect,possible";
        Run::program(Path::new("valgrind"))
            .args(["--quiet", "--error-exitcode=9", "--leak-check=full", leaks])
            .args([format!("--suppressions={}", suppressions.display())])
    };
    examples(work, &build("gcc", ["-std=c11", "-std=c++17"], false), WARNINGS)?;
    for program in PROGRAMS {
        let path = work.text(&format!("examples/{program}"));
        prints_what_is_written(program, memcheck().args([path]))?;
    }
    const ADVICE: &str = "valgrind's report is above";
    let abi = compile(work, "gcc", "abi.c", WARNINGS)?;
    memcheck().args([abi.to_string_lossy()]).args([work.directory("state")?]).or(ADVICE)?;
    let threads = compile(work, "gcc", "threads.c", WARNINGS)?;
    memcheck().args([threads.to_string_lossy()]).or(ADVICE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;

    #[test]
    fn every_function_of_the_header_is_called_from_c_and_from_cpp() {
        let functions = install::functions().unwrap();
        for source in ["bindings/c/tests/installed/abi.c", "include/tollgate.hpp"] {
            let text = files::read(&root().join(source)).unwrap();
            let words: BTreeSet<&str> =
                text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
            let missing: Vec<_> =
                functions.iter().filter(|name| !words.contains(name.as_str())).collect();
            assert!(missing.is_empty(), "{source} does not call {missing:?}");
        }
    }
}
