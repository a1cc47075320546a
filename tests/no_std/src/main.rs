//! The core in a program without `std`: its own panic handler and allocator, one decision.
//!
//! If anything that the core depends on linked `std`, the compiler would find a second panic handler
//! and refuse (`duplicate lang item panic_impl`). The exit code says how far it came: 0 is all the way.

#![no_std]
#![no_main]

extern crate alloc;

mod records;
mod runtime;

use tollgate::transition::perform;
use tollgate::{Decision, Engine, Evaluation, Request, Status, preset};

use records::OneToken;

const NOW_MS: u64 = 1_700_000_000_000;
const TOKEN_ENTROPY: [u8; 32] = [7; 32];

/// Where the program stopped; its number is the exit code.
#[repr(i32)]
#[derive(Clone, Copy)]
enum Stop {
    NoPreset = 1,
    PolicyDoesNotCompile = 2,
    TextDoesNotCompile = 3,
    NotAllowed = 4,
    NotLimited = 5,
    UnknownTokenPassed = 6,
    NoAnswer = 7,
}

#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    match decide() {
        Ok(()) => 0,
        Err(stop) => stop as i32,
    }
}

fn decide() -> Result<(), Stop> {
    let config = preset("sms-gateway").ok_or(Stop::NoPreset)?;
    let engine = Engine::new(config.compile().map_err(|_| Stop::PolicyDoesNotCompile)?);
    let token = tollgate::TokenText::generate(&TOKEN_ENTROPY);
    let mut records = OneToken::new(engine.digest(&token), "balance");

    let mut header = alloc::string::String::from("Bearer ");
    header.push_str(token.expose());
    let headers = [("authorization", header.as_str())];
    let request = Request::new(b"GET", b"/balance", NOW_MS).with_headers(&headers);
    // The documented 120 a minute pass, and the next one does not.
    for _ in 0..120 {
        if ask(engine.evaluate(&request), &mut records).status() != Status::Allowed {
            return Err(Stop::NotAllowed);
        }
    }
    let limited = ask(engine.evaluate(&request), &mut records);
    if limited.status() != Status::RateLimited {
        return Err(Stop::NotLimited);
    }
    if engine.answer(&limited).header("Retry-After") != Some(b"1") {
        return Err(Stop::NoAnswer);
    }
    let mut stranger = OneToken::new(tollgate::digest(b"another", None), "balance");
    if ask(engine.evaluate(&request), &mut stranger).status() != Status::InvalidToken {
        return Err(Stop::UnknownTokenPassed);
    }
    read_text()
}

/// Policies as text need no `std` either.
fn read_text() -> Result<(), Stop> {
    let toml = tollgate::PolicyConfig::from_toml("[scopes]\nbalance = [\"GET /balance\"]\n");
    let json = tollgate::PolicyConfig::from_json("{\"scopes\": {\"balance\": [\"GET /balance\"]}}");
    match (toml, json) {
        (Ok(toml), Ok(json)) if toml == json && toml.compile().is_ok() => Ok(()),
        _ => Err(Stop::TextDoesNotCompile),
    }
}

/// The host's side of the step machine.
fn ask(mut evaluation: Evaluation<'_>, records: &mut OneToken) -> Decision {
    while let Some(command) = evaluation.command() {
        let Ok(outcome) = perform(records, &command, NOW_MS);
        evaluation.resume(Ok(outcome));
    }
    evaluation.into_decision()
}
