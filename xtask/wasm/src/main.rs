//! Makes JavaScript glue, TypeScript declarations and the final module out of what the compiler gave: `wasm-bindgen`,
//! as a library. It is no part of `xtask` itself, so that only those who build WebAssembly compile it.
//!
//! The module must have been made with the very same `wasm-bindgen`. Both stand in one `Cargo.lock`, and
//! `wasm-bindgen-shared`, on which each depends exactly, can be in it only once: Cargo itself keeps them together.

use std::path::Path;
use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [input, output] = args.as_slice() else {
        eprintln!("usage: xtask-wasm MODULE.wasm DIRECTORY");
        return ExitCode::from(2);
    };
    match bind(Path::new(input), Path::new(output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask-wasm: {input} cannot be bound: {error}");
            ExitCode::FAILURE
        }
    }
}

type Error = Box<dyn std::error::Error>;

/// The glue for ES modules, which is told where the module is: bundlers and workerd each find it in their own way.
fn bind(input: &Path, output: &Path) -> Result<(), Error> {
    let mut bindgen = Bindgen::new();
    bindgen
        .web(true)?
        .input_path(input)
        .typescript(true)
        .omit_default_module_path(true)
        .remove_name_section(true)
        .remove_producers_section(true);
    Ok(bindgen.generate(output)?)
}
