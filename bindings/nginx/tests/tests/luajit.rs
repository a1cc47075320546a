//! The example for LuaJIT, as it stands in `examples/luajit`.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

use std::path::PathBuf;
use std::process::Command;

use tollgate_gateway_tests::root;
use tollgate_nginx_tests::shared_library;

/// Debian's luajit: installed, or, because its library conflicts with the one that nginx's Lua module uses, unpacked aside.
fn luajit(place: &std::path::Path) -> Command {
    if Command::new("luajit").arg("-v").output().is_ok_and(|output| output.status.success()) {
        return Command::new("luajit");
    }
    let run = |command: &mut Command| {
        let output =
            command.current_dir(place).output().expect("luajit is missing: apt-get install luajit");
        assert!(output.status.success(), "{command:?}: {output:?}");
    };
    run(Command::new("apt-get").args([
        "download",
        "luajit",
        "libluajit-5.1-2",
        "libluajit-5.1-common",
    ]));
    let packages: Vec<PathBuf> =
        std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()).collect();
    for package in packages {
        run(Command::new("dpkg").arg("-x").arg(package).arg("."));
    }
    let mut command = Command::new(place.join("usr/bin/luajit"));
    command.env(
        "LD_LIBRARY_PATH",
        place.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH)),
    );
    command
}

#[test]
fn the_example_decides() {
    let place = tempfile::TempDir::new().unwrap();
    let examples = root().join("bindings/nginx/examples");
    let output = luajit(place.path())
        .arg(examples.join("luajit/decide.lua"))
        .arg(shared_library())
        .arg(examples.join("policy.toml"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(said.starts_with("401\tmissing_token\n{\"message\":"), "{said}");
}
