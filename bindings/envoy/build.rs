//! The module's threads outlive every configuration that names it, so it is never unloaded, whatever `do_not_close` says.

fn main() {
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo::rerun-if-changed=build.rs");
}
