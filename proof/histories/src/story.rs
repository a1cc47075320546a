//! What the threads of a history are to do: random, few things that collide, the same for the same seed.

use crate::call::{Ending, Key, Op};
use crate::names::{OPENING, ROUTES};
use crate::random::Random;

/// The most accounts of a history.
pub const ACCOUNTS: u8 = 2;
/// Tokens of an account; the last is not there at first.
pub const TOKENS: u8 = 3;
/// Idempotency keys of an account.
pub const KEYS: u8 = 2;

/// One thing for a thread to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The account.
    pub account: u8,
    /// What.
    pub what: What,
}

/// What there is to do.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum What {
    /// One command.
    Command(Op),
    /// What an engine does for a request: looks the token up, and asks for the admission of one that is in force;
    /// once more if it is no longer in force by then. `again`: under the credential that was looked up before,
    /// where there is one.
    Request {
        token: u8,
        route: u8,
        key: Option<Key>,
        charge: Option<u64>,
        ending: Ending,
        late: bool,
        again: bool,
    },
}

/// What the threads of a history do.
#[derive(Clone, Debug, PartialEq)]
pub struct Story {
    /// How many accounts they use.
    pub accounts: u8,
    /// The steps of each thread.
    pub threads: Vec<Vec<Step>>,
}

/// What a story is mostly about: more of the same collides more.
#[derive(Clone, Copy, Debug)]
enum Theme {
    Limits,
    Keys,
    Money,
    Credentials,
    Leases,
    All,
}

const THEMES: [Theme; 6] =
    [Theme::Limits, Theme::Keys, Theme::Money, Theme::Credentials, Theme::Leases, Theme::All];

impl Story {
    /// The story of this number, for so many threads at most and two at least.
    #[must_use]
    pub fn new(number: u64, most_threads: usize) -> Self {
        let mut random = Random::new(number);
        let theme = random.pick(&THEMES);
        let threads = 2 + random.below(most_threads as u64 - 1) as usize;
        let accounts = if random.chance(20) { ACCOUNTS } else { 1 };
        let each = if threads < 4 { 4 + random.below(3) } else { 3 + random.below(3) };
        let steps = |thread: usize, random: &mut Random| {
            (0..each)
                .map(|_| Step {
                    account: random.below(u64::from(accounts)) as u8,
                    what: what(theme, thread == 0, random),
                })
                .collect()
        };
        Story { accounts, threads: (0..threads).map(|thread| steps(thread, &mut random)).collect() }
    }
}

/// A sweep goes from account to account, and one that comes while another is under way passes over what that one
/// holds: in a story one thread alone sweeps.
fn what(theme: Theme, may_sweep: bool, random: &mut Random) -> What {
    let theme = if matches!(theme, Theme::All) { random.pick(&THEMES[..5]) } else { theme };
    let dice = random.below(100);
    match theme {
        Theme::Limits => match dice {
            0..60 => What::Command(get(random)),
            60..85 => request(random, Asking { limited: true, ..Asking::default() }),
            85..92 => request(random, Asking { limited: true, key: true, ..Asking::default() }),
            92..96 => What::Command(Op::Revoke { token: 1 }),
            _ => What::Command(Op::PutAccount { networks: random.chance(50) }),
        },
        Theme::Keys => match dice {
            0..45 => {
                let charge = random.chance(50);
                request(random, Asking { key: true, charge, ..Asking::default() })
            }
            45..75 => What::Command(settle(random, false)),
            75..90 => What::Command(void(random, false)),
            _ => What::Command(Op::Inspect),
        },
        Theme::Money => match dice {
            0..35 => request(random, Asking { charge: true, ..Asking::default() }),
            35..55 => What::Command(settle(random, false)),
            55..65 => What::Command(void(random, false)),
            65..75 => What::Command(refund(random, false)),
            75..82 => What::Command(Op::Deposit { amount: 1 + random.below(5) }),
            _ => What::Command(Op::Inspect),
        },
        Theme::Credentials => match dice {
            0..25 => What::Command(get(random)),
            25..60 => {
                let (charge, again) = (random.chance(40), random.chance(40));
                request(random, Asking { charge, again, limited: true, ..Asking::default() })
            }
            60..70 => What::Command(Op::LookUp { token: random.below(u64::from(TOKENS)) as u8 }),
            70..78 => What::Command(Op::Revoke { token: random.below(u64::from(TOKENS)) as u8 }),
            78..86 => What::Command(Op::Rotate { old: random.below(2) as u8, new: TOKENS - 1 }),
            _ => What::Command(Op::PutAccount { networks: random.chance(40) }),
        },
        Theme::Leases => {
            let late = random.chance(40);
            match dice {
                0..35 => request(
                    random,
                    Asking { charge: true, key: dice < 15, late, ..Asking::default() },
                ),
                35..55 => What::Command(settle(random, late)),
                55..65 => What::Command(void(random, late)),
                65..72 => What::Command(refund(random, late)),
                72..84 if may_sweep => What::Command(Op::Expire { late: true }),
                _ => What::Command(Op::Inspect),
            }
        }
        Theme::All => unreachable!("one of the others was picked"),
    }
}

/// Which kind of request.
#[derive(Default)]
struct Asking {
    limited: bool,
    key: bool,
    charge: bool,
    late: bool,
    again: bool,
}

fn request(random: &mut Random, asking: Asking) -> What {
    let token = if random.chance(80) { 0 } else { random.below(u64::from(TOKENS)) as u8 };
    let key = Key { number: u8::from(random.chance(30)), body: u8::from(random.chance(15)) };
    // What may come late has no limits: the clock would go forth and back in their windows.
    let route = if asking.limited { random.below(u64::from(ROUTES)) as u8 } else { 0 };
    What::Request {
        token,
        route,
        key: asking.key.then_some(key),
        charge: asking.charge.then(|| 2 + random.below(OPENING / 2)),
        ending: random.pick(&[Ending::Void, Ending::Void, Ending::Settle, Ending::Hold]),
        late: asking.late,
        again: asking.again,
    }
}

fn get(random: &mut Random) -> Op {
    let token = if random.chance(75) { 0 } else { random.below(u64::from(TOKENS)) as u8 };
    Op::Get { token, route: 1 + random.below(u64::from(ROUTES) - 1) as u8 }
}

fn reservation(random: &mut Random) -> u64 {
    1 + random.below(3)
}

fn settle(random: &mut Random, late: bool) -> Op {
    let amount = random.chance(40).then(|| random.below(OPENING / 2));
    let response = random.chance(60).then(|| 201 + random.below(3) as u16);
    Op::Settle { reservation: reservation(random), amount, response, late }
}

fn void(random: &mut Random, late: bool) -> Op {
    Op::Void { reservation: reservation(random), late }
}

fn refund(random: &mut Random, late: bool) -> Op {
    let (amount, reference) = (1 + random.below(3), random.below(2) as u8);
    Op::Refund { reservation: reservation(random), amount, reference, late }
}
