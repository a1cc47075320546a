//! Stories of administration, requests, endings and time: the engine on the memory store, against the model of obvious code
//! that the core's tests have.
//!
//! Whole answers are compared, and the money and reservations of all accounts after every step.

#![no_main]

mod story;

// The model, and how the two are compared, are the tests' own.
#[path = "../../../tests/against_model.rs"]
#[allow(unused, reason = "its strategies are proptest's; here the fuzzer makes the stories")]
mod against_model;

pub(crate) use against_model::{model, world};
use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = Unstructured::new(bytes);
    let Ok(policy) = story::policy(&mut bytes) else { return };
    let steps = story::steps(&mut bytes);
    if let Err(reason) = against_model::run(policy.clone(), &steps) {
        let lines: String = steps.iter().map(|step| format!("  {step:?}\n")).collect();
        panic!("{reason}\npolicy: {policy:?}\nsteps:\n{lines}");
    }
});
