//! `include/tollgate.h`: made from `bindings/c`, committed, and held to it.

use std::fs;
use std::path::PathBuf;

use crate::run::{Failure, root};

fn path() -> PathBuf {
    root().join("include/tollgate.h")
}

fn generate() -> Result<String, Failure> {
    let package = root().join("bindings/c");
    let failed = |error: &dyn std::fmt::Display| Failure(format!("no header can be made: {error}"));
    let config = cbindgen::Config::from_file(package.join("cbindgen.toml"));
    let config = config.map_err(|error| failed(&error))?;
    let bindings = cbindgen::Builder::new().with_crate(&package).with_config(config).generate();
    let mut header = Vec::new();
    bindings.map_err(|error| failed(&error))?.write(&mut header);
    String::from_utf8(header).map_err(|error| failed(&error))
}

/// Writes it anew.
pub(crate) fn write() -> Result<(), Failure> {
    let write = |text: String| {
        fs::create_dir_all(root().join("include"))?;
        fs::write(path(), text)
    };
    write(generate()?)
        .map_err(|error| Failure(format!("{} cannot be written: {error}", path().display())))?;
    println!("ok: {} is written", path().display());
    Ok(())
}

/// Checks that it is what the sources give.
pub(crate) fn check() -> Result<(), Failure> {
    if fs::read_to_string(path()).ok().as_deref() == Some(&*generate()?) {
        println!("ok: include/tollgate.h is what bindings/c gives");
        return Ok(());
    }
    let advice = "run `cargo xtask header`, and look at what changed: a caller that is compiled with the \
                  committed header must go on working";
    Err(Failure(format!("include/tollgate.h is not what bindings/c gives: {advice}")))
}
