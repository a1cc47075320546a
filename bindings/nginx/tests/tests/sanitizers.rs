//! The module under Valgrind, and built with address and undefined-behaviour sanitizers: clean.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tollgate_gateway_tests::Upstream;
use tollgate_nginx_tests::{Gateway, Options, Writes, module_built_with};

fn upstream() -> Upstream {
    Upstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\ndone",
    )
}

/// A bit of everything, from several clients.
fn exercise(gateway: Gateway, rounds: usize) -> Gateway {
    let gateway = Arc::new(gateway);
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let gateway = Arc::clone(&gateway);
            std::thread::spawn(move || {
                for round in 0..rounds {
                    let key = format!("{thread}-{round}");
                    assert_eq!(gateway.pay(&key).status, 200);
                    assert_eq!(gateway.pay(&key).status, 200);
                    let long = vec![b'x'; 100_000];
                    let answer = gateway.ask(
                        "POST",
                        "/free",
                        &[("Idempotency-Key", &key), ("Range", "bytes=0-1")],
                        &long,
                    );
                    assert_eq!(answer.status, 200);
                    assert_eq!(gateway.ask("GET", "/read", &[], b"").status, 200);
                    assert_eq!(gateway.ask("HEAD", "/paid", &[], b"").status, 200);
                    assert_eq!(gateway.nginx.send("GET", "/read", &[], b"").status, 401);
                    let client = gateway.begin_to_pay(&format!("{key}-left"));
                    client.close();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    gateway.nginx.reload_if_it_can();
    assert_eq!(gateway.pay("0-0").status, 200);
    Arc::into_inner(gateway).unwrap()
}

fn stop(mut gateway: Gateway) -> PathBuf {
    // A copy of what it wrote outlives its directory.
    gateway.nginx.stop(rustix::process::Signal::QUIT);
    let kept = tempfile::TempDir::new().unwrap().keep();
    for entry in std::fs::read_dir(gateway.nginx.directory()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, kept.join(path.file_name().unwrap())).unwrap();
        }
    }
    kept
}

fn options(writes: Writes, upstream: &Upstream) -> Options {
    Gateway::options(writes, upstream.port(), "client_body_buffer_size 16k;", "")
}

fn valgrind(writes: Writes, main: &str) {
    assert!(Path::new("/usr/bin/valgrind").exists(), "apt-get install valgrind");
    let upstream = upstream();
    let mut options = options(writes, &upstream);
    options.main = main.to_owned();
    options.workers = 1;
    options.below = [
        "/usr/bin/valgrind",
        "-q",
        "--trace-children=yes",
        "--leak-check=full",
        "--show-leak-kinds=definite",
        "--errors-for-leak-kinds=definite",
        "--log-file=valgrind.%p",
        "--error-exitcode=9",
        "--vgdb=no",
    ]
    .map(str::to_owned)
    .to_vec();
    let suppressions = Path::new(env!("CARGO_MANIFEST_DIR")).join("valgrind.supp");
    options.below.push(format!("--suppressions={}", suppressions.display()));
    let kept = stop(exercise(Gateway::with(options, upstream), 3));
    let mut said = String::new();
    for entry in std::fs::read_dir(&kept).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("valgrind.") {
            said.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
    let log = std::fs::read_to_string(kept.join("error.log")).unwrap();
    std::fs::remove_dir_all(kept).unwrap();
    assert!(said.trim().is_empty(), "{said}\n{log}");
    assert!(!log.contains("[alert]") && !log.contains("[emerg]"), "{log}");
}

#[test]
fn valgrind_finds_nothing_in_one_process() {
    valgrind(Writes::Inline, "master_process off;");
}

#[test]
fn valgrind_finds_nothing_in_workers_with_threads() {
    valgrind(Writes::Pooled, "");
}

#[test]
fn sanitizers_find_nothing() {
    let flags =
        "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer";
    let module = module_built_with("sanitized", flags, "-fsanitize=address,undefined");
    let library = |name: &str| {
        let output = Command::new("cc").arg(format!("-print-file-name={name}")).output().unwrap();
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()).canonicalize().unwrap()
    };
    for writes in Writes::BOTH {
        let upstream = upstream();
        let mut options = options(writes, &upstream);
        options.module = Some(module.clone());
        options.preload = vec![library("libasan.so"), library("libubsan.so")];
        // nginx's own pools are not freed at the end of a process.
        options.below = [
            "/usr/bin/env",
            "ASAN_OPTIONS=detect_leaks=0:log_path=asan",
            "UBSAN_OPTIONS=print_stacktrace=1:log_path=ubsan",
        ]
        .map(str::to_owned)
        .to_vec();
        let kept = stop(exercise(Gateway::with(options, upstream), 20));
        let reports: Vec<_> = std::fs::read_dir(&kept)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                name.starts_with("asan") || name.starts_with("ubsan")
            })
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect();
        let log = std::fs::read_to_string(kept.join("error.log")).unwrap();
        std::fs::remove_dir_all(kept).unwrap();
        assert!(reports.is_empty(), "{reports:?}");
        assert!(!log.contains("exited on signal") && !log.contains("[alert]"), "{log}");
    }
}
