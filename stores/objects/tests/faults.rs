//! Messages that are lost, before or after they were performed: money is conserved, nothing is executed
//! twice, no limit lets too much through, at most units stay counted, and what is left over ends.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects, reason = "small numbers")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use common::lossy::{Fate, Lossy};
use common::{Caller, World};
use tollgate::{
    AccountId, AccountPatch, Administration, Algorithm, Amount, Limit, Mode, Partition, Refusal,
    ReservationId, ReservationState, Store, TokenPatch,
};
use tollgate_conformance::world::*;
use tollgate_conformance::{Answer, Verdict};

const ACCOUNTS: u64 = 3;
const KEYS: u64 = 6;
/// Of everybody together, and of one address.
const QUOTAS: [u64; 2] = [18, 12];
/// What one request costs.
const PRICE: u64 = 10;
const BALANCE: u64 = 150;

fn limits() -> [Limit; 3] {
    let of = |name, partition, quota| {
        executions(named(name, limit_of(partition, Algorithm::FixedWindow, quota, 3_600_000)))
    };
    [
        of("everybody", Partition::Global, QUOTAS[0]),
        of("address", Partition::SourceIp, QUOTAS[1]),
        of("account", Partition::Account, 11),
    ]
}

/// What one who sends requests knows.
#[derive(Default)]
struct Diary {
    /// Requests that may go on to the upstream, by account and key, and by reservation.
    keys: BTreeSet<(u64, u64)>,
    reservations: BTreeSet<(u64, u64)>,
    /// How many, by address; and how many came to nothing that anybody knows of.
    admitted: [u64; 2],
    lost: [u64; 2],
    open: Vec<(u64, ReservationId)>,
    /// What settlements said was posted, by account.
    posted: BTreeMap<u64, u64>,
}

impl Diary {
    fn request(&mut self, desk: Desk<'_>, random: u64, now_ms: u64) {
        let (number, key, from) = (
            random % ACCOUNTS + 1,
            random / 7 % KEYS,
            usize::from((random / 43).is_multiple_of(3)),
        );
        let ask = Ask::new(token(number)).charge(PRICE).limits(&limits());
        let ask = if random.is_multiple_of(2) { ask.key(key) } else { ask };
        let holds_key = random.is_multiple_of(2);
        let ask = Ask { source: Some(address(from as u64)), ..ask };
        match desk.ask(&ask, now_ms) {
            Answer::Admission(admitted) => match admitted.verdict {
                Verdict::Admitted(Some(id)) => {
                    self.admitted[from] += 1;
                    assert!(self.reservations.insert((number, id.0)), "one number twice");
                    if holds_key {
                        assert!(self.keys.insert((number, key)), "one key was executed twice");
                    }
                    self.open.push((number, id));
                }
                Verdict::Admitted(None) => panic!("a request without a reservation"),
                _ => {}
            },
            Answer::Failed(tollgate::StoreError::Unavailable { .. }) => self.lost[from] += 1,
            other => panic!("{other:?}"),
        }
    }

    fn finish(&mut self, desk: Desk<'_>, random: u64, now_ms: u64) {
        if self.open.is_empty() {
            return;
        }
        let place = usize::try_from(random / 11).unwrap() % self.open.len();
        let (number, id) = self.open[place];
        // With a response, so that no key comes free again.
        let finish = match random % 3 {
            0 => settle_for(PRICE / 2),
            1 => SETTLE,
            _ => tollgate::Finish::Void { response: Some(response(400, b"no")) },
        };
        match desk.finish(number, id, &finish, now_ms) {
            Answer::Settled(settled) => {
                *self.posted.entry(number).or_default() += settled.posted.unwrap().0;
                self.open.remove(place);
            }
            // Given again, it may have been different.
            Answer::Refused(Refusal::AlreadyFinished) => {
                self.open.remove(place);
            }
            Answer::Failed(tollgate::StoreError::Unavailable { .. }) => {}
            other => panic!("{other:?}"),
        }
    }

    /// Over a caller that loses nothing.
    fn check(&self, desk: Desk<'_>, now_ms: u64) {
        let used = |limit: usize, from: u64, quota: u64| {
            let limits = &limits()[limit..=limit];
            let peek = Ask { mode: Mode::Peek, ..Ask::new(token(1)).limits(limits) };
            let peek = Ask { source: Some(address(from)), ..peek };
            quota - desk.admitted(&peek, now_ms).tightest.unwrap().left.remaining
        };
        let all: u64 = self.admitted.iter().sum();
        let lost: u64 = self.lost.iter().sum();
        let everybodys = used(0, 0, QUOTAS[0]);
        assert!(all <= everybodys && everybodys <= all + lost, "{all} {everybodys} {lost}");
        for (from, (admitted, lost)) in (0..).zip(self.admitted.iter().zip(self.lost)) {
            let counted = used(1, from, QUOTAS[1]);
            assert!(*admitted <= counted && counted <= admitted + lost, "{admitted} {counted}");
        }
        let mut made = 0;
        for number in 1..=ACCOUNTS {
            let wallet = desk.account(number).wallet;
            let reservations = desk.reservations(number);
            made += reservations.len() as u64;
            let sum = |state: fn(&ReservationState) -> bool| {
                let some = reservations.iter().filter(|(_, one)| state(&one.state));
                some.map(|(_, one)| one.amount.0).sum::<u64>()
            };
            assert_eq!(wallet.held.0, sum(|state| *state == ReservationState::Held));
            assert_eq!(wallet.deposited, Amount(BALANCE));
            let posted: u64 = reservations.iter().map(|(_, one)| one.state.posted().0).sum();
            assert_eq!(wallet.posted.0, posted);
            assert!(posted >= self.posted.get(&number).copied().unwrap_or(0));
        }
        // Also those that an account admitted, and nobody heard of.
        assert!(all <= made && made <= everybodys, "{all} {made} {everybodys}");
    }

    /// When everything has had its time.
    fn is_over(&self, desk: Desk<'_>, now_ms: u64) {
        desk.admin().expire(now_ms + 60_000).unwrap();
        for number in 1..=ACCOUNTS {
            let wallet = desk.account(number).wallet;
            assert_eq!((wallet.held.0, wallet.open_reservations), (0, 0));
        }
        let later_ms = now_ms + 2 * DAY_MS;
        desk.admin().expire(later_ms).unwrap();
        for number in 1..=ACCOUNTS {
            assert_eq!(desk.reservations(number), []);
            for key in 0..KEYS {
                assert!(matches!(
                    desk.verdict(&Ask::new(token(number)).key(key), later_ms),
                    Verdict::Admitted(Some(_))
                ));
            }
        }
    }
}

#[test]
fn messages_are_lost_at_random() {
    let (mut losses, mut failures, mut executions, mut refused) = (0, 0, 0, 0);
    for seed in 0..100 {
        let world = Arc::new(World::default());
        let sound = Caller::new(&world);
        let desk = Desk::new(&sound);
        (1..=ACCOUNTS).for_each(|number| desk.open(number, BALANCE));
        let lost = Arc::new(AtomicU64::new(0));
        let (count, mut dice) = (Arc::clone(&lost), splitmix(seed));
        let lossy = Lossy::new(Caller::new(&world), move |_| {
            dice = splitmix(dice);
            let fate = match dice % 12 {
                0 => Fate::IsLost,
                1 => Fate::IsLostAfter,
                _ => return Fate::Arrives,
            };
            count.fetch_add(1, Ordering::Relaxed);
            fate
        });
        let (mut diary, mut random, mut now_ms) = (Diary::default(), splitmix(seed ^ 99), NOW_MS);
        for _ in 0..100 {
            random = splitmix(random);
            now_ms += random % 50;
            match random % 5 {
                0 | 1 => diary.finish(Desk::new(&lossy), random / 5, now_ms),
                _ => diary.request(Desk::new(&lossy), random / 5, now_ms),
            }
        }
        diary.check(desk, now_ms);
        world.verify();
        losses += lost.load(Ordering::Relaxed);
        failures += diary.lost.iter().sum::<u64>();
        executions += diary.admitted.iter().sum::<u64>();
        refused += u64::from(diary.admitted.iter().sum::<u64>() + 3 >= QUOTAS[0]);
        diary.is_over(desk, now_ms);
        world.verify();
    }
    assert!(losses > 700 && failures > 200, "{losses} losses, {failures} failures");
    assert!(executions > 1_000, "{executions} executions");
    assert!(refused > 5, "the quota was reached in {refused} stories");
}

/// Loses the message with this number, and nothing after it: it is not sent again either.
fn losing(world: &Arc<World>, which: u64, fate: Fate) -> (Lossy, Arc<Mutex<Vec<String>>>) {
    let names = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&names);
    let mut gone: Option<Vec<u8>> = None;
    let lossy = Lossy::new(Caller::without_cache(world), move |call| {
        let mut noted = noted.lock().unwrap();
        noted.push(call.object.clone());
        if noted.len() as u64 == which + 1 {
            gone = Some(call.message.clone());
            return fate;
        }
        // Its second try.
        let again = gone.take().is_some_and(|message| message == call.message);
        if again { Fate::IsLost } else { Fate::Arrives }
    });
    (lossy, names)
}

fn put_account(desk: Desk<'_>, number: u64) -> Answer {
    let (account, settings) = (&account(number), AccountPatch::default());
    let opening_balance = Amount(BALANCE);
    desk.administer(&Administration::PutAccount { account, opening_balance, settings }, NOW_MS)
}

fn put_token(desk: Desk<'_>, number: u64) -> Answer {
    let settings = TokenPatch { scopes: Some(vec!["pay".into()]), ..TokenPatch::default() };
    let (digest, account) = (&token(number), &account(1));
    desk.administer(&Administration::PutToken { digest, account, settings }, NOW_MS)
}

/// What operators do, from the beginning. Where it fails it is done again.
fn operate(desk: Desk<'_>, sound: Desk<'_>) -> u64 {
    let mut failures = 0;
    let mut insist = |work: &dyn Fn(Desk<'_>) -> Answer, then: Option<Refusal>| {
        let first = work(desk);
        if first == Answer::Done {
            return;
        }
        assert!(matches!(first, Answer::Failed(_)), "{first:?}");
        failures += 1;
        lists_what_is_there(sound);
        let second = work(desk);
        let done = then.map_or(second == Answer::Done, |refusal| {
            second == Answer::Done || second == Answer::Refused(refusal)
        });
        assert!(done, "{second:?}");
    };
    insist(&|desk| put_account(desk, 1), None);
    insist(&|desk| put_token(desk, 1), None);
    insist(&|desk| put_token(desk, 1), None);
    let rotate = |desk: Desk<'_>| {
        let (old, new) = (&token(1), &token(2));
        desk.administer(&Administration::RotateToken { old, new, grace_ms: 500 }, NOW_MS)
    };
    insist(&rotate, Some(Refusal::TokenExists));
    let revoke = |desk: Desk<'_>| {
        desk.administer(&Administration::RevokeToken { digest: &token(1) }, NOW_MS)
    };
    insist(&revoke, None);
    insist(&|desk| put_account(desk, 2), None);
    failures
}

fn lists_what_is_there(desk: Desk<'_>) {
    let is_there = |id: &AccountId| {
        let inspect = Administration::Inspect { account: id };
        !matches!(desk.administer(&inspect, NOW_MS), Answer::Refused(Refusal::UnknownAccount))
    };
    let there: Vec<_> = (1..3).map(account).filter(is_there).collect();
    assert_eq!(desk.admin().accounts(None, 9, NOW_MS).unwrap(), there);
}

#[test]
fn whatever_message_of_an_operator_is_lost_the_command_can_be_given_again() {
    let mut which = 0;
    let mut failed = 0;
    loop {
        let mut sent = 0;
        for fate in [Fate::IsLost, Fate::IsLostAfter] {
            let world = Arc::new(World::default());
            let sound = Caller::new(&world);
            let (lossy, names) = losing(&world, which, fate);
            failed += operate(Desk::new(&lossy), Desk::new(&sound));
            sent = names.lock().unwrap().len() as u64;
            let desk = Desk::new(&sound);
            lists_what_is_there(desk);
            assert_eq!(desk.money(1), (BALANCE, 0, 0));
            let tokens = desk.admin().tokens(&account(1), NOW_MS).unwrap();
            let revoked = |number| {
                let found = tokens.iter().find(|(digest, _)| *digest == token(number));
                found.unwrap().1.revoked
            };
            assert_eq!((tokens.len(), revoked(1), revoked(2)), (2, true, false));
            assert!(desk.look_up(&token(2), NOW_MS).is_some());
            world.verify();
        }
        // The loss that was planned did not come any more.
        if which >= sent {
            break;
        }
        which += 1;
    }
    assert!(which > 15 && failed > 25, "{which} messages, {failed} failures");
}

#[test]
fn whatever_message_of_a_request_is_lost_nothing_is_let_through_that_is_not_counted() {
    // Of three limits the last one refuses, or none.
    for full in [false, true] {
        let mut which = 0;
        loop {
            let mut sent = 0;
            for fate in [Fate::IsLost, Fate::IsLostAfter] {
                let world = Arc::new(World::default());
                let sound = Caller::new(&world);
                let desk = Desk::new(&sound);
                desk.open(1, BALANCE);
                let ask = Ask { source: Some(address(0)), ..Ask::new(token(1)).charge(PRICE) };
                let ask = ask.limits(&limits()).key(1);
                let before = if full { 11 } else { 0 };
                for key in 2..2 + before {
                    let _ = desk.reserve(&ask.clone().key(key), NOW_MS);
                }
                let (lossy, names) = losing(&world, which, fate);
                let answer = Desk::new(&lossy).ask(&ask, NOW_MS);
                sent = names.lock().unwrap().len() as u64;
                let mut diary = Diary::default();
                diary.admitted[0] = before;
                match answer {
                    Answer::Failed(_) => diary.lost[0] = 1,
                    Answer::Admission(admitted) => match admitted.verdict {
                        Verdict::Admitted(_) => diary.admitted[0] += 1,
                        // What is given back may be lost too.
                        _ => diary.lost[0] = u64::from(which < sent && sent <= which + 2),
                    },
                    other => panic!("{other:?}"),
                }
                let wallet = desk.account(1).wallet;
                let held = wallet.held.0 / PRICE;
                assert!(diary.admitted[0] <= held && held <= diary.admitted[0] + diary.lost[0]);
                let used = |limit: usize, quota: u64| {
                    let limits = &limits()[limit..=limit];
                    let peek = Ask { mode: Mode::Peek, ..Ask::new(token(1)).limits(limits) };
                    let peek = Ask { source: Some(address(0)), ..peek };
                    quota - desk.admitted(&peek, NOW_MS).tightest.unwrap().left.remaining
                };
                for (limit, quota) in QUOTAS.into_iter().enumerate() {
                    let used = used(limit, quota);
                    // Also one that its account admitted, and nobody heard of.
                    let (least, most) = (held, diary.admitted[0] + diary.lost[0]);
                    assert!(least <= used && used <= most, "{fate:?} {which}: {used}");
                }
                world.verify();
            }
            // The loss that was planned did not come any more.
            if which >= sent {
                break;
            }
            which += 1;
        }
        assert!(which >= if full { 7 } else { 5 }, "{which} messages");
    }
}

/// A caller that is a store is one also where its world is gone.
#[test]
fn nothing_is_known_where_everything_is_lost() {
    let world = Arc::new(World::default());
    let lossy = Lossy::new(Caller::new(&world), |_| Fate::IsLost);
    let store: &dyn Store = &lossy;
    let desk = Desk::new(store);
    assert!(matches!(put_account(desk, 1), Answer::Failed(_)));
    assert!(matches!(desk.ask(&Ask::new(token(1)), NOW_MS), Answer::Failed(_)));
    assert!(desk.admin().expire(NOW_MS).is_err());
    assert!(world.objects().is_empty());
}
