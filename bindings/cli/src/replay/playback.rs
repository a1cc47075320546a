//! The replay itself: every record, in order, under every policy.

use super::callers::{Callers, invalid_authorization};
use super::changes::Changes;
use super::merge::{Merge, Place};
use super::record::{Credential, Record};
use super::recorded::Recorded;
use super::sent::{Sent, SentHeaders, body_of};
use super::state::State;
use super::timeline::Timeline;
use super::world::World;
use crate::exit::Failure;

/// Requests that no caller stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unauthenticated {
    /// They had no credential, or nothing in the log tells whose they are.
    pub(crate) without: u64,
    /// Their credential was not valid.
    pub(crate) invalid: u64,
}

/// All that comes of a replay.
pub(crate) struct Replay {
    /// Policy A, and B if there is one.
    pub(crate) worlds: Vec<World>,
    pub(crate) callers: Callers,
    pub(crate) timeline: Timeline,
    pub(crate) changes: Changes,
    pub(crate) recorded: Recorded,
    pub(crate) unauthenticated: Unauthenticated,
    pub(crate) decided: u64,
    pub(crate) first_ms: u64,
    pub(crate) last_ms: u64,
    state: State,
    invalid: Box<str>,
}

impl Replay {
    pub(crate) fn new(worlds: Vec<World>, state: State) -> Self {
        Replay {
            worlds,
            callers: Callers::default(),
            timeline: Timeline::default(),
            changes: Changes::default(),
            recorded: Recorded::default(),
            unauthenticated: Unauthenticated::default(),
            decided: 0,
            first_ms: 0,
            last_ms: 0,
            state,
            invalid: invalid_authorization(),
        }
    }

    pub(crate) fn run(&mut self, merge: &mut Merge) -> Result<(), Failure> {
        while let Some((place, record)) = merge.next_record()? {
            self.decide(place, &record)?;
        }
        Ok(())
    }

    fn decide(&mut self, place: Place, record: &Record) -> Result<(), Failure> {
        if self.decided == 0 {
            self.first_ms = record.now_ms;
        }
        self.decided = self.decided.saturating_add(1);
        self.last_ms = record.now_ms;
        let caller = self.caller(record)?;
        let known = caller.and_then(|number| self.callers.get(number));
        let authorization = match record.credential {
            Credential::None => None,
            Credential::Invalid => Some(&*self.invalid),
            Credential::Of(_) => known.map(|caller| &*caller.authorization),
        };
        let headers = SentHeaders::of(record, authorization);
        let sent = Sent {
            record,
            headers: &headers,
            body: body_of(record),
            caller,
            account: known.map(|caller| caller.account),
        };
        let mut all = Vec::with_capacity(2);
        for (number, world) in self.worlds.iter_mut().enumerate() {
            let decided = world.decide(&sent)?;
            self.timeline.add(record.now_ms, number, decided.status);
            all.push(decided);
        }
        if let Some(decided) = all.first() {
            self.recorded.compare(place, &record.outcome, decided.status);
        }
        if let ([a, b], &[one, other]) = (self.worlds.as_slice(), all.as_slice()) {
            self.changes.compare(place, &sent, [a, b], [one, other]);
        }
        Ok(())
    }

    /// The number of the caller, who is set up when he comes for the first time.
    fn caller(&mut self, record: &Record) -> Result<Option<usize>, Failure> {
        let name = match &record.credential {
            Credential::None => {
                self.unauthenticated.without = self.unauthenticated.without.saturating_add(1);
                return Ok(None);
            }
            Credential::Invalid => {
                self.unauthenticated.invalid = self.unauthenticated.invalid.saturating_add(1);
                return Ok(None);
            }
            Credential::Of(name) => name,
        };
        let (number, newcomer) =
            self.callers.number(name, record.account.as_deref(), &self.state)?;
        if let Some(newcomer) = newcomer {
            for world in &mut self.worlds {
                world.welcome(&self.callers, &newcomer, &self.state, record.now_ms)?;
            }
        }
        Ok(Some(number))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::path::Path;

    use proptest::prelude::*;
    use serde_json::{Value, json};
    use tollgate::preset;

    use super::super::log::{Log, LogFormat};
    use super::super::record::IdentityRule;
    use super::super::report::Report;
    use super::*;

    /// A line of any member in any combination, with values that are odd.
    fn line() -> impl Strategy<Value = Value> {
        let number = || prop_oneof![0..3_u64, Just(u64::MAX), any::<u64>()];
        let text = || prop_oneof!["[ab]", Just(String::new()), ".{0,200}"];
        let target = prop_oneof![
            Just("/sms/send"),
            Just("/otp/send"),
            Just("/balance"),
            Just("//"),
            Just("")
        ];
        let code = prop::sample::select(
            tollgate::STATUS_TABLE.iter().map(|row| row.code).collect::<Vec<_>>(),
        );
        let optional = (
            prop::option::of(text()),
            prop::option::of(text()),
            prop::option::of(text()),
            prop::option::of(number()),
            prop::option::of(number()),
            prop::option::of(number()),
            prop::option::of(code),
            prop::option::of(100..600_u16),
        );
        let time = prop_oneof![0..200_000_u64, 0..=tollgate::MAX_NOW_MS];
        (time, target, optional).prop_map(|(now_ms, target, optional)| {
            let (token, account, key, cost, reserved, charged, code, status) = optional;
            json!({
                "now_ms": now_ms, "method": if target == "/balance" { "GET" } else { "POST" },
                "target": target, "token": token, "account": account, "key": key, "cost": cost,
                "reserved": reserved, "charged": charged, "code": code, "status": status,
                "source": account, "sender": key, "invalid": null, "headers": [[token, key]],
            })
        })
    }

    fn worlds() -> Vec<World> {
        let a = preset("sms-gateway").unwrap();
        let mut b = a.clone();
        b.limits.get_mut("token").unwrap().quota = 1;
        b.routes.get_mut("POST /sms/send").unwrap().price = Some(tollgate::Amount(3));
        [a, b].map(|config| World::new("x".to_owned(), config).unwrap()).into()
    }

    proptest! {
        #[test]
        fn every_line_is_decided_once_and_the_sums_agree(lines in proptest::collection::vec(line(), 0..30)) {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let log = Log::new(Path::new("x"), Box::new(Cursor::new(text.into_bytes())));
            let mut merge = Merge::new(vec![log], LogFormat::Auto, IdentityRule::First, 7);
            let mut replay = Replay::new(worlds(), State::default());
            replay.run(&mut merge).unwrap();
            let report = Report::of(&replay, &merge);
            let counts = &report.lines;
            prop_assert_eq!(counts.read, lines.len() as u64);
            let all: u64 = [counts.decided, counts.bad, counts.late].iter().sum();
            prop_assert_eq!(all, counts.read);
            for (number, policy) in report.policies.iter().enumerate() {
                let all: u64 = [policy.allow, policy.deny, policy.replay].iter().sum();
                prop_assert_eq!(all, counts.decided);
                let sum: u64 = policy.codes.iter().map(|code| code.count).sum();
                prop_assert_eq!(sum, counts.decided);
                let steps = report.timeline.steps.iter();
                let over_time: u64 = steps.flat_map(|step| &step.counts[number]).sum();
                prop_assert_eq!(over_time, counts.decided);
                prop_assert!(policy.posted <= policy.reserved);
                prop_assert_eq!(policy.unsettled, 0);
            }
            let changes = report.changes.as_ref().unwrap();
            let sum: u64 = changes.kinds.iter().map(|kind| kind.count).sum();
            prop_assert_eq!(sum, changes.changed);
            let all: u64 = [sum, changes.same].iter().sum();
            prop_assert_eq!(all, counts.decided);
            let page = super::super::html::page(&report).unwrap();
            prop_assert!(page.ends_with("</html>\n") || page.ends_with("</html>"));
        }
    }
}
