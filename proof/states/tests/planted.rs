//! Planted bugs: each is found, under the name of the rule that it breaks, and a way there is shown.

// What is shared by tests is not seen as one: it fails them, and prints what they found.
#![allow(clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

use tollgate_states::{Flaw, SMALL, Setup, find, properties};

fn setup(name: &str) -> Setup {
    *SMALL.iter().find(|setup| setup.name == name).unwrap()
}

/// Looks for each property that the bug breaks in this setup.
fn is_found(flaw: Flaw, name: &str, broken: &[&'static str]) {
    for property in broken {
        let path = find(setup(name), Some(flaw), property);
        let Some(path) = path else { panic!("{flaw:?} in {name}: not found: {property}") };
        println!("{flaw:?} breaks \"{property}\":\n{path}");
    }
}

#[test]
fn a_key_that_a_refused_settlement_frees() {
    is_found(Flaw::KeyFreedByRefusal, "retry", &[properties::ONE_EXECUTION, properties::REFUSALS]);
}

#[test]
fn an_answer_that_is_not_kept() {
    is_found(Flaw::AnswerNotKept, "retry", &[properties::ONE_EXECUTION, properties::ADMITTED_ANEW]);
}

#[test]
fn an_answer_of_another() {
    is_found(Flaw::AnswerOfAnother, "retry", &[properties::REPLAYS, properties::KEYS]);
}

#[test]
fn an_orphan_that_silently_runs_again() {
    is_found(
        Flaw::OrphanRunAgain,
        "retry",
        &[properties::ONE_EXECUTION, properties::ONE_HOLDER, properties::ADMITTED_ANEW],
    );
}

#[test]
fn a_reservation_that_is_lost() {
    is_found(Flaw::ReservationLost, "retry", &[properties::KEPT, properties::HELD]);
}

#[test]
fn half_a_commit() {
    is_found(Flaw::HalfCommitted, "retry", &[properties::HELD]);
}

#[test]
fn drift() {
    is_found(Flaw::Drift, "retry", &[properties::CONSERVED]);
}

#[test]
fn a_reservation_that_ends_twice() {
    is_found(Flaw::EndForgotten, "retry", &[properties::ENDS_ONCE, properties::LEDGER]);
}

#[test]
fn a_stale_settlement_that_is_taken() {
    is_found(Flaw::StaleFenceTaken, "rerun-hold", &[properties::STALE_FENCE, properties::KEYS]);
}

#[test]
fn an_expiry_that_forgets_the_money() {
    is_found(
        Flaw::LeaseForgetsMoney,
        "retry",
        &[properties::HELD, properties::KEPT, properties::ENDS_ONCE, properties::FREED],
    );
}

#[test]
fn an_expiry_that_never_comes() {
    is_found(Flaw::NeverDue, "retry", &[properties::FREED]);
}

#[test]
fn refunds_beyond_what_was_posted() {
    is_found(Flaw::RefundsForgotten, "retry", &[properties::REFUNDS, properties::LEDGER]);
}

#[test]
fn a_refund_that_counts_twice() {
    is_found(Flaw::RefundsForgotten, "retry", &[properties::TWICE]);
}

#[test]
fn a_cap_that_does_not_count() {
    is_found(Flaw::CapNotCounted, "caps", &[properties::CAPS, properties::ANSWERS]);
}

#[test]
fn a_number_that_is_given_again() {
    is_found(Flaw::NumberGivenAgain, "retry", &[properties::FENCES]);
}

#[test]
fn money_that_spills_over() {
    let broken = [properties::ONE_ACCOUNT, properties::CONSERVED];
    is_found(Flaw::SpilledOver, "accounts", &broken);
}
