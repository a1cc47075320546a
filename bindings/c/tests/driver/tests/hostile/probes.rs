//! Every argument of every function, and a panic in each.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tollgate_c_driver::hostile;

fn functions() -> Vec<String> {
    (0..).map_while(hostile::function).collect()
}

/// The names of functions that are declared in the header: `tollgate_…(` at the depth of the file, outside comments.
fn declared() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../include/tollgate.h");
    let text = fs::read_to_string(path).unwrap();
    let mut code = String::new();
    let mut is_comment = false;
    for line in text.lines().map(|line| line.split("//").next().unwrap_or_default()) {
        is_comment |= line.trim_start().starts_with("/*");
        if !is_comment {
            code.push_str(line);
            code.push('\n');
        }
        is_comment &= !line.contains("*/");
    }
    let mut names = BTreeSet::new();
    let mut depth = 0_i32;
    for statement in code.split_inclusive(&['(', ')', '{', '}'][..]) {
        let (before, end) = statement.split_at(statement.len().saturating_sub(1));
        let word = before.rsplit(|char: char| !char.is_alphanumeric() && char != '_').next();
        if let ("(", 0, Some(name)) = (end, depth, word)
            && name.starts_with("tollgate_")
        {
            names.insert(name.to_owned());
        }
        // What stands in braces after `extern "C"` is declared as well.
        match end {
            "(" => depth = depth.saturating_add(1),
            ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    names
}

#[test]
fn every_function_of_the_header_is_probed() {
    let declared = declared();
    assert!(declared.len() > 70, "only {} functions were found in the header", declared.len());
    let probed: BTreeSet<String> = functions().into_iter().collect();
    assert_eq!(functions().len(), probed.len(), "a function is probed twice");
    assert_eq!(probed, declared);
}

#[test]
fn every_argument_that_cannot_be_is_refused_and_changes_nothing() {
    let mut probes = 0_usize;
    let mut wrong = Vec::new();
    for index in 0..functions().len() {
        let directory = TempDir::new().unwrap();
        match hostile::probe(index, directory.path()) {
            Ok(count) => probes = probes.saturating_add(count),
            Err(text) => wrong.push(text),
        }
    }
    println!("{probes} arguments");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(probes > 300, "{probes}");
}

#[test]
fn a_panic_in_any_function_ends_at_the_boundary() {
    std::panic::set_hook(Box::new(|_| {}));
    let mut wrong = Vec::new();
    for (index, function) in functions().into_iter().enumerate() {
        // These four only give what is static, or this thread's.
        let cannot_panic = [
            "tollgate_abi_version",
            "tollgate_version",
            "tollgate_result_name",
            "tollgate_last_error",
        ];
        if cannot_panic.contains(&function.as_str()) {
            continue;
        }
        let directory = TempDir::new().unwrap();
        wrong.extend(hostile::panic_within(index, directory.path()).err());
    }
    let _ = std::panic::take_hook();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
