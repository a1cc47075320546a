//! Gives the shared library its soname: a program asks at run time for the versions it can work with.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let number = |name: &str| std::env::var(name).unwrap_or_default();
    // Cargo's rule of what is compatible: with a major version of 0, the minor one decides.
    let compatible = match number("CARGO_PKG_VERSION_MAJOR").as_str() {
        "0" => format!("0.{}", number("CARGO_PKG_VERSION_MINOR")),
        major => major.to_string(),
    };
    // Only ELF has sonames.
    if number("CARGO_CFG_TARGET_FAMILY") == "unix" && number("CARGO_CFG_TARGET_VENDOR") != "apple" {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libtollgate.so.{compatible}");
    }
}
