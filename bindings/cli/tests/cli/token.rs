//! `tollgate token`, and the command as a whole.

use std::fs;

use crate::common::run;
use tollgate::{Pepper, TokenFormat, TokenText, digest};

#[test]
fn a_new_token_is_well_formed_and_never_the_same() {
    let made = run(&["token", "new", "--json"], b"");
    assert_eq!((made.code, made.err.as_str()), (0, ""));
    let (made, other) = (made.json(), run(&["token", "new", "--json"], b"").json());
    let token = made["token"].as_str().unwrap();
    assert!(TokenText::parse(TokenFormat::Native, token).is_ok());
    assert_eq!(made["digest"], digest(token.as_bytes(), None).to_string());
    assert_ne!(made["token"], other["token"]);

    let text = run(&["token", "new"], b"").out;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("token   tg_live_") && lines[1].starts_with("digest  "), "{text}");
    assert_eq!(lines.len(), 2);
}

#[test]
fn the_digest_of_a_token_from_standard_input() {
    let token = TokenText::generate(&[9; 32]);
    let expected = digest(token.expose().as_bytes(), None).to_string();
    for end in ["", "\n", "\r\n"] {
        let ran = run(&["token", "digest"], format!("{}{end}", token.expose()).as_bytes());
        assert_eq!((ran.code, ran.out), (0, format!("{expected}\n")));
    }
    let ran = run(&["token", "digest", "--opaque", "--json"], b"some-token");
    assert_eq!(ran.json()["digest"], digest(b"some-token", None).to_string());
}

#[test]
fn a_pepper_keys_the_digest() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pepper");
    fs::write(&file, [3; 32]).unwrap();
    let path = file.to_str().unwrap();
    let pepper = Pepper::new(&[3; 32]).unwrap();
    let ran = run(&["token", "digest", "--opaque", "--pepper-file", path], b"t\n");
    assert_eq!(ran.out.trim_end(), digest(b"t", Some(&pepper)).to_string());
    let made = run(&["token", "new", "--json", "--pepper-file", path], b"").json();
    let token = made["token"].as_str().unwrap();
    assert_eq!(made["digest"], digest(token.as_bytes(), Some(&pepper)).to_string());

    fs::write(&file, b"short").unwrap();
    let ran = run(&["token", "new", "--pepper-file", path], b"");
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("16 to 64 bytes") && !ran.err.contains("short"), "{}", ran.err);
    assert_eq!(run(&["token", "new", "--pepper-file", "/no/such/file"], b"").code, 2);
}

#[test]
fn what_is_no_token_is_refused_and_not_repeated() {
    let long = "x".repeat(5000);
    for (args, input) in [
        (&["token", "digest"][..], "hush"),
        (&["token", "digest"], ""),
        (&["token", "digest"], "tg_live_hush"),
        (&["token", "digest", "--opaque"], "hush hush"),
        (&["token", "digest", "--opaque"], ""),
        (&["token", "digest", "--opaque"], &long),
    ] {
        let ran = run(args, input.as_bytes());
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{input}");
        assert!(ran.err.starts_with("tollgate: standard input: ") && !ran.err.contains("hush"));
    }
    // A token as an argument is no way to give one.
    assert_eq!(run(&["token", "digest", "tg_live_hush"], b"").code, 2);
}

#[test]
fn help_tells_the_exit_codes() {
    for args in
        [&["--help"][..], &["scenario", "--help"], &["check", "--help"], &["explain", "--help"]]
    {
        let ran = run(args, b"");
        assert_eq!(ran.code, 0);
        assert!(ran.out.contains("Exit codes:\n  0  "), "{args:?}: {}", ran.out);
    }
    assert_eq!(run(&[], b"").code, 2);
    assert_eq!(run(&["teleport"], b"").code, 2);
    assert!(run(&["--version"], b"").out.starts_with("tollgate "));
}
