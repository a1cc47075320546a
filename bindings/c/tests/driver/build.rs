//! Compiles the driver against the header that users get.

fn main() {
    let sources = [
        "c/driver.c",
        "c/administer.c",
        "c/redis.c",
        "c/map.c",
        "c/fixture.c",
        "c/probe.c",
        "c/probe_cases.c",
        "c/structs.c",
        "c/misuse.c",
        "c/threads.c",
    ];
    for file in sources.iter().chain(&[
        "c/driver.h",
        "c/hostile.h",
        "c/probe.h",
        "../../../../include/tollgate.h",
    ]) {
        println!("cargo::rerun-if-changed={file}");
    }
    cc::Build::new()
        .files(sources)
        .include("../../../../include")
        .std("c11")
        .define("_POSIX_C_SOURCE", "200809L")
        .define("_GNU_SOURCE", None)
        .flags(["-Wall", "-Wextra", "-Werror", "-pedantic", "-pthread"])
        .compile("tollgate_c_driver");
}
