//! Random stories reach what they should: every verdict, denial and refusal that commands in range can give.
#![cfg(test)]

use std::collections::BTreeMap;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use tollgate_conformance::{Answer, Verdict, answers, steps};

/// What an answer is, without its numbers.
fn kind(answer: &Answer) -> String {
    let word = |text: String| text.split([' ', '(', '{']).next().unwrap_or_default().to_owned();
    match answer {
        Answer::Admission(admitted) => match &admitted.verdict {
            Verdict::Admitted(None) => "admitted".into(),
            Verdict::Admitted(Some(_)) => "reserved".into(),
            Verdict::Replay(_) => "replay".into(),
            Verdict::Denied(denial) => word(format!("{denial:?}")),
            Verdict::CredentialChanged => "changed".into(),
        },
        Answer::Refused(refusal) => format!("{refusal:?}"),
        Answer::Expired(0) => "nothing expired".into(),
        other => word(format!("{other:?}")),
    }
}

#[test]
fn stories_meet_every_verdict_denial_and_refusal() {
    let mut runner = TestRunner::deterministic();
    let mut met: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..400 {
        let story = steps(90).new_tree(&mut runner).unwrap().current();
        for answer in answers(&story) {
            *met.entry(kind(&answer)).or_default() += 1;
        }
    }
    let expected = [
        "admitted",
        "reserved",
        "replay",
        "changed",
        "RateLimited",
        "InFlight",
        "KeyReused",
        "KeyInvalid",
        "SenderNotApproved",
        "ValidationFailed",
        "SpendCapExceeded",
        "InsufficientBalance",
        "LookedUp",
        "Done",
        "Account",
        "Tokens",
        "Reservations",
        "Settled",
        "Expired",
        "nothing expired",
        "UnknownAccount",
        "UnknownToken",
        "ForeignToken",
        "TokenExists",
        "TokenRevoked",
        "UnknownReservation",
        "LeaseEnded",
        "AlreadyFinished",
        "StaleFence",
        "MoreThanReserved",
        "NotPosted",
        "MoreThanPosted",
        "ReferenceReused",
        "AmountOverflow",
        "NotAResolution",
    ];
    // At 256 stories a run each is met several times.
    let rare: Vec<&str> =
        expected.into_iter().filter(|kind| met.get(*kind).is_none_or(|times| *times < 5)).collect();
    assert!(rare.is_empty(), "stories hardly meet {rare:?}: {met:#?}");
}
